"""Fitting the numbers of a machine, and the costs of a kernel, to measured storms."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import optimize, stats

from swaplib.analysis.machine_file import with_cpus
from swaplib.analysis.storms import CELL, predict
from swaplib.model.checks import at_least, one_of
from swaplib.model.kernel import COST_PARTS, Kernel
from swaplib.model.machine import NUMBERS, Machine
from swaplib.model.policy import Policy

Vector = npt.NDArray[np.float64]

COSTS = (*COST_PARTS, "page", "folio")  # multiplied, see `Kernel.scaled`
GROUPS: Mapping[str, tuple[str, ...]] = {  # several of these multiplied alike
    "calls": ("call_cpu_ps", "call_memory_ps", "run_cpu_ps", "run_memory_ps"),
    "present": ("page", "folio"),
}
STEP = 0.03  # relative step of a derivative; a simulated time is not smooth below that
FARTHEST = np.log(50.0)  # logarithm of how many times a parameter may be what it began as
IDENTIFIED = 4.0  # largest ratio of the ends of an interval that still counts as knowing a parameter

# What is fitted where nothing else is asked for, and how far it may lie from the template before the cells have spoken:
# the standard deviation of its logarithm. Processors differ in speed by more than in what a run costs against an entry;
# nothing is known of the price of a cache line.
PRIOR: Mapping[str, float] = {
    "cpu_cost_permille": 1.0,
    "memory_cost_permille": 0.7,
    "calls": 0.5,
    "present": 0.7,
    "prelude_ns": 0.7,
    "transfer_local_ns": 2.0,
    "warm_entries": 0.7,
    "wall": 0.5,
}
CPU_TIME = "exit_cpu_ms"
WALL = "wall"  # no number of a model: what all wall times are to the simulated ones, 1 on a machine that is left alone
# Relative noise of one repetition, and what the model itself leaves: data/measured, its halves, 05_validation. Exit CPU
# time carries the costs; the last exit carries who had to wait; the end of the swap is sampled.
NOISE: Mapping[str, tuple[float, float]] = {
    "exit_cpu_ms": (0.10, 0.04),
    "median_exit_ms": (0.25, 0.10),
    "last_exit_ms": (0.25, 0.08),
    "swap_back_ms": (0.40, 0.20),
}
SHAPES = 0.08  # relative standard deviation of what the model misses, between storms that differ in more than processes
_SHAPE = [*(name for name in CELL if name != "procs"), "metric"]


@dataclass(frozen=True)
class Fit:
    """What `calibrate` found.

    Parameters
    ----------
    machine, kernel
        With the fitted numbers; a fitted number of the machine is marked so.
    cells
        The cells of the fit with predicted (ms), split and error (predicted over measured, less 1).
    parameters
        One row a parameter: start, value, low, high (95 % interval), identified.
    correlations
        Of the estimates, by parameter.
    ridge
        What the cells cannot tell apart, in words; empty when every parameter is identified.
    covariance
        Of the logarithms of the parameters.
    """

    machine: Machine
    kernel: Kernel
    cells: pd.DataFrame
    parameters: pd.DataFrame
    correlations: pd.DataFrame
    ridge: str
    covariance: pd.DataFrame
    _problem: _Problem = field(repr=False, compare=False)

    @property
    def costs(self) -> dict[str, float]:
        """What the kernel's costs are multiplied by: ``start.scaled(**fit.costs)`` is the fitted kernel."""
        return _factors(dict(zip(self.parameters.parameter, self.parameters.value, strict=True)))

    def draws(self, count: int, seed: int = 0) -> list[tuple[Machine, Kernel]]:
        """Return `count` machines and kernels drawn from what the cells leave open, by covariance."""
        middle = np.log(self.parameters.value.to_numpy())
        drawn = np.random.default_rng(seed).multivariate_normal(
            middle, self.covariance, count, method="cholesky"
        )
        drawn = np.clip(drawn, middle - FARTHEST, middle + FARTHEST)
        return [self._problem.models(_rounded(self._problem.names, x)) for x in drawn]

    def predict(self, cells: pd.DataFrame) -> pd.DataFrame:
        """Return other cells of the same machine with a column predicted (ms).

        As `swaplib.predict` on the fitted machine and kernel, with two corrections that only the cells know: wall times
        are as many times longer as those of the fit were, and what the fit misses of a storm's CPU time at the most
        processes stays missed at other numbers of them, as far as it is more than the noise of a median.
        """
        wall = dict(zip(self.parameters.parameter, self.parameters.value, strict=True)).get(WALL, 1.0)
        most = (
            self.cells[self.cells.metric == CPU_TIME]
            .sort_values("procs")
            .drop_duplicates(_SHAPE, keep="last")
        )
        noise = NOISE[CPU_TIME][0] ** 2 / np.maximum(1, most.n if "n" in most else 1)
        missed = most[_SHAPE].assign(missed=(1 + most.error) ** -(SHAPES**2 / (SHAPES**2 + noise)))
        frame = self._problem.predict(cells, self.machine, self.kernel)
        factor = frame[_SHAPE].merge(missed, "left", _SHAPE).missed.fillna(1.0).to_numpy()
        return frame.assign(predicted=frame.predicted * np.where(frame.metric == CPU_TIME, factor, wall))

    @property
    def median_error(self) -> float:
        """Median absolute relative error of the cells."""
        return float(self.cells.error.abs().median())


