"""Compiled functions, whose machine code is kept where it can be written and never goes stale."""

from __future__ import annotations

import atexit
import contextlib
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, cast

import numba

Function = TypeVar("Function", bound=Callable[..., Any])

_PACKAGE = Path(__file__).resolve().parents[1]
_PREFIX = "swaplib-numba-"


def compiled(function: Function) -> Function:
    """Compile a function that only compiled functions call; ``NUMBA_DISABLE_JIT=1`` leaves it plain Python.

    It is compiled and kept with the function that calls it, cannot be called from Python, and exists once:
    a constant argument does not make a version of its own. That halves the time to compile.
    """
    return _made(function, no_cpython_wrapper=True, no_cfunc_wrapper=True)


def entry(function: Function) -> Function:
    """Compile a function that Python calls, on its first call, and keep its machine code.

    Compiled code runs without Python's global lock, so that runs in several threads use several CPUs.

    numba renews a cached function when its own file changes, not when a function that it calls in another
    file does. So the cache folder carries a digest of the sources of `swaplib.model` and `swaplib.sim`: a
    changed model is always compiled anew. The folder stands in ``NUMBA_CACHE_DIR``, else in the package's
    ``__pycache__``, else in the user's cache folder; where none of them can be written, in a temporary
    folder that is removed at exit.
    """
    config: Any = numba.config
    before = config.CACHE_DIR
    config.CACHE_DIR = str(_cache_folder())  # read once, when caching is switched on
    try:
        return _made(function, cache=True, no_cfunc_wrapper=True)
    finally:
        config.CACHE_DIR = before


def _made(function: Function, **options: bool) -> Function:
    compile_: Any = numba.njit
    dispatcher = compile_(error_model="numpy", nogil=True, **options)(function)
    if hasattr(dispatcher, "get_call_template"):
        of_types = dispatcher.get_call_template

        def without_constants(args: Any, kws: Any) -> Any:
            return of_types(tuple(numba.types.unliteral(kind) for kind in args), kws)

        dispatcher.get_call_template = without_constants
    return cast(Function, dispatcher)


def compile_once(function: Any, *kinds: Any) -> None:
    """Compile a `compiled` function for arguments of these numba types, or load it, one process at a time.

    Processes that start together would otherwise all compile the same; now the second waits and loads.
    """
    if getattr(numba.config, "DISABLE_JIT", 0):
        return
    try:
        import fcntl
    except ImportError:  # not on this system: every process compiles for itself
        function.compile(kinds)
        return
    with (_cache_folder() / "compiling.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        function.compile(kinds)


@cache
def _cache_folder() -> Path:
    user = Path(os.environ.get("LOCALAPPDATA") or os.environ.get("XDG_CACHE_HOME") or "~/.cache")
    for base in (os.environ.get("NUMBA_CACHE_DIR"), _PACKAGE / "__pycache__", user):
        if base and _is_writable(folder := Path(base).expanduser() / f"{_PREFIX}{digest_of_sources()}"):
            _forget_old_sources(folder)
            return folder
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX))  # private to this user
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    os.environ["NUMBA_CACHE_DIR"] = str(folder)  # worker processes share it
    return folder


def _is_writable(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def _forget_old_sources(current: Path) -> None:
    """Remove folders of sources that have changed, once they are a day old and nobody can be using them."""
    for folder in current.parent.glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):  # another process was faster
            if folder != current and folder.stat().st_mtime < current.stat().st_mtime - 86_400:
                shutil.rmtree(folder)


@cache
def digest_of_sources() -> str:
    """Return a digest of the sources of `swaplib.model` and `swaplib.sim`, which decide every result."""
    digest = hashlib.sha256()
    for layer in ("model", "sim"):
        for source in sorted((_PACKAGE / layer).glob("*.py")):
            digest.update(source.name.encode() + b"\0" + source.read_bytes() + b"\0")
    return digest.hexdigest()[:16]
