"""Notebooks: which there are, what they ask and take, and how papermill executes them side by side."""

from __future__ import annotations

import contextlib
import difflib
import json
import multiprocessing
import os
import re
import signal
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import BrokenExecutor, ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from swaplib.__main__ import end_with_parent

FINDINGS_FROM = "findings_from"  # a notebook with this parameter shows the others' findings, in that folder

_PARAMETER = re.compile(r"^(\w+)(?:: *(.+?))? *= *(.+?)(?: {2,}# *(.*))?$", re.MULTILINE)
_WIDGET = "application/vnd.jupyter.widget-view+json"
_END_WITH_PARENT = "--IPKernelApp.exec_lines=__import__('swaplib.__main__').__main__.end_with_parent()"


class UsageError(ValueError):
    """What the user asked for cannot be done; the message says what can."""


class Parameter(NamedTuple):
    """A line of the cell tagged ``parameters``, as written there: ``name: type = default  # help``."""

    name: str
    type: str
    default: str
    help: str


@dataclass(frozen=True)
class Notebook:
    """A notebook: its file, its title, the question of its first paragraph, and what ``-p`` can set."""

    name: str
    path: Path
    title: str
    question: str
    parameters: tuple[Parameter, ...]

    @property
    def reads_findings(self) -> bool:
        """Whether this notebook shows the others' findings and so runs last."""
        return any(parameter.name == FINDINGS_FROM for parameter in self.parameters)

    def check(self, given: Mapping[str, Any]) -> None:
        """Refuse values in the notebook's own words, by running its cell tagged ``check``."""
        cells = _cells(self.path)
        namespace: dict[str, Any] = {"__name__": "__main__"}
        try:
            with contextlib.chdir(self.path.parent):
                exec(_tagged(cells, "parameters"), namespace)
                namespace.update(given)
                exec(_tagged(cells, "check"), namespace)
        except Exception as error:
            kind = "" if isinstance(error, ValueError) else f"{type(error).__name__}: "
            raise UsageError(f"{self.name}: {kind}{error}") from error


class Execution(NamedTuple):
    """How it went: the executed notebook as text (None: it did not start), its error, its seconds."""

    notebook: Notebook
    parameters: dict[str, Any]
    output: str | None
    error: str | None
    duration_s: float


def collection_folder() -> Path:
    """Find the folder of notebooks: where SWAPLIB_NOTEBOOKS says, else beside the package."""
    said = os.environ.get("SWAPLIB_NOTEBOOKS")
    folder = Path(said).resolve() if said else Path(__file__).resolve().parents[1] / "notebooks"
    if not folder.is_dir():
        source = "SWAPLIB_NOTEBOOKS" if said else "the collection beside the package"
        raise FileNotFoundError(
            f"{source} is {str(folder)!r}, which is not a folder; expected one with notebooks"
        )
    return folder


def collection(folder: Path | None = None) -> list[Notebook]:
    """List a folder's notebooks, the collection's without one, in the order of their names."""
    return [_describe(path) for path in sorted((folder or collection_folder()).glob("[!.]*.ipynb"))]


def explorers() -> list[Notebook]:
    """List the notebooks that answer while their controls are moved, so that no report shows them."""
    return collection(collection_folder() / "explore")


def select(names: Sequence[str], notebooks: Sequence[Notebook]) -> list[Notebook]:
    """Pick notebooks by name, by the start of it or by the file's path, each once; no name means all."""
    known = [notebook.name for notebook in notebooks]
    chosen = set()
    for name in names:
        stem = Path(name).name.removesuffix(".ipynb")
        fitting = [stem] if stem in known else [other for other in known if other.startswith(stem)]
        if not fitting:
            raise UsageError(f"there is no notebook {name!r}; {_suggest(stem, known)}")
        if len(fitting) > 1:
            raise UsageError(f"notebook {name!r} could be {' or '.join(fitting)}; give more of the name")
        chosen.add(fitting[0])
    return [notebook for notebook in notebooks if notebook.name in chosen or not chosen]


