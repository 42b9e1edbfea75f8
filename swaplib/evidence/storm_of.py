"""A storm out of what was observed: kills of a log, or snapshots of processes."""

from __future__ import annotations

import pandas as pd

from swaplib.evidence.log import SAME_DEATH_S
from swaplib.model.storm import Storm

_KIB_PER_PAGE = 4
_PRESENT = ("rss_anon_kib", "rss_kib", "vmrss_kib")  # the first of these that is known


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
        Its rows die; of an OOM table the victims. Left out are rows that do not say how much was in swap, and
        of several rows on one process within half a minute the later ones.
    name, sharing, size_classes
        As in `Storm`; sharing and size classes of a phone with many apps by default (assumed).
    burst_s
        Take only the burst with most kills, of which each follows the one before within so many seconds.

    Returns
    -------
    Storm
        As many processes as rows, with swap entries, present and file pages drawn from those observed, and
        gaps from those between the kills (0 where the log has no times). Present is anonymous resident memory
        where it is known, else all resident memory.

    Raises
    ------
    ValueError
        No column or no row says how much was in swap, or `burst_s` is no positive number.
    """
    if "killed" in frame:
        frame = frame[frame.killed.astype(bool)]
    swap = "vmswap_kib" if "vmswap_kib" in frame else "swap_kib"
    if swap not in frame or frame[swap].isna().all():
        raise ValueError(f"no row of the frame has a value in '{swap}'; a storm needs the memory in swap")
    frame = frame[frame[swap].notna()]
    if "time_s" in frame:
        frame = frame.sort_values("time_s", kind="stable")
        frame = frame[~(frame.groupby("pid").time_s.diff() <= SAME_DEATH_S)]
    timed = frame[frame.time_s.notna()] if "time_s" in frame else frame.head(0)
    if burst_s is not None and not burst_s > 0:
        raise ValueError(f"burst_s is {burst_s}; expected a positive number of seconds")
    if burst_s is not None and not timed.empty:
        burst = (timed.time_s.diff() > burst_s).cumsum()
        frame = timed = timed[burst == burst.mode()[0]]  # the first of those with most kills
    known = [
        column for column in (*_PRESENT, "rss_file_kib") if column in frame and frame[column].notna().any()
    ]
    present = next(iter(known), "")
    has_files = present == "rss_anon_kib" and "rss_file_kib" in known
    return Storm(
        name,
        f"{len(frame)} processes as observed",
        processes=len(frame),
        swap_entries=_pages(frame[swap]),
        present_pages=_pages(frame[present]) if present in _PRESENT else [0],
        file_pages=_pages(frame.rss_file_kib) if has_files else [0],
        gap_ns=[round(gap * 1e6) * 1000 for gap in timed.time_s.diff()[1:]] if len(timed) > 1 else 0,
        sharing=sharing,
        size_classes=size_classes,
    )


def _pages(kib: pd.Series) -> list[int]:
    return [int(value) // _KIB_PER_PAGE for value in kib.dropna()]
