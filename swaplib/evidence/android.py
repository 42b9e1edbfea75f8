"""What Android tells: the kills of lmkd and of its activity manager, and results of Macrobenchmark."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from swaplib.evidence.log import SAME_DEATH_S, Log, regular

PERCENTILES = (50, 90, 95, 99)  # as Macrobenchmark prints them
_UNITS = {"Ms": "ms", "Us": "us", "Ns": "ns", "Kb": "kib", "Mb": "mib", "Percent": "percent", "Count": ""}
_TAG = re.compile(
    r"(?:^|[\s/<>\];])(lmkd|lowmemorykiller|am_kill|am_proc_died|killinfo)"
    r"\s*(?:[(\[][\d\s:]*[)\]])?\s*:\s?(.*)$"
)
_ADJ = r"(?:,?\s*(?:oom_score_adj|oom_adj|adj)\s*(?P<oom_score_adj>-?\d{1,5}))?"
_KILL = re.compile(
    r"\b(?:Kill|Reclaim)(?:ing|ed)?\s+(?:process\s+)?'(?P<process>.*?)'\s*\(\s*(?P<pid>\d{1,9})\s*\)"
    rf"(?:\s*\(tgid \d+\))?(?:,\s*uid\s*(?P<uid>\d{{1,9}}))?{_ADJ}(?P<sizes>.*)$"
)
_WATCHDOG = re.compile(rf"watchdog killed process (?P<pid>\d{{1,9}}){_ADJ}(?P<sizes>.*)$")
_SIZE = re.compile(r"(\d{1,15})\s*kB(?:\s+((?:(?:anon|file|shmem|dmabuf)[ _])?(?:rss|pss|swap)))?", re.I)
_SIZES = {
    "": "rss_kib",
    "rss": "rss_kib",
    "swap": "swap_kib",
    "dmabuf_pss": "dmabuf_kib",
    "dmabuf_rss": "dmabuf_kib",
}
_SIZES |= {f"{kind}_rss": f"rss_{kind}_kib" for kind in ("anon", "file", "shmem")}
_CONTINUED = re.compile(r"(?:^|[>\]:;])\s*(?:to free \d|(?P<reason>cache \d+kB is below .*))")
_UNREAD = re.compile(  # looks like a kill: words of lmkd; -v long, which has an event on the next line
    r"^lmkd:\s*(?:(?:Kill|Reclaim)(?:ing)?\s+(?!because)|to free \d)|\b(?:Kill|Reclaim)(?:ing)?\s+'"
    r"|/(?:am_kill|killinfo)\s*\]\s*$"
)
_EVENTS = {
    # of the activity manager, before Android 4.2 without the user
    "am_kill": re.compile(
        r"\[\s*(?:\d+\s*,\s*)?(?P<pid>\d{1,9})\s*,\s*(?P<process>.*?)\s*,\s*(?P<oom_score_adj>-?\d{1,5})\s*,"
        r"\s*(?P<reason>.*?)\s*(?:,\s*0*(?P<rss_kib>\d{0,15})\s*)?\]\s*$"
    ),
    "am_proc_died": re.compile(r"\[\s*\d+\s*,\s*(?P<died>\d{1,9})\s*,"),
    # of lmkd, system/memory/lmkd/event.logtags: the 30th field is the task's swap, since Android 12
    "killinfo": re.compile(
        r"\[(?P<pid>\d{1,9}),(?P<uid>-?\d{1,10}),(?P<oom_score_adj>-?\d{1,5}),-?\d{1,10},"
        r"(?P<rss_kib>\d{1,15}),"
        r"(?P<why>\d{1,9})(?:(?:,-?[\d.]+){23},(?P<swap_kib>\d{1,15}))?(?:,-?[\d.]+)*\]\s*$"
    ),
}


def read_lmkd(path: str | Path) -> pd.DataFrame:
    """Read every kill from a saved logcat.

    Parameters
    ----------
    path
        Text of ``logcat``, or of a kernel log with the driver lowmemorykiller. Kills by lmkd are known by
        their words in any format; an event needs its tag in its line, so not ``-v long`` or raw.
        A missing file is a FileNotFoundError, what is no regular file a ValueError.

    Returns
    -------
    DataFrame
        One row a kill: time_s (since the first that has a time; NaN in brief), source (lmkd; killinfo where
        only that event tells of it; am_kill), process, pid, uid, oom_score_adj, rss_kib, rss_anon_kib,
        rss_file_kib, rss_shmem_kib, swap_kib, dmabuf_kib (NaN where not said), reason, line (number in the
        file), died_s (when am_proc_died tells that it is gone). lmkd and am_kill may tell of a death in two
        rows. ``attrs`` are those of `Log.read`.
    """
    return _Kills().read(Path(path))


class _Kills(Log):
    """Kills in the making: later lines may tell the size, the reason, the event or the end of one."""

    columns = (
        "time_s source process pid uid oom_score_adj rss_kib rss_anon_kib rss_file_kib rss_shmem_kib "
        "swap_kib dmabuf_kib reason line died_s"
    )
    wanted = re.compile(
        r"lmkd|lowmemorykiller|am_kill|am_proc_died|killinfo|Kill|Reclaim|to free \d|cache \d+kB is below"
    )
    what = "a kill"

    def __init__(self) -> None:
        super().__init__()
        self._last: dict[int, int] = {}  # the last row of a process
        self._open = -1  # a row of lmkd whose size and reason stand on the next lines

    def take(self, text: str) -> None:
        """Read one line; it becomes a row, completes one, or is counted."""
        tagged = _TAG.search(text)
        tag, message = tagged.groups() if tagged else ("", text)
        first, *more = message.split("\\x0a")  # several lines in one record of /dev/kmsg
        row = _row(tag, first)
        if "died" in row:
            place = self._last.pop(int(row["died"]), -1)
            self.set(place, {"died_s": self.now_s} if self._is_near(place) else {})
        elif row:
            self._add(row)
        elif not self._complete(first):
            is_lmkd = tag in ("lmkd", "lowmemorykiller")
            if (tag and not is_lmkd) or _UNREAD.search(f"lmkd:{first}" if is_lmkd else text):
                self.miss(text)
        for line in more:
            self._complete(line)

    def _add(self, row: dict[str, Any]) -> None:
        """Keep a kill; lmkd's line and its event within half a minute are one, and the line says more."""
        place = self._last.get(int(row["pid"]), -1)
        if self._is_near(place) and {row["source"], self.get(place, "source")} == {"lmkd", "killinfo"}:
            row |= {"time_s": self.now_s, "line": self.line}
            self.set(place, row, empty_only=row["source"] == "killinfo")
        else:
            place = self._last[int(row["pid"])] = self.add(row)
        self._open = place if row["source"] == "lmkd" and "rss_kib" not in row else -1

    def _complete(self, message: str) -> bool:
        """Take the size, or then the reason, of the kill that is open; False where this is neither."""
        found, place = _CONTINUED.search(message), self._open
        if not found or place < 0:
            self._open = -1
            return False
        told = _sizes(message)
        told["reason"] = found["reason"] or told["reason"]
        self.set(place, told, empty_only=True)
        self._open = -1 if told["reason"] else place
        return True

    def _is_near(self, place: int) -> bool:
        """Tell whether a row, if it is one, is of the same half minute; it is where no time is known."""
        return place >= 0 and not abs(self.now_s - self.get(place, "time_s")) > SAME_DEATH_S


