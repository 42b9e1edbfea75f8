"""Storms that somebody measured, from a CSV of the probe or of the columns of data/measured."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from swaplib.evidence.csv_file import NUMBER, TEXT, WHOLE, CheckedFile
from swaplib.model.checks import printable

NEEDED = {"kernel": TEXT, "smp": WHOLE, "procs": WHOLE, "mb": NUMBER}
MEASURED = ["exit_cpu_us_sum", "median_exit_us", "last_exit_us", "swap_back99_us", "fg_cpu_us", "fg_mem_us"]
_CHOICES = dict.fromkeys(["folio_pages", "layout_run", "fg", "rep", "reapers"], WHOLE) | {"swap_frac": NUMBER}
_CHOICES |= dict.fromkeys(["accel", "how", "content"], TEXT)
_MAY_BE_EMPTY = dict.fromkeys([*MEASURED, "nr_min", "max_active", "worker_nice"], NUMBER)  # three of patch v3
_ABOUT = dict.fromkeys(["cpu_model", "cpus", "swap_device", "compressor", "governor", "note"], TEXT)
_RULES = {  # of cells that are there
    "smp": "smp >= 1",
    "procs": "procs >= 0",
    "mb": "mb >= 1 and mb % 1 == 0",
    "swap_frac": "swap_frac >= 0 and swap_frac <= 1",
    "layout_run": "layout_run in [1, -2, 16, 0]",
    "how": "how in ['exit', 'munmap']",
    "content": "content in ['compressible', 'incompressible', 'same-filled']",
    "fg": "fg in [0, 1]",
    "reapers": "reapers >= 0",
    **{name: f"not {name} < 0" for name in MEASURED},
}


def read_measurements(path: str | Path) -> pd.DataFrame:
    """Read measured storms: one row a repetition, as `swaplib probe` writes them.

    Parameters
    ----------
    path
        A local CSV. It needs kernel, smp (CPUs), procs, mb (of each process) and a column of
        exit_cpu_us_sum, median_exit_us, last_exit_us, swap_back99_us, fg_cpu_us, fg_mem_us; where they are
        missing, swap_frac is 1, layout_run 1, folio_pages 1, how exit, content compressible, fg 0, reapers 0
        and accel native. Further columns are those of data/measured/README.md.

    Returns
    -------
    DataFrame
        The rows that can be compared with a model, for `swaplib.measured_cells`. ``attrs["notes"]`` says what
        was left out. A missing column or a cell that is not what it should be is a ValueError with its row.
    """
    file = CheckedFile(path)
    for name in [name for name in NEEDED if name not in file.columns]:
        raise ValueError(f"{file.name} has no column '{name}'; measured storms need {', '.join(NEEDED)}")
    measured = [name for name in MEASURED if name in file.columns]
    if not measured:
        raise ValueError(f"{file.name} measures nothing; expected a column of {', '.join(MEASURED)}")
    kinds = NEEDED | _CHOICES | _MAY_BE_EMPTY | _ABOUT
    there = {name: kind for name, kind in kinds.items() if name in file.columns}
    frame = file.read(there, [*_MAY_BE_EMPTY, *_ABOUT])
    for name in frame.columns.intersection(list(_RULES)):
        for place in np.flatnonzero(~np.asarray(frame.eval(_RULES[name]), dtype=bool))[:1]:
            where = f"{file.name}, row {file.row(place)}: column '{name}' is {frame[name].iloc[place]}"
            raise ValueError(f"{where}; expected {_RULES[name]}")
    for name in frame.columns.intersection(list(_ABOUT)):
        frame[name] = frame[name].map(printable)
    nothing = frame[measured].isna().all(axis=1) & (frame.procs > 0)
    reasons = {"the foreground alone": frame.procs == 0, "nothing measured": nothing}
    if "folio_pages" in frame:
        reasons["folios that are neither 4 nor 64 KiB"] = ~frame.folio_pages.isin([1, 16])
    if "note" in frame:
        reasons["memory that was not laid out as asked for"] = frame.note.str.contains("runs of|only")
    for reason, left_out in reasons.items():
        if left_out.any():
            file.notes.append(f"{file.name}: {left_out.sum()} of {len(frame)} rows are left out: {reason}")
    frame = frame[~pd.concat(reasons, axis=1).any(axis=1)].reset_index(drop=True)
    if frame.empty:
        told = "; ".join(file.notes)
        raise ValueError(f"{file.name} has no row that a model can be compared with; {told}")
    if "swap_device" in frame and frame.swap_device.str.contains(r"^(?!.*zram)\S").any():
        file.notes.append(f"{file.name}: swap was not on zram; the model frees zram objects")
    if "content" in frame and (frame.content == "incompressible").any():
        file.notes.append(f"{file.name}: incompressible pages are taken to cost what compressible ones do")
    frame.attrs["notes"] = file.notes
    return frame
