"""A storm out of what was observed: kills of a log, or snapshots of processes."""

from __future__ import annotations

import numpy as np
import pandas as pd

from swaplib.model.storm import Storm

KIB_PER_PAGE = 4
SAME_DEATH_S = 30.0
_SWAP = ("swap_kib", "vmswap_kib")
_PRESENT = ("rss_anon_kib", "rss_kib", "vmrss_kib")


def to_storm(
    frame: pd.DataFrame,
    name: str = "observed",
    sharing: int = 8,
    size_classes: int = 100,
    *,
    burst_s: float | None = None,
) -> Storm:
    """Build a storm from what `read_lmkd`, `read_oom` or `read_status` returned.

    Parameters
    ----------
    frame
        Its rows die; of an OOM table only the victims. Rows that do not say how much was in swap are left out, and of
        several rows on one process within half a minute the later ones.
    name
        The storm's name.
    sharing, size_classes
        As in `Storm`; a phone with many apps by default (assumed).
    burst_s
        Take only the largest burst: kills of which each follows the one before within so many seconds. None takes all.

    Returns
    -------
    Storm
        As many processes as rows, with swap entries, present and file pages drawn from those observed, and gaps drawn
        from those between the kills (0 where the log has no times). Anonymous resident memory counts as present where
        it is known, else all resident memory.

    Raises
    ------
    ValueError
        No column or no row says how much was in swap, or `burst_s` is no positive number.
    """
    if "killed" in frame:
        frame = frame[frame.killed.astype(bool)]
    swap = next((column for column in _SWAP if column in frame), None)
    if swap is None:
        raise ValueError(f"the frame has no column {' or '.join(_SWAP)}; a storm needs the memory in swap")
    frame = frame[frame[swap].notna()]
    if frame.empty:
        raise ValueError(f"no row of the frame has a value in '{swap}'; a storm needs the memory in swap")
    if "time_s" in frame and "pid" in frame:
        frame = frame.sort_values("time_s", kind="stable")
        again = frame.groupby("pid").time_s.diff()
        frame = frame[~(again <= SAME_DEATH_S)]
    if burst_s is not None:
        if not burst_s > 0:
            raise ValueError(f"burst_s is {burst_s}; expected a positive number of seconds")
        frame = _largest_burst(frame, burst_s)
    anonymous = next((c for c in _PRESENT if c in frame and frame[c].notna().any()), None)
    present = _pages(frame[anonymous]) if anonymous else [0]
    file = [0]
    if anonymous == "rss_anon_kib" and "rss_file_kib" in frame and frame.rss_file_kib.notna().any():
        file = _pages(frame.rss_file_kib)
    gaps = np.diff(np.sort(frame.time_s.dropna())) if "time_s" in frame else np.zeros(0)
    return Storm(
        name,
        f"{len(frame)} processes as observed",
        processes=len(frame),
        swap_entries=_pages(frame[swap]),
        present_pages=present,
        file_pages=file,
        gap_ns=[round(gap * 1e6) * 1000 for gap in gaps] or 0,
        sharing=sharing,
        size_classes=size_classes,
    )


def _largest_burst(frame: pd.DataFrame, burst_s: float) -> pd.DataFrame:
    """Return the rows of the burst with most kills, the first of these; all rows where there are no times."""
    timed = frame[frame.time_s.notna()] if "time_s" in frame else frame.head(0)
    if timed.empty:
        return frame
    burst = (timed.time_s.diff() > burst_s).cumsum()
    return timed[burst == burst.value_counts(sort=False).idxmax()]


def _pages(kib: pd.Series) -> list[int]:
    return [int(value) // KIB_PER_PAGE for value in kib.dropna()]