def calibrate(
    cells: pd.DataFrame,
    machine: Machine,
    kernel: Kernel,
    sync: Policy,
    parameters: Sequence[str] | None = None,
    *,
    v3: Policy | None = None,
    noise: float = 0.03,
    starts: int = 4,
    seed: int = 0,
    source: str = "measurements of one's own",
) -> Fit:
    """Fit parameters to measured storms, by least squares of the logarithms.

    Many starts are compared by simulation, and the best is followed with finite differences on common seeds.

    Parameters
    ----------
    cells
        As `swaplib.measured_cells` returns them. Cells of split ``test`` are refused.
    machine, kernel, sync, v3
        Where to begin, and the policies of cells without and with patch v3. A machine with other than the cells' number
        of CPUs (column smp; 0 does not say) gets as many equal ones.
    parameters
        Numbers of the machine (`swaplib.model.machine.NUMBERS`, positive), or parts of the kernel's costs, which are
        multiplied (``entry_cpu_ps`` ... ``run_memory_ps``, ``page``, ``folio``; ``calls`` for all parts of a call and
        of a run, ``present`` for both of a present page). Given ones are fitted freely, all cells alike. None fits
        those of `PRIOR`: each stays near the template unless the cells say otherwise, cells weigh by what their metric
        is good to (`NOISE`), and cells of other metrics, as the foreground's, are left out.
    noise
        Least relative standard deviation of a measured median; the residuals' own, where it is larger, counts.
    starts
        Starting points: the given one, and others up to four times larger or smaller.
    seed
        Of the starting points and of the simulations.
    source
        What the fitted numbers of the machine name as their source.

    Returns
    -------
    Fit
        Residuals, intervals, correlations, and the machine, which `swaplib.write_machine` stores.

    Raises
    ------
    ValueError
        Cells of split ``test``, fewer cells than parameters, or an unknown parameter.
    """
    prior = None
    if parameters is None:
        prior = dict(PRIOR)
        cells = cells[cells.metric.isin(list(NOISE))]
        if not machine["warm_entries"] or cells.empty:
            prior.pop("warm_entries")
        if not (cells.metric == CPU_TIME).any():
            prior.pop(WALL)  # wall times alone carry the costs
        parameters = list(prior)
    _check(cells, machine, parameters, starts, noise, is_free=prior is None)
    cpus = set(cells.smp) if "smp" in cells else {0}
    if len(cpus) == 1 and (count := int(cpus.pop())) > 0:
        machine = with_cpus(machine, count)
    problem = _Problem(cells, machine, kernel, sync, v3, tuple(parameters), prior, noise, seed)
    low, high = problem.start - FARTHEST, problem.start + FARTHEST
    sampler = stats.qmc.LatinHypercube(len(parameters), seed=seed)
    others = problem.start + (2 * sampler.random(max(1, starts - 1)) - 1) * np.log(4)
    points = [problem.start, *others][:starts]
    best = min(points, key=lambda x: float(np.sum(problem.residuals(x) ** 2)))
    solution = optimize.least_squares(
        problem.residuals,
        best,
        problem.jacobian,
        (low, high),
        x_scale=1.0,
        loss="linear" if prior is None else "soft_l1",
        f_scale=1.0 if prior is None else 2.0,
        xtol=3e-4,
        ftol=1e-5 if prior is None else 1e-3,
        max_nfev=25,
    )
    return _describe(problem, solution.x, source)


