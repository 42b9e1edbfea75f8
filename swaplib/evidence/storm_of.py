"""Processes as observed: snapshots of /proc/PID/status, and a storm out of these or of kills."""

from __future__ import annotations

import glob
import re
from pathlib import Path

import pandas as pd

from swaplib.evidence.log import CLOCK_BACK_S, SAME_DEATH_S, Log
from swaplib.model.storm import Storm

_SIZES = {"VmRSS": "vmrss_kib", "RssAnon": "rss_anon_kib", "RssFile": "rss_file_kib"}
_SIZES |= {"RssShmem": "rss_shmem_kib", "VmSwap": "vmswap_kib"}
_COLUMNS = f"app label minutes {' '.join(_SIZES.values())} swap_ratio_percent pid"
_FIELD = re.compile(  # `grep` puts the name of a file before, and perhaps a line's number
    r"^\s*(?:\S*?(?P<task>/task/|self/)?(?:(?P<pid>\d{1,9})/)?status:(?:\d+:)?\s*)?"
    rf"(?P<name>Name|Tgid|Pid|{'|'.join(_SIZES)}):\s*(?P<value>.*?)\s*$"
)
_MINUTES = re.compile(r"(\d+(?:\.\d+)?)\s*_?-?min", re.I)
_KIB_PER_PAGE = 4
_PRESENT = ("rss_anon_kib", "rss_kib", "vmrss_kib")  # the first of these that is known


def read_status(source: str | Path) -> pd.DataFrame:
    """Read snapshots of ``/proc/PID/status``.

    source: a file of one snapshot or more, whole or picked by grep; a folder of files; or a pattern. A name
    like ``bg_10min`` of a file or its folder gives the minutes.

    Returns
    -------
    DataFrame
        One row a snapshot, as `mail/process_memory`: app (Name), label (the file), minutes, vmrss_kib,
        rss_anon_kib, rss_file_kib, rss_shmem_kib, vmswap_kib, swap_ratio_percent (100 vmswap / (vmswap +
        vmrss)), pid; NaN where not said. ``attrs`` are those of `Log.frame`. None at all is a ValueError.
    """
    pattern = f"{glob.escape(str(source))}/**" if Path(source).is_dir() else str(source)
    found = map(Path, sorted(glob.glob(pattern, recursive=True)))  # noqa: PTH207
    log = Log(_COLUMNS, "a line of /proc/PID/status", _FIELD.pattern)
    told, row = dict[str, str](), dict[str, object]()  # of the process; its snapshot, with a first size
    for text in log.lines(*([file for file in found if file.is_file()] or [Path(source)])):
        task, pid, name, value = _FIELD.findall(text)[0]
        label = log.path.name.partition(".")[0]
        if name == "Name" or told.get("file") != str(log.path) or (pid and pid != told.get("pid")):
            told, row = {"file": str(log.path), "label": label, "pid": pid}, {}
        kib = re.fullmatch(r"(\d{1,15})\s*kB", value)
        is_thread = task or (told["pid"] and told.get("tgid", told["pid"]) != told["pid"])
        if kib and name in _SIZES and is_thread:
            continue  # its sizes are those of its process
        if kib and name in _SIZES:
            if not row or _SIZES[name] in row:
                minutes = _MINUTES.search(label) or _MINUTES.search(log.path.parent.name)
                row = log.keep({**told, "minutes": minutes and minutes[1]})
            row[_SIZES[name]] = kib[1]
        elif name == "Name" or (name in ("Tgid", "Pid") and value.isdecimal()):
            told["app" if name == "Name" else name.lower()] = value
        else:
            log.miss(text)
    frame = log.frame()
    if frame.empty:
        notes = "; ".join(["expected /proc/PID/status", *frame.attrs["notes"]])
        raise ValueError(f"no snapshot with VmRSS or VmSwap in {source}; {notes}")
    frame["swap_ratio_percent"] = (100 * frame.vmswap_kib / (frame.vmswap_kib + frame.vmrss_kib)).round(2)
    again = frame.pid.notna() & frame.duplicated(["pid", "app"], keep="last")
    if again.any():
        seen = f"{again.sum()} of {len(frame)} snapshots are of a process that is seen again"
        frame.attrs["notes"].append(f"{seen}; a storm takes its last")
    nameless = int((frame.pid.isna() & (frame.app == "")).sum())
    if nameless:
        frame.attrs["notes"].append(f"{nameless} of {len(frame)} snapshots say neither name nor pid")
    return frame


