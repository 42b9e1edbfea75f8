"""A file that keeps the finished rows of a sweep, so that an interrupted sweep goes on where it stopped."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

try:
    import fcntl
except ImportError:  # a platform without advisory locks
    fcntl = None  # type: ignore[assignment]

FORMAT = "swaplib sweep 1"

Row = dict[str, Any]


class Checkpoint:
    """Rows by number of run, in JSON lines below a header that says what they were made from.

    Python's ``json`` writes every int, bool, string and float (NaN too) so that it reads back the very same value.

    Parameters
    ----------
    path
        The file; it is made when it is not there.
    inputs
        What decides the rows, by name. A file with other inputs is refused by the names of those that differ.

    Raises
    ------
    ValueError
        The file is something else, damaged, made from other inputs, or used by another sweep just now. It is then
        left as it was.
    """

    def __init__(self, path: str | Path, inputs: Mapping[str, str | int]):
        self.path = Path(path)
        self.rows: dict[int, Row] = {}
        if self.path.exists() and not self.path.is_file():
            raise ValueError(f"checkpoint {self.path} is not a regular file")
        if not self.path.parent.is_dir():
            raise ValueError(f"checkpoint {self.path}: the folder '{self.path.parent}' does not exist")
        self._file: BinaryIO = self.path.open("a+b")
        try:
            self._lock()
            self._read(dict(inputs))
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Checkpoint:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, where: TracebackType | None) -> None:
        self._file.close()  # gives the lock back too

    def append(self, rows: Mapping[int, Row]) -> None:
        """Add rows; they are in the system's hands when this returns."""
        lines = [json.dumps({"run": run, "row": row}) + "\n" for run, row in rows.items()]
        self._file.write("".join(lines).encode())
        self._file.flush()
        self.rows.update(rows)

    def _lock(self) -> None:
        if fcntl is not None:
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise ValueError(
                    f"checkpoint {self.path} is in use by another sweep; wait for it to end"
                ) from None
            except OSError:  # a file system without locks
                pass

    def _read(self, inputs: dict[str, str | int]) -> None:
        self._file.seek(0)
        content = self._file.read()
        header = (json.dumps({"format": FORMAT, "inputs": inputs}) + "\n").encode()
        first, newline, rest = content.partition(b"\n")
        if not newline and header.startswith(first):  # empty, or the header itself was torn
            self._file.truncate(0)
            self._file.write(header)
            self._file.flush()
            return
        found = _parsed(first)
        if not isinstance(found, dict) or found.get("format") != FORMAT:
            raise ValueError(
                f"checkpoint {self.path} holds something else than a sweep's rows; it was left as it is"
            )
        if differences := _differences(found.get("inputs", {}), inputs):
            raise ValueError(
                f"checkpoint {self.path} was made by another sweep: {'; '.join(differences)}. "
                f"Give this sweep a file of its own"
            )
        whole, _, torn = rest.rpartition(b"\n")
        lines = whole.split(b"\n") if whole else []
        for number, line in enumerate(lines, 2):
            row = _parsed(line)
            if isinstance(row, dict) and isinstance(row.get("run"), int) and isinstance(row.get("row"), dict):
                self.rows[row["run"]] = row["row"]
            elif number == len(lines) + 1:
                torn = line + b"\n" + torn
            else:
                raise ValueError(
                    f"checkpoint {self.path}, line {number} is damaged; remove that line to run it again"
                )
        self._file.truncate(len(content) - len(torn))


def _parsed(line: bytes) -> Any:
    with contextlib.suppress(ValueError):
        return json.loads(line)
    return None


def _differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Return what differs, in words; the list of settings counts only when nothing else explains it."""
    found = []
    for name in (*new, *(name for name in old if name not in new)):
        if name not in old:
            found.append(f"{name} is new")
        elif name not in new:
            found.append(f"{name} is missing")
        elif old[name] != new[name]:
            is_number = isinstance(new[name], int)
            found.append(f"{name} is {new[name]}, was {old[name]}" if is_number else f"{name} has changed")
    other = [words for words in found if not words.startswith("the list of settings")]
    return other or found
