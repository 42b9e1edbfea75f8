"""A user's own runs, from a CSV or parquet file, as the tidy frame that `swaplib.compare` takes."""

from __future__ import annotations

import csv
import re
import stat
from collections.abc import Collection, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import pandas as pd

from swaplib.model.checks import one_of, printable

__all__ = ["NUMBER", "TEXT", "WHOLE", "CheckedFile", "read_runs"]

NUMBER, WHOLE, TEXT = "a number", "a whole number", "text"
_DIRECTIONS = ("lower", "higher")
_TEXTS = ["arm", "metric", "unit", "better", "kernel", "machine", "swap_device"]
_COUNTS = ["run", "order", "index", "iteration", "replication"]  # no arms of a wide file
_VALUE = re.compile(r"value(?:_(\w+))?")
_ARM = re.compile(r"(.+)_(ns|us|ms|s|min|b|kib|mib|gib|kb|mb|gb|bytes|pages|percent|fps)")
_SHAPES = "expected the columns arm and value (metric, run, unit, better may be there), or one for each arm"


class CheckedFile:
    """A local CSV (UTF-8; comma, semicolon or tab) or parquet file whose every cell is checked.

    name: what messages call it. columns: its heading, which is row 1. notes: what had to be assumed.
    """

    def __init__(self, path: str | Path) -> None:
        self.path, self.notes = _regular(path), list[str]()
        self.name = printable(self.path.name)
        self._mark, self._decimal, self._parquet = ",", ".", pd.DataFrame()
        with self.path.open("rb") as file:
            head = file.read(65536)
        text = head.decode("utf-8", "replace").strip("\ufeff\r\n ")
        if head[:4] == b"PAR1":
            self._parquet = _read_parquet(self.path, self.name)
        elif head[:2] in (b"\xff\xfe", b"\xfe\xff"):
            raise ValueError(f"{self.name} is UTF-16; expected CSV in UTF-8")
        elif head[:2] in (b"PK", b"\x1f\x8b") or "\0" in text:
            raise ValueError(f"{self.name} is a binary file; expected CSV in UTF-8, or parquet")
        elif not text:
            raise ValueError(f"{self.name} is empty; expected a heading and one row per run")
        self._settle_marks(text)
        self.columns = [cell.strip() for cell in next(self._rows())[1]]
        for place, name in enumerate(self.columns):
            if not name:
                raise ValueError(f"{self.name}, row 1: column {place + 1} has no name; expected one")
            if name in self.columns[:place]:
                raise ValueError(f"{self.name}, row 1: column {name!a} appears twice; expected it once")

    def read(self, kinds: Mapping[str, str], may_be_empty: Collection[str] = ()) -> pd.DataFrame:
        """Return columns: `NUMBER` as float64, `WHOLE` as int64 (float64 if it may be empty), `TEXT` as str.

        Raises ValueError at the first cell that is not what its column holds, with its row and column.
        """
        mark = re.escape(self._decimal)
        cell_of = {TEXT: r"(?s:.+)", WHOLE: r"[+-]?\d{1,18}"}
        cell_of[NUMBER] = rf"[+-]?(\d+{mark}?\d*|{mark}\d+)([eE][+-]?[0-2]?\d{{1,2}})?"
        wanted = [(self.columns.index(name), name, re.compile(cell_of[kinds[name]], re.A)) for name in kinds]
        row = 0
        for row, cells in islice(self._rows(), 1, None):
            where = f"{self.name}, row {row}"
            if len(cells) != len(self.columns):
                count = "1 cell" if len(cells) == 1 else f"{len(cells)} cells"
                raise ValueError(f"{where}: {count}; expected {len(self.columns)}")
            for place, name, pattern in wanted:
                cell = cells[place].strip()
                if pattern.fullmatch(cell) is None and not (cell == "" and name in may_be_empty):
                    told = f"is {cell[:60]!a}" if cell else "is empty"
                    comma = f" with the decimal mark {self._decimal!r}" if re.search(r"\d[.,]", cell) else ""
                    raise ValueError(f"{where}: column {name!r} {told}; expected {kinds[name]}{comma}")
        if not row:
            raise ValueError(f"{self.name} has a heading and no rows; expected one row per run")
        types = {name: "str" if kind == TEXT else "float64" for name, kind in kinds.items()}
        types |= {name: "int64" for name in kinds if kinds[name] == WHOLE and name not in may_be_empty}
        if not self._parquet.empty:
            return self._parquet[list(kinds)].astype(types)
        how: dict[str, Any] = {"sep": self._mark, "decimal": self._decimal, "encoding": "utf-8-sig"}
        how |= {"keep_default_na": False, "na_values": [""], "header": 0, "names": self.columns}
        frame = pd.read_csv(self.path, usecols=list(kinds), dtype=types, **how)
        return frame[list(kinds)].fillna({name: "" for name in kinds if kinds[name] == TEXT})

    def row(self, position: int) -> int:
        """Return the row of the file, as an editor counts lines, of what `read` gave at a position."""
        return next(row for place, (row, _) in enumerate(self._rows(), start=-1) if place == position)

    def _rows(self) -> Iterator[tuple[int, list[str]]]:
        """Yield number and cells of each row that is not blank; the first is the heading."""
        if not self._parquet.empty:
            yield 0, list(self._parquet.columns)
            texts = self._parquet.astype("str").where(self._parquet.notna(), "")
            yield from enumerate(map(list, texts.itertuples(index=False)), start=1)
            return
        csv.field_size_limit(1 << 30)
        try:
            with self.path.open(encoding="utf-8-sig", newline="") as file:
                reader = csv.reader(file, delimiter=self._mark, strict=True)
                yield from ((reader.line_num, cells) for cells in reader if cells)
        except UnicodeDecodeError as error:
            byte = f"byte 0x{error.object[error.start]:02x}"
            raise ValueError(f"{self.name}: {byte} is not UTF-8; expected UTF-8 text") from None
        except csv.Error as error:
            raise ValueError(f"{self.name}: {error}; expected comma-separated text") from None

    def _settle_marks(self, text: str) -> None:
        heading, _, below = text.partition("\n")
        self._mark = max(",;\t", key=heading.count)
        if self._mark == "," or not self._parquet.empty:
            return
        words = {";": "semicolons", "\t": "tabs"}
        self.notes.append(f"{self.name}: took {words[self._mark]} as separators")
        if re.search(rf"(?m)(^|{self._mark})[ \"]*[+-]?\d+,\d+[ \"]*(\r?$|{self._mark})", below):
            self._decimal = ","
            self.notes.append(f"{self.name}: took decimal commas, so that 1,234 is a little more than one")


