"""On a fresh machine .venv is made once, completely, by one command at a time, or a sentence says why not."""

import ast
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from importlib import metadata
from pathlib import Path

import pytest

from swaplib import __main__ as command
from swaplib import bootstrap, installing

PACKAGE = Path(bootstrap.__file__).parent
STANDARD_LIBRARY_ALONE = ["__init__.py", "__main__.py", "bootstrap.py", "installing.py"]

CLI = """
import sys
def main(argv):
    print("ran", *argv, "with", sys.prefix)
    return 7
"""

# Steps that stand for `python -m venv` and pip: the first makes an empty .venv around this very Python.
DRIVER = """
import os, sys
from pathlib import Path
from swaplib import bootstrap
def steps(place):
    base = {base!r}
    return [[base, "-m", "venv", "--without-pip", str(place)], [base, "-c", {script!r}]]
bootstrap.steps = steps
sys.argv[0] = "swaplib"
from swaplib.__main__ import main
sys.exit(main())
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of what sets up, with a command line that only says where it runs, and a lock that nothing satisfies."""
    root = tmp_path / "a checkout"
    (root / "swaplib").mkdir(parents=True)
    for name in STANDARD_LIBRARY_ALONE:
        shutil.copy(PACKAGE / name, root / "swaplib")
    (root / "swaplib" / "cli.py").write_text(CLI)
    (root / "README.md").write_text("a fresh clone\n")
    shutil.copy(PACKAGE.parent / "LICENSE", root)
    text = (PACKAGE.parent / "pyproject.toml").read_text()
    (root / "pyproject.toml").write_text(text.replace('"ipykernel>=7.1"', '"no-such-distribution>=1"'))
    (root / "requirements.lock").write_text("no-such-distribution==1\n")
    return root


def begin(checkout: Path, word: str = "list", script: str = "pass") -> subprocess.Popen[str]:
    driver = DRIVER.format(base=sys.executable, script=script)
    environment = {**os.environ, "PYTHONPATH": str(checkout)}
    return subprocess.Popen(
        [sys.executable, "-c", driver, word],
        cwd=checkout,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(checkout: Path, word: str = "list", script: str = "pass") -> tuple[int, str, str]:
    process = begin(checkout, word, script)
    out, said = process.communicate(timeout=60)
    return process.returncode, out, said


def wait_for(condition, seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)


@pytest.mark.parametrize("name", STANDARD_LIBRARY_ALONE)
def test_what_runs_on_a_fresh_machine_parses_as_python_3_8(name):
    ast.parse((PACKAGE / name).read_text(), feature_version=(3, 8))


@pytest.mark.parametrize("name", STANDARD_LIBRARY_ALONE)
def test_what_runs_on_a_fresh_machine_imports_the_standard_library_alone(name):
    tree = ast.parse((PACKAGE / name).read_text())
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module}
    optional = {"packaging"}  # only to judge an environment that has it
    assert {name.split(".")[0] for name in names} <= set(sys.stdlib_module_names) | {"swaplib"} | optional


@pytest.mark.parametrize("version", [(3, 8, 18), (3, 10, 13), (3, 15, 0), (2, 7, 18)])
def test_another_python_is_refused_in_a_sentence_that_says_what_is_needed(version):
    sentence = command.refuse(version)
    assert "3.11 to 3.14" in sentence
    assert ".".join(map(str, version)) in sentence


@pytest.mark.parametrize("version", [(3, 11, 0), (3, 12, 1), (3, 13, 0), (3, 14, 9)])
def test_a_python_in_the_range_is_accepted(version):
    assert command.refuse(version) == ""


def test_an_unknown_command_is_refused_before_anything_is_set_up(checkout):
    status, _, said = run(checkout, "runn")
    assert (status, (checkout / ".venv").exists()) == (2, False)
    assert "unknown command 'runn'" in said
    assert "list, run, regenerate, compare, probe, test, lab" in said


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"]])
def test_usage_names_every_command(arguments, capsys):
    assert command.main(arguments) == 0
    shown = capsys.readouterr().out
    assert all(f"\n  {word} " in shown for word in command.COMMANDS)


def test_the_command_runs_in_the_environment_that_was_made_and_its_status_is_passed_on(checkout):
    status, out, said = run(checkout)
    assert (status, out) == (7, f"ran list with {checkout / '.venv'}\n")
    assert "no-such-distribution is missing" in said
    assert ".venv is ready" in said


def test_an_environment_is_made_once(checkout):
    run(checkout)
    status, _, said = run(checkout, script="raise SystemExit('made again')")
    assert (status, said) == (7, "")


