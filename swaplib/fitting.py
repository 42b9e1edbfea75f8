"""Fitting by name: the machine and the kernel to begin from are found by what the measurements say of themselves."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import pandas as pd

from swaplib import catalogue
from swaplib.analysis import calibrate as fitted
from swaplib.analysis.calibrate import Fit
from swaplib.analysis.machine_file import with_cpus
from swaplib.model.kernel import Kernel
from swaplib.model.machine import Machine
from swaplib.model.policy import Policy

# Where a fit begins: by the first word of column accel, the machine and the unit in which kernels cost there.
TEMPLATES = {
    "native": ("lab-2cpu", "time"),
    "published": ("lab-2cpu", "time"),
    "mttcg": ("lab-2cpu-emulated", "instructions"),
    "icount": ("lab-1cpu", "instructions"),
}


def template(measured: pd.DataFrame, machine: str | Machine = "") -> Machine:
    """Return the machine from which a fit to measurements begins.

    Parameters
    ----------
    measured
        Rows of `swaplib.read_measurements` or `swaplib.probe`, or cells of `swaplib.measured_cells`.
    machine
        A name of data/machines, a file that ends in .toml, or a machine; empty takes the measured 2-CPU machine of
        data/measured, or the emulated one for emulated rows.

    Returns
    -------
    Machine
        With the CPUs that column cpus tells of (as `swaplib probe` writes it), else as many as column smp says.

    Raises
    ------
    ValueError
        The rows come from several machines, or from an unknown one.
    """
    start = machine or _template(measured)[0]
    found = start if isinstance(start, Machine) else catalogue.machine(start)
    for column in ("cpus", "smp"):
        told = sorted({str(value) for value in measured[column] if value}) if column in measured else []
        if len(told) > 1:
            raise ValueError(
                f"the rows were measured on several machines ({column} {', '.join(told)}); take one of them"
            )
        if told and told[0] != "0":
            return with_cpus(found, told[0])
    return found


def generation(measured: pd.DataFrame, kernel: str | Kernel = "") -> Kernel:
    """Return the kernel from whose costs a fit to measurements begins.

    Parameters
    ----------
    measured
        As for `template`.
    kernel
        A name of data/kernels, or a kernel; empty takes the newest generation that is not newer than the release in
        column kernel (6.18.44 and 6.19 are 6.18; whatever is older than 6.1 is 6.1).

    Raises
    ------
    ValueError
        The rows come from kernels of several generations; name one, and take its rows.
    """
    if isinstance(kernel, Kernel):
        return kernel
    unit = _template(measured)[1]
    if kernel:
        return catalogue.kernel(kernel, unit)
    names = sorted({generation_of(release) for release in measured.kernel.astype(str)})
    if len(names) > 1:
        raise ValueError(
            f"the rows come from several kernels ({', '.join(names)}); name one, and take its rows"
        )
    return catalogue.kernel(names[0], unit)


def generation_of(release: str) -> str:
    """Return the generation of data/kernels that a release such as ``6.6.30-android15`` belongs to."""
    known = {name: _version(name) for name in catalogue.kernels().name if re.fullmatch(r"\d+\.\d+", name)}
    version = _version(release)
    older = [name for name, start in known.items() if start <= version]
    return max(older, key=lambda name: known[name]) if older else min(known, key=lambda name: known[name])


def calibrate(
    cells: pd.DataFrame,
    machine: str | Machine = "",
    kernel: str | Kernel = "",
    sync: str | Policy = "sync",
    parameters: Sequence[str] | None = None,
    **choices: Any,
) -> Fit:
    """Fit a machine, and the costs of a kernel on it, to measured storms.

    Parameters
    ----------
    cells
        As `swaplib.measured_cells` returns them. Cells of split ``test`` are refused.
    machine, kernel, sync
        Where to begin, by name or as models; empty takes what the cells say (`template`, `generation`).
    parameters, choices
        As in `swaplib.analysis.calibrate.calibrate`: without parameters those are fitted that the cells determine.

    Returns
    -------
    Fit
        ``machine`` and ``kernel`` with the fitted numbers, ``cells`` with residuals, ``parameters`` with 95 %
        intervals, ``correlations``, and ``ridge``: what the cells cannot tell apart.

    Raises
    ------
    ValueError
        As the functions named above.

    Examples
    --------
    >>> cells = swaplib.measured_cells(swaplib.read_measurements("runs.csv"))
    >>> fit = swaplib.calibrate(cells[cells.procs <= 2])
    >>> swaplib.predict(cells[cells.procs == 4], fit.machine, fit.kernel, swaplib.policy("sync"))
    """
    choices.setdefault("v3", catalogue.policy("async-v3"))
    order = catalogue.policy(sync) if isinstance(sync, str) else sync
    return fitted.calibrate(
        cells, template(cells, machine), generation(cells, kernel), order, parameters, **choices
    )


def _template(measured: pd.DataFrame) -> tuple[str, str]:
    accel = {str(name).split("-")[0] for name in measured.accel} if "accel" in measured else {"native"}
    unknown = sorted(accel - set(TEMPLATES))
    if unknown:
        raise ValueError(f"column accel is '{unknown[0]}'; expected one of {', '.join(TEMPLATES)}")
    if len(accel) > 1:
        raise ValueError(
            f"the rows were measured in several ways ({', '.join(sorted(accel))}); take those of one"
        )
    return TEMPLATES[accel.pop()]


def _version(release: str) -> tuple[int, int]:
    found = re.match(r"\D*(\d{1,4})\.(\d{1,4})", release)
    if not found:
        raise ValueError(
            f"kernel '{release}' is no release; expected something like 6.18.44, or name a kernel"
        )
    return int(found[1]), int(found[2])