def read_runs(path: str | Path, better: str | None = None, base: str = "before") -> pd.DataFrame:
    """Read measured runs from a file, tidy or with one column for each arm.

    Parameters
    ----------
    path
        A local CSV (UTF-8; comma, semicolon or tab; the heading is row 1) or parquet file in one of two
        shapes. Tidy, one row a run: arm, value (or value_ms and so on, which names the unit), and optionally
        metric, run (a whole number), order (when among all runs), unit, better, kernel, machine, swap_device.
        Wide: numbers in a column for each arm, optionally with a unit (``before_ms,after_ms``), beside
        optional metric, run, unit and better; cells may be empty, and without run the i-th row of a metric is
        run i.
    better
        "lower" or "higher"; without it the file's column better says; without that, lower, and a note says
        so.
    base
        The arm that others are compared with.

    Returns
    -------
    DataFrame
        One row a run: arm, run (from 1), metric, unit ("" if none is given), better and value, and order,
        kernel, machine and swap_device where the file has them; texts are categories, the base being the
        first arm, control characters shown by their escapes. ``attrs["notes"]`` lists what had to be assumed.

    Raises
    ------
    FileNotFoundError, ValueError
        No such file; or it is not as above, a cell is not what its column holds, a metric mixes units, has no
        run of the base, or one run of an arm; the message names row and column.
    """
    if better is not None:
        one_of("better", better, _DIRECTIONS)
    file = CheckedFile(path)
    is_tidy = any(name == "arm" or _VALUE.fullmatch(name) for name in file.columns)
    frame = _tidy(file) if is_tidy else _wide(file, base)
    if "better" not in frame and better is None:
        file.notes.append(f"{file.name} does not say which direction is better: took lower")
    for name, usual in {"metric": file.path.stem, "better": better or "lower"}.items():
        frame[name] = frame.get(name, usual)
    texts = [name for name in _TEXTS if name in frame]
    for name in texts:
        shown = {text: printable(text.strip()) for text in frame[name].unique()}
        names = [base] * (name == "arm") + list(shown.values())
        frame[name] = pd.Categorical(frame[name].map(shown), list(dict.fromkeys(names)))
    if "run" not in frame:
        frame["run"] = frame.groupby(["metric", "arm"], observed=True).cumcount() + 1
    _check(file, frame, _DIRECTIONS if better is None else (better,), base)
    kept = ["arm", "run", "metric", "unit", "better", "value", "order", *_TEXTS[4:]]
    frame = frame[[name for name in kept if name in frame]].reset_index(drop=True)
    frame.attrs["notes"] = file.notes
    return frame


