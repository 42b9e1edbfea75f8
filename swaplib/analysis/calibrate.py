"""A machine, and what a kernel costs on it, fitted to measured storms: where it begins, the fit, its file."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import optimize, stats

from swaplib import catalogue
from swaplib.analysis.predictions import CELL, TEMPLATES, predict
from swaplib.model.checks import one_of
from swaplib.model.kernel import Kernel
from swaplib.model.machine import Machine

# What is fitted, and the standard deviation of its logarithm from the template before the cells have spoken:
# processors differ by more than runs against entries; nothing is known of the price of a cache line. wall is
# what wall times are to simulated ones: 1 if nothing else runs.
PRIOR = {"cpu_cost_permille": 1.0, "memory_cost_permille": 0.7, "calls": 0.5, "present": 0.7}
PRIOR |= {"prelude_ns": 0.7, "line_local_ps": 2.0, "warm_entries": 0.7, "wall": 0.5}
# Parameters that are no numbers of the machine but factors, and the arguments of `Kernel.scaled` they become.
FACTORS = {"calls": ["call_cpu_ps", "call_memory_ps", "run_cpu_ps", "run_memory_ps"]}
FACTORS |= {"present": ["page", "folio"], "wall": []}
# Relative noise of one repetition, and what the model itself leaves (05_validation).
NOISE = {"exit_cpu_ms": (0.10, 0.04), "median_exit_ms": (0.25, 0.10), "last_exit_ms": (0.25, 0.08)}
NOISE |= {"swap_back_ms": (0.40, 0.20)}
CPU_TIME = "exit_cpu_ms"
STEP = 0.03  # relative step of a derivative; a simulated time is not smooth below that
FARTHEST = np.log(50.0)  # logarithm of how many times a parameter may be what it began as
IDENTIFIED = 4.0  # largest ratio of the ends of an interval that still counts as knowing a parameter
SHAPES = 0.08  # relative standard deviation of what the model misses of a storm of one shape
SLICE_NS = 700_000  # base slice of one CPU, Linux 6.18 kernel/sched/fair.c; times 1 + log2 of up to 8 CPUs
_SHAPE = [*(name for name in CELL if name != "procs"), "metric"]
_GROUP = re.compile(r"([1-9]\d{0,4})x([1-9]\d{0,4})@(\d{1,4})/(\d{1,4})")


@dataclass(frozen=True)
class Fit:
    """What `calibrate` found: a machine and a kernel, and how well they are known."""

    machine: Machine  # its fitted numbers are marked so
    kernel: Kernel
    costs: dict[str, float]  # ``start.scaled(**costs)`` is the fitted kernel
    cells: pd.DataFrame  # those of the fit, with predicted (ms) and error (predicted over measured, less 1)
    parameters: pd.DataFrame  # parameter, start, value, low, high (95 % interval), identified
    covariance: np.ndarray  # of the logarithms of the parameters
    start: tuple[Machine, Kernel]

    @property
    def median_error(self) -> float:
        """Median absolute relative error of the cells."""
        return float(self.cells.error.abs().median())

    @property
    def ridge(self) -> str:
        """Which parameters the cells do not determine, in words; empty if they determine all."""
        unknown = ", ".join(self.parameters.parameter[~self.parameters.identified])
        return f"the cells leave open, by more than a factor of {IDENTIFIED:g}: {unknown}" if unknown else ""

    def draws(self, count: int, seed: int = 0) -> list[tuple[Machine, Kernel]]:
        """Return `count` machines and kernels drawn from what the cells leave open, by covariance."""
        middle, rng = np.log(self.parameters.value.to_numpy()), np.random.default_rng(seed)
        drawn = rng.multivariate_normal(middle, self.covariance, count, method="cholesky")
        drawn = np.clip(drawn, middle - FARTHEST, middle + FARTHEST)
        return [_models(self.start, _values(self.parameters.parameter, x)) for x in drawn]

    def predict(self, cells: pd.DataFrame) -> pd.DataFrame:
        """Return other cells of the same machine with a column predicted (ms), as `swaplib.predict` does.

        Wall times are multiplied by the fitted wall. What the fit misses of a storm's CPU time at the most
        processes, it is taken to miss at other numbers of them, as far as it is more than noise.
        """
        wall = self.parameters.set_index("parameter").value.get("wall", 1.0)
        most = self.cells[self.cells.metric == CPU_TIME].sort_values("procs")
        most = most.drop_duplicates(_SHAPE, keep="last")
        noise = NOISE[CPU_TIME][0] ** 2 / most.get("n", 1)
        missed = most[_SHAPE].assign(missed=(1 + most.error) ** -(SHAPES**2 / (SHAPES**2 + noise)))
        frame = predict(cells, self.machine, self.kernel)
        factor = frame[_SHAPE].merge(missed, "left", _SHAPE).missed.fillna(1.0).to_numpy()
        return frame.assign(predicted=frame.predicted * np.where(frame.metric == CPU_TIME, factor, wall))


def calibrate(
    cells: pd.DataFrame,
    machine: str | Machine = "",
    kernel: str | Kernel = "",
    source: str = "cells given to swaplib.calibrate",
) -> Fit:
    """Fit a machine, and the costs of a kernel on it, to measured storms, by least squares of the logarithms.

    Each parameter of `PRIOR` stays near where the fit begins (`template`, `generation`) unless the cells say
    otherwise; cells weigh by how exact their metric is (`NOISE`; others are left out). `cells` are as
    `swaplib.measured_cells` returns them; those of split ``test`` are a ValueError. `source` is what the
    fitted numbers of the machine name as their source.
    """
    start = template(cells, machine), generation(cells, kernel)
    cells = cells[cells.metric.isin(list(NOISE))]
    if kept := int((cells.get("split", cells.metric) == "test").sum()):
        raise ValueError(f"{kept} cells are kept for testing; drop the rows whose split is 'test'")
    if cells.empty or not (cells.measured > 0).all():
        raise ValueError(f"expected positive measured values of some of {', '.join(NOISE)} to fit to")
    is_wall, metrics, names = (cells.metric != CPU_TIME).to_numpy(), cells.metric, list(PRIOR)
    if is_wall.all():  # the last exit has to tell the costs
        metrics, names = metrics.replace("last_exit_ms", CPU_TIME), names[:-1]
    one, model = np.array([NOISE[metric] for metric in metrics]).T
    weight = np.asarray(1 / np.sqrt(one**2 / cells.get("n", 1) + model**2))
    begin = np.log([1.0 if name in FACTORS else max(1.0, start[0][name]) for name in names])
    pull = np.diag([1 / PRIOR[name] for name in names])

    @cache
    def simulated(*values: float) -> np.ndarray:
        predicted = predict(cells, *_models(start, dict(zip(names, values, strict=False)))).predicted
        return np.log(predicted.to_numpy() / cells.measured.to_numpy())

    def misses(values: Mapping[str, float]) -> np.ndarray:
        """Return log(predicted / measured) by cell; the wall, which is the last, needs no simulation."""
        alone = simulated(*(value for name, value in values.items() if name != "wall"))
        return alone + is_wall * np.log(values.get("wall", 1.0))

    def residuals(x: np.ndarray) -> np.ndarray:
        """Return the weighted misses of the cells, and behind them the distances from the template."""
        return np.concatenate([weight * misses(_values(names, x)), pull @ (x - begin)])

    def slope(values: Mapping[str, float], name: str) -> np.ndarray:
        """Return a finite difference of simulations with one seed; a whole number moves by at least 1."""
        old = values[name]
        new = old * (1 + STEP) if name in FACTORS else old + max(1.0, round(old * STEP))
        return weight * (misses({**values, name: new}) - misses(values)) / np.log(new / old)

    def jacobian(x: np.ndarray) -> np.ndarray:
        with ThreadPoolExecutor(os.cpu_count()) as threads:
            columns = list(threads.map(partial(slope, _values(names, x)), names))
        return np.vstack([np.column_stack(columns), pull])

    choices = {"loss": "soft_l1", "f_scale": 2.0, "xtol": 3e-4, "ftol": 1e-3, "max_nfev": 25}
    bounds = (begin - FARTHEST, begin + FARTHEST)
    x = optimize.least_squares(residuals, begin, jacobian, bounds, **choices).x
    values, slopes = _values(names, x), jacobian(x)
    missed, fitted = misses(values), np.array(list(values.values()))
    variance = max(1.0, np.sum((weight * missed) ** 2) / max(1, len(missed) - len(x)))
    covariance = variance * np.linalg.inv(slopes.T @ slopes)
    factor = np.exp(stats.norm.ppf(0.975) * np.sqrt(np.diag(covariance)))
    table = {"parameter": names, "start": np.exp(begin).round(4), "value": fitted}
    table |= {"low": fitted / factor, "high": fitted * factor, "identified": factor**2 <= IDENTIFIED}
    found, costs = _models(start, values)
    origin = {name: ("fitted", source) for name in names if name not in FACTORS}
    found = replace(found, origin={**found.origin, **origin})
    cells = cells.assign(predicted=cells.measured * np.exp(missed), error=np.expm1(missed))
    return Fit(found, costs, _costs(values), cells, pd.DataFrame(table), covariance, start)


def _values(names: Iterable[str], x: np.ndarray) -> dict[str, float]:
    """Return the parameters: whole numbers of the machine, factors to four digits."""
    pairs = zip(names, np.exp(x).tolist(), strict=True)
    return {name: round(v, 4) if name in FACTORS else float(max(1, round(v))) for name, v in pairs}


def _models(start: tuple[Machine, Kernel], values: Mapping[str, float]) -> tuple[Machine, Kernel]:
    """Return the models with these values of the parameters."""
    numbers = {name: int(value) for name, value in values.items() if name not in FACTORS}
    return start[0].but(**numbers), start[1].scaled(**_costs(values))


def _costs(values: Mapping[str, float]) -> dict[str, float]:
    return {part: value for name, value in values.items() for part in FACTORS.get(name, ())}


def template(measured: pd.DataFrame, machine: str | Machine = "") -> Machine:
    """Return the machine from which a fit to rows or cells of one machine begins, with the CPUs they tell of.

    Column cpus says what CPUs there are, else smp how many. `machine` is a name of data/machines, a file that
    ends in .toml, or a machine; empty takes that of `TEMPLATES`.
    """
    start = machine or _begin(measured)[0]
    found = start if isinstance(start, Machine) else catalogue.machine(start)
    cpus = _only(measured, "cpus") or _only(measured, "smp")
    return with_cpus(found, cpus) if cpus else found


def generation(measured: pd.DataFrame, kernel: str | Kernel = "") -> Kernel:
    """Return the kernel from whose costs a fit begins: one, a name, or (empty) that of column kernel."""
    if isinstance(kernel, Kernel):
        return kernel
    return catalogue.kernel(kernel or _only(measured, "kernel"), _begin(measured)[1])


def with_cpus(machine: Machine, cpus: int | str) -> Machine:
    """Return a machine with other CPUs, and the time slice that Linux gives to so many.

    `cpus` is how many equal ones, or groups as `swaplib probe` writes them: count x capacity @ node / pod, as
    ``4x327@0/0 4x1024@0/0``. Another text is a ValueError.
    """
    text, rows = str(cpus).strip(), []
    for part in (f"{text}x1024@0/0" if text.isdecimal() else text).split() or [""]:
        if not (group := _GROUP.fullmatch(part)):
            raise ValueError(f"CPUs are {text!r}; expected a number, or groups as 4x327@0/0 4x1024@0/0")
        count, *row = map(int, group.groups())
        rows += [row] * count
    if text == str(machine.cpus):
        return machine  # by number alone, the template knows more of them
    kind = ("published", "kernel/sched/fair.c of 6.18, by the number of CPUs")
    capacity, node, pod = (tuple(column) for column in zip(*rows, strict=True))
    if (capacity, node, pod) == (machine.capacity, machine.node, machine.pod):
        return machine
    numbers = {**machine.numbers, "slice_ns": SLICE_NS * min(8, len(rows)).bit_length()}
    origin = {**machine.origin, "slice_ns": kind}
    return replace(machine, capacity=capacity, node=node, pod=pod, numbers=numbers, origin=origin)


def write_machine(machine: Machine, path: str | Path, costs: Mapping[str, float] | None = None) -> Path:
    """Write a machine so that `swaplib.machine(path)` reads it back; return the path.

    `path` is a new file that ends in ``.toml`` (an old one is a FileExistsError). `costs`, as `Fit.costs`,
    are kept as a table of that name, for ``swaplib.kernel(...).scaled(**costs)``.
    """
    path, text = Path(path), partial(json.dumps, ensure_ascii=False)
    if path.suffix != ".toml":
        raise ValueError(f"{path} is no name for a machine; it must end in .toml")
    lines = [f"{name} = {text(getattr(machine, name))}" for name in ("name", "what", "preemption", "core")]
    for capacity, node, pod in zip(machine.capacity, machine.node, machine.pod, strict=True):
        lines.append(f"[[cpus]]\ncount = 1\ncapacity = {capacity}\nnode = {node}\npod = {pod}")
    for name, value in machine.numbers.items():
        kind, source = machine.origin.get(name, ("assumed", ""))
        lines.append(f"[number.{name}]\nvalue = {value}\nkind = {text(kind)}\nsource = {text(source)}")
    lines += ["[costs]", *(f"{part} = {factor}" for part, factor in (costs or {}).items()), ""]
    with path.open("x", encoding="utf-8") as file:
        file.write("\n".join(lines))
    return path


def _begin(measured: pd.DataFrame) -> tuple[str, str]:
    """Return machine and unit of `TEMPLATES` for rows; native where they do not say."""
    way = _only(measured, "accel") or "native"
    one_of("column accel", way, TEMPLATES)
    return TEMPLATES[way]


def _only(measured: pd.DataFrame, column: str) -> str:
    """Return the one value in a column (generation of kernel, first word of accel), empty where is none."""
    values = [str(value) for value in measured.get(column, []) if value]
    simpler = {"kernel": catalogue.generation_of, "accel": lambda text: text.split("-")[0]}
    found = sorted(set(map(simpler.get(column, str), values)))
    if len(found) > 1:
        raise ValueError(f"the rows have several values of {column} ({', '.join(found)}); take those of one")
    return found[0] if found else ""
