"""Evidence from wherever it is: a table of data/, a CSV, a log, snapshots, or this machine itself."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

import pandas as pd

from swaplib.analysis.predictions import METRICS, with_splits
from swaplib.catalogue import generation_of
from swaplib.evidence.android import read_lmkd
from swaplib.evidence.data import data_folder, load, read_schema
from swaplib.evidence.measurements import NEEDED, read_measurements
from swaplib.evidence.oom import read_oom
from swaplib.evidence.probe_core import probe
from swaplib.evidence.storm_of import read_status
from swaplib.model.checks import printable

ACCEPTED = (
    "a table of data/ (as measured/exit_storm_6.18_2cpu, mail/process_memory_v1), the path of a CSV as "
    "`swaplib probe` writes it, of a logcat with lmkd's kills, of a dmesg or journal with the OOM killer's, "
    "or of /proc/PID/status snapshots (a file, a folder, a pattern), or 'probe' to measure here"
)
LOGS = (("kills", read_lmkd), ("kills", read_oom), ("snapshots", read_status))


def read_source(source: str | Path, kernel: str = "") -> pd.DataFrame:
    """Read measured storms, kills or snapshots; a file's content decides which, not its name.

    Parameters
    ----------
    source
        A table of data/ by name, a path, or ``probe``: measure this machine as `swaplib.probe` does. What is
        neither is a FileNotFoundError, what cannot be read a ValueError; both list what is accepted.
    kernel
        Of measurements from kernels of several generations: the one to take.

    Returns
    -------
    DataFrame
        Rows of `swaplib.read_measurements`, `swaplib.read_lmkd`, `swaplib.read_oom` or `swaplib.read_status`.
        ``attrs["kind"]`` is storms, kills or snapshots; ``attrs["notes"]`` says what was left out.
    """
    text, path = str(source), Path(source)
    if text == "probe":
        with tempfile.TemporaryDirectory() as folder:
            probe(out=Path(folder) / "probe.csv")
            kind, frame = "storms", read_measurements(Path(folder) / "probe.csv")
    elif text.startswith("measured/exit_storm") and text in read_schema(data_folder())["files"]:
        kind, frame = "storms", with_splits(text.removeprefix("measured/"))
    elif text in read_schema(data_folder())["files"]:
        kind, frame = "snapshots", load(text)
        if "vmswap_kib" not in frame:
            raise ValueError(f"the table {text} holds no storm, kill or snapshot; expected {ACCEPTED}")
    elif path.is_file() and _is_table(path):
        kind, frame = "storms", read_measurements(path)
    elif path.exists() or any(mark in text for mark in "*?["):
        kind, frame = _log(path)
    else:
        none = f"there is no file and no table of data/ {printable(text)!r}"
        raise FileNotFoundError(f"{none}; expected {ACCEPTED}")
    if kernel and kind == "storms":
        own = frame.kernel.astype(str).map(generation_of) == kernel
        frame = frame[own].reset_index(drop=True) if own.any() else frame
    frame.attrs = {"notes": [], **frame.attrs, "kind": kind}
    return frame


def _is_table(path: Path) -> bool:
    """Tell by its first line whether a file has columns of measured storms, if not all."""
    with path.open("rb") as file:
        head = file.read(4096)
    heading = head.partition(b"\n")[0].decode("utf-8", "replace").lower().replace('"', "")
    columns = {name.strip() for name in re.split("[,;\t]", heading)}
    telling = {*NEEDED, "swap_frac", *(column for column, _ in METRICS.values())}
    return len(columns & telling) >= 2


def _log(path: Path) -> tuple[str, pd.DataFrame]:
    """Return kind and rows of the reader that finds most victims of known size, or most rows."""
    found, notes = [], []
    for kind, read in LOGS if path.is_file() else LOGS[-1:]:
        try:
            frame = read(path)
        except ValueError as error:  # not of this reader's kind, or damaged
            notes += [str(error)] * bool(re.search("not understood|damaged|packed", str(error)))
            continue
        notes += frame.attrs["notes"]
        victims = frame[frame.killed] if "killed" in frame else frame
        sized = victims.filter(["swap_kib", "vmswap_kib"]).notna().to_numpy().sum()
        if len(frame):
            found.append((sized, len(frame), kind, frame, f"{len(victims)} that {read.__name__} finds"))
    if not found:
        none = f"{printable(str(path))} holds no storm, kill or snapshot that can be read"
        raise ValueError("; ".join([none, *dict.fromkeys(notes), f"expected {ACCEPTED}"]))
    found.sort(key=lambda one: one[:2], reverse=True)
    (*_, kind, frame, _), *others = found
    frame.attrs["notes"] += [f"left out: {told}" for *_, told in others]
    return kind, frame
