"""The numbers of a machine, and what a kernel costs there, fitted to measured storms."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import optimize, stats

from swaplib import catalogue
from swaplib.analysis.cells import CELL, predict
from swaplib.analysis.machine_file import generation, template
from swaplib.model.checks import one_of
from swaplib.model.kernel import COST_PARTS, Kernel
from swaplib.model.machine import Machine
from swaplib.model.policy import Policy

Vector = npt.NDArray[np.float64]
Models = tuple[Machine, Kernel, Policy, Policy]  # as `predict` takes them: with the policies sync and v3

# What is fitted, and how far it may lie from the template before the cells have spoken: the standard
# deviation of its logarithm. Processors differ in speed by more than in what a run costs against an entry;
# nothing is known of the price of a cache line. wall is what wall times are to simulated ones: 1 if nothing
# else runs.
PRIOR: Mapping[str, float] = {
    "cpu_cost_permille": 1.0,
    "memory_cost_permille": 0.7,
    "calls": 0.5,
    "present": 0.7,
    "prelude_ns": 0.7,
    "line_local_ps": 2.0,
    "warm_entries": 0.7,
    "wall": 0.5,
}
# Parameters that are no numbers of the machine but factors, and the arguments of `Kernel.scaled` they become.
FACTORS: Mapping[str, tuple[str, ...]] = {
    **{part: (part,) for part in (*COST_PARTS, "page", "folio")},
    "calls": ("call_cpu_ps", "call_memory_ps", "run_cpu_ps", "run_memory_ps"),
    "present": ("page", "folio"),
    "wall": (),
}
# Relative noise of one repetition, and what the model itself leaves (05_validation). Exit CPU time carries
# the costs; the last exit carries who had to wait; the end of the swap is sampled.
NOISE: Mapping[str, tuple[float, float]] = {
    "exit_cpu_ms": (0.10, 0.04),
    "median_exit_ms": (0.25, 0.10),
    "last_exit_ms": (0.25, 0.08),
    "swap_back_ms": (0.40, 0.20),
}
CPU_TIME = "exit_cpu_ms"
STEP = 0.03  # relative step of a derivative; a simulated time is not smooth below that
FARTHEST = np.log(50.0)  # logarithm of how many times a parameter may be what it began as
IDENTIFIED = 4.0  # largest ratio of the ends of an interval that still counts as knowing a parameter
SHAPES = 0.08  # relative standard deviation of what the model misses of a storm of one shape
_SHAPE = [*(name for name in CELL if name != "procs"), "metric"]


@dataclass(frozen=True)
class Fit:
    """What `calibrate` found: a machine and a kernel, and how well they are known."""

    machine: Machine  # its fitted numbers are marked so
    kernel: Kernel
    cells: pd.DataFrame  # those of the fit, with predicted (ms) and error (predicted over measured, less 1)
    parameters: pd.DataFrame  # parameter, start, value, low, high (95 % interval), identified
    covariance: Vector  # of the logarithms of the parameters
    _start: Models = field(repr=False)

    @property
    def costs(self) -> dict[str, float]:
        """What the kernel's costs are multiplied by: ``start.scaled(**fit.costs)`` is the fitted kernel."""
        return _costs(dict(zip(self.parameters.parameter, self.parameters.value, strict=True)))

    @property
    def median_error(self) -> float:
        """Median absolute relative error of the cells."""
        return float(self.cells.error.abs().median())

    @property
    def ridge(self) -> str:
        """Which parameters the cells do not determine, in words; empty if they determine all."""
        unknown = ", ".join(self.parameters.parameter[~self.parameters.identified])
        return f"the cells do not determine {unknown}; the template does" if unknown else ""

    def draws(self, count: int, seed: int = 0) -> list[tuple[Machine, Kernel]]:
        """Return `count` machines and kernels drawn from what the cells leave open, by covariance."""
        middle = np.log(self.parameters.value.to_numpy())
        rng = np.random.default_rng(seed)
        drawn = rng.multivariate_normal(middle, self.covariance, count, method="cholesky")
        drawn = np.clip(drawn, middle - FARTHEST, middle + FARTHEST)
        return [_with(self._start, _values(self.parameters.parameter, x))[:2] for x in drawn]

    def predict(self, cells: pd.DataFrame) -> pd.DataFrame:
        """Return other cells of the same machine with a column predicted (ms).

        As `swaplib.predict` does, with two corrections. Wall times are multiplied by the fitted wall. What
        the fit misses of a storm's CPU time at the most processes, it is taken to miss at other numbers of
        them, as far as it is more than the noise of a median.
        """
        wall = self.parameters.set_index("parameter").value.get("wall", 1.0)
        most = self.cells[self.cells.metric == CPU_TIME].sort_values("procs")
        most = most.drop_duplicates(_SHAPE, keep="last")
        noise = NOISE[CPU_TIME][0] ** 2 / _repetitions(most)
        missed = most[_SHAPE].assign(missed=(1 + most.error) ** -(SHAPES**2 / (SHAPES**2 + noise)))
        frame = predict(cells, self.machine, self.kernel, *self._start[2:])
        factor = frame[_SHAPE].merge(missed, "left", _SHAPE).missed.fillna(1.0).to_numpy()
        return frame.assign(predicted=frame.predicted * np.where(frame.metric == CPU_TIME, factor, wall))


