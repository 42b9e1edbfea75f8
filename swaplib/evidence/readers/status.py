"""Snapshots of /proc/PID/status, in the layout of the patch's memory table."""

from __future__ import annotations

import glob
import re
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from swaplib.evidence.readers.log import Tally, decoded, lines_of, regular

_FIELDS = {
    "VmRSS": "vmrss_kib",
    "RssAnon": "rss_anon_kib",
    "RssFile": "rss_file_kib",
    "RssShmem": "rss_shmem_kib",
    "VmSwap": "vmswap_kib",
}
COLUMNS = ("app", "label", "minutes", *_FIELDS.values(), "swap_ratio_percent", "pid")
_LINE = re.compile(r"(?:\S*status:\s*)?(?P<name>\w+):\s*(?P<value>.*)$")  # `grep` puts the file's name before
_MINUTES = re.compile(r"(\d+(?:\.\d+)?)\s*_?-?min", re.I)


def read_status(paths: str | Path | Sequence[str | Path]) -> pd.DataFrame:
    """Read snapshots of ``/proc/PID/status``.

    Parameters
    ----------
    paths
        A file, a folder (its files by name, those of folders in it too), a pattern such as ``"snapshots/*.txt"``, or
        several of these. A file may hold several snapshots one after another; its name without ending is their label,
        and a label like ``bg_10min``, or a folder of such a name, gives the minutes.

    Returns
    -------
    DataFrame
        One row a snapshot, as `mail/process_memory`: app (Name), label, minutes (NaN when the label names none),
        vmrss_kib, rss_anon_kib, rss_file_kib, rss_shmem_kib, vmswap_kib, swap_ratio_percent
        (100 vmswap / (vmswap + vmrss)), and pid. Kernel threads, which have no memory, are left out and counted as
        other. ``attrs``: lines, other, unread, examples, notes.

    Raises
    ------
    FileNotFoundError, ValueError
        A missing file; no file at all; a pattern without a file; no snapshot in any of them.
    """
    files = _files(paths)
    rows: list[dict[str, object]] = []
    whole = Tally(files[0])
    for file in files:
        tally = Tally(file)
        rows += _snapshots(tally)
        whole.lines, whole.other, whole.unread = (
            whole.lines + tally.lines,
            whole.other + tally.other,
            whole.unread + tally.unread,
        )
        whole.examples = (whole.examples + tally.examples)[:5]
    if not rows:
        raise ValueError(
            f"{files[0]} and {len(files) - 1} more hold no snapshot with VmRSS; expected /proc/PID/status"
        )
    frame = pd.DataFrame(rows, columns=list(COLUMNS))
    swap = frame.vmswap_kib
    frame["swap_ratio_percent"] = (100 * swap / (swap + frame.vmrss_kib)).round(2)
    return whole.report(frame, "a line of /proc/PID/status")


def _files(paths: str | Path | Sequence[str | Path]) -> list[Path]:
    listed = [paths] if isinstance(paths, str | Path) else list(paths)
    files: list[Path] = []
    for path in map(Path, listed):
        if path.is_dir():
            files += sorted(p for p in path.rglob("*") if p.is_file())
        elif glob.has_magic(str(path)) and not path.exists():
            start = Path(path.anchor)
            files += sorted(p for p in start.glob(str(path.relative_to(start))) if p.is_file())
        else:
            files.append(regular(path))
    if not files:
        raise ValueError("there is no snapshot to read; expected files with the text of /proc/PID/status")
    return files


def _snapshots(tally: Tally) -> list[dict[str, object]]:
    """Return one row a process that has memory: what stands between one Name and the next."""
    label = re.sub(r"(\.(gz|txt|log|status))+$", "", tally.path.name)
    minutes = _MINUTES.search(label) or _MINUTES.search(tally.path.parent.name)
    rows: list[dict[str, object]] = []
    row: dict[str, object] = {}
    for line in lines_of(tally):
        text = decoded(line)
        found = _LINE.match(text.strip())
        name, value = (found["name"], found["value"].strip()) if found else ("", "")
        kib = re.fullmatch(r"(\d{1,15})\s*kB", value) if name in _FIELDS else None
        if name == "Name":
            row = {"app": value, "label": label, "minutes": float(minutes[1]) if minutes else float("nan")}
        elif name == "Pid" and value.isdigit():
            row["pid"] = int(value)
        elif kib:
            if not row.keys() & _FIELDS.values():
                rows.append(row)
            row[_FIELDS[name]] = float(kib[1])
        elif name in _FIELDS:
            tally.miss(text)
        else:
            tally.other += 1
    return rows
