"""Results of AndroidX Macrobenchmark, as the tidy A/B frame that `swaplib.compare` takes."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from swaplib.evidence.readers.log import regular

PERCENTILES = (50, 90, 95, 99)  # as Macrobenchmark prints them
_UNITS = {"Ms": "ms", "Us": "us", "Ns": "ns", "Kb": "kib", "Mb": "mib", "Percent": "percent", "Count": ""}


def read_macrobenchmark(path: str | Path | Mapping[str, str | Path], arm: str = "before") -> pd.DataFrame:
    """Read the JSON that AndroidX Macrobenchmark writes.

    Parameters
    ----------
    path
        A ``*-benchmarkData.json``, or a mapping from arm to file, as ``{"before": a, "after": b}``.
    arm
        Name of the arm of a single file.

    Returns
    -------
    DataFrame
        One row a run: arm, run (from 1), metric (benchmark and metric, ``launch.timeToInitialDisplayMs``; the class
        before where two benchmarks have one name), unit, better ("lower"), value. A sampled metric, as
        ``frameDurationCpuMs``, gives its percentiles 50, 90, 95 and 99 within each run. ``attrs["notes"]`` names
        metrics without runs, which are left out.

    Raises
    ------
    FileNotFoundError, ValueError
        No such file; no JSON; no benchmark with runs in it; a run that is no number.
    """
    files = path if isinstance(path, Mapping) else {arm: path}
    rows: list[tuple[str, int, str, str, str, float]] = []
    notes: list[str] = []
    for name, file in files.items():
        for metric, unit, values in _runs(regular(file), notes):
            rows += [(name, run, metric, unit, "lower", value) for run, value in enumerate(values, 1)]
    if not rows:
        raise ValueError(f"{', '.join(str(file) for file in files.values())}: no benchmark has runs")
    frame = pd.DataFrame(rows, columns=["arm", "run", "metric", "unit", "better", "value"])
    frame.attrs["notes"] = notes
    return frame


def _runs(path: Path, notes: list[str]) -> list[tuple[str, str, list[float]]]:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path.name} is no JSON: {error}") from None
    benchmarks = data.get("benchmarks") if isinstance(data, dict) else None
    if not isinstance(benchmarks, list):
        raise ValueError(
            f"{path.name} has no list 'benchmarks'; expected what AndroidX Macrobenchmark writes"
        )
    found: list[tuple[str, str, list[float]]] = []
    names = [str(benchmark.get("name", "benchmark")) for benchmark in benchmarks]
    for benchmark, title in zip(benchmarks, names, strict=True):
        if names.count(title) > 1:
            title = f"{str(benchmark.get('className', '')).rpartition('.')[2]}.{title}"
        for metric, result in {**benchmark.get("metrics", {}), **benchmark.get("sampledMetrics", {})}.items():
            runs = result.get("runs", []) if isinstance(result, dict) else []
            if not runs:
                notes.append(f"{path.name}: {title}.{metric} has no runs")
            elif all(isinstance(run, list) for run in runs):
                sampled = [
                    _numbers(f"{path.name}: {title}.{metric}, run {n}", run) for n, run in enumerate(runs, 1)
                ]
                found += _percentiles(f"{title}.{metric}", _unit(metric), sampled)
            else:
                found.append(
                    (f"{title}.{metric}", _unit(metric), _numbers(f"{path.name}: {title}.{metric}", runs))
                )
    return found


def _numbers(where: str, values: list[Any]) -> list[float]:
    for number, value in enumerate(values, 1):
        if not isinstance(value, int | float) or not np.isfinite(value):
            raise ValueError(f"{where}, run {number} is {value!r}; expected a number")
    return [float(value) for value in values]


def _percentiles(metric: str, unit: str, runs: list[Any]) -> list[tuple[str, str, list[float]]]:
    sampled = [np.asarray(run, float) for run in runs if run]
    return [(f"{metric}.p{p}", unit, [float(np.percentile(run, p)) for run in sampled]) for p in PERCENTILES]


def _unit(metric: str) -> str:
    found = re.search(f"({'|'.join(_UNITS)})$", metric)
    return _UNITS[found[1]] if found else ""
