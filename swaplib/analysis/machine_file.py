"""A measured machine: the template and the kernel from which a fit begins, and the file that keeps it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from itertools import groupby
from pathlib import Path

import pandas as pd

from swaplib import catalogue
from swaplib.model.checks import one_of
from swaplib.model.kernel import Kernel
from swaplib.model.machine import Machine

# Where a fit begins: by the first word of column accel, the machine and the unit in which kernels cost there.
TEMPLATES = {
    "native": ("lab-2cpu", "time"),
    "published": ("lab-2cpu", "time"),
    "mttcg": ("lab-2cpu-emulated", "instructions"),
    "icount": ("lab-1cpu", "instructions"),
}
SLICE_NS = 700_000  # base slice of one CPU, Linux 6.18 kernel/sched/fair.c; times 1 + log2 of up to 8 CPUs
_GROUP = r"[1-9]\d{0,4}x[1-9]\d{0,4}@\d{1,4}/\d{1,4}"


def template(measured: pd.DataFrame, machine: str | Machine = "") -> Machine:
    """Return the machine from which a fit begins, with the CPUs that the measurements tell of.

    Parameters
    ----------
    measured
        Rows of `swaplib.read_measurements`, or cells of `swaplib.measured_cells`: column cpus (as
        `swaplib probe` writes it) says what CPUs there are, else smp how many. All of one machine.
    machine
        A name of data/machines, a file that ends in .toml, or a machine; empty takes that of `TEMPLATES`.
    """
    start = machine or _start(measured)[0]
    found = start if isinstance(start, Machine) else catalogue.machine(start)
    for column in ("cpus", "smp"):
        told = sorted({str(value) for value in measured.get(column, []) if value})
        if len(told) > 1:
            several = f"several machines ({column} {', '.join(told)})"
            raise ValueError(f"the rows were measured on {several}; take those of one")
        if told:
            return with_cpus(found, told[0])
    return found


def generation(measured: pd.DataFrame, kernel: str | Kernel = "") -> Kernel:
    """Return the kernel from whose costs a fit to measurements (as for `template`) begins.

    `kernel` is a name of data/kernels, or a kernel; empty takes that of the releases in column kernel, which
    must be of one generation.
    """
    if isinstance(kernel, Kernel):
        return kernel
    names = [kernel] if kernel else sorted({generation_of(str(release)) for release in measured.kernel})
    if len(names) > 1:
        several = f"several kernels ({', '.join(names)})"
        raise ValueError(f"the rows come from {several}; name one, and take its rows")
    return catalogue.kernel(names[0], _start(measured)[1])


def generation_of(release: str) -> str:
    """Return the newest generation of data/kernels that is not newer than a release, else the oldest."""
    found = re.match(r"\D*(\d{1,4})\.(\d{1,4})", release)
    if not found:
        raise ValueError(f"kernel '{release}' is no release; expected something like 6.18.44")
    names = [name for name in catalogue.kernels().name if re.fullmatch(r"\d+\.\d+", name)]
    known = {tuple(map(int, name.split("."))): name for name in names}
    older = [version for version in known if version <= (int(found[1]), int(found[2]))]
    return known[max(older, default=min(known))]


def with_cpus(machine: Machine, cpus: int | str) -> Machine:
    """Return a machine with other CPUs, and the time slice that Linux gives to so many.

    `cpus` is how many equal ones, or groups as `swaplib probe` writes them: count x capacity @ node / pod, as
    ``4x327@0/0 4x1024@0/0``. Another text is a ValueError.
    """
    text = str(cpus).strip()
    if text == str(machine.cpus):
        return machine  # as many as the template has: it knows more of them
    groups = f"{text}x1024@0/0" if text.isdecimal() else text
    if not re.fullmatch(f"{_GROUP}( {_GROUP})*", groups):
        raise ValueError(f"CPUs are {text!r}; expected a number, or groups as 4x327@0/0 4x1024@0/0")
    rows: list[list[int]] = []
    for group in groups.split():
        count, *row = map(int, re.split("[x@/]", group))
        rows += [row] * count
    capacity, node, pod = (tuple(column) for column in zip(*rows, strict=True))
    fastest = max(capacity)
    capacity = tuple(max(1, speed * 1024 // fastest) for speed in capacity)
    if (capacity, node, pod) == (machine.capacity, machine.node, machine.pod):
        return machine
    numbers = {**machine.numbers, "slice_ns": SLICE_NS * min(8, len(rows)).bit_length()}
    told = ("published", "kernel/sched/fair.c of 6.18, by the number of CPUs")
    origin = {**machine.origin, "slice_ns": told}
    return replace(machine, capacity=capacity, node=node, pod=pod, numbers=numbers, origin=origin)


def write_machine(machine: Machine, path: str | Path, costs: Mapping[str, float] | None = None) -> Path:
    """Write a machine so that `swaplib.machine(path)` reads it back; return the path.

    Parameters
    ----------
    machine
        For example `Fit.machine`.
    path
        A new file whose name ends in ``.toml``; nothing is overwritten (FileExistsError).
    costs
        For example `Fit.costs`: kept as a table of that name, for ``swaplib.kernel(...).scaled(**costs)``.
    """
    path = Path(path)
    if path.suffix != ".toml":
        raise ValueError(f"{path} is no name for a machine; it must end in .toml")
    lines = _table(
        "# a machine", name=machine.name, what=machine.what, preemption=machine.preemption, core=machine.core
    )
    for (capacity, node, pod), same in groupby(zip(machine.capacity, machine.node, machine.pod, strict=True)):
        lines += _table("[[cpus]]", count=len(list(same)), capacity=capacity, node=node, pod=pod)
    for name, value in machine.numbers.items():
        kind, source = machine.origin.get(name, ("assumed", ""))
        lines += _table(f"[number.{name}]", value=int(value), kind=kind, source=source)
    lines += _table("[costs]", **costs) if costs else []
    with path.open("x", encoding="utf-8") as file:
        file.write("\n".join(lines))
    return path


def _table(heading: str, **values: object) -> list[str]:
    """Return a table of TOML, in which texts and numbers are written as in JSON."""
    return [
        heading,
        *(f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in values.items()),
        "",
    ]


def _start(measured: pd.DataFrame) -> tuple[str, str]:
    """Return machine and unit for the way in which rows were measured, native where they do not say."""
    ways = sorted({str(name).split("-")[0] for name in measured.get("accel", [])}) or ["native"]
    if len(ways) > 1:
        raise ValueError(f"the rows were measured in several ways ({', '.join(ways)}); take those of one")
    one_of("column accel", ways[0], TEMPLATES)
    return TEMPLATES[ways[0]]