def assign(
    notebooks: Sequence[Notebook], texts: Mapping[str, str], values: Mapping[str, Any]
) -> dict[str, dict[str, Any]]:
    """Return what each notebook is given, by its name; refuse what none of them declares or what one refuses.

    texts: read by the type that the notebook declares; they win over `values`, which have a type already.
    """
    declared = sorted({parameter.name for notebook in notebooks for parameter in notebook.parameters})
    for name in [*values, *texts]:
        if name not in declared:
            where = notebooks[0].name if len(notebooks) == 1 else "these notebooks"
            raise UsageError(f"there is no parameter {name!r} in {where}; {_suggest(name, declared)}")
    given: dict[str, dict[str, Any]] = {}
    problems = []
    for notebook in notebooks:
        own = {p.name: values[p.name] for p in notebook.parameters if p.name in values}
        own |= {p.name: _value(texts[p.name], p, notebook) for p in notebook.parameters if p.name in texts}
        given[notebook.name] = own
        try:
            if own:
                notebook.check(own)
        except UsageError as error:
            problems.append(str(error))
    if problems:
        raise UsageError("\n".join(problems))
    return given


def execute(
    notebooks: Sequence[Notebook],
    given: Mapping[str, dict[str, Any]],
    finished: Callable[[Execution], None],
    jobs: int | None = None,
) -> None:
    """Execute notebooks side by side, those that read the others' findings last; no process outlives us.

    given: the parameters of every notebook, by its name; jobs: how many at once, one a CPU without it.
    finished: called with an `Execution` as each ends.
    """
    import joblib

    spawn = multiprocessing.get_context("spawn")
    first = [notebook for notebook in notebooks if not notebook.reads_findings]
    last = [notebook for notebook in notebooks if notebook.reads_findings]
    for wave in filter(None, (first, last)):
        workers = min(jobs or joblib.cpu_count(), len(wave))
        with (
            tempfile.TemporaryDirectory(prefix="swaplib-") as scratch,
            ProcessPoolExecutor(workers, spawn, initializer=_begin_worker) as pool,
        ):
            if wave is first and last:  # compile the simulator once, before the last need it
                pool.submit(_compile_engine)
            tasks = {}
            for notebook in wave:
                output = Path(scratch, notebook.path.name)
                tasks[pool.submit(_execute, notebook.path, output, given[notebook.name])] = notebook
            try:
                for task in as_completed(tasks):
                    notebook = tasks[task]
                    killed = isinstance(task.exception(), BrokenExecutor)
                    result = (None, "its process was killed", 0.0) if killed else task.result()
                    finished(Execution(notebook, given[notebook.name], *result))
            except BaseException:
                for process in multiprocessing.active_children():
                    process.kill()
                raise


def clean(notebook: Any) -> None:
    """Strip from an executed notebook what changes at every run: times, paths, versions and dead widgets."""
    notebook.metadata.get("language_info", {}).pop("version", None)
    mark = "papermill-error-cell-tag"
    notebook.cells = [cell for cell in notebook.cells if mark not in cell.metadata.get("tags", [])]
    for part in (notebook, *notebook.cells):
        for name in ("papermill", "execution", "widgets"):
            part.metadata.pop(name, None)
        if not part.metadata.get("tags", True):
            del part.metadata["tags"]
        if "outputs" in part:
            part.outputs = [output for output in part.outputs if _WIDGET not in output.get("data", {})]


def replace_text(path: Path, text: str) -> None:
    """Replace a file atomically: whoever reads it sees the old text or the new."""
    new = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        new.write_text(text, encoding="utf-8")
        new.replace(path)
    finally:
        new.unlink(missing_ok=True)


