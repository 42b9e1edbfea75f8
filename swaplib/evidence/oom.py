"""The kernel's own kills: tables of tasks and victims of the OOM killer, from a saved dmesg or journal."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from swaplib.evidence.log import Log

_HEADING = re.compile(r"\[\s*pid\s*\]\s+(uid\s+.*)\bname\s*$")
_TASK = re.compile(r"\[\s*(?P<pid>\d{1,9})\]\s+(?P<cells>-?\d.*)$")
_VICTIM = re.compile(  # Linux 2.6.32 has the user before the name
    r"\bKilled process (?P<pid>\d{1,9})(?:, UID (?P<uid>\d{1,10}),)? \((?P<process>.*?)\)(?P<sizes>[,\s].*)?$"
)
# Who is to be killed: until Linux 4.19 perhaps a child of it instead, since 5.0 a summary before the victim
_CHOSEN = re.compile(r"\bKill process (?P<pid>\d{1,9}) \((?P<process>.*?)\) score")
_SUMMARY = re.compile(r"oom-kill:.*\btask=(?P<process>.*),pid=(?P<pid>\d{1,9}),uid=(?P<uid>\d{1,10})")
_SIZE = re.compile(r"([a-zA-Z][\w-]*)[:\s]\s?(-?\d{1,15})(?=kB|[,\s]|$)")
_RSS = {f"rss_{kind}": f"rss_{kind}_kib" for kind in ("anon", "file", "shmem")}
_PAGES = {"total_vm": "total_vm_kib", "rss": "rss_kib", "swapents": "swap_kib", **_RSS}
_OF_VICTIM = {"total-vm": "total_vm_kib", "pgtables": "pgtables_kib", "UID": "uid"}
_OF_VICTIM |= {f"{kind}-rss": f"rss_{kind}_kib" for kind in ("anon", "file", "shmem")}
_ASKED, _TABLE, _CHOICE, _KILL = range(
    4
)  # the parts of an event, in the order in which the kernel prints them


def read_oom(path: str | Path, page_kib: int = 4) -> pd.DataFrame:
    """Read the OOM killer's tables of tasks and its victims.

    Parameters
    ----------
    path
        Text of ``dmesg``, the journal or syslog, whatever stands before the messages; .gz and UTF-16 too.
    page_kib
        Page size of the kernel in KiB (4, 16 or 64, else a ValueError); the table counts pages.

    Returns
    -------
    DataFrame
        One row a task of a table: event (0 for the first use of the OOM killer), pid, tgid, uid, process,
        total_vm_kib, rss_kib, rss_anon_kib, rss_file_kib, rss_shmem_kib (before Linux 6.9 of victims alone),
        pgtables_kib, swap_kib, oom_score_adj, killed (a victim), line, time_s (since the first row that has a
        time). A victim without a row gets one from the victim's line. ``attrs`` are those of `Log.read`.
    """
    if page_kib not in (4, 16, 64):
        raise ValueError(f"page_kib is {page_kib!r}; expected 4, 16 or 64")
    return _Events(page_kib).read(Path(path))


class _Events(Log):
    """Events in the making: a row of a table means what its heading says; a victim's line completes it."""

    columns = (
        "event pid tgid uid process total_vm_kib rss_kib rss_anon_kib rss_file_kib rss_shmem_kib "
        "pgtables_kib swap_kib oom_score_adj killed line time_s"
    )
    wanted = re.compile(r"invoked oom-killer|oom-kill:|Kill(?:ed)? process\b|\[\s*pid\s*\]|\]\s+-?\d")
    what = "a task or a victim"

    def __init__(self, page_kib: int) -> None:
        super().__init__()
        self._page_kib, self._event, self._part = page_kib, -1, _ASKED
        self._names: list[str] = []  # of the table's columns, while a table lasts
        self._tasks: dict[int, int] = {}  # the rows of this event, by process
        self._chosen: dict[str, Any] = {}  # who is to be killed, until a victim's line says who was

    def take(self, text: str) -> None:
        """Read one line; it becomes a row, completes one, or is counted."""
        heading, victim = _HEADING.search(text), _VICTIM.search(text)
        chosen = _SUMMARY.search(text) or _CHOSEN.search(text)
        task = _TASK.search(text) if self._names else None
        if "invoked oom-killer" in text:
            self._go_on(_ASKED)
        elif heading:
            self._go_on(_TABLE)
            self._names = heading[1].split()
        elif victim:
            self._go_on(_KILL)
            self._chosen = {}
            self._kill(victim.groupdict())
        elif chosen:
            self._go_on(_CHOICE)
            self._chosen = chosen.groupdict()
        elif task:
            self._add_task(task, text)
        elif re.search(r"Kill(?:ed)? process\b|\[\s*pid\s*\]", text):
            self.miss(text)

    def close(self) -> None:
        """Take who was to be killed for the victim where no line tells of one."""
        if self._chosen:
            self._kill(self._chosen)
        self._chosen = {}

    def _go_on(self, part: int) -> None:
        """Begin a part of this event, or of the next where it has come further; victims may be many."""
        if self._event < 0 or (part <= self._part and part != _KILL):
            self.close()
            self._event, self._tasks = self._event + 1, {}
        self._part, self._names = part, []

    def _add_task(self, task: re.Match[str], text: str) -> None:
        """Keep a row of the table, if it has what the heading says."""
        count = len(self._names)
        cells = task["cells"].split(None, count)
        if len(cells) < count or not all(re.fullmatch(r"-?\d{1,15}", cell) for cell in cells[:count]):
            self.miss(text)
            return
        row: dict[str, Any] = dict(zip(self._names, cells, strict=False))
        row |= {column: int(row[name]) * self._page_kib for name, column in _PAGES.items() if name in row}
        if "pgtables_bytes" in row:
            row["pgtables_kib"] = int(row["pgtables_bytes"]) / 1024
        self._keep({**row, "pid": task["pid"], "process": "".join(cells[count:]).rstrip()})

    def _kill(self, victim: Mapping[str, Any]) -> None:
        """Mark the victim's row in this event's table, or add one; what its line alone says is added."""
        told: dict[str, str] = {}
        for name, kib in _SIZE.findall(victim.get("sizes") or ""):
            told[_OF_VICTIM.get(name, name)] = kib
        if int(victim["pid"]) not in self._tasks:
            rss = [float(told[column]) for column in _RSS.values() if column in told]
            self._keep({**victim, "rss_kib": sum(rss) if rss else None})
        place = self._tasks[int(victim["pid"])]
        self.set(place, told, empty_only=True)
        self.set(place, {"killed": True})

    def _keep(self, row: Mapping[str, Any]) -> None:
        self._tasks[int(row["pid"])] = self.add({**row, "event": self._event, "killed": False})