class _Problem:
    """Residuals of the logarithms as a function of the logarithms of the parameters."""

    def __init__(
        self,
        cells: pd.DataFrame,
        machine: Machine,
        kernel: Kernel,
        sync: Policy,
        v3: Policy | None,
        names: tuple[str, ...],
        prior: Mapping[str, float] | None,
        noise: float,
        seed: int,
    ) -> None:
        self.cells, self.machine, self.kernel, self.names = cells, machine, kernel, names
        self.is_free, self.noise = prior is None, noise
        self.weight = np.ones(len(cells)) if prior is None else 1 / _noise(cells)
        self.pull = (
            np.zeros((0, len(names))) if prior is None else np.diag([1 / prior[name] for name in names])
        )
        self._sync, self._v3, self._seed = sync, v3, seed
        self.is_wall = (cells.metric != CPU_TIME).to_numpy()
        self.start = np.log([1.0 if _is_factor(name) else float(max(1, machine[name])) for name in names])
        self._known: dict[tuple[float, ...], Vector] = {}

    def values(self, x: Vector) -> dict[str, float]:
        """Return the parameters, rounded."""
        return _rounded(self.names, x)

    def models(self, values: Mapping[str, float]) -> tuple[Machine, Kernel]:
        """Return machine and kernel with these values."""
        numbers = {name: int(value) for name, value in values.items() if not _is_factor(name)}
        return self.machine.but(**numbers), self.kernel.scaled(**_factors(values))

    def predict(self, cells: pd.DataFrame, machine: Machine, kernel: Kernel) -> pd.DataFrame:
        """Return cells with a column predicted."""
        return predict(cells, machine, kernel, self._sync, self._v3, self._seed)

    def at(self, values: Mapping[str, float]) -> Vector:
        """Return log(predicted / measured) by cell at rounded values, simulated once."""
        key = tuple(value for name, value in values.items() if name != WALL)
        if key not in self._known:
            predicted = self.predict(self.cells, *self.models(values)).predicted
            self._known[key] = np.log(predicted.to_numpy() / self.cells.measured.to_numpy())
        return self._known[key] + self.is_wall * np.log(values.get(WALL, 1.0))

    def residuals(self, x: Vector) -> Vector:
        """Return the weighted residuals of the cells, and behind them the distances from the template."""
        return np.concatenate([self.weight * self.at(self.values(x)), self.pull @ (x - self.start)])

    def jacobian(self, x: Vector) -> Vector:
        """Return the derivatives by finite differences; a whole number moves by at least 1."""
        here = self.values(x)
        there = {
            name: value * (1 + STEP) if _is_factor(name) else value + max(1.0, round(value * STEP))
            for name, value in here.items()
        }
        self.at(here)
        with ThreadPoolExecutor(os.cpu_count()) as threads:
            moved = list(threads.map(lambda name: self.at({**here, name: there[name]}), here))
        steps = [np.log(there[name] / value) for name, value in here.items()]
        columns = [
            self.weight * (there - self.at(here)) / step for there, step in zip(moved, steps, strict=True)
        ]
        return np.vstack([np.column_stack(columns), self.pull])


def _is_factor(name: str) -> bool:
    return name in COSTS or name in GROUPS or name == WALL


def _factors(values: Mapping[str, float]) -> dict[str, float]:
    """Return what `Kernel.scaled` takes of the parameters."""
    costs = {name: value for name, value in values.items() if _is_factor(name) and name != WALL}
    return {part: value for name, value in costs.items() for part in GROUPS.get(name, (name,))}


def _rounded(names: Sequence[str], x: Vector) -> dict[str, float]:
    """Return the parameters: whole numbers of the machine, factors of the costs to four digits."""
    return {
        name: round(float(np.exp(v)), 4) if _is_factor(name) else float(max(1, round(float(np.exp(v)))))
        for name, v in zip(names, x, strict=True)
    }


def _noise(cells: pd.DataFrame) -> Vector:
    """Return the relative standard deviation that a cell's median is good to, by its metric and repetitions.

    Where no CPU time was measured, the last exit has to tell the costs.
    """
    metrics = (
        cells.metric if (cells.metric == CPU_TIME).any() else cells.metric.replace("last_exit_ms", CPU_TIME)
    )
    one, model = np.array([NOISE[metric] for metric in metrics]).T
    return np.sqrt(one**2 / np.maximum(1, cells.n.to_numpy() if "n" in cells else 1) + model**2)