def _row(tag: str, message: str) -> dict[str, Any]:
    """Return what a line says of a kill, by column; empty where it tells of none."""
    if tag in _EVENTS:
        event = _EVENTS[tag].search(message)
        row = {"source": tag, **event.groupdict()} if event else {}
        return {**row, "reason": f"killinfo reason {row['why']}"} if "why" in row else row
    found = _KILL.search(message) or _WATCHDOG.search(message)
    if not found or not (tag or found["oom_score_adj"]):
        return {}
    return {"source": "lmkd", "reason": "", **found.groupdict(), **_sizes(found["sizes"])}


def _sizes(text: str) -> dict[str, str]:
    """Return the sizes behind `to free`, by column, and the reason."""
    sizes, *reason = re.split(r"\breason:|\bbecause\b", text, maxsplit=1)
    row = {"reason": "".join(reason).strip()}
    for kib, name in _SIZE.findall(sizes.partition("to free")[2]):
        row.setdefault(_SIZES.get(name.lower().replace(" ", "_"), ""), kib)
    return row


def read_macrobenchmark(path: str | Path | Mapping[str, str | Path], arm: str = "before") -> pd.DataFrame:
    """Read the JSON that AndroidX Macrobenchmark writes.

    Parameters
    ----------
    path, arm
        A ``*-benchmarkData.json`` and the name of its arm; or by arm, as ``{"before": a, "after": b}``.

    Returns
    -------
    DataFrame
        One row a run: arm, run (from 1), metric (``launch.timeToInitialDisplayMs``: benchmark and metric,
        with the class before where two benchmarks have one name), unit, better ("lower"), value. A sampled
        metric gives its percentiles 50, 90, 95 and 99 within each run. ``attrs["notes"]``: what has none.

    Raises
    ------
    FileNotFoundError, ValueError
        No such file; no JSON; no benchmark with runs in it; a run that is no number.
    """
    files = path if isinstance(path, Mapping) else {arm: path}
    rows: list[tuple[str, int, str, str, str, float]] = []
    notes: list[str] = []
    for name, file in files.items():
        for metric, values in _metrics(regular(file), notes):
            unit = re.search(rf"({'|'.join(_UNITS)})(?:\.p\d+)?$", metric)
            for run, value in enumerate(values, 1):
                rows.append((name, run, metric, _UNITS[unit[1]] if unit else "", "lower", value))
    if not rows:
        raise ValueError(f"{', '.join(map(str, files.values()))}: no benchmark has runs")
    frame = pd.DataFrame(rows, columns=["arm", "run", "metric", "unit", "better", "value"])
    frame.attrs["notes"] = notes
    return frame


