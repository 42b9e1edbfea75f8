"""The kernel's own kills: the table of tasks and the victims of the OOM killer, from a saved dmesg or journal."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd

from swaplib.evidence.readers.log import Tally, lines_of, regular

COLUMNS = (
    *("event", "pid", "tgid", "uid", "process", "total_vm_kib", "rss_kib", "rss_anon_kib", "rss_file_kib"),
    *("rss_shmem_kib", "pgtables_kib", "swap_kib", "oom_score_adj", "killed", "line"),
)
_INVOKED = re.compile(r"invoked oom-killer")
_HEADER = re.compile(r"\[\s*pid\s*\]\s+(uid\s+.*)\bname\s*$")
_ROW = re.compile(r"\[\s*(?P<pid>\d{1,9})\]\s+(?P<rest>-?\d.*)$")
_VICTIM = re.compile(r"\bKill(?:ed)? process (?P<pid>\d{1,9}) \((?P<process>.*?)\)(?P<rest>[,\s].*)$")
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
        Text of ``dmesg``, of the journal or of syslog, whatever stands before the messages; ``.gz`` too.
    page_kib
        Page size of the kernel in KiB; the table counts pages.

    Returns
    -------
    DataFrame
        One row a task of a table: event (0 for the first use of the OOM killer), pid, tgid, uid, process,
        total_vm_kib, rss_kib, rss_anon_kib, rss_file_kib, rss_shmem_kib (NaN before Linux 6.9), pgtables_kib, swap_kib,
        oom_score_adj, killed (whether it was the victim), line. A victim without a row of its own gets one from the
        victim's line. ``attrs``: lines, other, unread, examples, notes.

    Raises
    ------
    FileNotFoundError, ValueError
        No such file; not a regular file; an impossible page size.
    """
    if page_kib not in (4, 16, 64):
        raise ValueError(f"page_kib is {page_kib!r}; expected 4, 16 or 64")
    tally = Tally(regular(path))
    rows: list[dict[str, object]] = []
    names: list[str] = []
    event, is_new = -1, True
    for text in lines_of(tally):
        header, row, victim = _HEADER.search(text), _ROW.search(text), _VICTIM.search(text)
        if _INVOKED.search(text):
            event, names, is_new = event + 1, [], False
        elif header:
            if is_new:
                event += 1  # the log begins behind the line that says who asked
            names, is_new = header[1].split(), True
        elif victim:
            event = max(event, 0)
            _mark(rows, event, victim, tally.lines)
            names, is_new = [], True
        elif names and row:
            task = _task(row, names, page_kib)
            if task is None:
                tally.miss(text)
            else:
                rows.append({**task, "event": event, "killed": False, "line": tally.lines})
        elif re.search(r"\bKilled process\b|\[\s*pid\s*\]", text):
            tally.miss(text)
        else:
            tally.other += 1
    frame = pd.DataFrame(rows, columns=list(COLUMNS)).astype({"killed": bool})
    numbers = [name for name in COLUMNS if name.endswith("_kib") or name in ("tgid", "uid", "oom_score_adj")]
    frame[numbers] = frame[numbers].astype(float)
    return tally.report(frame, "a task or a victim")


def _task(row: re.Match[str], names: list[str], page_kib: int) -> dict[str, object] | None:
    parts = row["rest"].split(None, len(names))
    values = parts[: len(names)]
    if len(values) < len(names) or not all(re.fullmatch(r"-?\d{1,15}", value) for value in values):
        return None
    task: dict[str, object] = {"pid": int(row["pid"]), "process": parts[len(names)] if len(parts) > len(names) else ""}
    for name, value in zip(names, values, strict=True):
        if name in _PAGES:
            task[_PAGES[name]] = float(int(value) * page_kib)
        elif name == "pgtables_bytes":
            task["pgtables_kib"] = int(value) / 1024
        elif name in ("uid", "tgid", "oom_score_adj"):
            task[name] = float(value)
    return task


def _mark(rows: list[dict[str, object]], event: int, victim: re.Match[str], line: int) -> None:
    """Mark the victim's row in this event's table, or add one."""
    pid = int(victim["pid"])
    for row in reversed(rows):
        if row["event"] != event:
            break
        if row["pid"] == pid:
            row["killed"] = True
            return
    parts = {_OF_VICTIM[name]: float(value) for name, value in _PART.findall(victim["rest"]) if name in _OF_VICTIM}
    rss = [parts[name] for name in ("rss_anon_kib", "rss_file_kib", "rss_shmem_kib") if name in parts]
    sizes = {"rss_kib": sum(rss)} if rss else {}
    rows.append(
        {"event": event, "pid": pid, "process": victim["process"], "killed": True, "line": line, **sizes, **parts}
    )