def _check(
    cells: pd.DataFrame,
    machine: Machine,
    parameters: Sequence[str],
    starts: int,
    noise: float,
    *,
    is_free: bool,
) -> None:
    if "split" in cells and (cells.split == "test").any():
        cell = cells[cells.split == "test"].iloc[0]
        where = ", ".join(
            f"{name} {cell[name]}" for name in ("kernel", "layout_run", "mb", "swap_frac", "procs")
        )
        raise ValueError(
            f"{(cells.split == 'test').sum()} cells are kept for testing and may not be fitted to, the first is "
            f"{where}; drop the rows whose split is 'test'"
        )
    known = [name for name, _, _, _ in NUMBERS]
    for name in parameters:
        one_of("parameter", name, (*known, *COSTS, *GROUPS, WALL))
    if len(set(parameters)) != len(parameters):
        raise ValueError(f"a parameter is named twice: {', '.join(parameters)}")
    if cells.empty:
        raise ValueError(f"there are no cells to fit to; expected some of {', '.join(NOISE)}")
    if is_free and len(cells) < len(parameters):
        raise ValueError(f"{len(cells)} cells cannot determine {len(parameters)} parameters")
    at_least("starts", starts, 1)
    if not 0 < noise < 1:
        raise ValueError(f"noise is {noise}; expected a share between 0 and 1")
    if not (cells.measured > 0).all():
        raise ValueError(f"machine '{machine.name}': a measured value is not positive; drop such cells first")


def _describe(problem: _Problem, x: Vector, source: str) -> Fit:
    values = problem.values(x)
    residuals, jacobian = problem.at(values), problem.jacobian(x)
    free = len(residuals) - len(x)
    spent = float(np.sqrt(np.sum((problem.weight * residuals) ** 2) / free)) if free > 0 else 0.0
    sd = max(problem.noise if problem.is_free else 1.0, spent)
    _, singular, directions = np.linalg.svd(jacobian, full_matrices=False)
    weights = 1 / np.maximum(singular, 1e-6)
    covariance = sd**2 * (directions.T * weights**2) @ directions
    spread = np.sqrt(np.diag(covariance))
    quantile = stats.t.ppf(0.975, max(1, free)) if problem.is_free else stats.norm.ppf(0.975)
    factor = np.exp(np.minimum(quantile * spread, 50.0))
    fitted = np.array(list(values.values()))
    table = pd.DataFrame(
        {
            "parameter": problem.names,
            "start": [round(float(v), 4) for v in np.exp(problem.start)],
            "value": fitted,
            "low": fitted / factor,
            "high": fitted * factor,
            "identified": factor**2 <= IDENTIFIED,
        }
    )
    machine, kernel = problem.models(values)
    origin = dict(machine.origin)
    for name in values:
        if not _is_factor(name):
            origin[name] = ("fitted", source)
    machine = replace(machine, origin=origin)
    cells = problem.cells.assign(
        predicted=problem.cells.measured * np.exp(residuals), error=np.expm1(residuals)
    )
    names = list(problem.names)
    correlations = pd.DataFrame(covariance / np.outer(spread, spread), names, names)
    ridge = _ridge(names, table.identified, directions[-1]) if problem.is_free else _untold(table)
    spread_of = pd.DataFrame(covariance, names, names)
    return Fit(machine, kernel, cells, table, correlations, ridge, spread_of, problem)


def _untold(table: pd.DataFrame) -> str:
    """Say which parameters are where the template has them rather than where the cells put them."""
    untold = table.parameter[~table.identified]
    return f"the cells do not determine {', '.join(untold)}; the template does" if len(untold) else ""


def _ridge(names: Sequence[str], identified: pd.Series, direction: Vector) -> str:
    """Say along which combination of parameters the fit hardly changes."""
    if identified.all():
        return ""
    direction = direction / np.abs(direction).max()
    direction = direction * np.sign(direction[np.abs(direction).argmax()])
    moves = [
        f"{name} {'up' if share > 0 else 'down'} {abs(share) * 10:.1f} %"
        for name, share in zip(names, direction, strict=True)
        if abs(share) > 0.05
    ]
    return "the cells hardly tell apart: " + ", ".join(moves)
