"""A machine as a file of data/machines: written once, never over another file."""

from __future__ import annotations

import json
from itertools import groupby
from pathlib import Path

from swaplib.model.machine import Machine


def write_machine(machine: Machine, path: str | Path) -> Path:
    """Write a machine so that `swaplib.machine(path)` reads it back.

    Parameters
    ----------
    machine
        For example `Fit.machine`.
    path
        A new file whose name ends in ``.toml``.

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
    with path.open("x", encoding="utf-8") as file:
        file.write("\n".join(lines) + "\n")
    return path