def test_an_environment_that_is_good_enough_is_used_as_it_is(checkout):
    (checkout / "pyproject.toml").write_text('[project]\ndependencies = ["packaging"]\n')
    status, out, said = run(checkout, "run")
    assert (status, out, said) == (7, f"ran run with {sys.prefix}\n", "")
    assert not (checkout / ".venv").exists()


def test_the_test_command_wants_the_locked_versions_and_says_so(checkout):
    (checkout / "pyproject.toml").write_text('[project]\ndependencies = ["packaging"]\n')
    (checkout / "requirements.lock").write_text("packaging==1.0\n")
    _, out, said = run(checkout, "test")
    assert out == f"ran test with {checkout / '.venv'}\n"
    assert f"packaging is {metadata.version('packaging')} instead of ==1.0" in said
    assert "test wants the versions of requirements.lock" in said


def test_a_line_of_the_lock_that_is_for_other_machines_is_not_missed(checkout):
    (checkout / "requirements.lock").write_text(
        f"packaging=={metadata.version('packaging')}\nno-such-distribution==1 ; sys_platform == 'plan9'\n"
    )
    assert bootstrap.shortcomings(checkout, exact=True) == []


def test_the_stamp_is_written_last(checkout):
    stamp = checkout / ".venv" / bootstrap.STAMP
    run(
        checkout,
        script=f"import pathlib; pathlib.Path('seen').write_text(str(pathlib.Path({str(stamp)!r}).exists()))",
    )
    assert (checkout / "seen").read_text() == "False"
    assert stamp.exists()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_environment_is_made_anew(checkout, number):
    left = checkout / ".venv" / "left behind"
    process = begin(checkout, script=f"open({str(left)!r}, 'w').close(); import time; time.sleep(1)")
    wait_for(left.exists)
    process.send_signal(number)
    process.communicate(timeout=30)
    assert process.returncode in (-signal.SIGKILL, 130, 143)
    assert bootstrap.unready(checkout) == ".venv is unfinished"
    status, _, said = run(checkout)
    assert (status, left.exists()) == (7, False)
    assert ".venv is unfinished" in said


@pytest.mark.parametrize("name", ["requirements.lock", "pyproject.toml"])
def test_an_outdated_environment_is_made_anew(checkout, name):
    run(checkout)
    with (checkout / name).open("a") as file:
        file.write("# changed\n")
    status, _, said = run(checkout)
    assert status == 7
    assert f".venv was made for another {name}" in said


def test_a_moved_environment_is_made_anew(checkout):
    run(checkout)
    moved = checkout.rename(checkout.parent / "moved")
    status, out, said = run(moved)
    assert (status, out) == (7, f"ran list with {moved / '.venv'}\n")
    assert ".venv was made for another place" in said


def test_a_second_command_waits_for_the_first_and_makes_nothing(checkout):
    count = "open('made', 'a').write('x'); import time; time.sleep(1)"
    first = begin(checkout, script=count)
    wait_for((checkout / "made").exists)
    second = begin(checkout, script=count)
    said = [process.communicate(timeout=60)[1] for process in (first, second)]
    assert (first.returncode, second.returncode) == (7, 7)
    assert "waiting for it" in said[1]
    assert (checkout / "made").read_text() == "x"


def test_a_step_that_outlives_its_command_keeps_the_next_one_waiting(checkout):
    process = begin(
        checkout, script="open('begun', 'w').close(); import time; time.sleep(2); open('ended', 'w').close()"
    )
    wait_for((checkout / "begun").exists)
    process.kill()
    process.communicate(timeout=30)
    status, _, said = run(
        checkout, script="import os; open('after', 'w').write(str(os.path.exists('ended')))"
    )
    assert (status, (checkout / "after").read_text()) == (7, "True")
    assert "waiting for it" in said


def test_a_step_that_fails_shows_its_last_lines_and_a_retry_works(checkout):
    status, _, said = run(checkout, script="import sys; print('line one'); sys.exit('the wheel is broken')")
    assert (status, (checkout / ".venv").exists()) == (1, False)
    assert "making .venv failed" in said
    assert "\n    line one\n    the wheel is broken\n" in said
    assert run(checkout)[0] == 7


