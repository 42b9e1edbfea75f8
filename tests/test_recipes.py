"""The recipes of both READMEs work as they stand: for policies, kernels, machines and notebooks."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

import swaplib
from swaplib import catalogue
from swaplib.cli import main
from swaplib.evidence.data import data_folder

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
    book.cells[6:] = []  # its answer is before
    book.cells[0].source = "# 13 · Mine\n\nWhat is mine?"
    for cell in book.cells:
        cell.source = cell.source.replace('finding(\n    "gather"', 'finding(\n    "mine"')
        cell.source = cell.source.replace("= 366488", "= 4096")
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


RUN = """
import sys, swaplib
from swaplib.model.storm import Storm
machine = swaplib.machine("lab-2cpu")
for policy, run_entries in {runs}:
    storm = Storm("two", processes=2, swap_entries=1500, run_entries=run_entries)
    outcome = swaplib.simulate(machine, swaplib.kernel("6.18"), storm, policy)
    summary = outcome.summary()
    assert summary.entries_sync + summary.entries_async + outcome.stranded == 3000
    print(summary.entries_async)
"""


def carried_out(blocks, folder, runs):
    """What blocks of a recipe change in a copy of the package, and entries freed by kworkers in its runs."""
    copy = folder / "swaplib"
    shutil.copytree(ROOT / "swaplib", copy, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "data").symlink_to(ROOT / "data")
    changed = set()
    for block in blocks:
        head = re.compile(r"# ([\w/.]+), (at the end|after: .*?)\n(.*)", re.DOTALL)
        name, where, lines = head.fullmatch(block).groups()
        text = (copy / name).read_text(encoding="utf-8")
        if where == "at the end":
            text += "\n\n" + lines
        else:
            before, found, after = text.partition(where.removeprefix("after: "))
            assert found, f"{name} has no line {where.removeprefix('after: ')}"
            rest, _, below = after.partition("\n")
            text = before + found + rest + "\n" + lines + below
        (copy / name).write_text(text, encoding="utf-8")
        changed.add(name)
    done = subprocess.run(
        [sys.executable, "-c", RUN.replace("{runs}", runs)],
        env={**os.environ, "PYTHONPATH": str(folder), "NUMBA_DISABLE_JIT": "1"},
        cwd=folder,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return changed, [int(line) for line in done.stdout.split()]


@pytest.fixture(scope="module")
def recipes():
    """The blocks of the package's README: of one more choice, and of a new way of waiting."""
    text = (ROOT / "swaplib" / "README.md").read_text(encoding="utf-8")
    _, choice, way = re.split(r"\*\*One more choice\*\*|\*\*A new way of waiting\*\*", text)
    return [re.findall(r"```python\n(# .*?)```", part, re.DOTALL) for part in (choice, way)]


def test_one_more_choice_of_a_policy_touches_two_files(recipes, tmp_path):
    policy = "swaplib.policy('async-v3', threshold=0, run_entries_min=2)"
    changed, freed = carried_out(recipes[0], tmp_path, f"(({policy}, 1), ({policy}, 4))")
    assert changed == {"model/policy.py", "sim/waiting.py"}
    assert freed == [0, 3000]


def test_a_new_way_of_waiting_touches_three_files(recipes, tmp_path):
    changed, (freed,) = carried_out(recipes[1], tmp_path, "((swaplib.policy('cpu-list'), 1),)")
    assert changed == {"model/policy.py", "sim/waiting.py", "catalogue.py"}
    assert 2900 < freed <= 3000
