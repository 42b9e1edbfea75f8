"""A saved log, read line by line: its rows, the time of each, and a count of what was not understood."""

from __future__ import annotations

import gzip
import io
import math
import re
import stat
from array import array
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from swaplib.model.checks import printable

SAME_DEATH_S = 30.0  # two lines on one process, so far apart at most, tell of one death
_TEXTS = ("app", "label", "process", "reason", "source")  # columns; all others are numbers
_WHOLE = {"event": "int64", "pid": "int64", "line": "int64", "killed": "bool"}
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_CLOCK = r"(?P<hour>\d\d):(?P<minute>\d\d):(?P<second>\d\d(?:[.,]\d{1,9})?)"
_TIMES = (
    # logcat, ISO 8601, the journal's short-full; then syslog, the journal, dmesg -T
    rf"(?:[A-Z][a-z]{{2}} |\[\s?)?(?:(?P<year>\d{{4}})-)?(?P<month>\d\d)-(?P<day>\d\d)[ T]\s*{_CLOCK}",
    rf"\[?(?:[A-Z][a-z]{{2}}\s+)?(?P<month>[A-Z][a-z]{{2}})\s+(?P<day>\d{{1,2}})\s+{_CLOCK}",
    # dmesg, also raw and with -x; then logcat's epoch and uptime; then /dev/kmsg
    r"(?:<\d{1,3}>|\w+\s*:\w+\s*:\s)?\[\s*(?P<seconds>\d{1,12}\.\d{1,9})\]",
    r"\s*(?P<seconds>\d{1,12}\.\d{3,9})\s",
    r"\d{1,4},\d{1,18},(?P<seconds>\d{1,12})(?P<millionths>\d{6}),",
)
_HEADS = [re.compile(r"(?:\d+:)?" + time) for time in _TIMES]  # perhaps behind the number that grep -n puts
_NOISE = re.compile(r"\0|\ufeff|\x1b\[[\d;]*m")  # NUL of a crash or of UTF-16, colours
_LONGEST_LINE = 8192  # characters; the rest of a longer line is left out


class Log:
    """Rows in the making, kept by column, so that millions fit in memory and each may be completed later.

    A kind of log says its columns, which lines it wants, what these look like, and takes one after another.
    """

    columns: str
    wanted: re.Pattern[str]
    what: str

    def __init__(self) -> None:
        self.path = self._missed_in = Path()
        self.line = self.lines = self.used = self.unread = self._years = 0
        self.now_s = math.nan  # of the line that is read, since some moment
        self.examples: list[tuple[int, str]] = []
        self._cells: dict[str, Any] = {}
        for name in self.columns.split():
            self._cells[name] = [] if name in _TEXTS else array("d")

    def take(self, text: str) -> None:
        """Read one line; it becomes a row, completes one, or is counted."""
        raise NotImplementedError

    def close(self) -> None:
        """Complete what is open at the end of a file."""

    def read(self, *paths: Path) -> pd.DataFrame:
        """Read text files (UTF-8, or UTF-16 with its mark; .gz too); return the rows, times since the first.

        ``attrs``: lines, other (no part of a row), unread (look like `what` and were not understood),
        examples (number and text of the first five of these), notes (sentences for the reader).
        """
        for self.path in map(regular, paths):
            with gzip.open(self.path) if self.path.suffix == ".gz" else self.path.open("rb") as file:
                is_utf16 = file.peek(2)[:2] in (b"\xff\xfe", b"\xfe\xff")  # as PowerShell writes
                self._read(io.TextIOWrapper(file, "utf-16" if is_utf16 else "utf-8", "replace", newline="\n"))
            self.close()
        cells = {name: c if isinstance(c, list) else np.asarray(c) for name, c in self._cells.items()}
        frame = pd.DataFrame(cells).astype({name: "str" for name in cells if name in _TEXTS})
        frame = frame.astype({n: t for n, t in _WHOLE.items() if n in cells and frame[n].notna().all()})
        start = frame.time_s.min() if "time_s" in cells else 0.0
        for name in cells.keys() & {"time_s", "died_s"}:
            frame[name] = (frame[name] - start).round(6)
        frame.attrs = {
            "lines": self.lines,
            "other": self.lines - self.used - self.unread,
            "unread": self.unread,
        }
        frame.attrs |= {"examples": self.examples, "notes": []}
        for number, text in self.examples[:1]:
            said = f"{self.unread} lines that look like {self.what} were not understood"
            where = f"{printable(self._missed_in.name)}: {said}; the first is line {number}"
            frame.attrs["notes"] = [f"{where}: {text}"]
        return frame

    def add(self, row: Mapping[str, Any]) -> int:
        """Keep a row and return its place; numbers may be text, and what it does not hold is NaN or empty."""
        for cells in self._cells.values():
            cells.append("" if isinstance(cells, list) else math.nan)
        self.used += 1
        self.set(len(cells) - 1, {"time_s": self.now_s, "line": self.line, **row})
        return len(cells) - 1

    def set(self, place: int, row: Mapping[str, Any], *, empty_only: bool = False) -> None:
        """Set cells of a row, all or those that are empty; None, "" and what is no column is passed over."""
        for name, value in row.items():
            cells = self._cells.get(name)
            if cells is None or value in (None, "") or (empty_only and cells[place] == cells[place] != ""):
                continue
            cells[place] = value if isinstance(cells, list) else float(value)

    def get(self, place: int, name: str) -> Any:
        """Return a cell."""
        return self._cells[name][place]

    def miss(self, text: str) -> None:
        """Count a line that belongs here and was not understood."""
        self.unread += 1
        if self.unread == 1:
            self._missed_in = self.path
        if self.unread <= 5:
            self.examples.append((self.line, printable(text.strip())[:200]))

    def _read(self, text: io.TextIOWrapper) -> None:
        self.line, is_new = 0, True
        for part in iter(lambda: text.readline(_LONGEST_LINE), ""):
            if is_new:
                self.line, self.lines = self.line + 1, self.lines + 1
                line = _NOISE.sub("", part.rstrip("\r\n"))
                if self.wanted.search(line):
                    self._read_time(line)
                    self.take(line)
            is_new = part.endswith("\n")

    def _read_time(self, line: str) -> None:
        """Read the time at the head of a line; without years, a jump back by most of one is a new year."""
        part = next((found.groupdict() for head in _HEADS if (found := head.match(line))), {})
        if "seconds" in part:
            self.now_s = float(part["seconds"]) + int(part.get("millionths", 0)) / 1e6
        if "month" not in part:
            return
        month = _MONTHS.index(part["month"]) + 1 if part["month"] in _MONTHS else part["month"]
        try:  # 2000 was a leap year, so that every date has its day
            day = (date(int(part.get("year") or 2000), int(month), int(part["day"])) - date(2000, 1, 1)).days
        except ValueError:
            return  # there is no such day
        if not part.get("year"):
            self._years += (day + 366 * self._years + 300) * 86400 < self.now_s
            day += 366 * self._years
        minutes = day * 1440 + int(part["hour"]) * 60 + int(part["minute"])
        self.now_s = minutes * 60 + float(part["second"].replace(",", "."))


def regular(path: str | Path) -> Path:
    """Return the path of a local, regular file, or raise FileNotFoundError or ValueError."""
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"there is no file {printable(str(path))}")
    if not stat.S_ISREG(path.stat().st_mode):
        raise ValueError(f"{printable(str(path))} is not a regular file; expected a log that was saved")
    return path
