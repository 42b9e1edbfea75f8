"""Compiled functions, whose machine code is kept where it can be written and never goes stale."""

import contextlib
import hashlib
import os
import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, cast

import numba

Function = TypeVar("Function", bound=Callable[..., Any])

_PACKAGE = Path(__file__).resolve().parents[1]


def compiled(function: Function) -> Function:
    """Compile a function that only compiled functions call; ``NUMBA_DISABLE_JIT=1`` leaves it plain Python.

    It is compiled and kept with the function that calls it, cannot be called from Python, and exists once:
    a constant argument does not make a version of its own. That halves the time to compile.
    """
    return _made(function, no_cpython_wrapper=True, no_cfunc_wrapper=True)


def inlined(function: Function) -> Function:
    """Compile a function as `compiled` does, into each of its callers: for what most events run through."""
    return _made(function, no_cpython_wrapper=True, no_cfunc_wrapper=True, forceinline=True)


def entry(function: Function) -> Function:
    """Compile a function that Python calls, on its first call, without Python's global lock; keep its code.

    numba renews a kept function when its own file changes, not when a function that it calls in another file
    does. So the folder carries a digest of the sources of `swaplib.model` and `swaplib.sim`, and whether
    indices are checked. It stands in ``NUMBA_CACHE_DIR`` or else in the package's ``__pycache__`` or the
    user's cache folder; where it cannot be written, nothing is kept, and every process compiles anew.
    """
    folder, config = _cache_folder(), cast(Any, numba.config)
    before = config.CACHE_DIR
    config.CACHE_DIR = str(folder or before)  # read once, when caching is switched on
    try:
        return _made(function, cache=folder is not None, no_cfunc_wrapper=True)
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


@cache
def _cache_folder() -> Path | None:
    """Return a folder for these sources, without those that are a day older; None if none can be written."""
    user = Path(os.environ.get("LOCALAPPDATA") or os.environ.get("XDG_CACHE_HOME") or "~/.cache")
    told = os.environ.get("NUMBA_CACHE_DIR")
    for base in [Path(told)] if told else [_PACKAGE / "__pycache__", user]:
        with contextlib.suppress(OSError):
            folder = base.expanduser() / f"swaplib-numba-{numba.config.BOUNDSCHECK}-{digest_of_sources()}"
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "sources").touch()
            for old in folder.parent.glob("swaplib-numba-*"):
                if old.stat().st_mtime < folder.stat().st_mtime - 86_400:
                    shutil.rmtree(old, ignore_errors=True)
            return folder
    return None


@cache
def digest_of_sources() -> str:
    """Return a digest of the sources of `swaplib.model` and `swaplib.sim`, which decide every result."""
    digest = hashlib.sha256()
    for layer in ("model", "sim"):
        for source in sorted((_PACKAGE / layer).glob("*.py")):
            digest.update(source.name.encode() + b"\0" + source.read_bytes() + b"\0")
    return digest.hexdigest()[:16]
