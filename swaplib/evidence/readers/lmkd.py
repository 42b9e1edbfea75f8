"""Kills by Android's lmkd and by its activity manager, from a saved logcat."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd

from swaplib.evidence.readers.clock import Clock
from swaplib.evidence.readers.log import Rows, Tally, decoded, lines_of, regular

COLUMNS = (
    *(
        "time_s",
        "source",
        "process",
        "pid",
        "uid",
        "oom_score_adj",
        "rss_kib",
        "rss_anon_kib",
        "rss_file_kib",
    ),
    *("rss_shmem_kib", "swap_kib", "dmabuf_kib", "reason", "line", "died_s"),
)
_NUMBERS = [
    name for name in COLUMNS if name.endswith("_kib") or name in ("time_s", "died_s", "uid", "oom_score_adj")
]
_SAME_DEATH_S = 30.0  # two lines on one process, so far apart at most, tell of one death

_TAGS = "lmkd|lowmemorykiller|am_kill|am_proc_died|killinfo"
_OF_INTEREST = re.compile(rb"(?:%s)|^\[\s.*\]\s*$" % _TAGS.encode())
_TAG = rf"(?P<tag>{_TAGS})"
# Nearly all formats of logcat, and the kernel's log; Android Studio's; and the format process
_MESSAGE = re.compile(rf"(?:^|[\s/<>\];]){_TAG}\s*(?:\(\s*\d+(?:\s*:\s*\d+)?\s*\))?\s*:\s?(?P<text>.*)$")
_STUDIO = re.compile(rf"^\d{{4}}-\S+\s+\S+\s+\d+-\d+\s+{_TAG}\s+\S+(?:\s+\S+)?\s+[VDIWEFA]\s+(?P<text>.*)$")
_PROCESS = re.compile(rf"^[VDIWEFA]\(\s*\d+\)\s(?P<text>.*?)\s+\({_TAG}\s*\)$")
_LONG_HEADER = re.compile(rf"^\[\s.*[VDIWEFA]/{_TAG}\s*\]$")

_KILL = re.compile(
    r"\b(?:Kill|Reclaim)(?:ing|ed)?\s+(?:process\s+)?'(?P<process>.*?)'\s*\(\s*(?P<pid>\d{1,9})\s*\)"
    r"(?:\s*\(tgid \d+\))?(?:,\s*uid\s*(?P<uid>\d{1,9}))?(?:,?\s*(?:oom_score_adj|oom_adj|adj)\s*(?P<adj>-?\d{1,5}))?"
    r"(?P<rest>.*)$"
)
_WATCHDOG = re.compile(r"watchdog killed process (?P<pid>\d{1,9})(?:, oom_score_adj (?P<adj>-?\d{1,5}))?")
_FREES = re.compile(r"\bto free\s+(?=\d)")
_SIZE = re.compile(
    r"(\d{1,15})\s*kB(?:\s+((?:anon|file|shmem|dmabuf|gpu|total)?\s*_?(?:rss|pss|swap|dmabuf|anon|file)?))?",
    re.I,
)
_NAMED_FIRST = re.compile(
    r"\b((?:anon|file|shmem|dmabuf)?[ _-]?(?:rss|pss|swap|anon|dmabuf))[:= ]+(\d{1,15})\s*kB", re.I
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
_AM = re.compile(
    r"\[\s*\d+\s*,\s*(?P<pid>\d{1,9})\s*,(?P<process>.*?),\s*(?P<adj>-?\d{1,5})\s*,(?P<rest>.*)\]\s*$"
)
_AM_DIED = re.compile(r"\[\s*\d+\s*,\s*(?P<pid>\d{1,9})\s*,")
_KILLINFO = re.compile(r"\[(-?[\d.]+(?:,-?[\d.]+){4,})\]\s*$")
_TASK_SWAP = 29  # field of killinfo, system/memory/lmkd/event.logtags
# How lmkd's lines begin that tell of no kill (lmkd.cpp of Android 8 to 16, and vendors'); others were not understood.
_TALK = (
    *("lmkd ", "using ", "process polling", "process got", "process reap", "stop waiting", "nothing to kill"),
    *(
        "reclaimed ",
        "suppressed ",
        "skipping kill",
        "ignor",
        "event upgraded",
        "downgrade ",
        "low pressure ",
        "trying ",
    ),
    *(
        "unable to ",
        "free memory ",
        "cache",
        "properties ",
        "initialized ",
        "no kernel ",
        "no memory",
        "exiting",
    ),
    *("closing ", "number of ", "old kill ", "new config", "low memory pressure ", "medium memory pressure "),
    *(
        "critical memory pressure ",
        "psi ",
        "fail",
        "error ",
        "got eof",
        "invalid ",
        "wrong ",
        "received ",
        "attempt ",
    ),
    *(
        "possible pid ",
        "short write",
        "unknown ",
        "killing because",
        "epoll",
        "eventfd",
        "pidfd",
        "mlockall",
        "kill(",
    ),
    *("fcntl", "pipe", "set sched", "get lmkd", "control data", "kernel ", "thread comm", "cgroup", "/proc/"),
)


def read_lmkd(path: str | Path) -> pd.DataFrame:
    """Read every kill from a saved logcat.

    Parameters
    ----------
    path
        Text of ``logcat`` in any of its formats but raw, from ``adb`` or Android Studio, or of a kernel log with the
        driver lowmemorykiller; ``.gz`` and UTF-16 too. It is read line by line, so that its size does not matter.

    Returns
    -------
    DataFrame
        One row a kill: time_s (since the first kill that has a time; NaN in brief), source (lmkd; killinfo where only
        that event tells of it; am_kill), process, pid, uid, oom_score_adj, rss_kib, rss_anon_kib, rss_file_kib,
        rss_shmem_kib, swap_kib, dmabuf_kib (NaN where the line does not say), reason, line (number in the file), died_s
        (when am_proc_died tells that it is gone). A death may be told by lmkd and by am_kill, in two rows. ``attrs``:
        lines, other (of other tags, or that tell of no kill), unread (of these tags, but not understood), examples,
        notes.

    Raises
    ------
    FileNotFoundError, ValueError
        No such file; not a regular file.
    """
    log = _Log(Tally(regular(path)))
    for line in lines_of(log.tally):
        log.take(line)
    frame = log.rows.frame()
    frame[["pid", "line"]] = frame[["pid", "line"]].astype("int64")
    start = frame.time_s.min()
    frame[["time_s", "died_s"]] = (frame[["time_s", "died_s"]] - start).round(6)
    return log.tally.report(frame, "a kill")


class _Log:
    """A log that is read line by line: what a line belongs to may be said by the line before."""

    def __init__(self, tally: Tally) -> None:
        self.tally, self.rows = tally, Rows(COLUMNS, _NUMBERS)
        self._clock = Clock()
        self._tag = ""  # of a long-format header, whose message is the next line
        self._unsized: dict[str, object] | None = None  # a kill whose size stands on a later line
        self._last: dict[int, dict[str, object]] = {}  # by process, to tell one death once

    def take(self, line: bytes) -> None:
        """Read one line; it becomes a row, completes one, or is counted."""
        if not self._tag and self._unsized is None and not _OF_INTEREST.search(line):
            self.tally.other += 1
            return
        text = decoded(line)
        header = _LONG_HEADER.match(text)
        if header:
            self._clock.read(text)
            self._tag = header["tag"]
            self.tally.other += 1
            return
        found = None if self._tag else _MESSAGE.search(text) or _STUDIO.match(text) or _PROCESS.match(text)
        tag, message = (found["tag"], found["text"]) if found else (self._tag, text)
        self._tag = ""
        completes = self._unsized is not None and not _KILL.search(message) and self._complete(message)
        if completes or not tag:
            self.tally.other += 1
        else:
            if found:
                self._clock.read(text)
            self._understand(tag, message, text)

    def _complete(self, message: str) -> bool:
        """Take the size, or then the reason, of the kill that was told before; False when this line is neither."""
        row = self._unsized
        assert row is not None
        if _FREES.search(message):
            row.update(_sizes(message))
            if row["reason"]:
                self._unsized = None
            return True
        self._unsized = None
        if "rss_kib" in row and "kB" in message:
            row["reason"] = re.sub(r"^(?:<\d{1,3}>|\[\s*[\d.]+\])*\s*", "", message).strip()
            return True
        return False

    def _understand(self, tag: str, message: str, text: str) -> None:
        if tag == "am_proc_died":
            self._die(message, text)
            return
        row = {"am_kill": _am_kill, "killinfo": _killinfo}.get(tag, _lmkd)(message)
        if row is not None:
            self._add(row)
        elif tag in ("lmkd", "lowmemorykiller") and message.strip().lower().startswith(_TALK):
            self.tally.other += 1
        else:
            self.tally.miss(text)

    def _add(self, row: dict[str, object]) -> None:
        row |= {"time_s": self._clock.now_s, "line": self.tally.lines}
        pid = int(str(row["pid"]))
        before = self._last.get(pid)
        if before and {before["source"], row["source"]} == {"lmkd", "killinfo"} and self._is_near(before):
            told, event = (row, before) if row["source"] == "lmkd" else (before, row)
            before |= {**event, **told}
            self.tally.other += 1
            return
        self._last[pid] = self.rows.add(row)
        self._unsized = row if row["source"] == "lmkd" and "rss_kib" not in row else None

    def _die(self, message: str, text: str) -> None:
        found = _AM_DIED.search(message)
        if found is None:
            self.tally.miss(text)
            return
        self.tally.other += 1
        row = self._last.pop(int(found["pid"]), None)
        if row is not None and self._is_near(row):
            row["died_s"] = self._clock.now_s

    def _is_near(self, row: dict[str, object]) -> bool:
        time_s = float(str(row["time_s"]))
        return time_s != time_s or abs(self._clock.now_s - time_s) <= _SAME_DEATH_S


def _lmkd(message: str) -> dict[str, object] | None:
    found = _KILL.search(message)
    if not found:
        watchdog = _WATCHDOG.search(message)
        if not watchdog:
            return None
        told = {
            "source": "lmkd",
            "process": "",
            "pid": int(watchdog["pid"]),
            "reason": "lmkd watchdog timed out",
        }
        return {**told, "oom_score_adj": float(watchdog["adj"] or "nan")}
    row: dict[str, object] = {
        "source": "lmkd",
        "process": found["process"],
        "pid": int(found["pid"]),
        "uid": float(found["uid"] or "nan"),
        "oom_score_adj": float(found["adj"] or "nan"),
        "reason": "",
    }
    return {**row, **_sizes(found["rest"])}


def _sizes(text: str) -> dict[str, object]:
    """Return the sizes behind `to free`, by column, and the reason."""
    sizes, _, reason = text.partition("reason:")
    if not reason:
        sizes, _, reason = text.partition("because")
    parts = _FREES.split(sizes, 1)
    freed = parts[1] if len(parts) > 1 else ""
    row: dict[str, object] = {"reason": reason.strip()}
    for name, kib in [(name, kib) for kib, name in _SIZE.findall(freed)] + _NAMED_FIRST.findall(freed):
        column = _FIELDS.get(" ".join(name.lower().replace("_", " ").split()))
        if column is not None:
            row.setdefault(column, float(kib))
    return row


def _am_kill(message: str) -> dict[str, object] | None:
    found = _AM.search(message)
    if not found:
        return None
    reason, comma, last = found["rest"].rpartition(",")
    has_rss = bool(comma) and last.strip().isdigit()
    return {
        "source": "am_kill",
        "process": found["process"].strip(),
        "pid": int(found["pid"]),
        "oom_score_adj": float(found["adj"]),
        "rss_kib": float(last) or float("nan") if has_rss else float("nan"),
        "reason": (reason if has_rss else found["rest"]).strip(),
    }


def _killinfo(message: str) -> dict[str, object] | None:
    found = _KILLINFO.search(message)
    if not found:
        return None
    fields = found[1].split(",")
    if not all(re.fullmatch(r"-?\d{1,10}", value) for value in fields[:6]):
        return None
    return {
        "source": "killinfo",
        "process": "",
        "pid": int(fields[0]),
        "uid": float(fields[1]),
        "oom_score_adj": float(fields[2]),
        "rss_kib": float(fields[4]),
        "swap_kib": float(fields[_TASK_SWAP]) if len(fields) > _TASK_SWAP else float("nan"),
        "reason": f"killinfo reason {fields[5]}" if len(fields) > 5 else "",
    }
