"""The kernel's own kills: the table of tasks and the victims of the OOM killer, from a saved dmesg or journal."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd

from swaplib.evidence.readers.clock import Clock
from swaplib.evidence.readers.log import Rows, Tally, decoded, lines_of, regular

COLUMNS = (
    *("event", "pid", "tgid", "uid", "process", "total_vm_kib", "rss_kib", "rss_anon_kib", "rss_file_kib"),
    *("rss_shmem_kib", "pgtables_kib", "swap_kib", "oom_score_adj", "killed", "line", "time_s"),
)
_NUMBERS = [
    name for name in COLUMNS if name.endswith("_kib") or name in ("tgid", "uid", "oom_score_adj", "time_s")
]
_OF_INTEREST = re.compile(rb"invoked oom-killer|oom-kill:|Kill(?:ed)? process\b|\[\s*pid\s*\]|\]\s+-?\d")
_INVOKED = re.compile(r"invoked oom-killer")
_HEADER = re.compile(r"\[\s*pid\s*\]\s+(uid\s+.*)\bname\s*$")
_ROW = re.compile(r"\[\s*(?P<pid>\d{1,9})\]\s+(?P<rest>-?\d.*)$")
_VICTIM = re.compile(r"\bKilled process (?P<pid>\d{1,9}) \((?P<process>.*?)\)(?P<rest>[,\s].*)?$")
# Who is to be killed: until Linux 4.19 perhaps a child of it instead, since 5.0 a summary before the victim's line.
_CHOSEN = re.compile(r"\bKill process (?P<pid>\d{1,9}) \((?P<process>.*?)\) score")
_SUMMARY = re.compile(r"oom-kill:.*\btask=(?P<process>.*),pid=(?P<pid>\d{1,9}),uid=(?P<uid>\d{1,10})")
_PART = re.compile(r"([a-zA-Z][\w-]*)[:\s]\s?(-?\d{1,15})(?=kB|[,\s]|$)")
_PAGES = {"total_vm": "total_vm_kib", "rss": "rss_kib", "swapents": "swap_kib"}
_PAGES |= {f"rss_{kind}": f"rss_{kind}_kib" for kind in ("anon", "file", "shmem")}
_OF_VICTIM = {
    "total-vm": "total_vm_kib",
    "anon-rss": "rss_anon_kib",
    "file-rss": "rss_file_kib",
    "shmem-rss": "rss_shmem_kib",
    "pgtables": "pgtables_kib",
    "UID": "uid",
    "oom_score_adj": "oom_score_adj",
}


def read_oom(path: str | Path, page_kib: int = 4) -> pd.DataFrame:
    """Read the OOM killer's tables of tasks and its victims.

    Parameters
    ----------
    path
        Text of ``dmesg``, of the journal or of syslog, whatever stands before the messages; ``.gz`` and UTF-16 too.
    page_kib
        Page size of the kernel in KiB; the table counts pages.

    Returns
    -------
    DataFrame
        One row a task of a table: event (0 for the first use of the OOM killer), pid, tgid, uid, process,
        total_vm_kib, rss_kib, rss_anon_kib, rss_file_kib, rss_shmem_kib (before Linux 6.9 of the victims alone),
        pgtables_kib, swap_kib, oom_score_adj, killed (whether it was a victim), line, time_s (since the first row that
        has a time). A victim without a row of its own gets one from the victim's line. ``attrs``: lines, other, unread,
        examples, notes.

    Raises
    ------
    FileNotFoundError, ValueError
        No such file; not a regular file; an impossible page size.
    """
    if page_kib not in (4, 16, 64):
        raise ValueError(f"page_kib is {page_kib!r}; expected 4, 16 or 64")
    log = _Log(Tally(regular(path)), page_kib)
    for line in lines_of(log.tally):
        if _OF_INTEREST.search(line):
            log.take(decoded(line))
        else:
            log.tally.other += 1
    log.close_event()
    frame = log.rows.frame()
    frame = frame.astype({"event": "int64", "pid": "int64", "line": "int64", "killed": bool})
    frame["time_s"] = (frame.time_s - frame.time_s.min()).round(6)
    return log.tally.report(frame, "a task or a victim")


class _Log:
    """A log that is read line by line: a row of a table means what the table's heading says."""

    def __init__(self, tally: Tally, page_kib: int) -> None:
        self.tally, self.rows = tally, Rows(COLUMNS, _NUMBERS)
        self._page_kib = page_kib
        self._clock = Clock()
        self._event, self._is_new = -1, True
        self._names: list[str] = []  # of the table's columns, while a table lasts
        self._tasks: dict[int, dict[str, object]] = {}  # of this event, by process
        self._chosen: re.Match[str] | None = None  # who is to be killed, until a victim's line says who was

    def take(self, text: str) -> None:
        """Read one line; it becomes a row, marks one, or is counted."""
        self._clock.read(text)
        header, row, victim = _HEADER.search(text), _ROW.search(text), _VICTIM.search(text)
        chosen = _SUMMARY.search(text) or _CHOSEN.search(text)
        if _INVOKED.search(text):
            self._open_event()
            self._is_new = False
            self.tally.other += 1
        elif header:
            if self._is_new:
                self._open_event()  # the log begins behind the line that says who asked
            self._names, self._is_new = header[1].split(), True
            self.tally.other += 1
        elif victim or chosen:
            if self._event < 0 or (self._is_new and not self._names and not self._tasks):
                self._open_event()
            self._names, self._is_new = [], True
            if victim:
                self._chosen = None
                self._mark(victim, victim["rest"] or "")
            else:
                self._chosen = chosen
                self.tally.other += 1
        elif self._names and row:
            task = self._task(row)
            if task is None:
                self.tally.miss(text)
            else:
                self._keep(task)
        elif re.search(r"\bKill(?:ed)? process\b|\[\s*pid\s*\]", text):
            self.tally.miss(text)
        else:
            self.tally.other += 1

    def close_event(self) -> None:
        """Take who was to be killed for the victim where no line tells of one."""
        if self._chosen is not None and not any(task["killed"] for task in self._tasks.values()):
            self._mark(self._chosen, "", counts=False)
        self._chosen = None

    def _open_event(self) -> None:
        self.close_event()
        self._event += 1
        self._names, self._tasks = [], {}

    def _keep(self, task: dict[str, object]) -> None:
        now = {"event": self._event, "line": self.tally.lines, "time_s": self._clock.now_s}
        self._tasks[int(str(task["pid"]))] = self.rows.add({"killed": False, **task, **now})

    def _task(self, row: re.Match[str]) -> dict[str, object] | None:
        names = self._names
        parts = row["rest"].split(None, len(names))
        values = parts[: len(names)]
        if len(values) < len(names) or not all(re.fullmatch(r"-?\d{1,15}", value) for value in values):
            return None
        name = parts[len(names)].rstrip() if len(parts) > len(names) else ""
        task: dict[str, object] = {"pid": int(row["pid"]), "process": name}
        for name, value in zip(names, values, strict=True):
            if name in _PAGES:
                task[_PAGES[name]] = float(int(value) * self._page_kib)
            elif name == "pgtables_bytes":
                task["pgtables_kib"] = int(value) / 1024
            elif name in ("uid", "tgid", "oom_score_adj"):
                task[name] = float(value)
        return task

    def _mark(self, victim: re.Match[str], rest: str, *, counts: bool = True) -> None:
        """Mark the victim's row in this event's table, or add one; what only the victim's line says is added."""
        parts: dict[str, object] = {
            _OF_VICTIM[name]: float(value) for name, value in _PART.findall(rest) if name in _OF_VICTIM
        }
        task = self._tasks.get(int(victim["pid"]))
        if task is not None:
            if counts:
                self.tally.other += 1
            task |= {name: value for name, value in parts.items() if name not in task}
            task["killed"] = True
            return
        rss = [
            float(str(parts[name]))
            for name in ("rss_anon_kib", "rss_file_kib", "rss_shmem_kib")
            if name in parts
        ]
        sizes = {"rss_kib": sum(rss)} if rss else {}
        self._keep(
            {"pid": int(victim["pid"]), "process": victim["process"], "killed": True, **sizes, **parts}
        )