def calibrate(
    cells: pd.DataFrame,
    machine: str | Machine = "",
    kernel: str | Kernel = "",
    sync: str | Policy = "sync",
    parameters: Mapping[str, float] | None = None,
    source: str = "cells given to swaplib.calibrate",
) -> Fit:
    """Fit a machine, and the costs of a kernel on it, to measured storms, by least squares of the logarithms.

    Each parameter stays near the template unless the cells say otherwise, and cells weigh by how exact their
    metric is (`NOISE`; others are left out). Derivatives are finite differences of simulations with one seed.

    Parameters
    ----------
    cells
        As `swaplib.measured_cells` returns them; those of split ``test`` are refused.
    machine, kernel, sync
        Where to begin, by name or as models; empty takes what the cells say (`template`, `generation`). Cells
        with patch v3 are simulated with ``async-v3``.
    parameters
        Numbers of the machine and names of `FACTORS`, each with the standard deviation of its logarithm from
        the template; infinity leaves it free. By default `PRIOR`, without what these cells cannot tell.
    source
        What the fitted numbers of the machine name as their source.
    """
    order = catalogue.policy(sync) if isinstance(sync, str) else sync
    start = (template(cells, machine), generation(cells, kernel), order, catalogue.policy("async-v3"))
    cells = cells[cells.metric.isin(list(NOISE))]
    if parameters is None:
        always_cold = not start[0]["warm_entries"]
        walls_alone = not (cells.metric == CPU_TIME).any()  # they carry the costs then
        untold = {"warm_entries": always_cold, "wall": walls_alone}
        parameters = {name: spread for name, spread in PRIOR.items() if not untold.get(name)}
    _check(cells, start[0], parameters)
    problem = _Problem(cells, start, parameters)
    bounds = (problem.begin - FARTHEST, problem.begin + FARTHEST)
    choices = {"loss": "soft_l1", "f_scale": 2.0, "xtol": 3e-4, "ftol": 1e-3, "max_nfev": 25}
    solution = optimize.least_squares(problem.residuals, problem.begin, problem.jacobian, bounds, **choices)
    return problem.fit(solution.x, source)


