"""What a source of evidence is: a table of data/, a CSV of measurements, a log, snapshots, or this machine itself."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import pandas as pd

from swaplib.analysis.storms import with_splits
from swaplib.evidence.datasets import datasets, load
from swaplib.evidence.probe import probe
from swaplib.evidence.readers.lmkd import read_lmkd
from swaplib.evidence.readers.log import regular
from swaplib.evidence.readers.measurements import NEEDED, read_measurements
from swaplib.evidence.readers.oom import read_oom
from swaplib.evidence.readers.status import read_status
from swaplib.fitting import generation_of
from swaplib.model.checks import printable

STORMS, KILLS, SNAPSHOTS = "storms", "kills", "snapshots"
PROBE = "probe"
ACCEPTED = (
    "a table of data/ with storms, kills or snapshots, as measured/exit_storm_6.18_2cpu or mail/process_memory_v1; "
    "the path of a CSV as `swaplib probe` writes it, of a saved logcat with lmkd's kills, of a dmesg or journal with "
    "the OOM killer's, or of /proc/PID/status snapshots (a file, a folder, a pattern); or 'probe' to measure here"
)


def read_source(source: str | Path, kernel: str = "", setup_zram: str = "") -> pd.DataFrame:
    """Read evidence, whatever it is; what it is, is told by what it holds.

    Parameters
    ----------
    source
        A table of data/ by name; a path, relative to the working directory or absolute; or ``probe``, which measures
        this machine with `swaplib.probe` as it is by default.
    kernel
        Where the rows come from kernels of several generations: that of the rows to take.
    setup_zram
        For ``probe``, as root: the size of a zram device to take for the time of the run.

    Returns
    -------
    DataFrame
        ``attrs["kind"]`` is storms (rows of `swaplib.read_measurements`), kills (of `swaplib.read_lmkd` or
        `swaplib.read_oom`) or snapshots (of `swaplib.read_status`); ``attrs["notes"]`` says what was left out.

    Raises
    ------
    FileNotFoundError, ValueError
        Neither a table nor a file, or nothing in it that can be read; the message lists what is accepted.
    """
    text = str(source)
    if text == PROBE:
        with tempfile.TemporaryDirectory() as folder:
            probe(out=Path(folder) / "probe.csv", setup_zram=setup_zram or None)
            return _of_kind(STORMS, read_measurements(Path(folder) / "probe.csv"))
    tables = list(datasets().name)
    if text in tables:
        return _table(text, kernel)
    path = Path(text)
    if not path.exists() and not any(mark in text for mark in "*?["):
        raise FileNotFoundError(
            f"there is no file and no table of data/ {printable(text)!r}; expected {ACCEPTED}"
        )
    if path.is_file() and _is_table(path):
        return _of_kind(STORMS, _one_generation(read_measurements(path), kernel))
    readers: list[tuple[str, Callable[[Path], pd.DataFrame]]] = [(SNAPSHOTS, read_status)]
    if path.is_file():
        readers = [(KILLS, read_lmkd), (KILLS, read_oom), *readers]
    found = []
    for kind, read in readers:
        try:
            found.append((kind, read(path)))
        except ValueError:
            continue  # no snapshots; what is accepted is said below
    told = [(len(_sized(frame)), len(frame), -place) for place, (_, frame) in enumerate(found)]
    if not found or max(told)[1] == 0:
        raise ValueError(
            f"{printable(text)} holds no storm, kill or snapshot that can be read; expected {ACCEPTED}"
        )
    return _of_kind(*found[-max(told)[2]])


def _table(name: str, kernel: str) -> pd.DataFrame:
    """Return a table of data/ as one of the kinds."""
    folder, _, table = name.partition("/")
    if folder == "measured" and table.startswith("exit_storm"):
        return _of_kind(STORMS, _one_generation(with_splits(table), kernel))
    frame = load(name)
    if "vmswap_kib" not in frame:
        raise ValueError(f"the table {name} holds no storm, kill or snapshot; expected {ACCEPTED}")
    return _of_kind(SNAPSHOTS, frame)


def _is_table(path: Path) -> bool:
    """Tell whether a file is a table of storms, or would be one if it were not for a column: by its head."""
    with regular(path).open("rb") as file:
        head = file.read(4096)
    heading = head.partition(b"\n")[0].decode("utf-8", "replace").lower()
    columns = {name.strip().strip('"') for mark in ",;\t" for name in heading.split(mark)}
    return (
        head[:4] == b"PAR1" or len(columns & {*NEEDED, "exit_cpu_us_sum", "last_exit_us", "swap_frac"}) >= 2
    )


def _one_generation(frame: pd.DataFrame, kernel: str) -> pd.DataFrame:
    """Return the rows of a kernel's generation where there are several and one of them is it; else all rows."""
    generations = frame.kernel.astype(str).map(generation_of)
    if (generations == kernel).any():
        frame = frame[generations == kernel].reset_index(drop=True)
    return frame


def _sized(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the rows that a storm can be made of: victims whose memory in swap is known."""
    if "vmswap_kib" in frame:
        return frame[frame.vmswap_kib.notna()]
    return frame[frame.swap_kib.notna() & (frame.killed if "killed" in frame else True)]


def _of_kind(kind: str, frame: pd.DataFrame) -> pd.DataFrame:
    frame.attrs = {"notes": [], **frame.attrs, "kind": kind}
    return frame
