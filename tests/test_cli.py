"""The commands keep their promises on a collection of tiny notebooks."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pytest
from small_collection import BROKEN, DICE, START, write_collection, write_notebook

from swaplib import cli
from swaplib.answers import findings, findings_in
from swaplib.run import child_environment

COMMAND = [sys.executable, "-m", "swaplib.cli"]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Make the collection that the commands work on, and stand beside it."""
    folder = write_collection(tmp_path / "notebooks")
    monkeypatch.setenv("SWAPLIB_NOTEBOOKS", str(folder))
    monkeypatch.chdir(tmp_path)
    return folder


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """Run a whole collection, one notebook of which fails."""
    place = tmp_path_factory.mktemp("whole")
    folder = write_collection(place / "notebooks", **{"03_broken": BROKEN})
    environment = {**child_environment(), "SWAPLIB_NOTEBOOKS": str(folder)}
    how = {"capture_output": True, "text": True, "cwd": place, "env": environment}
    return place / "results", subprocess.run([*COMMAND, "run", "-p", "sides=4"], **how)


NAMES = ("00_start", "01_dice", "02_coins", "03_broken")


def test_a_failing_notebook_gives_status_1_and_the_others_still_run(ran):
    results, ended = ran
    assert ended.returncode == 1
    assert "swaplib: 1 of 4 notebooks failed: 03_broken\n" in ended.stderr
    pages = {f"{name}.{kind}" for name in NAMES for kind in ("ipynb", "html")}
    assert {path.name for path in results.iterdir()} == {*pages, "index.html", "made-by-swaplib.txt"}


def test_every_notebook_has_one_line_with_its_place_time_and_verdict_or_its_error(ran):
    lines = ran[1].stdout.splitlines()
    assert [line[:6] for line in lines[1:5]] == ["1 of 4", "2 of 4", "3 of 4", "4 of 4"]
    said = "\n".join(re.sub(r"\d of 4  (\w+)  [\d.]+ s  ", r"\1 ", line) for line in sorted(lines))
    assert "02_coins known" in said
    assert "03_broken FAILED: cell [3]: ZeroDivisionError: division by zero" in said
    assert lines[-1] == "report: results/index.html"


def test_the_notebook_that_reads_findings_runs_last_on_the_results_of_this_run(ran):
    results, ended = ran
    assert ended.stdout.splitlines()[4].startswith("4 of 4  00_start")
    cells = nbformat.read(results / "00_start.ipynb", 4).cells
    shown = [output.text for cell in cells for output in cell.get("outputs", [])]
    assert shown == ["['A die of 4 sides shows 2.5 on average & <b></b>.', '2 coins of 4 sides.']\n"]


def test_of_two_notebooks_that_read_findings_the_second_sees_the_first(tmp_path, monkeypatch):
    monkeypatch.setenv("SWAPLIB_NOTEBOOKS", str(tmp_path / "notebooks"))
    monkeypatch.chdir(tmp_path)
    listing = ("", "import os\nprint(sorted(os.listdir(findings_from)))")
    for name in ("00_first", "01_second"):
        write_notebook(tmp_path / "notebooks" / f"{name}.ipynb", [*START[:3], listing])
    assert cli.main(["run"]) == 0
    for name, is_there in (("00_first", False), ("01_second", True)):
        shown = (tmp_path / "results" / f"{name}.ipynb").read_text()
        assert ("'00_first.ipynb'" in shown) == is_there


def test_results_hold_the_output_before_an_error_and_no_metadata_of_the_run(ran):
    notebook = nbformat.read(ran[0] / "03_broken.ipynb", 4)
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert [output.output_type for output in outputs] == ["stream", "error"]
    assert set(notebook.metadata) == {"kernelspec", "language_info"}
    assert "version" not in notebook.metadata.language_info
    assert not {"papermill", "execution"} & {name for cell in notebook.cells for name in cell.metadata}


def test_a_second_run_replaces_what_it_ran_and_makes_a_damaged_notebook_anew(folder, capsys):
    assert cli.main(["run", "01", "02"]) == 0
    (folder.parent / "results" / "01_dice.ipynb").write_text("{")
    assert cli.main(["run", "01", "-p", "sides=20"]) == 0
    assert list(findings(folder.parent / "results").notebook) == ["01_dice", "02_coins"]
    assert "10.5" in (folder.parent / "results" / "index.html").read_text()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run", "01_dise"], "there is no notebook '01_dise'; did you mean 01_dice?"),
        (["run", "9"], "there is no notebook '9'; expected one of 00_start, 01_dice"),
        (["run", "-p", "side=4"], "there is no parameter 'side'; did you mean sides?"),
        (["run", "01", "-p", "sides=5"], "01_dice: parameter 'sides' is 5; expected one of 4, 6, 20"),
        (["run", "01", "-p", "sides"], "'sides' is not NAME=VALUE"),
        (["run", "--jobs", "0"], "argument --jobs: invalid choice: 0"),
        (["run", "--out", "notebooks"], "is the collection; `regenerate`"),
        (["walk"], "invalid choice: 'walk'"),
    ],
)
def test_wrong_use_is_refused_with_status_2_before_anything_runs(folder, capsys, arguments, words):
    assert cli.main(arguments) == 2
    said = capsys.readouterr()
    assert words in said.err
    assert said.out == ""
    assert not (folder.parent / "results").exists()


