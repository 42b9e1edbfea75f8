"""A saved log, read line by line: its rows, their times, and a count of what was not understood."""

from __future__ import annotations

import gzip
import io
import json
import math
import re
import zlib
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd

from swaplib.model.checks import printable

SAME_DEATH_S = 30.0  # two lines on one process, so far apart at most, tell of one death
CLOCK_AHEAD_S = 86_400.0  # and so much behind it: two clocks, or two boots
CLOCK_BACK_S = 60.0  # a time so much before another: the clock was set, or the machine booted
_TEXTS = {"app", "label", "process", "reason", "source"}  # columns; all others are numbers
_WHOLE = {"event": "int64", "pid": "int64", "line": "int64", "killed": "bool"}
_MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
# Quoted; docker compose; grep -A, -n and -H; dmesg -r, RFC 5424 and dmesg -x.
_BEFORE = r"[\s>]*(?:[\w.-]{1,40}\s*\|\s)?(?:\d+-(?=\[)|(?:[^\s:\[]+:){0,2})(?:<\d{1,3}>(?:1 )?)?"
_BEFORE += r"(?:\w+\s*:\w+\s*:\s)?\[?"
_CLOCK = r"(?P<hour>\d\d):(?P<minute>\d\d):(?P<second>\d\d(?:[.,]\d{1,9})?)"
_ZONE = r"\s?(?P<zone>Z|[+-]\d\d:?\d\d)?"
_TIMES = (
    # logcat, ISO 8601, the journal's short-full; then syslog and dmesg -T in any language
    rf"(?:[A-Z][a-z]{{2}} )?(?:(?P<year>20\d\d)-)?(?P<month>\d\d)-(?P<day>\d\d)[ T]\s*{_CLOCK}{_ZONE}",
    rf"(?P<words>(?:[^\s\[\]:]{{1,20}}\s+){{2,3}}){_CLOCK}(?:\s(?P<year>20\d\d)\])?",
    # dmesg; logcat's epoch and uptime, the journal's short-unix; /dev/kmsg
    r"\s*(?P<seconds>\d{1,12}\.\d{1,9})[\s\],@]",
    r"\d{1,4},\d{1,18},(?P<microseconds>\d{1,18}),",
)
_HEADS = [re.compile(_BEFORE + time) for time in _TIMES]
_KERNEL = re.compile(r"\s\[\s*(\d{1,12}\.\d{1,9})\]")  # the kernel's own clock, behind another
_NOISE = re.compile(r"[\0\ufeff\x1e]|\x1b\[[\d;]*[A-Za-z]")  # NUL of a crash, json-seq's mark, colours
_TWO_KILLS = re.compile(r"(Killed process \d|\bKill ').*\1")
_PACKED = {b"PK\x03\x04": "zip", b"\xfd7zXZ": "xz", b"(\xb5/\xfd": "zstd", b"BZh": "bzip2"}
_LONGEST_LINE = 16384  # characters; the rest of a longer line is left out