def _tidy(file: CheckedFile) -> pd.DataFrame:
    """Read one row a run; the column place is where in the file."""
    values = [name for name in file.columns if _VALUE.fullmatch(name)]
    missing = "value" if "arm" in file.columns else "arm"
    if not values or missing == "arm":
        told = f"there is no column {missing!r}; {_SHAPES}; it has {_few(file.columns)}"
        raise ValueError(f"{file.name}, row 1: {told}")
    if len(values) > 1:
        raise ValueError(f"{file.name}, row 1: both {values[0]!r} and {values[1]!r} are there; expected one")
    kinds = dict.fromkeys(_TEXTS, TEXT) | {values[0]: NUMBER, "run": WHOLE, "order": WHOLE}
    frame = _read(file, kinds).rename(columns={values[0]: "value"})
    if "metric" not in frame:
        file.notes.append(f"{file.name} has no column 'metric': took the file's name")
    unit = values[0].partition("_")[2]
    if unit and not frame.get("unit", pd.Series(unit)).eq(unit).all():
        raise ValueError(f"{file.name}, row 1: column {values[0]!r} names another unit than column 'unit'")
    return frame.assign(unit=frame.get("unit", unit), place=frame.index)


def _wide(file: CheckedFile, base: str) -> pd.DataFrame:
    """Read one column for each arm; the column place is where in the file."""
    found = {name: _ARM.fullmatch(name) for name in file.columns if name not in {*_TEXTS, *_COUNTS}}
    units = {name: match[2] for name, match in found.items() if match}
    unit = "" if base in found else next((u for name, u in units.items() if name == f"{base}_{u}"), None)
    if unit is None or len(found) < 2:
        told = f"no column is the base {base!r}; {_SHAPES}; it has {_few(file.columns)}"
        raise ValueError(f"{file.name}, row 1: {told}")
    arms = list(units) if unit else list(found)
    if unit and len(set(units.values())) > 1:
        raise ValueError(f"{file.name}, row 1: mixed units in {_few(arms)}; expected the same for all arms")
    frame = _read(file, dict.fromkeys(_TEXTS, TEXT) | {"run": WHOLE} | dict.fromkeys(arms, NUMBER), arms)
    frame = frame.copy()
    if "run" not in frame:  # so that pairs stay pairs where cells are empty
        frame["run"] = frame.groupby(frame.get("metric", pd.Series("", frame.index))).cumcount() + 1
    frame = frame.assign(unit=frame.get("unit", unit), place=frame.index)
    beside = [name for name in frame if name not in arms]
    frame = frame.melt(beside, arms, "arm", "value").dropna(subset=["value"])
    return frame.assign(arm=frame.arm.astype(str).str.removesuffix(f"_{unit}" if unit else ""))


