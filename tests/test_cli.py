"""The commands keep their promises on a collection of tiny notebooks."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pytest
from small_collection import BROKEN, DICE, write_collection, write_notebook

from swaplib import cli
from swaplib.answers import findings, findings_in
from swaplib.execution import child_environment


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Make the collection that the commands work on."""
    folder = write_collection(tmp_path / "notebooks")
    monkeypatch.setenv("SWAPLIB_NOTEBOOKS", str(folder))
    return folder


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """Run a whole collection, one notebook of which fails."""
    place = tmp_path_factory.mktemp("whole")
    folder = write_collection(place / "notebooks", **{"03_broken": BROKEN})
    command = [sys.executable, "-c", "import sys; from swaplib.cli import main; sys.exit(main())"]
    ended = subprocess.run(
        [*command, "run", "-p", "sides=4"],
        capture_output=True,
        text=True,
        cwd=place,
        env={**child_environment(), "SWAPLIB_NOTEBOOKS": str(folder)},
    )
    return place / "results", ended


def test_a_failing_notebook_gives_status_1_and_the_others_still_run(ran):
    results, ended = ran
    assert ended.returncode == 1
    assert sorted(path.name for path in results.glob("*.ipynb")) == [
        "00_start.ipynb",
        "01_dice.ipynb",
        "02_coins.ipynb",
        "03_broken.ipynb",
    ]


def test_the_message_names_notebook_cell_and_error(ran):
    _, ended = ran
    assert re.search(
        r"^03_broken  [\d.]+ s  FAILED in cell \[3\]: ZeroDivisionError: division by zero$",
        ended.stdout,
        re.M,
    )
    assert ended.stderr == "swaplib: 1 of 4 notebooks failed: 03_broken\n"


def test_the_output_of_a_failing_notebook_is_kept(ran):
    results, _ = ran
    outputs = [
        o for cell in nbformat.read(results / "03_broken.ipynb", 4).cells for o in cell.get("outputs", [])
    ]
    assert [output.output_type for output in outputs] == ["stream", "error"]


def test_every_notebook_has_one_line_with_time_and_answer_and_the_report_is_named_last(ran):
    lines = ran[1].stdout.splitlines()
    assert len(lines) == 5
    assert re.fullmatch(
        r"02_coins  [\d.]+ s  2 coins of 4 sides\.", next(x for x in lines if x.startswith("02"))
    )
    assert lines[-1] == "report: results/index.html"


def test_the_notebook_that_reads_findings_runs_last_on_the_results_of_this_run(ran):
    results, ended = ran
    assert ended.stdout.splitlines()[3].startswith("00_start")
    stream = [
        o.text for c in nbformat.read(results / "00_start.ipynb", 4).cells for o in c.get("outputs", [])
    ]
    assert stream == ["['A die of 4 sides shows 2.5 on average & <b></b>.', '2 coins of 4 sides.']\n"]


def test_results_hold_no_run_metadata(ran):
    for path in ran[0].glob("*.ipynb"):
        notebook = nbformat.read(path, 4)
        assert "papermill" not in notebook.metadata
        assert "version" not in notebook.metadata.language_info
        for cell in notebook.cells:
            assert not {"papermill", "execution"} & set(cell.metadata)


def test_the_manifest_says_versions_parameters_status_and_time(ran):
    manifest = json.loads((ran[0] / "manifest.json").read_text())
    assert {"swaplib", "Python", "numpy"} <= set(manifest["versions"])
    dice, broken = manifest["notebooks"]["01_dice"], manifest["notebooks"]["03_broken"]
    assert (dice["status"], dice["parameters"]) == ("done", {"sides": 4})
    assert (broken["status"], broken["error"]) == ("failed", "cell [3]: ZeroDivisionError: division by zero")
    assert broken["duration_s"] > 0


def test_no_scratch_file_is_left_in_results(ran):
    names = {path.name for path in ran[0].iterdir()}
    stems = ("00_start", "01_dice", "02_coins", "03_broken")
    pages = {f"{name}.html" for name in ("index", "data", "measurements", "model")}
    assert names == {f"{s}.{x}" for s in stems for x in ("ipynb", "html")} | pages | {"manifest.json"}


