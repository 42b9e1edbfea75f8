"""Execute notebooks with papermill, each in a process of its own."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from swaplib.notebooks import Notebook

__all__ = ["Execution", "child_environment", "clean", "execute", "replace_text"]

_WIDGET = "application/vnd.jupyter.widget-view+json"
_PATIENCE_S = 5  # after a polite request to stop, before a process is killed


@dataclass(frozen=True)
class Execution:
    """How the execution of one notebook went.

    Attributes
    ----------
    notebook : Notebook
        What was executed.
    parameters : dict
        What it was given.
    output : str or None
        The executed notebook as JSON text, clean of run metadata; None if there is none.
    error : str or None
        Where it failed and how; None if it did not.
    duration_s : float
        Wall time in seconds.
    """

    notebook: Notebook
    parameters: dict[str, Any]
    output: str | None
    error: str | None
    duration_s: float


def execute(
    notebooks: Sequence[Notebook],
    given: Mapping[str, dict[str, Any]],
    finished: Callable[[Execution], None],
    jobs: int | None = None,
) -> None:
    """Execute notebooks side by side; those that read the others' findings come last.

    Parameters
    ----------
    notebooks : sequence of Notebook
        What to execute.
    given : mapping
        For every notebook's name, its parameters; read when the notebook starts.
    finished : callable
        Called in this thread with an `Execution` as each notebook ends, whether it failed or not.
    jobs : int, optional
        How many at once; as many as there are CPUs without it.

    Raises
    ------
    KeyboardInterrupt
        After all processes were stopped.
    """
    jobs = jobs or _cpus()
    first = [notebook for notebook in notebooks if not notebook.reads_findings]
    last = [notebook for notebook in notebooks if notebook.reads_findings]
    if first:
        with _engine_compiled_meanwhile() if last else nullcontext():
            _execute_wave(first, given, finished, min(jobs, len(first)))
    if last:
        _execute_wave(last, given, finished, min(jobs, len(last)))


def clean(notebook: Any) -> None:
    """Strip what changes at every run from an executed notebook, in place: times, paths, versions and widgets.

    Parameters
    ----------
    notebook : nbformat.NotebookNode
        Outputs, counts and cell ids stay; widgets go, because they are dead without their kernel.
    """
    notebook.metadata.pop("papermill", None)
    notebook.metadata.pop("widgets", None)
    notebook.metadata.get("language_info", {}).pop("version", None)
    for cell in notebook.cells:
        cell.metadata.pop("papermill", None)
        cell.metadata.pop("execution", None)
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if _WIDGET not in output.get("data", {})]
        if not cell.metadata.get("tags", True):
            del cell.metadata["tags"]


def replace_text(path: Path, text: str) -> None:
    """Replace a file atomically: whoever reads it sees the old text or the new.

    Parameters
    ----------
    path : Path
        The file; its folder exists.
    text : str
        What it will hold.
    """
    with tempfile.NamedTemporaryFile(
        "w", encoding="utf-8", dir=path.parent, prefix=f".{path.name}.", delete=False
    ) as file:
        try:
            file.write(text)
            file.close()
            mode = path.stat().st_mode if path.exists() else 0o666 & ~_umask()
            Path(file.name).chmod(mode)
            Path(file.name).replace(path)
        except BaseException:
            Path(file.name).unlink(missing_ok=True)
            raise


def child_environment() -> dict[str, str]:
    """Return the environment for child processes: this package importable, one BLAS thread, figures inline.

    Returns
    -------
    dict
        A copy of ``os.environ`` with three changes: PYTHONPATH starts with the folder of this package;
        OPENBLAS_NUM_THREADS is 1, because the last digits of a matrix product depend on it; MPLBACKEND is left out,
        because a kernel shows no figure under any other backend than its own.
    """
    package_home = str(Path(__file__).resolve().parent.parent)
    paths = [package_home, *filter(None, [os.environ.get("PYTHONPATH")])]
    inherited = {name: value for name, value in os.environ.items() if name != "MPLBACKEND"}
    return {**inherited, "PYTHONPATH": os.pathsep.join(paths), "OPENBLAS_NUM_THREADS": "1"}


@contextmanager
def _engine_compiled_meanwhile() -> Iterator[None]:
    """Compile the simulator beside the first notebooks, which takes half a minute once; what is compiled is kept."""
    command = [sys.executable, "-c", "from swaplib.sim.simulate import compile_engine; compile_engine()"]
    quiet = subprocess.DEVNULL
    with subprocess.Popen(
        command, env=child_environment(), stdin=quiet, stdout=quiet, stderr=quiet
    ) as compiling:
        try:
            yield
            compiling.wait()
        finally:
            compiling.terminate()


def _execute_wave(
    notebooks: Sequence[Notebook],
    given: Mapping[str, dict[str, Any]],
    finished: Callable[[Execution], None],
    jobs: int,
) -> None:
    """Execute notebooks that do not wait for each other."""
    processes = _Processes()
    with ThreadPoolExecutor(jobs) as pool:
        futures = [
            pool.submit(_execute_one, notebook, given[notebook.name], processes) for notebook in notebooks
        ]
        try:
            for future in as_completed(futures):
                finished(future.result())
        except BaseException:
            for future in futures:
                future.cancel()
            processes.stop()
            raise


def _execute_one(notebook: Notebook, parameters: dict[str, Any], processes: _Processes) -> Execution:
    """Run papermill on one notebook and read back what it wrote."""
    import nbformat

    start = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="swaplib-") as scratch:
        output, problem = Path(scratch, notebook.path.name), Path(scratch, "problem.txt")
        status = processes.run(_papermill, notebook.path, output, parameters, child_environment(), problem)
        duration_s = time.perf_counter() - start
        reason = (
            problem.read_text(encoding="utf-8")
            if problem.exists()
            else f"its process ended with status {status}"
        )
        if not output.exists():
            return Execution(notebook, parameters, None, f"did not start: {reason}", duration_s)
        executed = nbformat.read(output, as_version=4)
    error = _first_error(executed) or (f"stopped: {reason}" if status else None)
    clean(executed)
    return Execution(notebook, parameters, nbformat.writes(executed) + "\n", error, duration_s)


def _papermill(
    notebook: Path, output: Path, parameters: dict[str, Any], environment: dict[str, str], problem: Path
) -> None:
    """Execute a notebook in this process, which is its own, and leave a sentence on what no cell can tell."""
    os.setsid()  # Ctrl-C reaches only the parent, which stops the kernels in order
    os.environ.clear()
    os.environ.update(environment)
    silence = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(silence, stream)
    import papermill

    try:
        papermill.execute_notebook(
            str(notebook),
            str(output),
            parameters,
            cwd=str(notebook.parent),
            progress_bar=False,
            log_output=False,
        )
    except Exception as error:
        first = (str(error).strip() or "no message").splitlines()[0]
        problem.write_text(f"{type(error).__name__}: {first}", encoding="utf-8")
        sys.exit(1)


def _first_error(notebook: Any) -> str | None:
    """Say which cell failed and how, by the number that Jupyter shows."""
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            if output.output_type == "error":
                return f"cell [{cell.execution_count}]: {output.ename}: {output.evalue}"
    return None


class _Processes:
    """The processes that run now, so that an interrupt can stop them all."""

    def __init__(self) -> None:
        # Importing papermill takes seconds: a server imports it once and forks a clean process for every notebook.
        server = "forkserver" in multiprocessing.get_all_start_methods()
        self._context: Any = multiprocessing.get_context("forkserver" if server else "spawn")
        if server:
            self._context.set_forkserver_preload(["papermill"])
        self._lock = threading.Lock()
        self._running: set[Any] = set()
        self._stopping = False

    def run(self, target: Callable[..., None], *arguments: Any) -> int:
        """Call a function in a process of its own and return the status with which it ended."""
        process = self._context.Process(target=target, args=arguments, daemon=True)
        with self._lock:
            if self._stopping:
                return -1
            process.start()
            self._running.add(process)
        process.join()
        with self._lock:
            self._running.discard(process)
        return int(process.exitcode or 0)

    def stop(self) -> None:
        """Ask every process to stop, and kill what does not."""
        with self._lock:
            self._stopping = True
            running = list(self._running)
        for process in running:
            process.terminate()
        deadline = time.monotonic() + _PATIENCE_S
        for process in running:
            process.join(max(0.0, deadline - time.monotonic()))
            if process.is_alive():
                process.kill()


def _cpus() -> int:
    """Count the CPUs that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _umask() -> int:
    """Return the umask, which can only be read by setting it."""
    mask = os.umask(0o022)
    os.umask(mask)
    return mask