class _Problem:
    """How far simulated cells are from measured ones, as a function of the logarithms of the parameters."""

    def __init__(self, cells: pd.DataFrame, start: Models, prior: Mapping[str, float]) -> None:
        self.cells, self.start, self.names = cells, start, tuple(prior)
        self.begin = np.log([1.0 if name in FACTORS else max(1.0, start[0][name]) for name in prior])
        self.pull = np.diag([1 / spread for spread in prior.values()])
        self.is_wall = (cells.metric != CPU_TIME).to_numpy()
        # Where no CPU time was measured, the last exit has to tell the costs.
        metrics = cells.metric.replace("last_exit_ms", CPU_TIME) if self.is_wall.all() else cells.metric
        one, model = np.array([NOISE[metric] for metric in metrics]).T
        self.weight = 1 / np.sqrt(one**2 / _repetitions(cells) + model**2)
        self._known: dict[tuple[float, ...], Vector] = {}

    def misses(self, values: Mapping[str, float]) -> Vector:
        """Return log(predicted / measured) by cell, simulated once."""
        key = tuple(value for name, value in values.items() if name != "wall")
        if key not in self._known:
            predicted = predict(self.cells, *_with(self.start, values)).predicted
            self._known[key] = np.log(predicted.to_numpy() / self.cells.measured.to_numpy())
        return self._known[key] + self.is_wall * np.log(values.get("wall", 1.0))

    def residuals(self, x: Vector) -> Vector:
        """Return the weighted misses of the cells, and behind them the distances from the template."""
        misses = self.misses(_values(self.names, x))
        return np.concatenate([self.weight * misses, self.pull @ (x - self.begin)])

    def jacobian(self, x: Vector) -> Vector:
        """Return the derivatives by finite differences; a whole number moves by at least 1."""
        values = _values(self.names, x)
        here = self.misses(values)

        def slope(name: str) -> Vector:
            old = values[name]
            new = old * (1 + STEP) if name in FACTORS else old + max(1.0, round(old * STEP))
            return self.weight * (self.misses({**values, name: new}) - here) / np.log(new / old)

        with ThreadPoolExecutor(os.cpu_count()) as threads:
            slopes = list(threads.map(slope, self.names))
        return np.vstack([np.column_stack(slopes), self.pull])

    def fit(self, x: Vector, source: str) -> Fit:
        """Return the fit that ends at `x`."""
        values, names = _values(self.names, x), list(self.names)
        misses, fitted = self.misses(values), np.array(list(values.values()))
        freedom = max(1, len(misses) - len(x))
        deviation = max(1.0, np.sqrt(np.sum((self.weight * misses) ** 2) / freedom))
        _, singular, directions = np.linalg.svd(self.jacobian(x), full_matrices=False)
        scaled = directions.T * (deviation / np.maximum(singular, 1e-6))
        covariance = scaled @ scaled.T
        factor = np.exp(np.minimum(stats.norm.ppf(0.975) * np.sqrt(np.diag(covariance)), 50.0))
        table = {"parameter": names, "start": np.exp(self.begin).round(4), "value": fitted}
        table |= {"low": fitted / factor, "high": fitted * factor, "identified": factor**2 <= IDENTIFIED}
        machine, kernel, *_ = _with(self.start, values)
        origin = {name: ("fitted", source) for name in names if name not in FACTORS}
        machine = replace(machine, origin={**machine.origin, **origin})
        predicted = self.cells.measured * np.exp(misses)
        cells = self.cells.assign(predicted=predicted, error=np.expm1(misses))
        return Fit(machine, kernel, cells, pd.DataFrame(table), covariance, self.start)


def _check(cells: pd.DataFrame, machine: Machine, parameters: Mapping[str, float]) -> None:
    """Refuse cells and parameters that cannot be fitted, or may not."""
    kept = int((cells.get("split", cells.metric) == "test").sum())
    if kept:
        raise ValueError(f"{kept} cells are kept for testing; drop the rows whose split is 'test'")
    if cells.empty:
        raise ValueError(f"there are no cells to fit to; expected some of {', '.join(NOISE)}")
    if not (cells.measured > 0).all():
        raise ValueError("a measured value is not positive; drop such cells first")
    for name, spread in parameters.items():
        one_of("parameter", name, (*FACTORS, *machine.numbers))
        if not spread > 0:
            raise ValueError(f"parameter '{name}' has the deviation {spread}; expected more than 0")


def _values(names: Iterable[str], x: Vector) -> dict[str, float]:
    """Return the parameters: whole numbers of the machine, factors to four digits."""
    pairs = zip(names, np.exp(x).tolist(), strict=True)
    return {name: round(v, 4) if name in FACTORS else float(max(1, round(v))) for name, v in pairs}


def _with(start: Models, values: Mapping[str, float]) -> Models:
    """Return the models with these values of the parameters."""
    machine, kernel, sync, v3 = start
    numbers = {name: int(value) for name, value in values.items() if name not in FACTORS}
    return (machine.but(**numbers), kernel.scaled(**_costs(values)), sync, v3)


def _costs(values: Mapping[str, float]) -> dict[str, float]:
    """Return what `Kernel.scaled` takes of the parameters."""
    return {part: value for name, value in values.items() for part in FACTORS.get(name, ())}


def _repetitions(cells: pd.DataFrame) -> Vector:
    """Return how many repetitions each cell's median is of, 1 where the cells do not say."""
    return np.maximum(1.0, cells.get("n", np.ones(len(cells))))
