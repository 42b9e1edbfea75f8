"""What the readers of logs share: lines one after another in bounded memory, and a count of what was not understood."""

from __future__ import annotations

import gzip
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from swaplib.evidence.run_files import printable

LONGEST_LINE = 8192  # bytes; what is longer is cut, and the rest counts as the same line
_EXAMPLES = 5


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


def regular(path: str | Path) -> Path:
    """Return the path of a local, regular file, or raise FileNotFoundError or ValueError."""
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"there is no file {printable(str(path))}")
    if not stat.S_ISREG(path.stat().st_mode):
        raise ValueError(f"{printable(str(path))} is not a regular file; expected a log that was saved")
    return path


def lines_of(tally: Tally) -> Iterator[str]:
    """Yield the lines of a text file (``.gz`` too), counted; bytes that are not UTF-8 become replacement characters."""
    with gzip.open(tally.path, "rb") if tally.path.suffix == ".gz" else tally.path.open("rb") as file:
        while chunk := file.readline(LONGEST_LINE):
            tally.lines += 1
            text = chunk
            while chunk and not chunk.endswith(b"\n"):
                chunk = file.readline(LONGEST_LINE)
            yield text.decode("utf-8", "replace").replace("\0", "").rstrip("\r\n")
