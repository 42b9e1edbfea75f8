"""A folder of executed notebooks that is the tool's own, as its manifest says."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import swaplib
from swaplib.execution import Execution, replace_text
from swaplib.notebooks import FINDINGS_FROM, Notebook, UsageError

__all__ = ["MANIFEST", "Results"]

MANIFEST = "manifest.json"
_MADE_BY = "swaplib run"
_VERSIONS_OF = ("numpy", "pandas", "scipy", "statsmodels", "numba", "matplotlib", "papermill", "nbconvert")


class Results:
    """A folder of results, opened for one run.

    Parameters
    ----------
    folder : Path
        Made if it does not exist.
    notebooks : iterable of Notebook
        The collection. What a former run left of notebooks that are gone from it is removed.
    force : bool
        Use the folder even though it holds other files; they stay.

    Raises
    ------
    UsageError
        If the folder cannot be used.
    """

    def __init__(self, folder: Path, notebooks: Iterable[Notebook], *, force: bool = False) -> None:
        self.folder = folder
        notebooks = list(notebooks)
        _refuse_unusable(folder, notebooks, force=force)
        folder.mkdir(parents=True, exist_ok=True)
        self.entries: dict[str, dict[str, Any]] = (_manifest(folder) or {}).get("notebooks", {})
        for name in set(self.entries) - {notebook.name for notebook in notebooks}:
            del self.entries[name]
            for suffix in (".ipynb", ".html"):
                (folder / f"{name}{suffix}").unlink(missing_ok=True)
        self._write_manifest()

    def findings_from(self, notebook: Notebook) -> str:
        """Return the folder of results as a notebook of the collection sees it."""
        return Path(os.path.relpath(self.folder, notebook.path.parent)).as_posix()

    def keep(self, execution: Execution) -> None:
        """Replace a notebook's former output by this one, atomically, and note how it went.

        Parameters
        ----------
        execution : Execution
            Also a failed one: its output shows the error.
        """
        name = execution.notebook.name
        if execution.output is None:
            self.path(name).unlink(missing_ok=True)
        else:
            replace_text(self.path(name), execution.output)
        parameters = {key: value for key, value in execution.parameters.items() if key != FINDINGS_FROM}
        self.entries[name] = {
            "status": "failed" if execution.error else "done",
            "error": execution.error,
            "duration_s": round(execution.duration_s, 2),
            "parameters": parameters,
        }
        self._write_manifest()

    def path(self, name: str) -> Path:
        """Return where the output of a notebook is kept."""
        return self.folder / f"{name}.ipynb"

    def _write_manifest(self) -> None:
        manifest = {
            "made_by": _MADE_BY,
            "versions": versions(),
            "notebooks": {name: self.entries[name] for name in sorted(self.entries)},
        }
        replace_text(self.folder / MANIFEST, json.dumps(manifest, indent=1, default=str) + "\n")


def versions() -> dict[str, str]:
    """Return the versions that matter for a result.

    Returns
    -------
    dict
        Names to versions: swaplib, Python and the packages that compute.
    """
    found = {"swaplib": swaplib.__version__, "Python": platform.python_version()}
    for name in _VERSIONS_OF:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "missing"
    return found


def _refuse_unusable(folder: Path, notebooks: list[Notebook], *, force: bool) -> None:
    """Refuse a folder whose files are not ours to replace."""
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"--out {folder} is a file; expected a folder")
    if any(folder.resolve() == notebook.path.parent.resolve() for notebook in notebooks):
        raise UsageError(f"--out {folder} is the collection itself; `regenerate` executes notebooks in place")
    if not folder.exists() or force or _manifest(folder) is not None or not any(folder.iterdir()):
        return
    raise UsageError(
        f"--out {folder} holds files that are not from a former run; add --force to write among them"
    )


def _manifest(folder: Path) -> dict[str, Any] | None:
    """Read the manifest of a former run, None if there is none of ours."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    ours = isinstance(manifest, dict) and manifest.get("made_by") == _MADE_BY
    return manifest if ours and isinstance(manifest.get("notebooks"), dict) else None
