"""Fitting the numbers of a machine, and the costs of a kernel, to measured storms."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import optimize, stats

from swaplib.analysis.storms import predict
from swaplib.model.checks import at_least, one_of
from swaplib.model.kernel import COST_PARTS, Kernel
from swaplib.model.machine import NUMBERS, Machine
from swaplib.model.policy import Policy

Vector = npt.NDArray[np.float64]

COSTS = (*COST_PARTS, "page", "folio")  # multiplied, see `Kernel.scaled`
MACHINE_PARAMETERS = ("cpu_cost_permille", "transfer_local_ns")
STEP = 0.03  # relative step of a derivative; a simulated time is not smooth below that
IDENTIFIED = 4.0  # largest ratio of the ends of an interval that still counts as knowing a parameter


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
    """

    machine: Machine
    kernel: Kernel
    cells: pd.DataFrame
    parameters: pd.DataFrame
    correlations: pd.DataFrame
    ridge: str

    @property
    def median_error(self) -> float:
        """Median absolute relative error of the cells."""
        return float(self.cells.error.abs().median())


def calibrate(
    cells: pd.DataFrame,
    machine: Machine,
    kernel: Kernel,
    sync: Policy,
    parameters: Sequence[str] = MACHINE_PARAMETERS,
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
        Where to begin, and the policies of cells without and with patch v3.
    parameters
        Numbers of the machine (`swaplib.model.machine.NUMBERS`, positive), or parts of the kernel's costs, which are
        multiplied (``entry_cpu_ps`` ... ``run_memory_ps``, ``page``, ``folio``).
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
    _check(cells, machine, parameters, starts, noise)
    problem = _Problem(cells, machine, kernel, sync, v3, tuple(parameters), seed)
    low, high = problem.start - np.log(20), problem.start + np.log(20)
    sampler = stats.qmc.LatinHypercube(len(parameters), seed=seed)
    others = problem.start + (2 * sampler.random(max(1, starts - 1)) - 1) * np.log(4)
    points = [problem.start, *others][:starts]
    best = min(points, key=lambda x: float(np.sum(problem.residuals(x) ** 2)))
    solution = optimize.least_squares(
        problem.residuals, best, problem.jacobian, (low, high), x_scale=1.0, xtol=3e-4, ftol=1e-5, max_nfev=25
    )
    return _describe(problem, solution.x, noise, source)


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
        seed: int,
    ) -> None:
        self.cells, self.machine, self.kernel, self.names = cells, machine, kernel, names
        self._predict: Callable[[Machine, Kernel], pd.DataFrame] = lambda m, k: predict(cells, m, k, sync, v3, seed)
        self.start = np.log([1.0 if name in COSTS else float(max(1, machine[name])) for name in names])
        self._known: dict[tuple[float, ...], Vector] = {}

    def values(self, x: Vector) -> dict[str, float]:
        """Return the parameters: whole numbers of the machine, factors of the costs to four digits."""
        return {
            name: round(float(np.exp(v)), 4) if name in COSTS else float(max(1, round(float(np.exp(v)))))
            for name, v in zip(self.names, x, strict=True)
        }

    def models(self, values: Mapping[str, float]) -> tuple[Machine, Kernel]:
        """Return machine and kernel with these values."""
        numbers = {name: int(value) for name, value in values.items() if name not in COSTS}
        factors = {name: value for name, value in values.items() if name in COSTS}
        return self.machine.but(**numbers), self.kernel.scaled(**factors)

    def at(self, values: Mapping[str, float]) -> Vector:
        """Return the residuals at rounded values, simulated once."""
        key = tuple(values.values())
        if key not in self._known:
            predicted = self._predict(*self.models(values)).predicted
            self._known[key] = np.log(predicted.to_numpy() / self.cells.measured.to_numpy())
        return self._known[key]

    def residuals(self, x: Vector) -> Vector:
        """Return log(predicted / measured) by cell."""
        return self.at(self.values(x))

    def jacobian(self, x: Vector) -> Vector:
        """Return the derivatives by finite differences; a whole number moves by at least 1."""
        here = self.values(x)
        columns = []
        for name, value in here.items():
            there = value * (1 + STEP) if name in COSTS else value + max(1.0, round(value * STEP))
            step = np.log(there / value)
            columns.append((self.at({**here, name: there}) - self.at(here)) / step)
        return np.column_stack(columns)


def _check(cells: pd.DataFrame, machine: Machine, parameters: Sequence[str], starts: int, noise: float) -> None:
    if "split" in cells and (cells.split == "test").any():
        cell = cells[cells.split == "test"].iloc[0]
        where = ", ".join(f"{name} {cell[name]}" for name in ("kernel", "layout_run", "mb", "swap_frac", "procs"))
        raise ValueError(
            f"{(cells.split == 'test').sum()} cells are kept for testing and may not be fitted to, the first is "
            f"{where}; drop the rows whose split is 'test'"
        )
    known = [name for name, _, _, _ in NUMBERS]
    for name in parameters:
        one_of("parameter", name, (*known, *COSTS))
    if len(set(parameters)) != len(parameters):
        raise ValueError(f"a parameter is named twice: {', '.join(parameters)}")
    if len(cells) < len(parameters):
        raise ValueError(f"{len(cells)} cells cannot determine {len(parameters)} parameters")
    at_least("starts", starts, 1)
    if not 0 < noise < 1:
        raise ValueError(f"noise is {noise}; expected a share between 0 and 1")
    if not (cells.measured > 0).all():
        raise ValueError(f"machine '{machine.name}': a measured value is not positive; drop such cells first")


def _describe(problem: _Problem, x: Vector, noise: float, source: str) -> Fit:
    values = problem.values(x)
    residuals, jacobian = problem.at(values), problem.jacobian(x)
    free = len(residuals) - len(x)
    sd = max(noise, float(np.sqrt(np.sum(residuals**2) / free)) if free > 0 else 0.0)
    _, singular, directions = np.linalg.svd(jacobian, full_matrices=False)
    weights = 1 / np.maximum(singular, 1e-6)
    covariance = sd**2 * (directions.T * weights**2) @ directions
    spread = np.sqrt(np.diag(covariance))
    factor = np.exp(np.minimum(stats.t.ppf(0.975, max(1, free)) * spread, 50.0))
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
        if name not in COSTS:
            origin[name] = ("fitted", source)
    machine = replace(machine, origin=origin)
    cells = problem.cells.assign(predicted=problem.cells.measured * np.exp(residuals), error=np.expm1(residuals))
    correlations = pd.DataFrame(covariance / np.outer(spread, spread), problem.names, problem.names)
    return Fit(machine, kernel, cells, table, correlations, _ridge(problem.names, table.identified, directions[-1]))


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