def to_storm(frame: pd.DataFrame, burst_s: float | None = None, gap_s: float | None = None) -> Storm:
    """Build a storm from what `read_lmkd`, `read_oom` or `read_status` returned.

    Parameters
    ----------
    frame
        Its rows die; of an OOM table the victims. Left out are rows that do not say how much was in swap, of
        several kills of one process within half a minute the later ones, of several snapshots of it all but
        the last, and kills without a time among others.
    burst_s
        Take only the burst with most kills, of which each follows the one before within so many seconds.
    gap_s
        Seconds between kills where no time is known; all are then one burst, and None is a ValueError.

    Returns
    -------
    Storm
        Swap entries, present (anonymous where known, else all resident) and file pages and gaps are drawn
        from those observed. Nothing in swap, or a clock that goes back without `burst_s`, is a ValueError.
    """
    for option, value in (("burst_s", burst_s), ("gap_s", gap_s)):
        if value is not None and not 0 <= value < 1e6:
            raise ValueError(f"{option} is {value}; expected seconds from 0 to 1,000,000")
    died = frame[frame.killed.astype(bool)] if "killed" in frame else frame
    swap = "vmswap_kib" if "vmswap_kib" in died else "swap_kib"
    known = died[died[swap].notna()] if swap in died else died.head(0)
    if swap == "vmswap_kib" and "pid" in known:
        known = known[known.pid.isna() | ~known.duplicated(["pid", "app"], keep="last")]
    if known.empty:
        raise ValueError(f"none of {len(died)} rows says how much was in swap; a storm needs '{swap}'")
    if known[swap].max() < _KIB_PER_PAGE:
        raise ValueError(f"none of {len(known)} processes had anything in swap: there is nothing to release")
    known, gaps_s = _timed(known, burst_s, gap_s) if "time_s" in known else (known, [0.0])
    present = next((column for column in _PRESENT if column in known and known[column].notna().any()), "")
    return Storm(
        "observed",
        f"{len(known)} of {len(died)} processes as observed",
        processes=len(known),
        swap_entries=_pages(known, swap),
        present_pages=_pages(known, present),
        file_pages=_pages(known, "rss_file_kib" if present == "rss_anon_kib" else ""),
        gap_ns=[round(gap * 1e6) * 1000 for gap in gaps_s] or 0,
        sharing=8,  # of a phone with many apps, assumed; as size_classes
        size_classes=100,
    )


def _timed(kills: pd.DataFrame, burst_s: float | None, gap_s: float | None) -> tuple[pd.DataFrame, list]:
    """Return the kills of a storm, each death once and in order, and the seconds between them."""
    timed = kills[kills.time_s.notna()]
    if timed.empty:
        once = kills.drop_duplicates("pid")
        if gap_s is None and len(once) > 1:
            raise ValueError(f"none of {len(once)} kills has a time; give gap_s, the seconds between them")
        return once, [gap_s or 0.0]
    clock = (timed.time_s.diff() < -CLOCK_BACK_S).cumsum()  # as often as it went back
    timed = timed.assign(clock=clock).sort_values(["clock", "time_s"], kind="stable")
    timed = timed[~(timed.groupby(["clock", "pid"]).time_s.diff() <= SAME_DEATH_S)]
    gaps_s = timed.time_s.diff()
    if burst_s is not None:
        burst = ((gaps_s > burst_s) | (gaps_s < 0)).cumsum()
        timed = timed[burst == burst.mode()[0]]  # the first of those with most kills
        gaps_s = timed.time_s.diff()
    if (gaps_s < 0).any():
        raise ValueError("the clock goes back between kills; give burst_s, to take the largest burst")
    return timed, gaps_s[1:].tolist()


def _pages(frame: pd.DataFrame, column: str) -> list[int]:
    return [int(kib) // _KIB_PER_PAGE for kib in frame.get(column, pd.Series()).dropna()] or [0]