@pytest.mark.parametrize(
    ("line", "cause"),
    [
        ("OSError: [Errno 28] No space left on device", "no disk space is left"),
        ("created successfully because ensurepip is not", "apt install python3-venv"),
        ("[Errno 30] Read-only file system: '.venv'", "cannot be written"),
        (
            "Failed to establish a new connection: [Errno 111] Connection refused",
            "the package index cannot be reached",
        ),
        (
            "Temporary failure in name resolution: NameResolutionError(...)",
            "the package index cannot be reached",
        ),
    ],
)
def test_a_known_cause_is_named_first(tmp_path, line, cause):
    message = installing.explain(tmp_path, ["Collecting anyio", line, "ERROR: no matching distribution"])
    assert cause in message.splitlines()[0]
    assert line in message


def test_without_a_network_the_index_is_named_as_the_cause(checkout):
    closed = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--no-deps",
        "--retries=1",
        "--index-url=http://127.0.0.1:9/",
        "x",
    ]
    script = f"import os; os.environ.pop('PIP_FIND_LINKS', 0); os.execv({closed[0]!r}, {closed!r})"
    status, _, said = run(checkout, script=script)
    assert (status, (checkout / ".venv").exists()) == (1, False)
    assert "the package index cannot be reached" in said


def test_a_full_disk_is_named_as_the_cause(checkout):
    status, _, said = run(
        checkout, script="import errno, os; raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))"
    )
    assert (status, (checkout / ".venv").exists()) == (1, False)
    assert "no disk space is left" in said


def test_a_folder_that_cannot_be_written_is_named_as_the_cause(checkout, monkeypatch):
    def refuse(self, *args, **kwargs):
        raise OSError(30, "Read-only file system", str(self))

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(bootstrap.SetupError, match="cannot be written"):
        bootstrap.set_up(checkout)


def test_without_a_venv_module_the_package_to_install_is_named(checkout, monkeypatch):
    monkeypatch.setattr(
        bootstrap.importlib.util, "find_spec", lambda name: None if name == "ensurepip" else object()
    )
    with pytest.raises(bootstrap.SetupError, match="apt install python3-venv"):
        bootstrap.set_up(checkout)
    assert not (checkout / ".venv").exists()


def test_an_environment_of_somebody_else_is_left_as_it_is(checkout):
    (checkout / ".venv").mkdir()
    (checkout / ".venv" / "pyvenv.cfg").write_text("home = elsewhere\n")
    status, _, said = run(checkout)
    assert (status, [path.name for path in (checkout / ".venv").iterdir()]) == (1, ["pyvenv.cfg"])
    assert "was not made by swaplib" in said


def test_an_installed_package_outside_a_clone_says_what_is_missing(checkout):
    (checkout / "requirements.lock").unlink()
    status, _, said = run(checkout)
    assert status == 1
    assert "is not a clone of the repository" in said


def test_pip_counts_lines_for_other_machines_out_and_shows_nothing_without_a_terminal(tmp_path, capsys):
    with installing.Progress(tmp_path, 4) as progress:
        for line in [
            "Ignoring appnope: markers do not match",
            "Collecting anyio==4.16.0",
            "Collecting attrs==26.1.0",
        ]:
            progress.see(line)
        assert progress.text == "2 of 3 packages found"
    assert capsys.readouterr().err == ""


def test_a_fresh_clone_sets_itself_up_with_pip_alone(checkout, tmp_path):
    """The real steps, offline: the lock holds the build backend alone, as a wheel made from the installed one."""
    version = metadata.version("flit-core")
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    with zipfile.ZipFile(wheels / f"flit_core-{version}-py3-none-any.whl", "w") as wheel:
        for file in metadata.files("flit-core") or []:
            if file.suffix != ".pyc" and file.name not in ("INSTALLER", "REQUESTED", "direct_url.json"):
                wheel.write(file.locate(), str(file))
    (checkout / "requirements.lock").write_text(
        f"flit-core=={version}\nappnope==1.0.0 ; sys_platform == 'plan9'\n"
    )
    environment = {
        "PATH": os.defpath,
        "HOME": str(tmp_path),
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(wheels),
    }
    fresh = [sys.executable, "-m", "swaplib", "list", "-p", "x=1"]
    done = subprocess.run(
        fresh, cwd=checkout, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert (done.returncode, done.stdout) == (7, f"ran list -p x=1 with {checkout / '.venv'}\n"), done.stderr
    installed = [checkout / ".venv" / "bin" / "swaplib", "list"]
    with contextlib.chdir(tmp_path):
        again = subprocess.run(
            installed, env=environment, capture_output=True, text=True, timeout=60, check=False
        )
    assert (again.returncode, again.stdout, again.stderr) == (7, f"ran list with {checkout / '.venv'}\n", "")
