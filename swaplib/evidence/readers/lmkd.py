"""Kills by Android's lmkd and by its activity manager, from a saved logcat."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd

from swaplib.evidence.readers.log import Tally, lines_of, regular

COLUMNS = (
    *("time_s", "source", "process", "pid", "uid", "oom_score_adj", "rss_kib", "rss_anon_kib", "rss_file_kib"),
    *("rss_shmem_kib", "swap_kib", "dmabuf_kib", "reason", "line"),
)
_DAY_S = 86400.0

# threadtime, time, year, usec, uid, zone and epoch variants all begin with one of these; brief and tag have no time
_CLOCK = re.compile(r"^\[?\s*(?:(?:\d{4}-)?(\d\d)-(\d\d)\s+(\d\d):(\d\d):(\d\d(?:\.\d+)?)|(\d{8,}\.\d+))")
_MESSAGE = re.compile(r"(?:^|[\s/<>\]])(?P<tag>lmkd|lowmemorykiller|am_kill)\s*(?:\(\s*\d+\s*\))?\s*:\s?(?P<text>.*)$")
_LONG_HEADER = re.compile(r"^\[\s.*[VDIWEFA]/(?P<tag>lmkd|lowmemorykiller|am_kill)\s*\]$")
_KILL = re.compile(
    r"\bKill(?:ing|ed)?\s+(?:process\s+)?'(?P<process>.*?)'\s*\(\s*(?P<pid>\d{1,9})\s*\)"
    r"(?:\s*\(tgid \d+\))?(?:,\s*uid\s*(?P<uid>\d{1,9}))?(?:,?\s*(?:oom_score_adj|oom_adj|adj)\s*(?P<adj>-?\d{1,5}))?"
    r"(?P<rest>.*)$"
)
_SIZE = re.compile(
    r"(\d{1,15})\s*kB(?:\s+((?:anon|file|shmem|dmabuf|gpu|total)?\s*_?(?:rss|pss|swap|dmabuf|anon|file)?))?", re.I
)
_NAMED_FIRST = re.compile(
    r"\b((?:anon|file|shmem|dmabuf)?[ _-]?(?:rss|pss|swap|anon|dmabuf))[:= ]+(\d{1,15})\s*kB", re.I
)
_AM_KILL = re.compile(
    r"\[\s*\d+\s*,\s*(?P<pid>\d{1,9})\s*,(?P<process>.*?),\s*(?P<adj>-?\d{1,5})\s*,(?P<reason>.*)\]\s*$"
)
_FIELDS = {
    "": "rss_kib",
    "rss": "rss_kib",
    "total rss": "rss_kib",
    "anon": "rss_anon_kib",
    "anon rss": "rss_anon_kib",
    "file": "rss_file_kib",
    "file rss": "rss_file_kib",
    "shmem rss": "rss_shmem_kib",
    "swap": "swap_kib",
    "dmabuf": "dmabuf_kib",
    "dmabuf rss": "dmabuf_kib",
    "dmabuf pss": "dmabuf_kib",
}


def read_lmkd(path: str | Path) -> pd.DataFrame:
    """Read every kill from a saved logcat.

    Parameters
    ----------
    path
        Text of ``logcat`` in the formats brief, tag, time, threadtime (with year, uid, usec, zone or epoch) or long;
        ``.gz`` too. It is read line by line, so that its size does not matter.

    Returns
    -------
    DataFrame
        One row a kill: time_s (since the first kill that has a time; NaN in brief), source (lmkd or am_kill), process,
        pid, uid, oom_score_adj, rss_kib, rss_anon_kib, rss_file_kib, rss_shmem_kib, swap_kib, dmabuf_kib (NaN where
        the line does not say), reason, line (number in the file). The same death may be told by both sources.
        ``attrs``: lines, other (of other tags), unread (lmkd's or am_kill's, but not understood), examples, notes.

    Raises
    ------
    FileNotFoundError, ValueError
        No such file; not a regular file.
    """
    tally = Tally(regular(path))
    rows: list[dict[str, object]] = []
    clock = _Clock()
    pending = ""  # tag of a long-format header, whose message is the next line
    for text in lines_of(tally):
        header = _LONG_HEADER.match(text)
        if header:
            clock.read(text)
            pending = header["tag"]
            tally.other += 1
            continue
        found = _MESSAGE.search(text)
        tag, message = (pending, text) if pending else (found["tag"], found["text"]) if found else ("", "")
        if not tag:
            tally.other += 1
            continue
        if not pending:
            clock.read(text)
        pending = ""
        row = _am_kill(message) if tag == "am_kill" else _lmkd(message)
        if row is None:
            tally.miss(text)
        else:
            rows.append({**row, "time_s": clock.now_s, "line": tally.lines})
    frame = pd.DataFrame(rows, columns=list(COLUMNS))
    numbers = [name for name in COLUMNS if name.endswith("_kib") or name in ("time_s", "uid", "oom_score_adj")]
    frame[numbers] = frame[numbers].astype(float)
    frame["time_s"] = (frame.time_s - frame.time_s.min()).round(6)
    return tally.report(frame, "a kill")


class _Clock:
    """Seconds of a log without years: a jump back by more than half a day is the next day."""

    def __init__(self) -> None:
        self.now_s = float("nan")
        self._days = 0

    def read(self, text: str) -> None:
        found = _CLOCK.match(text)
        if not found:
            return
        month, day, hour, minute, second, epoch = found.groups()
        if epoch:
            self.now_s = float(epoch)
            return
        months = np.cumsum([0, 31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30])
        days = int(months[(int(month) - 1) % 12]) + int(day)
        clock_s = float(days) * _DAY_S + int(hour) * 3600 + int(minute) * 60 + float(second)
        if self.now_s == self.now_s and clock_s + self._days * _DAY_S < self.now_s - 300 * _DAY_S:
            self._days += 366  # a new year
        self.now_s = clock_s + self._days * _DAY_S


def _lmkd(message: str) -> dict[str, object] | None:
    found = _KILL.search(message)
    if not found:
        return None
    sizes, _, reason = found["rest"].partition("reason:")
    row: dict[str, object] = {
        "source": "lmkd",
        "process": found["process"],
        "pid": int(found["pid"]),
        "uid": float(found["uid"] or "nan"),
        "oom_score_adj": float(found["adj"] or "nan"),
        "reason": reason.strip(),
    }
    freed = sizes.partition("to free")[2]
    named = [(name, kib) for kib, name in _SIZE.findall(freed)] + _NAMED_FIRST.findall(freed)
    for name, kib in named:
        column = _FIELDS.get(" ".join(name.lower().replace("_", " ").split()))
        if column is not None:
            row.setdefault(column, float(kib))
    return row if freed else None


def _am_kill(message: str) -> dict[str, object] | None:
    found = _AM_KILL.search(message)
    if not found:
        return None
    reason, comma, last = found["reason"].rpartition(",")
    has_rss = bool(comma) and last.strip().isdigit()
    return {
        "source": "am_kill",
        "process": found["process"].strip(),
        "pid": int(found["pid"]),
        "oom_score_adj": float(found["adj"]),
        "rss_kib": float(last) if has_rss else float("nan"),
        "reason": (reason if has_rss else found["reason"]).strip(),
    }
