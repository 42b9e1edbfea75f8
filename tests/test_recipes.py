"""README's recipes work as they stand: a policy is a row, a kernel and a machine are a file, a notebook is a copy."""

import re
import shutil
from pathlib import Path

import nbformat
import pytest

import swaplib
from swaplib import catalogue
from swaplib.cli import main
from swaplib.evidence.datasets import data_folder

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.fixture
def own_data(tmp_path, monkeypatch):
    """A copy of data/ that a test may add to, instead of the one beside the package."""
    folder = tmp_path / "data"
    shutil.copytree(data_folder(), folder)
    monkeypatch.setattr(catalogue, "data_folder", lambda: folder)
    caches = (catalogue._names, catalogue._machine, catalogue._kernel)
    for cached in caches:
        cached.cache_clear()
    yield folder
    for cached in caches:
        cached.cache_clear()


def run(machine="lab-2cpu", kernel="6.12", policy="sync"):
    m = swaplib.machine(machine)
    storm = swaplib.storm("lab", m, processes=3, mb=8)
    return swaplib.simulate(m, swaplib.kernel(kernel), storm, swaplib.policy(policy), trace=False).summary()


def test_a_thirteenth_policy_is_the_row_that_the_readme_shows(monkeypatch):
    (row,) = re.findall(r"^ +(Policy\(.*?\))$", README, re.DOTALL | re.MULTILINE)
    policy = eval(row, vars(catalogue))
    monkeypatch.setattr(catalogue, "_POLICIES", (*catalogue._POLICIES, policy))
    assert policy.name in set(swaplib.policies().name)
    assert run(policy=policy.name).entries_async == 3 * 2048 - run(policy=policy.name).stranded


def test_a_notebook_is_a_copy_that_is_regenerated(monkeypatch, tmp_path, capsys):
    book = nbformat.read(ROOT / "notebooks" / "03_gather.ipynb", as_version=4)
    book.cells[0].source = "# 13 · Mine\n\nWhat is mine?"
    for cell in book.cells:
        cell.source = cell.source.replace('finding(\n    "gather"', 'finding(\n    "mine"').replace(
            "= 366488", "= 4096"
        )
    nbformat.write(book, tmp_path / "13_mine.ipynb")
    monkeypatch.setenv("SWAPLIB_NOTEBOOKS", str(tmp_path))
    assert main(["regenerate", "13"]) == 0
    (found,) = swaplib.findings(tmp_path).itertuples()
    assert (found.question, found.notebook) == ("mine", "13_mine")
    assert "4 MiB" in found.sentence


def test_a_kernel_is_one_file_and_a_stage_of_it_may_cost_something_else(own_data):
    stages = (own_data / "kernels" / "6.18.toml").read_text(encoding="utf-8")
    mine = stages.replace('name = "6.18"', 'name = "mine"').replace(
        'stage = "zs_outside"', 'stage = "zs_outside"\nentry_cpu_ps = 0\nentry_memory_ps = 0', 1
    )
    (own_data / "kernels" / "mine.toml").write_text(mine, encoding="utf-8")
    assert "mine" in set(swaplib.kernels().name)
    assert run(kernel="mine").exit_ms_last < run(kernel="6.18").exit_ms_last


def test_a_machine_is_one_file_and_says_where_its_numbers_come_from(own_data):
    numbers = (own_data / "machines" / "lab-2cpu.toml").read_text(encoding="utf-8")
    mine = numbers.replace('name = "lab-2cpu"', 'name = "mine"').replace("count = 2", "count = 4")
    (own_data / "machines" / "mine.toml").write_text(mine, encoding="utf-8")
    assert swaplib.machine("mine").cpus == 4
    assert set(swaplib.machine("mine").df().kind) <= {"measured", "published", "fitted", "assumed"}
    assert run(machine="mine").exit_ms_last < run(machine="lab-2cpu").exit_ms_last
