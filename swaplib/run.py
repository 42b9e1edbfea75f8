"""Notebooks: which there are, what they ask and take, and how papermill executes them side by side."""

from __future__ import annotations

import contextlib
import difflib
import json
import multiprocessing
import os
import re
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Future, ProcessPoolExecutor, wait
from pathlib import Path
from typing import Any, NamedTuple

from swaplib.__main__ import end_with_parent

FINDINGS_FROM = "findings_from"  # a notebook with this parameter shows the others' findings, in that folder
SILENCE_S = 4  # after which we say what is being done

_PARAMETER = re.compile(r"^(\w+)(?:: *(.+?))? *= *(.+?)(?: {2,}# *(.*))?$", re.MULTILINE)
_NAMES_A_FILE = re.compile(r"\b(?:file|folder|path)\b|\.toml\b")
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


class Notebook(NamedTuple):
    """A notebook: its title, the question of its first paragraph, what ``-p`` sets, its sources by tag."""

    name: str
    path: Path
    title: str
    question: str
    parameters: tuple[Parameter, ...]
    tagged: dict[str, str]

    @property
    def reads_findings(self) -> bool:
        """Whether this notebook shows the others' findings and so runs last."""
        return FINDINGS_FROM in [parameter.name for parameter in self.parameters]

    def check(self, given: Mapping[str, Any]) -> list[str]:
        """Return how the cell tagged ``check`` refuses values, in its own words; nothing if it does not."""
        namespace: dict[str, Any] = {}
        try:
            with contextlib.chdir(self.path.parent):
                exec(self.tagged.get("parameters", ""), namespace)
                exec(self.tagged.get("check", "") if given else "", {**namespace, **given})
        except Exception as error:
            kind = "" if isinstance(error, ValueError) else f"{type(error).__name__}: "
            return [f"{self.name}: {kind}{error}"]
        return []


class Execution(NamedTuple):
    """How it went: the executed notebook (empty if it did not start), its error (or empty), its seconds."""

    notebook: Notebook
    output: str
    error: str
    duration_s: float


def collection_folder() -> Path:
    """Find the folder of notebooks: where SWAPLIB_NOTEBOOKS says, else beside the package."""
    beside = Path(__file__).resolve().parents[1] / "notebooks"
    folder = Path(os.environ.get("SWAPLIB_NOTEBOOKS") or beside).resolve()
    if not folder.is_dir():
        raise UsageError(f"the collection (SWAPLIB_NOTEBOOKS) is {str(folder)!r}, which is not a folder")
    return folder


def collection(folder: Path | None = None) -> list[Notebook]:
    """List a folder's notebooks, the collection's without one, in the order of their names."""
    return [_describe(path) for path in sorted((folder or collection_folder()).glob("[!.]*.ipynb"))]


def explorers() -> list[Notebook]:
    """List the notebooks that answer while their controls are moved, so that no report shows them."""
    return collection(collection_folder() / "explore")


def select(names: Sequence[str], notebooks: Sequence[Notebook]) -> list[Notebook]:
    """Pick the notebooks whose name begins with one of `names`, or with a file's; no name means all."""
    stems = [Path(name).name.removesuffix(".ipynb") for name in names]
    for stem in stems:
        if not any(notebook.name.startswith(stem) for notebook in notebooks):
            raise UsageError(_unknown("notebook", stem, [notebook.name for notebook in notebooks]))
    return [one for one in notebooks if not names or one.name.startswith(tuple(stems))]


