"""Measuring exits with swapped-out memory on this machine, as a library call; `probe_core` measures."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from swaplib.evidence import probe_core


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
) -> pd.DataFrame:
    """Measure this machine: processes with swapped-out memory that exit, or unmap, at once.

    Parameters
    ----------
    processes, mb, swap_share, order, content, page_kind
        The grid: how many at once, MiB of each, share paged out, order of page-out (random, even-odd,
        runs16, sequential), content (compressible to about 28 %, incompressible, same-filled), pages (4k, or
        64k folios).
    how, foreground
        ``exit`` (SIGKILL) or ``munmap``; whether an app starts beside.
    repetitions, seed
        Of every cell; every repetition is in a random order of its own.
    out
        A new CSV file to keep the rows in; none by default.

    Returns
    -------
    DataFrame
        One row a storm for `swaplib.measured_cells`, times in microseconds: the columns of
        data/measured/exit_storm_6.18_2cpu.csv that can be measured from outside (NaN where this machine hides
        one), and how, content, order (when among all), cpu_model, cpus (see `swaplib.template`), swap_device,
        compressor, governor, note (how the memory was not laid out as asked for).

    Raises
    ------
    ValueError, FileExistsError
        What was asked for cannot be measured here, and how to get what is missing; `out` exists.
    """
    grid = (processes, mb, swap_share, order, content, page_kind)
    options = Namespace(**dict(zip(probe_core.GRID, grid, strict=True)), how=how, foreground=foreground)
    options.repetitions, options.seed = repetitions, seed
    with tempfile.TemporaryDirectory() as folder:
        options.out = Path(folder) / "runs.csv" if out is None else Path(out)
        if options.out.exists():
            raise FileExistsError(f"{options.out} exists; choose another name")
        measure(arguments_of(options))
        return pd.read_csv(options.out)


def arguments_of(options: Namespace) -> list[str]:
    """Return the command line of `probe_core` that says the same as these options."""
    said: list[str] = []
    for name, value in sorted(vars(options).items()):
        if name in probe_core.GRID:
            said += ["--" + name.replace("_", "-"), ",".join(map(str, value))]
        elif name in ("out", "how", "repetitions", "seed"):
            said += ["--" + name, str(value)]
        elif name == "foreground" and value:
            said.append("--" + name)
    return said


def measure(arguments: Sequence[str], quiet: bool = True) -> None:
    """Run the measuring core in a fresh interpreter; raise ValueError as `probe` does."""
    command = [sys.executable, probe_core.__file__, *arguments]
    said = ""
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as core:
        try:
            for line in core.stderr or ():
                said += line
                if not quiet and "probe: error: " not in said:
                    print(line, end="", file=sys.stderr, flush=True)
        except BaseException:
            core.terminate()
            raise
    if core.returncode:
        refusal = said.partition("probe: error: ")[2].strip()
        raise ValueError(refusal or f"the measuring core ended with {core.returncode}: {said.strip()}")