class Log:
    """Rows in the making: `columns` of them, from lines that match `wanted`; `what` is told by a row."""

    def __init__(self, columns: str, what: str, wanted: str) -> None:
        self.path, self.line, self.read, self.unread = Path(), 0, 0, 0
        self.now_s = math.nan  # of the line that is read, since some moment
        self.rows: list[dict[str, Any]] = []  # that later lines may complete
        self._columns, self._what, self._wanted = columns.split(), what, re.compile(wanted)
        self._packed: list[pd.DataFrame] = []
        self._missed: list[str] = []
        self._month, self._boot_s, self._kernel_s = "", math.nan, math.nan

    def lines(self, *paths: str | Path) -> Iterator[str]:
        """Yield the wanted lines of text files: UTF-8, or UTF-16 with its mark; gzip too."""
        for self.path in map(Path, paths):
            self.line, is_new = 0, True
            if not self.path.is_file():
                error = ValueError if self.path.exists() else FileNotFoundError
                raise error(f"{printable(str(self.path))} is not a regular file; expected a saved log")
            with self.path.open("rb") as raw:
                for magic, kind in _PACKED.items():
                    if raw.peek(6).startswith(magic):
                        raise ValueError(f"{printable(self.path.name)} is packed ({kind}); unpack it first")
                file: Any = gzip.GzipFile(fileobj=raw) if raw.peek(2)[:2] == b"\x1f\x8b" else raw
                try:
                    code = "utf-16" if file.peek(2)[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8"
                    text = io.TextIOWrapper(file, code, "replace", newline="\n")
                    for part in iter(lambda: text.readline(_LONGEST_LINE), ""):  # noqa: B023
                        self.line, self.read = self.line + is_new, self.read + is_new
                        line = _NOISE.sub("", part.rstrip("\r\n"))
                        line = _plain(line) if line.startswith("{") else line
                        if is_new and self._wanted.search(line):
                            self.now_s = self._time(line)
                            if _TWO_KILLS.search(line):  # a line break is lost: whose sizes are whose?
                                self.miss(line)
                            else:
                                yield line
                        is_new = part.endswith("\n")
                except (EOFError, gzip.BadGzipFile, zlib.error) as error:
                    raise ValueError(f"{printable(self.path.name)} is damaged: {error}") from None

    def keep(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """Keep a row, with time and line; numbers may be text, and None or "" is what it does not say."""
        said = {name: value for name, value in row.items() if value not in (None, "")}
        self.rows.append({"time_s": self.now_s, "line": self.line, **said})
        return self.rows[-1]

    def miss(self, text: str, line: int = 0) -> None:
        """Count a line that belongs here and was not understood, if it is one."""
        self.unread += bool(text)
        self._missed += [f"{line or self.line}: {printable(text.strip())[:160]}"] * bool(text)
        del self._missed[3:]

    def pack(self, at_least: int = 10_000) -> None:
        """Store the rows in little memory, if there are many; they can be completed no more."""
        if len(self.rows) >= at_least:
            frame = pd.DataFrame(self.rows, columns=self._columns)
            texts = {name: "" for name in frame if name in _TEXTS}
            types = {name: "str" if name in texts else "float64" for name in frame}
            self._packed.append(frame.astype("object").fillna(texts).astype(types))
            self.rows.clear()

    def frame(self) -> pd.DataFrame:
        """Return the rows, times since the first; each line is part of a row, or counted.

        ``attrs``: lines, other (no part of a row, or a further one), unread (look like `what` and were not
        understood), notes (sentences for the reader). Rows, other and unread together are lines.
        """
        self.pack(at_least=0)
        frame, notes = pd.concat(self._packed, ignore_index=True), []
        frame = frame.astype({n: t for n, t in _WHOLE.items() if n in frame and frame[n].notna().all()})
        if self._missed:
            told = f"{self.unread} lines that look like {self._what} were not understood"
            notes.append(f"{told}; the first is line {', then line '.join(self._missed)}")
        if "time_s" in frame:
            frame["time_s"] = (frame.time_s - frame.time_s.min()).round(6)
            timed, untimed = frame[frame.time_s.notna()], frame.line[frame.time_s.isna()]
            told = f"{len(untimed)} of {len(frame)} rows have no time that was understood"
            notes += [f"{told}; the first is line {line}" for line in untimed[:1]]
            back = timed.line[timed.time_s.diff() < -CLOCK_BACK_S]
            notes += [f"at line {line} the clock goes back; times do not compare" for line in back[:1]]
            ahead = timed.line[timed.time_s.diff() > CLOCK_AHEAD_S]
            notes += [f"at line {line} the time jumps by more than a day" for line in ahead[:1]]
        frame.attrs = {"notes": [f"{printable(self.path.name)}: {note}" for note in notes]}
        other = self.read - len(frame) - self.unread
        frame.attrs |= {"lines": self.read, "other": other, "unread": self.unread}
        return frame

    def _time(self, line: str) -> float:
        """Return the time of a line: by the kernel's clock, which the clock before it sets; NaN if none."""
        found = next((match for head in _HEADS if (match := head.match(line))), None)
        wall_s = self._seconds(found.groupdict()) if found else math.nan
        kernel = _KERNEL.search(line, found.end() - 1 if found else 0, 300)
        if not kernel or math.isnan(wall_s):
            return float(kernel[1]) if kernel else wall_s
        before, self._kernel_s = self._kernel_s, float(kernel[1])
        is_anchored = wall_s - self._kernel_s - self._boot_s < 10  # else the first, or the machine slept
        if not is_anchored or self._kernel_s < before:  # a boot; a log that was late tells nothing
            self._boot_s = wall_s - self._kernel_s
        return self._boot_s + self._kernel_s

    def _seconds(self, part: Mapping[str, str]) -> float:
        """Return the seconds of a time that was found, NaN if there is no such day or month."""
        if part.get("seconds") or part.get("microseconds"):
            return float(part.get("seconds") or int(part["microseconds"]) / 1e6)
        month, day = part.get("month", ""), part.get("day", "")
        if "words" in part:
            words = [word.rstrip(".") for word in part["words"].split()]
            day = next(filter(str.isdecimal, words), "")
            month = next((word for word in reversed(words) if not word.isdecimal()), "")
            self._month = self._month or month  # one month of another language may be the only one
            is_known = {month, self._month} <= set(_MONTHS)
            month = str(_MONTHS.index(month) + 1) if is_known else "1" * (month == self._month)
        year, hour, minute = part["year"] or 2000, int(part["hour"]), int(part["minute"])
        try:
            date = datetime(int(year), int(month), int(day), hour, minute)  # 2000 was a leap year
        except ValueError:
            return math.nan
        zone = re.sub("[:Z]", "", part.get("zone") or "Z") or "+0000"
        east_s = float(f"{zone[0]}1") * (int(zone[1:3]) * 3600 + int(zone[3:]) * 60)
        second = float(part["second"].replace(",", "."))
        return (date - datetime(2000, 1, 1)).total_seconds() + second - east_s


def _plain(line: str) -> str:
    """Return the time and message of a record of ``journalctl -o json``; any other line as it is."""
    try:
        record = json.loads(line)
        message = record["MESSAGE"]
        if isinstance(message, list):  # of bytes, where it is no UTF-8
            message = bytes(message).decode("utf-8", "replace")
        return f"{int(record['__REALTIME_TIMESTAMP']) / 1e6:.6f} {message}"
    except (ValueError, TypeError, KeyError, RecursionError):
        return line
