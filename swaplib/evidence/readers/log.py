"""What the readers of logs share: lines one after another in bounded memory, and a count of what was not understood."""

from __future__ import annotations

import gzip
import io
import stat
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from swaplib.model.checks import printable

LONGEST_LINE = 8192  # bytes; what is longer is cut, and the rest counts as the same line
_EXAMPLES = 5
_UTF16 = (b"\xff\xfe", b"\xfe\xff")  # how a file begins that PowerShell wrote


@dataclass
class Tally:
    """How many lines were read, and which of those that belong to the log were not understood."""

    path: Path
    lines: int = 0
    other: int = 0
    unread: int = 0
    examples: list[tuple[int, str]] = field(default_factory=list)

    def miss(self, text: str) -> None:
        """Count a line that belongs here and was not understood."""
        self.unread += 1
        if len(self.examples) < _EXAMPLES:
            self.examples.append((self.lines, printable(text.strip())[:200]))

    def report(self, frame: pd.DataFrame, what: str) -> pd.DataFrame:
        """Return the frame with the tally in its ``attrs``: lines, other, unread, examples, notes."""
        notes = []
        if self.unread:
            number, text = self.examples[0]
            notes.append(
                f"{printable(self.path.name)}: {self.unread} lines that look like {what} were not understood; "
                f"the first is line {number}: {text}"
            )
        frame.attrs |= {"lines": self.lines, "other": self.other, "unread": self.unread}
        frame.attrs |= {"examples": list(self.examples), "notes": notes}
        return frame


class Rows:
    """Rows of a frame in the making: the last ones as dicts that may still be completed, earlier ones packed."""

    def __init__(self, columns: Sequence[str], numbers: Sequence[str], open_rows: int = 20_000) -> None:
        self._columns, self._numbers, self._open_rows = list(columns), list(numbers), open_rows
        self._open: deque[dict[str, object]] = deque()
        self._packed: list[pd.DataFrame] = []

    def add(self, row: dict[str, object]) -> dict[str, object]:
        """Keep a row and return it: it may be changed until `open_rows` more have come."""
        self._open.append(row)
        if len(self._open) >= 2 * self._open_rows:
            self._pack(self._open_rows)
        return row

    def frame(self) -> pd.DataFrame:
        """Return all rows; numbers are floats, NaN where a row has none."""
        self._pack(len(self._open))
        return pd.concat(self._packed, ignore_index=True)

    def _pack(self, count: int) -> None:
        rows = [self._open.popleft() for _ in range(count)]
        frame = pd.DataFrame(rows, columns=self._columns)
        frame[self._numbers] = frame[self._numbers].astype(float)
        self._packed.append(frame)


def regular(path: str | Path) -> Path:
    """Return the path of a local, regular file, or raise FileNotFoundError or ValueError."""
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"there is no file {printable(str(path))}")
    if not stat.S_ISREG(path.stat().st_mode):
        raise ValueError(f"{printable(str(path))} is not a regular file; expected a log that was saved")
    return path


def lines_of(tally: Tally) -> Iterator[bytes]:
    """Yield the lines of a text file (``.gz`` and UTF-16 too), counted, as UTF-8 without line ends."""
    with gzip.open(tally.path, "rb") if tally.path.suffix == ".gz" else tally.path.open("rb") as file:
        start = file.read(2)
        file.seek(0)
        source = _from_utf16(file) if start in _UTF16 else iter(lambda: file.readline(LONGEST_LINE), b"")
        ended = True
        for chunk in source:
            is_new, ended = ended, chunk.endswith(b"\n")
            if is_new:
                tally.lines += 1
                yield chunk.rstrip(b"\r\n")


def decoded(line: bytes) -> str:
    """Return a line as text: bytes that are not UTF-8 become replacement characters, NUL is left out."""
    return line.decode("utf-8", "replace").replace("\0", "").removeprefix("\ufeff")


def _from_utf16(file: Any) -> Iterator[bytes]:
    text = io.TextIOWrapper(file, "utf-16", "replace", newline="\n")
    while chunk := text.readline(LONGEST_LINE):
        yield chunk.encode("utf-8", "replace")