def _metrics(path: Path, notes: list[str]) -> Iterator[tuple[str, list[float]]]:
    """Yield the name and one value a run of every metric, and of every percentile of a sampled one."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path.name} is no JSON: {error}") from None
    benchmarks = data.get("benchmarks") if isinstance(data, dict) else None
    if not isinstance(benchmarks, list) or not all(isinstance(one, dict) for one in benchmarks):
        raise ValueError(f"{path.name} has no list 'benchmarks'; expected what Macrobenchmark writes")
    names = [str(one.get("name", "benchmark")) for one in benchmarks]
    for one, name in zip(benchmarks, names, strict=True):
        if names.count(name) > 1:
            name = f"{str(one.get('className', '')).rpartition('.')[2]}.{name}"
        for metric, result in {**one.get("metrics", {}), **one.get("sampledMetrics", {})}.items():
            runs = result.get("runs", []) if isinstance(result, dict) else []
            where = f"{path.name}: {name}.{metric}"
            if not runs:
                notes.append(f"{where} has no runs")
            elif all(isinstance(run, list) for run in runs):
                sampled = [_numbers(f"{where}, run {number}", run) for number, run in enumerate(runs, 1)]
                for percent in PERCENTILES:
                    values = [float(np.percentile(run, percent)) for run in sampled if run]
                    yield f"{name}.{metric}.p{percent}", values
            else:
                yield f"{name}.{metric}", _numbers(where, runs)


def _numbers(where: str, values: list[Any]) -> list[float]:
    for number, value in enumerate(values, 1):
        if not isinstance(value, int | float) or not np.isfinite(value):
            raise ValueError(f"{where}, run {number} is {value!r}; expected a number")
    return [float(value) for value in values]