@pytest.mark.parametrize("name", ["dangling", "n" * 300, "file"])
def test_a_folder_that_cannot_be_made_is_one_sentence_and_status_1(folder, capsys, name):
    (folder.parent / "dangling").symlink_to("nowhere")
    (folder.parent / "file").touch()
    assert cli.main(["run", "01", "--out", name]) == 1
    said = capsys.readouterr()
    assert (said.err[:16], len(said.err.splitlines()), said.out) == ("swaplib: error: ", 1, "")


@pytest.mark.parametrize("command", ["list", "run", "regenerate", "compare", "probe", "test", "lab"])
def test_every_help_says_what_the_command_does_with_an_example(command, capsys):
    assert cli.main([command, "--help"]) == 0
    assert f"As in: swaplib {command}" in capsys.readouterr().out


def test_list_shows_question_parameters_types_defaults_and_help(folder, capsys):
    assert cli.main(["list"]) == 0
    shown = capsys.readouterr().out
    assert "01_dice  Dice\n    How many sides has the die, and why?\n" in shown
    assert re.search(r"\n      sides: int = 6  +sides of the die: 4, 6 or 20\n", shown)


def test_regenerate_executes_in_place_and_leaves_a_failing_notebook_as_it_was(folder, capsys):
    write_notebook(folder / "03_broken.ipynb", BROKEN)
    before = (folder / "03_broken.ipynb").read_bytes()
    assert cli.main(["regenerate", "01", "03"]) == 1
    assert (folder / "03_broken.ipynb").read_bytes() == before
    assert "swaplib: 1 of 2 notebooks failed: 03_broken\n" in capsys.readouterr().err
    dice = nbformat.read(folder / "01_dice.ipynb", 4)
    (found,) = findings_in((folder / "01_dice.ipynb").read_text(), "")
    assert found.values == {"mean": 3.5}
    assert [cell.execution_count for cell in dice.cells[1:]] == [1, 2, 3]
    assert [cell.metadata for cell in dice.cells] == [{}, {"tags": ["parameters"]}, {"tags": ["check"]}, {}]
    assert set(dice.metadata) == {"kernelspec", "language_info"}
    assert sorted(path.name for path in folder.iterdir()) == [f"{name}.ipynb" for name in NAMES]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_no_kernel_outlives_the_command_which_ctrl_c_ends_at_once_with_status_130(folder, number):
    pid_file = folder.parent / "pid"
    keep = f"import os, pathlib\npathlib.Path({str(pid_file)!r}).write_text(str(os.getpid()))"
    write_notebook(folder / "05_slow.ipynb", [DICE[0], ("", f"{keep}\nwhile True: pass")])
    how = {"env": child_environment(), "stderr": subprocess.PIPE, "text": True}
    how["preexec_fn"] = lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)  # else as this process has it
    running = subprocess.Popen([*COMMAND, "run", "05"], **how)
    wait_until(lambda: pid_file.exists() and pid_file.read_text())
    running.send_signal(number)
    begin = time.monotonic()
    _, said = running.communicate(timeout=60)
    assert time.monotonic() - begin < 2 * max(1, os.getloadavg()[0] / os.cpu_count())
    assert running.returncode == (130 if number == signal.SIGINT else -number)
    assert number != signal.SIGINT or said.endswith("swaplib: interrupted\n")
    wait_until(lambda: not alive(int(pid_file.read_text())))


def wait_until(condition):
    """Wait for a condition; on busy CPUs a kernel takes long to start."""
    deadline = time.monotonic() + 180
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def alive(pid):
    """Tell whether a process still runs; one that nobody has collected does not."""
    states = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True).stdout
    return bool(states.strip()) and not states.startswith("Z")


@pytest.mark.parametrize(
    ("arguments", "after"),
    [
        ([], ["tests", "notebooks"]),
        (["-k", "one"], ["-k", "one", "tests", "notebooks"]),
        (["--", "tests/test_cli.py"], ["tests/test_cli.py"]),
    ],
)
def test_test_is_one_pytest_run_with_its_status(monkeypatch, arguments, after):
    called = []
    monkeypatch.setattr(subprocess, "call", lambda command, **options: called.append((command, options)) or 5)
    assert cli.main(["test", *arguments]) == 5
    ((command, options),) = called
    assert command == [sys.executable, "-m", "pytest", "--nbval", "-n", "auto", "--dist", "loadfile", *after]
    assert (options["cwd"] / "tests" / "test_cli.py").exists()


@pytest.mark.parametrize("dashes", [[], ["--"]])
def test_lab_opens_the_first_notebook_and_passes_on_what_it_is_given(folder, monkeypatch, dashes):
    called = []
    monkeypatch.chdir(folder)
    monkeypatch.setattr(os, "execve", lambda *call: called.append(call) or 0)
    with pytest.raises(TypeError):  # nothing comes back from exec
        cli.main(["lab", *dashes, "--no-browser", "--port=9999"])
    program, command, _ = called[0]
    assert program == sys.executable
    assert command[1:] == ["-m", "jupyterlab", "notebooks/00_start.ipynb", "--no-browser", "--port=9999"]
    assert Path.cwd() == folder.parent
