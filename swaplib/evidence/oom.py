"""The kernel's own kills: tables of tasks and victims of the OOM killer, from a saved dmesg or journal."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import pandas as pd

from swaplib.evidence.log import SAME_DEATH_S, Log

_COLUMNS = (
    "event pid tgid uid process total_vm_kib rss_kib rss_anon_kib rss_file_kib rss_shmem_kib "
    "pgtables_kib swap_kib oom_score_adj killed line time_s"
)
_WANTED = r"invoked oom-killer|oom-kill:|Kill(?:ed)? process\b|\[\s*pid\s*\]|\]\s+-?\d"
_HEADING = re.compile(r"\[\s*pid\s*\]\s+(uid\s+.*)\bname\s*$")
_TASK = re.compile(r"\[\s*(?P<pid>\d{1,9})\]\s+(?P<cells>-?\d.*)$")
_VICTIM = re.compile(  # Linux 2.6.32 has the user before the name
    r"\bKilled process (?P<pid>\d{1,9})(?:, UID (?P<uid>\d{1,10}),)? \((?P<process>.*?)\)"
    r"(?P<sizes>(?:[.,]|\s+(?:total-vm|vsz)).*)?$"
)
# Before Linux 5.0 perhaps a child is killed.
_CHOSEN = re.compile(r"oom-kill:.*\btask=|\bKill process \d(?!.*sharing same memory)")
_SIZE = re.compile(r"([a-zA-Z][\w-]*)[:\s]\s?(-?\d{1,15})(?=kB|[,\s])")  # else it may be cut off
_RSS = {f"{kind}-rss": f"rss_{kind}_kib" for kind in ("anon", "file", "shmem")}
_OF_VICTIM = {"total-vm": "total_vm_kib", "vsz": "total_vm_kib", "pgtables": "pgtables_kib"}
_OF_VICTIM |= {"UID": "uid", **_RSS}
_PAGES = {"total_vm": "total_vm_kib", "rss": "rss_kib", "swapents": "swap_kib"}
_PAGES |= {f"rss_{kind}": f"rss_{kind}_kib" for kind in ("anon", "file", "shmem")}


def read_oom(path: str | Path) -> pd.DataFrame:
    """Read the OOM killer's tables of tasks and its victims from ``dmesg``, the journal (json too) or syslog.

    Returns
    -------
    DataFrame
        One row a task of a table: event (0 for the first use of the OOM killer), pid, tgid, uid, process,
        total_vm_kib, rss_kib, rss_anon_kib, rss_file_kib, rss_shmem_kib (before Linux 6.9 of victims alone),
        pgtables_kib, swap_kib, oom_score_adj, killed (a victim, perhaps without a table), line, time_s (since
        the first). Pages have the size (4, 16 or 64 KiB) with which a table says what its victim's line says,
        else 4. ``attrs`` are those of `Log.frame`.
    """
    log = Log(_COLUMNS, "a task or a victim", _WANTED)
    event, begun_s, page_kib, chosen = -1, math.nan, 0, ("", 0)
    names: list[str] = []  # of the table's columns, while a table lasts
    tasks: dict[str, dict[str, Any]] = {}  # the rows of this event, by process
    for text in log.lines(path):
        heading, victim = _HEADING.search(text), _VICTIM.search(text)
        is_late = event < 0 or abs(log.now_s - begun_s) > SAME_DEATH_S
        if "invoked oom-killer" in text or (heading and tasks) or ((heading or victim) and is_late):
            event, begun_s, names, tasks = event + 1, log.now_s, [], {}
            log.pack()
        if heading:
            names = heading[1].split()
        elif victim:
            names, chosen, pid = [], ("", 0), victim["pid"]
            sizes = _SIZE.findall(re.sub(r"(_adj:-?\d+)$", r"\1,", victim["sizes"] or ""))
            told = {_OF_VICTIM.get(name, name): float(kib) for name, kib in sizes}
            if pid not in tasks:
                rss = [told[column] for column in _RSS.values() if column in told]
                row = {**victim.groupdict(), "rss_kib": sum(rss) if rss else None, "event": event}
                tasks[pid] = log.keep(row)
            elif not page_kib and "tgid" in tasks[pid]:
                page_kib = _fitting_page(tasks[pid], told)
                for row in log.rows if page_kib else ():
                    counted = [name for name in _PAGES.values() if "tgid" in row and name in row]
                    row.update({name: row[name] * page_kib / 4 for name in counted})
            tasks[pid].update({**told, **tasks[pid], "killed": True})
        elif _CHOSEN.search(text):
            log.miss(*chosen)  # no line told who was killed instead, if not this one
            chosen = (text, log.line)
        elif row := _task(text, names, page_kib or 4):
            tasks[row["pid"]] = log.keep({**row, "event": event, "killed": False})
        elif re.search(r"Killed process\b|\[\s*pid\s*\]", text) or (names and _TASK.search(text)):
            log.miss(text)
    log.miss(*chosen)
    frame = log.frame()
    if not page_kib and frame.tgid.notna().any():
        frame.attrs["notes"].append(f"{log.path.name}: pages are taken as 4 KiB; no victim's line tells")
    return frame


def _task(text: str, names: list[str], page_kib: int) -> dict[str, Any]:
    """Return a row of the table, if it has what the heading says."""
    found = _TASK.search(text) if names else None
    cells = found["cells"].split(None, len(names)) if found else []
    whole = [cell for cell in cells[: len(names)] if re.fullmatch(r"-?\d{1,15}", cell)]
    if not found or len(whole) < len(names) or len(cells) == len(names):  # the name may be cut off
        return {}
    row: dict[str, Any] = dict(zip(names, cells, strict=False))
    row |= {column: int(row[name]) * page_kib for name, column in _PAGES.items() if name in row}
    if "pgtables_bytes" in row:
        row["pgtables_kib"] = int(row["pgtables_bytes"]) / 1024
    return {**row, "pid": found["pid"], "process": "".join(cells[len(names) :]).rstrip()}


def _fitting_page(row: dict[str, Any], told: dict[str, float]) -> int:
    """Return the KiB of a page with which a table's row, read with 4, says what the victim's line says."""
    if not row.get("total_vm_kib") or not told.get("total_vm_kib"):
        return 0
    times = told["total_vm_kib"] / row["total_vm_kib"]
    return min((4, 16, 64), key=lambda kib: abs(math.log(kib / 4 / times)))
