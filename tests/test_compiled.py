"""Where compiled code is kept: in a writable place, and never beyond the sources it was made from."""

import os
import shutil
import subprocess
import sys

import pytest

from swaplib.model import compiled

CALLER = """
from swaplib.model.compiled import entry
from swaplib.model.callee import answer

@entry
def caller():
    return answer()
"""
CALLEE = """
from swaplib.model.compiled import compiled

@compiled
def answer():
    return {}
"""


def bare_package(folder):
    """A package with the decorator and its caller, as an import finds it."""
    model = folder / "swaplib" / "model"
    model.mkdir(parents=True)
    for folder in (model.parent, model):
        (folder / "__init__.py").touch()
    shutil.copy(compiled.__file__, model)
    (model / "caller.py").write_text(CALLER, encoding="utf-8")
    return model


def ask(package, **environment):
    """What a fresh interpreter gets from the compiled caller."""
    ran = subprocess.run(
        [sys.executable, "-c", "from swaplib.model.caller import caller; print(caller())"],
        cwd=package.parents[1],
        env={
            **{name: value for name, value in os.environ.items() if name != "NUMBA_CACHE_DIR"},
            **environment,
        },
        capture_output=True,
        text=True,
        check=True,
    )
    assert not ran.stderr
    return ran.stdout.strip()


@pytest.fixture(scope="module")
def two_runs(tmp_path_factory):
    """Answers and kept files of two processes, between which the source of the callee changes."""
    package = bare_package(tmp_path_factory.mktemp("two_runs"))
    answers, kept = [], []
    for value in (1, 2):
        (package / "callee.py").write_text(CALLEE.format(value), encoding="utf-8")
        answers.append(ask(package))
        kept.append(set((package.parent / "__pycache__").rglob("*.nbc")))
    return answers, kept


def test_a_changed_function_is_compiled_anew_in_its_unchanged_callers(two_runs):
    answers, _ = two_runs
    assert answers == ["1", "2"]


def test_compiled_code_is_kept_beside_the_package_once_for_each_state_of_its_sources(two_runs):
    _, (first, second) = two_runs
    assert sorted(path.name.split(".")[0] for path in first) == ["caller"]
    assert first < second
    assert len(second) == 2


def test_a_place_that_cannot_be_written_gives_way_to_a_temporary_folder(tmp_path):
    package = bare_package(tmp_path)
    (package / "callee.py").write_text(CALLEE.format(1), encoding="utf-8")
    (package.parent / "__pycache__").touch()  # a file where a folder should be: refuses the administrator too
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    nowhere = str(tmp_path / "swaplib" / "__init__.py")
    place = {"NUMBA_CACHE_DIR": nowhere, "XDG_CACHE_HOME": nowhere, "LOCALAPPDATA": nowhere, "HOME": nowhere}
    assert ask(package, **place, TMPDIR=str(temporary), PYTHONDONTWRITEBYTECODE="1") == "1"
    assert not list(temporary.iterdir()), "the temporary folder should be gone at exit"


def test_a_new_folder_forgets_those_of_old_sources_after_a_day(tmp_path, monkeypatch):
    old, recent, other = (tmp_path / name for name in ("swaplib-numba-old", "swaplib-numba-recent", "other"))
    for folder in (old, recent, other):
        folder.mkdir()
    for folder in (old, other):
        os.utime(folder, (0, 0))
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    compiled._cache_folder.__wrapped__()
    assert (old.exists(), recent.exists(), other.exists()) == (False, True, True)