def _read(file: CheckedFile, kinds: Mapping[str, str], may_be_empty: Collection[str] = ()) -> pd.DataFrame:
    """Read the known columns that are there, and note the others."""
    ignored = [printable(name) for name in file.columns if name not in kinds]
    if ignored:
        file.notes.append(f"{file.name}: ignored the columns {', '.join(ignored)}")
    there = {name: kinds[name] for name in kinds if name in file.columns}
    return file.read(there, ["unit", *may_be_empty])


def _check(file: CheckedFile, frame: pd.DataFrame, directions: tuple[str, ...], base: str) -> None:
    """Refuse what contradicts itself within a metric, and arms that cannot be compared."""

    def refuse(wrong: pd.Series, told: str, expected: str) -> None:
        if wrong.any():
            r = frame[wrong].iloc[0]
            where = f"{file.name}, row {file.row(r.place)}"
            raise ValueError(f"{where}: column {told.format(r=r)}; expected {expected}")

    refuse(~frame.better.isin(directions), "'better' is {r.better!r}", " or ".join(directions))
    for name, expected in (("unit", "one unit"), ("better", "one direction")):
        frame["told"] = frame.groupby("metric", observed=True)[name].transform("first").astype(str)
        told = f"{name!r} is {{r.{name}!r}} for metric {{r.metric!r}}, elsewhere {{r.told!r}}"
        refuse(frame[name].astype(str) != frame["told"], told, f"{expected} for a metric")
    again = "'run' is {r.run} for the second time in arm {r.arm!r} of metric {r.metric!r}"
    refuse(frame.duplicated(["metric", "arm", "run"]), again, "one value a run")
    for metric, arms in frame.groupby("metric", observed=True, sort=False).arm.unique().items():
        if base not in arms or len(arms) < 2:
            lacks = f"no run of arm {base!r}, which is the base"
            lacks = f"{base!r} is the only arm" if base in arms else lacks
            has = f"metric {str(metric)[:60]!r} has {_few(list(arms))}"
            raise ValueError(f"{file.name}: {lacks}; {has}; expected runs of the base and of another arm")
    runs = frame.groupby(["metric", "arm"], observed=True).value.transform("size")
    alone = "'arm' is {r.arm!r} only here for metric {r.metric!r}: one run has no spread"
    refuse(runs == 1, alone, "two or more")


def _read_parquet(path: Path, name: str) -> pd.DataFrame:
    try:
        frame = pd.read_parquet(path)
    except ImportError:
        how = "python3 -m pip install -e .[parquet], or save it as CSV"
        raise ValueError(f"{name}: reading parquet needs pyarrow: {how}") from None
    except Exception as error:  # pyarrow has many kinds
        told = " ".join(str(error).split())[:200]
        raise ValueError(f"{name}: {told}; expected a parquet file") from None
    if frame.empty:
        raise ValueError(f"{name} has a heading and no rows; expected one row per run")
    return frame


def _regular(path: str | Path) -> Path:
    """Refuse what is no local regular file, before it is opened."""
    text, path = str(path), Path(path)
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]+:/", text):
        raise ValueError(f"{text[:60]!a} is an address; expected a local file: download it first")
    if "\0" in text or not text:
        raise ValueError(f"{text[:60]!a} is no path; expected a CSV or parquet file")
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        raise FileNotFoundError(f"{printable(text)} does not exist; expected a CSV or parquet file") from None
    except OSError as error:
        raise ValueError(f"{text[:60]!a} cannot be opened: {error.strerror}") from None
    if not stat.S_ISREG(mode):
        kind = "a folder" if stat.S_ISDIR(mode) else "a device, pipe or socket"
        raise ValueError(f"{printable(text)} is {kind}; expected a CSV or parquet file")
    return path


def _few(names: list[str]) -> str:
    shown = ", ".join(ascii(name[:40]) for name in names[:8])
    return shown if len(names) <= 8 else f"{shown} and {len(names) - 8} more"
