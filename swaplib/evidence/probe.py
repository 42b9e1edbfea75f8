"""Measuring exits with swapped-out memory on this machine, as a library call; `probe_core` measures."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from argparse import Namespace
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

import pandas as pd

from swaplib.evidence import probe_core
from swaplib.evidence.probe_core import ProbeError
from swaplib.evidence.zram import size_bytes, zram_swap


def probe(
    processes: Sequence[int] = (1, 2, 4),
    mb: Sequence[int] = (64,),
    swap_share: Sequence[float] = (1.0, 0.0),
    order: Sequence[str] = ("random", "runs16"),
    content: Sequence[str] = ("compressible",),
    page_kind: Sequence[str] = ("4k",),
    *,
    how: str = "exit",
    foreground: bool = False,
    repetitions: int = 5,
    seed: int = 0,
    out: str | Path | None = None,
    setup_zram: str | None = None,
    force: bool = False,
) -> pd.DataFrame:
    """Measure this machine: processes with swapped-out memory that exit, or unmap, at once.

    Parameters
    ----------
    processes, mb, swap_share, order, content, page_kind
        The grid: how many at once, MiB of each, share paged out, order of page-out (random, even-odd, runs16,
        sequential), content (compressible to about 28 %, incompressible, same-filled), pages (4k, or 64k folios).
    how
        ``exit`` (SIGKILL) or ``munmap``.
    foreground
        Whether an app starts beside.
    repetitions, seed
        Of every cell; every repetition is in a random order of its own.
    out
        A new CSV file to keep the rows in; none by default.
    setup_zram, force
        Size of a zram device (``"2G"``) to take for the time of the run, as root; beside other swap only with `force`.

    Returns
    -------
    DataFrame
        One row a storm, with the columns of data/measured/exit_storm_6.18_2cpu.csv that can be measured from outside
        (NaN where this machine hides one), and how, content, order (when among all), cpu_model, cpus (see
        `swaplib.template`), swap_device, compressor, governor, note (how the memory was not laid out as asked for).
        Times in microseconds. `swaplib.measured_cells` takes it.

    Raises
    ------
    ValueError
        What was asked for cannot be measured here; the message says what is missing and how to get it.
    FileExistsError
        `out` exists.
    """
    with tempfile.TemporaryDirectory() as folder:
        file = Path(out) if out is not None else Path(folder) / "runs.csv"
        if file.exists():
            raise FileExistsError(f"{file} exists; choose another name")
        grid = {
            "processes": processes,
            "mb": mb,
            "swap_share": swap_share,
            "order": order,
            "content": content,
        }
        chosen = Namespace(**grid, page_kind=page_kind, how=how, repetitions=repetitions, seed=seed)
        arguments = arguments_of(chosen) + ["--foreground"] * foreground
        measure([*arguments, "--out", str(file)], setup_zram, force)
        return pd.read_csv(file)


def measure(
    arguments: Sequence[str], setup_zram: str | None = None, force: bool = False, quiet: bool = True
) -> None:
    """Run the measuring core in a fresh interpreter, with a zram device around it where one is asked for.

    Raises
    ------
    ValueError
        As `probe`.
    """
    try:
        around = zram_swap(size_bytes(setup_zram), force=force) if setup_zram else nullcontext()
        with around:
            _run_core(arguments, quiet)
    except ProbeError as error:
        raise ValueError(str(error)) from None


def arguments_of(options: Namespace) -> list[str]:
    """Return the command line that says the same as parsed options; what they do not have stays as it is by default."""
    said: list[str] = []
    for name, value in sorted(vars(options).items()):
        if name in ("processes", "mb", "swap_share", "order", "content", "page_kind"):
            said += ["--" + name.replace("_", "-"), ",".join(str(v) for v in value)]
        elif name in ("out", "how", "repetitions", "seed"):
            said += ["--" + name, str(value)]
        elif name in ("append", "foreground") and value:
            said.append("--" + name)
    return said


def _run_core(arguments: Sequence[str], quiet: bool) -> None:
    command = [sys.executable, str(Path(probe_core.__file__)), "--end-with-parent", *arguments]
    core = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
    said = ""
    try:
        assert core.stderr is not None
        for said in core.stderr:
            if not quiet:
                print(said.rstrip(), file=sys.stderr, flush=True)
        core.wait()
    finally:
        if core.poll() is None:
            core.terminate()
            try:
                core.wait(timeout=20)
            except subprocess.TimeoutExpired:
                core.kill()
                core.wait()
        if core.stderr is not None:
            core.stderr.close()
    if core.returncode:
        raise ProbeError(
            said.strip().removeprefix("probe: error: ") or f"the measuring core ended with {core.returncode}"
        )
