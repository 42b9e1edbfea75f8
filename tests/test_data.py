"""data/ is documented in full, and holds what the sources print."""

import re
import tomllib

import pandas as pd
import pytest

import swaplib
from swaplib.evidence import data

DATA = data.data_folder()
SCHEMA = data.read_schema(DATA / "schema.toml")
NAMES = sorted(path.relative_to(DATA).with_suffix("").as_posix() for path in DATA.glob("*/*.csv"))
PUBLISHED = [name for name in NAMES if name.startswith("published/")]


def test_every_csv_file_is_in_the_schema_and_every_entry_and_column_in_a_file():
    assert sorted(SCHEMA) == NAMES
    described = tomllib.loads((DATA / "schema.toml").read_text(encoding="utf-8"))["columns"]
    assert set(described) == {column.name for entry in SCHEMA.values() for column in entry.columns}


def test_the_readme_shows_the_schema_as_it_is():
    readme = (DATA / "README.md").read_text(encoding="utf-8")
    shown = re.search(r"<!-- schema: begin -->\n(.*?)\n<!-- schema: end -->", readme, re.DOTALL)
    assert shown, "data/README.md has lost the markers between which the schema stands"
    assert shown[1] == data.as_markdown(SCHEMA), "print the tables anew with the command in data/README.md"


@pytest.mark.parametrize("name", NAMES)
def test_every_file_has_a_source_and_every_column_a_meaning(name):
    assert SCHEMA[name].source
    assert all(column.meaning for column in SCHEMA[name].columns)


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_tables_name_machine_and_kernel(name):
    columns = [column.name for column in SCHEMA[name].columns]
    assert "machine" in columns
    assert "kernel" in columns or name in ("published/core_to_core", "published/splits")  # hardware; uses


def test_v3_prints_five_of_the_columns_of_version_1():
    memory = [
        "vmrss_kib",
        "rss_anon_kib",
        "rss_file_kib",
        "rss_shmem_kib",
        "vmswap_kib",
        "swap_ratio_percent",
    ]
    first, third = swaplib.load("mail/process_memory_v1"), swaplib.load("mail/process_memory")
    both = third.merge(first, on=["app", *memory], suffixes=("", "_v1"))
    assert list(both.label_v1) == ["FG 5s", "BG 5s", "BG 5min", "BG 10min", "BG 15min"]


def test_the_vmrss_that_misses_its_parts_is_kept_as_printed():
    first = swaplib.load("mail/process_memory").iloc[0]
    assert first.vmrss_kib == 453832
    assert first.rss_anon_kib + first.rss_file_kib + first.rss_shmem_kib == 453932


def test_the_camera_runs_are_those_of_the_mail():
    runs = pd.concat([swaplib.load("mail/camera_cold_start"), swaplib.load("mail/camera_preview")])
    values = runs.groupby(["metric", "arm"]).value_ms.agg(list)
    assert values["cold_start", "before"] == [1498, 1476, 1741, 1337, 1367, 1655]
    assert values["cold_start", "after"] == [1396, 1107, 1136, 1178, 1071, 1339]
    assert values["preview", "before"] == [267, 402, 504, 513, 161, 265]
    assert values["preview", "after"] == [188, 223, 301, 203, 162, 154]


def test_the_questions_are_q1_to_q16_each_with_a_notebook():
    questions = swaplib.load("mail/questions")
    assert list(questions.question) == [f"Q{number}" for number in range(1, 17)]
    assert questions.notebook.str.fullmatch(r"\d\d_[a-z_]+").all()
    assert questions.text.str.endswith("?").all()


def test_every_claim_is_checked_or_says_why_not():
    claims = swaplib.load("mail/claims")
    assert claims.claim.is_unique
    assert ((claims.checked_in == "01_patch_tables") ^ (claims.out_of_reach != "")).all()


def test_the_average_waits_follow_from_the_published_totals():
    waits = swaplib.load("published/lock_contention")
    average_ms = 1000 * waits.total_wait_s / waits.contended
    assert ((average_ms / waits.average_wait_ms - 1).abs() < 0.005).all()


def test_three_of_the_build_matrix_percentages_are_kept_though_misprinted():
    builds = swaplib.load("published/kernel_build")
    change = 100 * (builds.sys_after_s / builds.sys_before_s - 1)
    wrong = builds[(change - builds.sys_change_percent).abs() > 0.1]
    found = wrong[["folio_kib", "jobs", "sys_change_percent"]].to_numpy().tolist()
    assert found == [[4, 6, -0.3], [64, 24, -18.7], [64, 48, -18.7]]


@pytest.mark.parametrize("path", [*DATA.glob("machines/*.toml"), *DATA.glob("kernels/*.toml")], ids=str)
def test_every_file_that_a_source_names_is_there(path):
    named = re.findall(r"data/(?:mail|published|measured)/[\w.-]*\w", path.read_text(encoding="utf-8"))
    assert [name for name in named if not (DATA.parent / name).exists()] == []
