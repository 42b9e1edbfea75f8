"""Where compiled code is kept: in a writable place, and never beyond the sources it was made from."""

import os
import shutil
import subprocess
import sys
from types import SimpleNamespace

import pytest

from swaplib.model import compiled
from swaplib.sim import simulate

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


def ask(folder, value, **environment):
    """What a fresh interpreter gets from the compiled caller, in a bare copy of the package."""
    model = folder / "swaplib" / "model"
    model.mkdir(parents=True, exist_ok=True)
    (model.parent / "__init__.py").touch()
    (model / "__init__.py").touch()
    shutil.copy(compiled.__file__, model)
    (model / "caller.py").write_text(CALLER, encoding="utf-8")
    (model / "callee.py").write_text(CALLEE.format(value), encoding="utf-8")
    place = {name: text for name, text in os.environ.items() if name != "NUMBA_CACHE_DIR"}
    ran = subprocess.run(
        [sys.executable, "-c", "from swaplib.model.caller import caller; print(caller())"],
        cwd=folder,
        env={**place, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    assert not ran.stderr
    return ran.stdout.strip()


def test_a_changed_function_is_compiled_anew_in_its_unchanged_callers_and_so_is_one_without_checks(tmp_path):
    assert [ask(tmp_path, 1), ask(tmp_path, 2), ask(tmp_path, 2, NUMBA_BOUNDSCHECK="0")] == ["1", "2", "2"]
    kept = list((tmp_path / "swaplib" / "__pycache__").rglob("*.nbc"))  # of each state, and without checks
    assert [path.name.split(".")[0] for path in kept] == ["caller"] * 3


@pytest.mark.parametrize("told", [True, False])
def test_where_nothing_can_be_written_code_is_compiled_and_not_kept(told, tmp_path):
    nowhere = tmp_path / "a file"  # where a folder should be: refuses the administrator too
    nowhere.touch()
    (tmp_path / "swaplib").mkdir()
    (tmp_path / "swaplib" / "__pycache__").touch()
    place = dict.fromkeys(["XDG_CACHE_HOME", "LOCALAPPDATA", "HOME"], str(nowhere))
    place |= {"NUMBA_CACHE_DIR": str(nowhere)} if told else {}
    assert ask(tmp_path, 1, **place, PYTHONDONTWRITEBYTECODE="1") == "1"
    assert not list(tmp_path.rglob("*.nbc"))


def test_a_new_folder_forgets_those_of_old_sources_after_a_day(tmp_path, monkeypatch):
    old, recent, other = (tmp_path / name for name in ("swaplib-numba-old", "swaplib-numba-recent", "other"))
    for folder in (old, recent, other):
        folder.mkdir()
    for folder in (old, other):
        os.utime(folder, (0, 0))
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    compiled._cache_folder.__wrapped__()
    assert (old.exists(), recent.exists(), other.exists()) == (False, True, True)


def test_before_it_compiles_the_engine_says_so_but_not_when_it_is_kept_or_in_a_notebook(
    tmp_path, monkeypatch, capsys
):
    stats = SimpleNamespace(cache_path=str(tmp_path))
    monkeypatch.setattr(simulate, "run_events", SimpleNamespace(stats=stats, compile=print))
    monkeypatch.setitem(sys.modules, "ipykernel", None)
    simulate.compile_engine.__wrapped__()
    monkeypatch.delitem(sys.modules, "ipykernel")
    simulate.compile_engine.__wrapped__()
    (tmp_path / "simulate.run_events.nbc").touch()
    simulate.compile_engine.__wrapped__()
    assert capsys.readouterr().err == "swaplib: compiling the simulator, once, about 30 s\n"