def assign(notebooks: Sequence[Notebook], texts: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """Return what each notebook is given of texts, by its name; refuse what none declares or one refuses."""
    declared = {parameter.name for notebook in notebooks for parameter in notebook.parameters}
    for name in sorted(texts.keys() - declared):
        raise UsageError(_unknown("parameter", name, sorted(declared)))
    given, problems = {}, []
    for notebook in notebooks:
        taken = [parameter for parameter in notebook.parameters if parameter.name in texts]
        given[notebook.name] = {p.name: _value(texts[p.name], p, notebook.path.parent) for p in taken}
        problems += notebook.check(given[notebook.name])
    if problems:
        raise UsageError("\n".join(problems))
    return given


def execute(
    notebooks: Sequence[Notebook],
    given: Mapping[str, dict[str, Any]],
    finished: Callable[[Execution], None],
    jobs: int | None = None,
) -> None:
    """Execute notebooks, `jobs` at once; those that read findings last, one by one; no process outlives us.

    given: the parameters of every notebook, by its name. finished: called as each ends.
    """
    spawn, begin = multiprocessing.get_context("spawn"), time.monotonic()
    first = [one for one in reversed(notebooks) if not one.reads_findings]  # the later ones take longer
    waves = [first, *([notebook] for notebook in notebooks if notebook.reads_findings)]
    workers = min(jobs or os.cpu_count() or 1, max(map(len, waves)) or 1)
    with (
        tempfile.TemporaryDirectory(prefix="swaplib-") as scratch,
        ProcessPoolExecutor(workers, spawn, initializer=_begin_worker) as pool,
    ):
        try:
            for wave in waves:
                waiting = {_submit(pool, one, given[one.name], Path(scratch)): one for one in wave}
                while waiting:
                    ended, _ = wait(waiting, timeout=SILENCE_S, return_when=FIRST_COMPLETED)
                    for task in ended:
                        lost = Execution(waiting.pop(task), "", "its process was killed", 0.0)
                        finished(lost if isinstance(task.exception(), BrokenExecutor) else task.result())
                    if not ended:
                        names = sorted(one.name for one in waiting.values())[:workers]
                        say(f"{time.monotonic() - begin:.0f} s  executing {', '.join(names)}")
        except BaseException:
            for process in multiprocessing.active_children():
                process.kill()
            raise


def _submit(pool: ProcessPoolExecutor, *arguments: Any) -> Future[Execution]:
    """Let a process execute a notebook; where one was killed, a pool takes nothing more."""
    try:
        return pool.submit(_execute, *arguments)
    except BrokenExecutor as error:
        broken: Future[Execution] = Future()
        broken.set_exception(error)
        return broken


def say(words: str) -> None:
    """Tell on stderr what is being done."""
    print(f"swaplib: {words}", file=sys.stderr, flush=True)


def clean(notebook: Any) -> None:
    """Strip from an executed notebook what changes at every run: times, paths, versions and dead widgets."""
    notebook.metadata.get("language_info", {}).pop("version", None)
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
    """Return the environment of child processes: this package importable, figures inline, one BLAS thread."""
    paths = [str(Path(__file__).resolve().parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])]
    own = {"PYTHONPATH": os.pathsep.join(paths), "OPENBLAS_NUM_THREADS": "1"}  # threads change last digits
    return {**os.environ, **own, "MPLBACKEND": "module://matplotlib_inline.backend_inline"}


def _begin_worker() -> None:
    """Make a process end with its parent, to which it leaves Ctrl-C and all talking."""
    end_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ.update(child_environment())
    silence = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(silence, stream)


def _execute(notebook: Notebook, parameters: dict[str, Any], scratch: Path) -> Execution:
    """Run papermill on a notebook."""
    import nbformat
    import papermill

    begin, error, text, output = time.monotonic(), "", "", scratch / notebook.path.name
    options = {"progress_bar": False, "log_output": False, "extra_arguments": [_END_WITH_PARENT]}
    options |= {"cwd": str(notebook.path.parent)}
    try:
        papermill.execute_notebook(str(notebook.path), str(output), parameters, **options)
    except papermill.PapermillExecutionError as failed:
        error = f"cell [{failed.exec_count}]: {failed.ename}: {failed.evalue}"
    except Exception as failed:
        error = f"{type(failed).__name__}: {(str(failed).strip() or 'no message').splitlines()[0]}"
    if output.exists():
        executed = nbformat.read(output, as_version=4)
        clean(executed)
        text = nbformat.writes(executed) + "\n"
    return Execution(notebook, text, error, time.monotonic() - begin)


def _describe(path: Path) -> Notebook:
    """Read what a notebook's file says of itself; its first cell is ``# NN · Title`` and the question.

    By json alone: importing nbformat takes longer than `list` should.
    """
    tagged: dict[str, str] = {}
    try:
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        for cell in reversed(cells):
            tagged |= dict.fromkeys(cell["metadata"].get("tags", []), "".join(cell["source"]))
    except (ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{path.name} is no notebook of format 4; expected a file of Jupyter's") from error
    heading, _, rest = ("".join(cells[0]["source"]) if cells else "").strip().partition("\n")
    title = re.match(r"#\s+(?:\d+\s*·\s*)?(.+)", heading)
    paragraph = rest.strip().split("\n\n")[0] if title else ""
    asked, mark, _ = paragraph.rpartition("?")
    plain = " ".join(re.sub(r"\[([^\]]*)\]\([^)]*\)|[*`]", r"\1", asked + mark or paragraph).split())
    found = tuple(Parameter(*line) for line in _PARAMETER.findall(tagged.get("parameters", "")))
    return Notebook(path.stem, path, title[1] if title else path.stem, plain, found, tagged)


def _value(text: str, parameter: Parameter, folder: Path) -> Any:
    """Read a text from a command line; what does not fit stays text, for the notebook's check to refuse.

    A path is meant from where the user stands, and a notebook sees it from its own folder.
    """
    import yaml

    if parameter.type == "str":
        is_named = bool(text and _NAMES_A_FILE.search(parameter.help))
        is_new = is_named and (Path(text).is_dir() or Path(text).suffix in (".csv", ".toml"))
        return os.path.relpath(text, folder) if is_new or Path(text).is_file() else text
    with contextlib.suppress(ValueError, yaml.YAMLError):
        return {"int": int, "float": float}.get(parameter.type, yaml.safe_load)(text)
    return text


def _unknown(what: str, name: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(name, known, n=3)
    hint = f"did you mean {' or '.join(close)}?" if close else f"expected one of {', '.join(known)}"
    return f"there is no {what} {name!r}; {hint}"
