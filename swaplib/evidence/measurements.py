"""Storms that somebody measured, from a CSV of the probe or of the columns of data/measured."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from swaplib.evidence.probe_core import CONTENTS, KINDS, ORDERS
from swaplib.evidence.runs import NUMBER, TEXT, WHOLE, CheckedFile
from swaplib.model.checks import printable

__all__ = ["NEEDED", "read_measurements"]

NEEDED = {"kernel": TEXT, "smp": WHOLE, "procs": WHOLE, "mb": NUMBER}
MEASURED = ["exit_cpu_us_sum", "median_exit_us", "last_exit_us", "swap_back99_us", "fg_cpu_us", "fg_mem_us"]
_CHOICES = {"accel": TEXT, "folio_pages": WHOLE, "layout_run": WHOLE, "swap_frac": NUMBER, "fg": WHOLE}
_CHOICES |= {"how": TEXT, "content": TEXT, "rep": WHOLE}
_MAY_BE_EMPTY = dict.fromkeys([*MEASURED, "nr_min", "max_active", "worker_nice"], NUMBER)  # three of patch v3
_MAY_BE_EMPTY |= dict.fromkeys(["cpu_model", "cpus", "swap_device", "compressor", "governor", "note"], TEXT)
_KNOWN = {"layout_run": ORDERS.values(), "how": ("exit", "munmap"), "content": CONTENTS, "fg": (0, 1)}


def read_measurements(path: str | Path) -> pd.DataFrame:
    """Read measured storms: one row a repetition, as `swaplib probe` writes them.

    Parameters
    ----------
    path
        A local CSV (comma, semicolon or tab) or parquet file. It needs kernel, smp (CPUs), procs, mb (of each
        process) and at least one column of exit_cpu_us_sum, median_exit_us, last_exit_us, swap_back99_us,
        fg_cpu_us, fg_mem_us; swap_frac (1), layout_run (1), folio_pages (1), how (exit), content
        (compressible), fg (0) and accel (native) are taken as said where they are missing. Further columns
        are those of data/measured/README.md.

    Returns
    -------
    DataFrame
        The rows that can be compared with a model, for `swaplib.measured_cells`. ``attrs["notes"]`` says what
        was left out or assumed.

    Raises
    ------
    FileNotFoundError, ValueError
        No such file, a missing column, or a cell that is not what its column holds, with its row.
    """
    file = CheckedFile(path)
    for name in NEEDED:
        if name not in file.columns:
            raise ValueError(f"{file.name} has no column '{name}'; measured storms need {', '.join(NEEDED)}")
    measured = [name for name in MEASURED if name in file.columns]
    if not measured:
        expected = f"expected at least one column of {', '.join(MEASURED)}"
        raise ValueError(f"{file.name} measures nothing; {expected}")
    kinds = NEEDED | _CHOICES | _MAY_BE_EMPTY
    frame = file.read({name: kind for name, kind in kinds.items() if name in file.columns}, _MAY_BE_EMPTY)
    for name in frame.columns.intersection([name for name, kind in _MAY_BE_EMPTY.items() if kind == TEXT]):
        frame[name] = frame[name].map(printable)
    rules = [("smp", frame.smp >= 1, "at least 1 CPU"), ("procs", frame.procs >= 0, "0 or more processes")]
    rules.append(("mb", (frame.mb >= 1) & (frame.mb % 1 == 0), "whole MiB, at least 1"))
    if "swap_frac" in frame:
        rules.append(("swap_frac", frame.swap_frac.between(0, 1), "a share between 0 and 1"))
    for name, known in _KNOWN.items():
        if name in frame:
            rules.append((name, frame[name].isin(list(known)), f"one of {', '.join(map(str, known))}"))
    rules += [(name, ~(frame[name] < 0), "0 or more microseconds") for name in measured]
    for name, fine, expected in rules:
        if not fine.all():
            place = int((~fine).to_numpy().argmax())
            where = f"{file.name}, row {file.row(place)}: column '{name}' is {frame[name].iloc[place]}"
            raise ValueError(f"{where}; expected {expected}")
    return _usable(file, frame, measured)


def _usable(file: CheckedFile, frame: pd.DataFrame, measured: list[str]) -> pd.DataFrame:
    """Leave out what no model can be compared with, and say how much that was."""
    nothing = frame[measured].isna().all(axis=1) & (frame.procs > 0)
    reasons = {"the foreground alone": frame.procs == 0, "nothing measured": nothing}
    if "folio_pages" in frame:
        reasons["folios that are neither 4 nor 64 KiB"] = ~frame.folio_pages.isin(list(KINDS.values()))
    if "note" in frame:
        reasons["memory that was not laid out as asked for"] = frame.note.str.contains("runs of|only")
    notes = list(file.notes)
    for reason, left_out in reasons.items():
        if left_out.any():
            notes.append(f"{file.name}: {int(left_out.sum())} of {len(frame)} rows are left out: {reason}")
    frame = frame[~pd.concat(reasons, axis=1).any(axis=1)].reset_index(drop=True)
    if frame.empty:
        raise ValueError(f"{file.name} has no row that a model can be compared with; " + "; ".join(notes))
    if "content" in frame and (frame.content == "incompressible").any():
        cost = "freeing an incompressible page is taken to cost what a compressible one does"
        notes.append(f"{file.name}: {cost}")
    if "swap_device" in frame and frame.swap_device.str.contains(r"^(?!.*zram)\S").any():
        notes.append(f"{file.name}: swap was not on zram; the model frees zram objects")
    frame.attrs["notes"] = notes
    return frame
