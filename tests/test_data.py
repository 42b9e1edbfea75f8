"""data/ loads by name, strictly, is documented in full, and holds what the sources print."""

import re
import shutil

import pandas as pd
import pytest

import swaplib
from swaplib.evidence import data

DATA = data.data_folder()
SCHEMA = data.read_schema(DATA)
FILES, COLUMNS = SCHEMA["files"], SCHEMA["columns"]
NAMES = sorted(path.relative_to(DATA).with_suffix("").as_posix() for path in DATA.glob("*/*.csv"))
GOOD = "arm,run,ms,works\nbefore,1,1498.5,3\nafter,2,1396,\n"
SMALL = """[files."mail/camera"]
what = "times"
source = "a mail"
columns = ["arm", "run", "ms", "works"]
[columns]
arm = { type = "text", meaning = "arm" }
run = { type = "integer", meaning = "run" }
ms = { type = "number", meaning = "time" }
works = { type = "integer", meaning = "works", empty = "not recorded" }
"""


@pytest.fixture
def camera(tmp_path, monkeypatch):
    """A data/ elsewhere with one table, which a test writes."""
    monkeypatch.setattr(data, "__file__", str(tmp_path / "site" / "swaplib" / "evidence" / "data.py"))
    monkeypatch.setenv("SWAPLIB_DATA", str(tmp_path))
    (tmp_path / "schema.toml").write_text(SMALL)
    (tmp_path / "mail").mkdir()
    return tmp_path / "mail" / "camera.csv"


def test_cells_get_the_types_of_their_columns_or_stay_as_printed(camera):
    camera.write_text(GOOD.replace("1396,", "1396.00,"))
    frame = swaplib.load("mail/camera")
    assert [str(kind) for kind in frame.dtypes] == ["str", "int64", "float64", "float64"]
    assert frame.ms.tolist() == [1498.5, 1396.0]
    assert frame.works.isna().tolist() == [False, True]
    printed = swaplib.load("mail/camera", printed=True)
    assert (printed.ms.tolist(), printed.works.tolist()) == (["1498.5", "1396.00"], ["3", ""])


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("1396", "n/a", r"camera\.csv, row 3: column 'ms' is 'n/a'; expected a number"),
        ("1498.5", "1498,5", r"row 2: 5 cells; expected 4"),
        ("1498.5", "nan", r"row 2: column 'ms' is 'nan'"),
        ("1498.5", "", r"row 2: column 'ms' is empty; expected a number"),
        ("before,1", "before,1.5", r"row 2: column 'run' is '1.5'; expected a whole number"),
        ("arm,run", "arm,lap", r"row 1: the heading is arm, lap, ms, works; expected arm, run"),
        (GOOD[17:], "", r"has a heading and no rows"),
    ],
)
def test_a_malformed_file_is_refused_by_row_and_column(camera, old, new, message):
    camera.write_text(GOOD.replace(old, new))
    with pytest.raises(ValueError, match=message):
        swaplib.load("mail/camera")


def test_a_file_that_is_missing_is_named(camera):
    with pytest.raises(FileNotFoundError, match=r"camera\.csv"):
        swaplib.load("mail/camera")


def test_every_dataset_loads_with_the_rows_that_datasets_lists():
    for entry in swaplib.datasets().itertuples():
        assert len(swaplib.load(entry.name)) == entry.rows > 0


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("mail/camera_cold_star", r"'mail/camera_cold_star'; did you mean 'mail/camera_cold_start'"),
        ("camera_preview", "did you mean 'mail/camera_preview'"),
        *((name, "there is no dataset") for name in ("../x", "mail/../mail/claims", "/etc/passwd", "", None)),
    ],
)
def test_a_name_that_is_none_suggests_close_ones_and_is_no_path(name, said):
    with pytest.raises(ValueError, match=said):
        swaplib.load(name)


def test_data_is_found_beside_the_package_first_and_else_where_swaplib_data_says(monkeypatch, tmp_path):
    monkeypatch.setenv("SWAPLIB_DATA", str(tmp_path))
    assert data.data_folder() == DATA
    monkeypatch.setattr(data, "__file__", str(tmp_path / "site" / "swaplib" / "evidence" / "data.py"))
    with pytest.raises(FileNotFoundError, match=r"SWAPLIB_DATA is '.*', which has no schema\.toml"):
        swaplib.load("mail/camera_preview")
    shutil.copytree(DATA / "mail", tmp_path / "mail")
    shutil.copy(DATA / "schema.toml", tmp_path)
    assert len(swaplib.load("mail/camera_preview")) == 12
    monkeypatch.delenv("SWAPLIB_DATA")
    with pytest.raises(FileNotFoundError, match="SWAPLIB_DATA is not set; expected SWAPLIB_DATA to be"):
        swaplib.load("mail/camera_preview")


def test_every_file_has_a_source_and_every_column_a_meaning_and_no_entry_is_too_much():
    assert sorted(FILES) == NAMES
    assert all(one["source"] and one["what"] for one in FILES.values())
    assert set(COLUMNS) == {column for one in FILES.values() for column in one["columns"]}
    assert all(one["meaning"] and one["type"] in ("text", "integer", "number") for one in COLUMNS.values())
    published = {name: one["columns"] for name, one in FILES.items() if name.startswith("published/")}
    assert [name for name, columns in published.items() if "machine" not in columns] == []


def as_markdown():
    """The schema as the two tables of data/README.md: the files, and what their columns mean."""
    lines = ["### Files", "", "| file | what | source | columns |", "|---|---|---|---|"]
    for name, one in FILES.items():
        names = " ".join(f"`{column}`" for column in one["columns"])
        lines.append(f"| `{name}.csv` | {one['what']} | {one['source']} | {names} |")
    lines += ["", "### Columns", "", "| column | type | unit | meaning | empty means |"]
    lines.append("|---|---|---|---|---|")
    for name, column in sorted(COLUMNS.items()):
        told = {"unit": "", "empty": "", **column}
        lines.append("| `{}` | {type} | {unit} | {meaning} | {empty} |".format(name, **told))
    return "\n".join(lines)


def test_the_readme_shows_the_schema_as_it_is():
    readme = (DATA / "README.md").read_text(encoding="utf-8")
    shown = re.search(r"<!-- schema: begin -->\n(.*?)\n<!-- schema: end -->", readme, re.DOTALL)
    assert shown, "data/README.md has lost the markers between which the schema stands"
    assert shown[1] == as_markdown(), "print the tables anew with the command in data/README.md"


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


def test_every_paragraph_of_the_mail_has_claims_and_every_claim_says_where_it_was_settled_or_why_not():
    claims = swaplib.load("mail/claims")
    assert claims.claim.is_unique
    paragraphs = set(claims.paragraph.dropna())
    assert paragraphs == set(range(1, int(max(paragraphs)) + 1))
    open_ = claims.status == "out of reach"
    assert (claims.answer[open_] != "").all()
    assert (claims.found_in[~open_] != "").all()
    for one in claims[claims.found_in != ""].itertuples():
        from_source = re.fullmatch(r"(Linux 6\.\d+ ([\w./-]+:\d+(, |; |$))+)+", one.found_in)
        settled_here = (DATA.parent / "notebooks" / f"{one.found_in}.ipynb", DATA.parent / one.found_in)
        assert from_source or any(path.is_file() for path in settled_here), one.claim
        assert from_source or one.status != "answered from the source", one.claim


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
