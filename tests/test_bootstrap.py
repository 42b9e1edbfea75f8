"""On a fresh machine .venv is made once and completely, or a sentence says why not."""

import ast
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import swaplib
from swaplib import __main__ as command

PACKAGE = Path(swaplib.__file__).parent
BARE = ["__init__.py", "__main__.py", "cli.py", "run.py", "evidence/__init__.py", "evidence/probe_core.py"]

# Stands for pip: says what it was asked for, then does what FAKE_PIP says.
PIP = "import os, sys; sys.stderr.write(f'pip {sys.argv[-1]}\\n'); exec(os.environ.get('FAKE_PIP', 'pass'))"
CLI = """
import os, sys
def parse(arguments): pass
def main(arguments=None):
    assert "PYTHONPATH" not in os.environ or "a clone" not in sys.prefix
    print("ran", *(arguments or sys.argv[1:]), "in", sys.prefix)
    return 7
if __name__ == "__main__": sys.exit(main())
"""


def needs(root, what):
    text = f'[project]\ndependencies = ["{what}"]\noptional-dependencies.test = []\n'
    (root / "pyproject.toml").write_text(text)


@pytest.fixture
def clone(tmp_path):
    """A clone whose command line only says where it runs, and whose needs nothing satisfies."""
    root = tmp_path / "a clone"
    (root / "swaplib").mkdir(parents=True)
    for name in ("__init__.py", "__main__.py"):
        shutil.copy(PACKAGE / name, root / "swaplib")
    (root / "swaplib" / "cli.py").write_text(CLI)
    needs(root, "nowhere>=1")
    (root / "requirements.lock").write_text("nowhere==1\n")
    return root


def begin(clone, word="list", pip="pass"):
    """Start a command whose virtual environments get the fake pip, and see this clone."""
    driver = f"""
import sys
from pathlib import Path
from swaplib import __main__ as command
real = command._call
def call(root, words):
    if "venv" in words:
        real(root, [*words, "--without-pip"])
        (site,) = Path(words[-1]).glob("lib/*/site-packages")
        (site / "pip.py").write_text({PIP!r})
        (site / "clone.pth").write_text(str(root))
    else:
        real(root, words)
command._call = call
command.sys.exit(command.main())
"""
    environment = {**os.environ, "PYTHONPATH": str(clone), "FAKE_PIP": pip}
    how = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen([sys.executable, "-c", driver, word], cwd=clone, env=environment, **how)


def run(clone, word="list", pip="pass"):
    process = begin(clone, word, pip)
    out, said = process.communicate(timeout=180)
    return process.returncode, out, said


def ran(clone, word="list"):
    """What a command answers that ran in the clone's own environment."""
    return 7, f"ran {word} in {clone / '.venv'}\n"


@pytest.mark.parametrize("name", BARE)
def test_what_runs_on_a_fresh_machine_imports_the_standard_library_alone(name):
    tree = ast.parse((PACKAGE / name).read_text())
    names = [alias.name for node in tree.body if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module for node in tree.body if isinstance(node, ast.ImportFrom)]
    assert {name.split(".")[0] for name in names} <= {*sys.stdlib_module_names, "swaplib"}


def test_the_first_file_parses_as_python_3_8_and_refuses_other_pythons_in_a_sentence():
    for name in ("__init__.py", "__main__.py"):
        ast.parse((PACKAGE / name).read_text(), feature_version=(3, 8))
    for version in [(3, 8, 18), (3, 10, 13), (3, 15, 0)]:
        assert "3.11 to 3.14" in command.refuse(version)
        assert ".".join(map(str, version)) in command.refuse(version)
    assert command.refuse((3, 11, 0)) == command.refuse((3, 14, 9)) == ""


@pytest.mark.parametrize(("word", "status"), [("runn", 2), ("--help", 0)])
def test_what_needs_no_environment_makes_none(tmp_path, word, status, capsys):
    with pytest.raises(SystemExit) as end:
        command.main([word])
    assert end.value.code == status
    said = capsys.readouterr()
    assert all(name in said.out + said.err for name in ["list", "run", "compare", "probe", "test", "lab"])


def test_an_environment_is_made_once_and_the_command_runs_in_it(clone):
    status, out, said = run(clone)
    assert (status, out) == ran(clone)
    assert "making .venv from requirements.lock" in said
    assert "pip .\n" in said
    assert run(clone, pip="sys.exit('made again')") == (*ran(clone), "")


def test_what_tests_need_is_installed_on_top_and_serves_the_other_commands(clone):
    run(clone)
    (clone / ".venv" / "kept").touch()
    status, out, said = run(clone, "test")
    assert (status, out) == ran(clone, "test")
    assert "pip .[test]\n" in said
    assert run(clone) == (*ran(clone), "")
    assert (clone / ".venv" / "kept").exists()


def test_a_python_that_has_what_is_needed_is_used_as_it_is(clone):
    needs(clone, "pytest>=8")
    assert run(clone) == (7, f"ran list in {sys.prefix}\n", "")
    assert not (clone / ".venv").exists()
    needs(clone, "pytest>=9999")
    assert run(clone)[:2] == ran(clone)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_environment_is_made_anew(clone, number):
    left = clone / ".venv" / "left behind"
    process = begin(clone, pip=f"open({str(left)!r}, 'w').close(); import time; time.sleep(60)")
    end = time.monotonic() + 180
    while not left.exists():
        assert time.monotonic() < end
        time.sleep(0.02)
    process.send_signal(number)
    _, said = process.communicate(timeout=180)
    assert process.returncode == (130 if number == signal.SIGINT else -number)
    assert "Traceback" not in said.partition("KeyboardInterrupt")[2]
    assert run(clone)[:2] == ran(clone)
    assert not left.exists()


@pytest.mark.parametrize("change", ["requirements.lock", "pyproject.toml", "place"])
def test_an_outdated_or_moved_environment_is_made_anew(clone, change):
    run(clone)
    if change == "place":
        clone = clone.rename(clone.parent / "moved")
    else:
        (clone / change).write_text((clone / change).read_text() + "# changed\n")
    status, out, said = run(clone)
    assert (status, out) == ran(clone)
    assert "making .venv" in said


def test_a_step_that_fails_shows_its_own_words_and_a_retry_works(clone):
    status, out, said = run(clone, pip="sys.exit('No space left on device')")
    assert (status, out) == (1, "")
    assert "\nNo space left on device\n" in said
    assert "swaplib: .venv could not be made; put that right, then repeat the command\n" in said
    assert "Traceback" not in said
    assert run(clone)[:2] == ran(clone)


def test_an_environment_of_somebody_else_is_left_as_it_is(clone):
    (clone / ".venv").mkdir()
    (clone / ".venv" / "pyvenv.cfg").write_text("home = elsewhere\n")
    status, _, said = run(clone)
    assert (status, [path.name for path in (clone / ".venv").iterdir()]) == (1, ["pyvenv.cfg"])
    assert "was not made by swaplib and is left as it is" in said


def test_an_installed_package_outside_a_clone_says_what_is_missing(clone):
    (clone / "requirements.lock").unlink()
    status, _, said = run(clone)
    assert status == 1
    assert "is no clone of the repository" in said