def test_a_second_run_replaces_what_it_ran_and_keeps_the_rest(folder, capsys):
    results = folder.parent / "results"
    assert cli.main(["run", "02"]) == 0
    (folder / "02_coins.ipynb").rename(folder / "04_purse.ipynb")
    before = (results / "02_coins.ipynb").exists()
    assert cli.main(["run", "01", "-p", "sides=20"]) == 0
    assert before
    assert list(findings(results).notebook) == ["01_dice"], (
        "a notebook that left the collection leaves the results"
    )
    assert "A die of 20 sides shows 10.5 on average" in capsys.readouterr().out
    assert "10.5" in (results / "index.html").read_text()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run", "09"], "there is no notebook '09'"),
        (["run", "-p", "side=4"], "there is no parameter 'side' in these notebooks; did you mean sides?"),
        (
            ["run", "02", "-p", "loud=true"],
            "there is no parameter 'loud' in 02_coins; expected one of coins, sides",
        ),
        (["run", "01", "-p", "sides=5"], "01_dice: parameter 'sides' is 5; expected one of 4, 6, 20"),
        (
            ["run", "01", "-p", "share=half"],
            "01_dice: parameter 'share' is 'half'; expected a number from 0.0 to 1.0",
        ),
        (["run", "01", "-p", "sides"], "-p 'sides' is not NAME=VALUE"),
        (["run", "-f", "nowhere.yaml"], "-f nowhere.yaml cannot be read"),
        (["run", "--jobs", "0"], "'0' is not a number of processes; expected 1 or more"),
        (["run", "--out", "notebooks", "--force"], "is the collection itself"),
        (["regenerate", "x"], "there is no notebook 'x'"),
        (["walk"], "invalid choice: 'walk'"),
        ([], "COMMAND"),
    ],
)
def test_wrong_use_is_refused_with_status_2_before_anything_runs(
    folder, monkeypatch, capsys, arguments, words
):
    monkeypatch.chdir(folder.parent)
    assert cli.main(arguments) == 2
    said = capsys.readouterr()
    assert words in said.err
    assert said.out == ""
    assert not (folder.parent / "results").exists()


def test_a_folder_with_other_files_needs_force(folder, monkeypatch, capsys):
    out = folder.parent / "mine"
    out.mkdir()
    (out / "letter.txt").write_text("dear")
    assert cli.main(["run", "02", "--out", str(out)]) == 2
    assert "holds files that are not from a former run; add --force" in capsys.readouterr().err
    assert [path.name for path in out.iterdir()] == ["letter.txt"]
    monkeypatch.setattr("swaplib.execution.execute", lambda *_: None)
    assert cli.main(["run", "02", "--out", str(out), "--force"]) == 0
    assert (out / "manifest.json").exists()
    assert (out / "letter.txt").read_text() == "dear"


def test_a_file_gives_parameters_and_p_wins_over_it(folder, monkeypatch):
    given = {}
    (folder.parent / "given.yaml").write_text("sides: 4\nloud: true\nthrows: [3]\n")
    monkeypatch.setattr("swaplib.execution.execute", lambda chosen, g, finished, jobs: given.update(g))
    assert cli.main(["run", "01", "02", "-f", str(folder.parent / "given.yaml"), "-p", "sides=6"]) == 0
    assert given == {"01_dice": {"sides": 6, "loud": True, "throws": [3]}, "02_coins": {"sides": 6}}


@pytest.mark.parametrize("text", ["- 1\n", "a: [", "3: 4\n"])
def test_a_file_that_is_no_set_of_parameters_is_refused(folder, text, capsys):
    (folder.parent / "given.yaml").write_text(text)
    assert cli.main(["run", "-f", str(folder.parent / "given.yaml")]) == 2
    assert "given.yaml" in capsys.readouterr().err


def test_list_shows_question_parameters_types_defaults_and_help(folder, capsys):
    assert cli.main(["list"]) == 0
    shown = capsys.readouterr().out
    assert "01_dice  Dice\n    How many sides has the die, and why?\n" in shown
    assert "      sides: int = 6              sides of the die: 4, 6 or 20\n" in shown


