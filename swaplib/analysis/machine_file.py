"""A machine of one's own: with the CPUs that were measured, and as a file of data/machines, written once."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from itertools import groupby
from pathlib import Path

from swaplib.model.machine import Machine

SLICE_NS = 700_000  # base slice of one CPU, Linux 6.18 kernel/sched/fair.c; times 1 + log2 of up to 8 CPUs


def with_cpus(machine: Machine, cpus: int | str) -> Machine:
    """Return a machine with other CPUs, and the time slice that Linux gives to so many.

    Parameters
    ----------
    machine
        The template; it stays as it is where it has so many CPUs already.
    cpus
        How many equal ones, or groups as `swaplib probe` writes them: count x capacity @ node / pod, as
        ``4x327@0/0 4x1024@0/0``.

    Raises
    ------
    ValueError
        Another text, or CPUs that no machine can have.
    """
    text = str(cpus).strip()
    if text.isdecimal():
        if int(text) == machine.cpus:
            return machine
        groups = [(int(text), 1024, 0, 0)]
    else:
        found = [re.fullmatch(r"(\d{1,5})x(\d{1,5})@(\d{1,4})/(\d{1,4})", group) for group in text.split()]
        groups = [tuple(int(number) for number in group.groups()) for group in found if group]  # type: ignore[misc]
        if not groups or not all(found):
            raise ValueError(f"CPUs are {text!r}; expected a number, or groups as 4x327@0/0 4x1024@0/0")
    rows = [rest for count, *rest in groups for _ in range(count)]
    if not rows:
        raise ValueError(f"CPUs are {text!r}; expected at least one")
    fastest = max(capacity for capacity, _, _ in rows)
    capacity, node, pod = zip(*((max(1, c * 1024 // fastest), n, p) for c, n, p in rows), strict=True)
    if (capacity, node, pod) == (machine.capacity, machine.node, machine.pod):
        return machine
    numbers = {**machine.numbers, "slice_ns": SLICE_NS * min(8, len(rows)).bit_length()}
    origin = {
        **machine.origin,
        "slice_ns": ("published", "kernel/sched/fair.c of 6.18, by the number of CPUs"),
    }
    return replace(machine, capacity=capacity, node=node, pod=pod, numbers=numbers, origin=origin)


def write_machine(machine: Machine, path: str | Path, costs: Mapping[str, float] | None = None) -> Path:
    """Write a machine so that `swaplib.machine(path)` reads it back.

    Parameters
    ----------
    machine
        For example `Fit.machine`.
    path
        A new file whose name ends in ``.toml``.
    costs
        What the kernel's costs are multiplied by on this machine, for example `Fit.costs`: kept in the file as a table
        of that name, for ``swaplib.kernel(...).scaled(**costs)``.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    ValueError
        Another ending.
    FileExistsError
        The file exists; nothing is overwritten.
    """
    path = Path(path)
    if path.suffix != ".toml":
        raise ValueError(f"{path} is no name for a machine; it must end in .toml")
    lines = [f"name = {json.dumps(machine.name)}", f"what = {json.dumps(machine.what)}"]
    lines.append(f"preemption = {json.dumps(machine.preemption)}")
    cpus = zip(machine.capacity, machine.node, machine.pod, strict=True)
    for (capacity, node, pod), same in groupby(cpus):
        lines += [
            "",
            "[[cpus]]",
            f"count = {len(list(same))}",
            f"capacity = {capacity}",
            f"node = {node}",
            f"pod = {pod}",
        ]
    for row in machine.df().itertuples():
        lines += ["", f"[number.{row.number}]", f"value = {row.value}", f'kind = "{row.kind}"']
        lines += [f"source = {json.dumps(row.source, ensure_ascii=False)}"]
    if costs:
        lines += [
            "",
            "# swaplib.kernel(...).scaled() takes these: the kernel's costs are multiplied by them here",
            "[costs]",
        ]
        lines += [f"{name} = {value}" for name, value in costs.items()]
    with path.open("x", encoding="utf-8") as file:
        file.write("\n".join(lines) + "\n")
    return path