def child_environment() -> dict[str, str]:
    """Return the environment for child processes: this package importable, one BLAS thread, figures inline.

    The last digits of a matrix product depend on the threads, and MPLBACKEND would hide a kernel's figures.
    """
    paths = [str(Path(__file__).resolve().parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])]
    inherited = {name: value for name, value in os.environ.items() if name != "MPLBACKEND"}
    return {**inherited, "PYTHONPATH": os.pathsep.join(paths), "OPENBLAS_NUM_THREADS": "1"}


def _begin_worker() -> None:
    """Make a process end with its parent, to which it leaves Ctrl-C and all talking."""
    end_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ.pop("MPLBACKEND", None)
    os.environ.update(child_environment())
    silence = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(silence, stream)


def _compile_engine() -> None:
    from swaplib.sim.simulate import compile_engine

    compile_engine()


def _execute(path: Path, output: Path, parameters: dict[str, Any]) -> tuple[str | None, str | None, float]:
    """Run papermill on a notebook; return output, error and seconds as in `Execution`."""
    import nbformat
    import papermill

    start = time.perf_counter()
    error = None
    options = {"progress_bar": False, "log_output": False, "extra_arguments": [_END_WITH_PARENT]}
    try:
        papermill.execute_notebook(str(path), str(output), parameters, cwd=str(path.parent), **options)
    except papermill.PapermillExecutionError as failed:
        error = f"cell [{failed.exec_count}]: {failed.ename}: {failed.evalue}"
    except Exception as failed:
        error = f"{type(failed).__name__}: {(str(failed).strip() or 'no message').splitlines()[0]}"
    seconds = time.perf_counter() - start
    if not output.exists():
        return None, f"did not start: {error}", seconds
    executed = nbformat.read(output, as_version=4)
    clean(executed)
    return nbformat.writes(executed) + "\n", error, seconds


def _describe(path: Path) -> Notebook:
    """Read what a notebook's file says of itself; its first cell is ``# NN · Title`` and the question."""
    cells = _cells(path)
    heading, _, rest = ("".join(cells[0]["source"]) if cells else "").strip().partition("\n")
    title = re.match(r"#\s+(?:\d+\s*·\s*)?(.+)", heading)
    paragraph = rest.strip().split("\n\n")[0] if title else ""
    asked, mark, _ = paragraph.rpartition("?")
    plain = re.sub(r"\[([^\]]*)\]\([^)]*\)|[*`]", r"\1", asked + mark or paragraph)
    found = tuple(Parameter(*line) for line in _PARAMETER.findall(_tagged(cells, "parameters")))
    return Notebook(path.stem, path, title[1] if title else path.stem, " ".join(plain.split()), found)


def _cells(path: Path) -> list[dict[str, Any]]:
    """Read a notebook's cells; JSON alone, as importing nbformat takes longer than `list` should."""
    try:
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        return [cell for cell in cells if cell["source"] is not None]
    except (ValueError, KeyError, TypeError) as error:
        raise UsageError(
            f"{path.name} is not a notebook of format 4; expected a file of Jupyter's"
        ) from error


def _tagged(cells: Sequence[Mapping[str, Any]], tag: str) -> str:
    """Return the source of the first cell with a tag, empty if there is none."""
    return next(("".join(cell["source"]) for cell in cells if tag in cell["metadata"].get("tags", [])), "")


def _value(text: str, parameter: Parameter, notebook: Notebook) -> Any:
    """Read a text from a command line; what does not fit stays text, for the notebook's own check to refuse.

    A path is meant from where the user stands, and a notebook sees it from its own folder.
    """
    import yaml

    if parameter.type == "str":
        return os.path.relpath(text, notebook.path.parent) if Path(text).is_file() else text
    with contextlib.suppress(ValueError, yaml.YAMLError):
        return {"int": int, "float": float}.get(parameter.type, yaml.safe_load)(text)
    return text


def _suggest(word: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(word, known, n=3)
    return f"did you mean {' or '.join(close)}?" if close else f"expected one of {', '.join(known)}"