def test_list_says_when_there_is_no_collection(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("SWAPLIB_NOTEBOOKS", str(tmp_path / "nowhere"))
    assert cli.main(["list"]) == 2
    assert "which is not a folder; expected one with notebooks" in capsys.readouterr().err


def test_regenerate_executes_in_place_and_leaves_a_failing_notebook_as_it_was(folder, capsys):
    write_notebook(folder / "03_broken.ipynb", BROKEN)
    before = (folder / "03_broken.ipynb").read_bytes()
    assert cli.main(["regenerate", "01", "03"]) == 1
    assert (folder / "03_broken.ipynb").read_bytes() == before
    assert capsys.readouterr().err == "swaplib: left as they were: 03_broken\n"
    assert [found.values for found in findings_in((folder / "01_dice.ipynb").read_text(), "")] == [
        {"mean": 3.5}
    ]
    regenerated = nbformat.read(folder / "01_dice.ipynb", 4)
    assert [cell.execution_count for cell in regenerated.cells[1:]] == [1, 2, 3]
    assert [cell.metadata for cell in regenerated.cells] == [
        {},
        {"tags": ["parameters"]},
        {"tags": ["check"]},
        {},
    ]
    assert set(regenerated.metadata) == {"kernelspec", "language_info"}
    assert sorted(path.name for path in folder.iterdir()) == [f"{name}.ipynb" for name in NAMES]


NAMES = ("00_start", "01_dice", "02_coins", "03_broken")


def test_ctrl_c_stops_the_kernel_and_gives_status_130(folder):
    pid_file = folder.parent / "pid"
    wait = f"import os, pathlib, time\npathlib.Path({str(pid_file)!r}).write_text(str(os.getpid()))\ntime.sleep(60)"
    write_notebook(folder / "05_slow.ipynb", [DICE[0], ("", wait)])
    command = [
        sys.executable,
        "-c",
        "import sys; from swaplib.cli import main; sys.exit(main())",
        "run",
        "05",
    ]
    running = subprocess.Popen(command, env=child_environment(), stderr=subprocess.PIPE, text=True)
    wait_until(lambda: pid_file.exists() and pid_file.read_text())
    running.send_signal(signal.SIGINT)
    _, said = running.communicate(timeout=20)
    assert running.returncode == 130
    assert said == "swaplib: interrupted\n"
    wait_until(lambda: not alive(int(pid_file.read_text())))


def wait_until(condition):
    """Wait for a condition, at most half a minute."""
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def alive(pid):
    """Tell whether a process still runs; one that nobody has collected does not."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    states = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True).stdout
    return not states.strip().startswith("Z")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], ["--nbval", "-n", "auto", "--dist", "loadfile", "tests", "notebooks"]),
        (
            ["-k", "tests"],
            ["--nbval", "-n", "auto", "--dist", "loadfile", "-k", "tests", "tests", "notebooks"],
        ),
        (["--nbval-lax"], ["-n", "auto", "--dist", "loadfile", "--nbval-lax", "tests", "notebooks"]),
        (["--", "tests/test_cli.py"], ["--nbval", "-n", "auto", "--dist", "loadfile", "tests/test_cli.py"]),
    ],
)
def test_test_is_one_pytest_run_with_its_status(monkeypatch, arguments, expected):
    called = []
    monkeypatch.setattr(subprocess, "call", lambda command, **options: called.append((command, options)) or 5)
    assert cli.main(["test", *arguments]) == 5
    ((command, options),) = called
    assert command == [sys.executable, "-m", "pytest", *expected]
    assert (options["cwd"] / "tests" / "test_cli.py").exists()


def test_lab_opens_the_collection_and_passes_on_what_follows_two_dashes(folder, monkeypatch):
    called = []
    monkeypatch.chdir(folder)
    monkeypatch.setattr(os, "execve", lambda *call: called.append(call))
    cli.main(["lab", "--", "--no-browser", "--port=9999"])
    program, command, environment = called[0]
    assert program == sys.executable
    assert command[1:] == ["-m", "jupyterlab", "notebooks", "--no-browser", "--port=9999"]
    assert "MPLBACKEND" not in environment
    assert Path.cwd() == folder.parent


def test_lab_takes_nothing_before_the_dashes(folder, capsys):
    assert cli.main(["lab", "--no-browser"]) == 2
    assert "unrecognized arguments: --no-browser" in capsys.readouterr().err
