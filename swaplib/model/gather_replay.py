"""Replay of recorded calls on the patch's gather, in the format of ``tests/vectors/gather.json``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from swaplib.model import gather_state as step
from swaplib.model.capacity import Limits

_OPERATIONS = {
    "inc": ("change",),
    "gather": ("process", "dying", "mm_swapents"),
    "rm": ("process", "first_entry", "nr", "count", "stride"),
    "fin": ("process",),
}
_CONSTANTS = {
    "nr_min": "threshold",
    "swap_cluster_max": "swap_entries_min",
    "local_slots": "bundle_slots",
    "page_slots": "page_slots",
    "max_pages_per_work": "pages_per_work",
}


def replay(case: Mapping[str, Any]) -> dict[str, Any]:
    """Replay one case and return what is expected of it: the dict that stands under "expect" in the file.

    No work is drained before the last operation, so the pages held before the drain are also the peak. A gather that
    is opened again before it was finished, or never finished, is leaked with its pages.

    Parameters
    ----------
    case : mapping
        With "ops": ``[inc, d]``, ``[gather, p, dying, mm_swapents]``, ``[rm, p, first_entry, nr, count, stride]`` and
        ``[fin, p]``. Optionally "cache_alloc_fail" and "page_alloc_fail" (ordinals of failing calls, from 1; -1 for
        always), "nr_min" (the threshold; 2) and the file's constants where they differ from the patch's on 4 KiB
        pages: "page_size" in bytes, "swap_cluster_max", "local_slots", "page_slots", "max_pages_per_work".

    Returns
    -------
    dict
        works, sync, init_state, final_nr_exiting, cache_allocs, page_allocs, peak_pages, pages_held_before_drain,
        drained_entries, drain_matches, leaked_gathers, leaked_pages, vm_bug. Lists of runs are coded as
        ``[first_entry, nr, count, stride]``, greedily, with stride 0 for a single one.

    Raises
    ------
    ValueError
        If an operation is malformed; the message names its index.
    """
    changed = {field: case[constant] for constant, field in _CONSTANTS.items() if constant in case}
    bounds = Limits.for_page(case.get("page_size", 4096), **changed).vector()
    gather_fail = ordinals("cache_alloc_fail", case.get("cache_alloc_fail", ()))
    page_fail = ordinals("page_alloc_fail", case.get("page_alloc_fail", ()))
    shared = np.zeros(step.SHARED_FIELDS, np.int64)
    processes: dict[int, _Process] = {}
    works: list[dict[str, Any]] = []

    for index, operation in enumerate(case["ops"]):
        name, arguments = _checked(index, operation)
        if name == "inc":
            shared[step.EXITING] += arguments[0]
            continue
        process = processes.setdefault(arguments[0], _Process(arguments[0]))
        if name == "gather":
            dying, swap_entries = arguments[1:]
            process.opened = step.open_gather(
                process.vector, shared, bounds, gather_fail, bool(dying), swap_entries
            )
            process.held = []
        elif name == "fin":
            if step.finish(process.vector, shared):
                works.append(process.queued(index, at_finish=True))
        else:
            first, nr, count, stride = arguments[1:]
            while count > 0:
                taken, outcome = step.add(process.vector, shared, bounds, gather_fail, page_fail, nr, count)
                taken = int(taken)  # numpy's, where the step runs as plain Python
                process.calls += taken
                append_runs(
                    process.freed if outcome == step.FREED else process.held, first, nr, taken, stride
                )
                if outcome == step.QUEUED:
                    works.append(process.queued(index, at_finish=False))
                first, count = first + taken * stride, count - taken

    pages_held = int(shared[step.PAGES_ALIVE])
    for work in works:
        step.drained(shared, work["pages"])
    drained = [sum(nr * count for _, nr, count, _ in work["list"]) for work in works]
    in_order = sorted(processes.values(), key=lambda process: process.number)
    return {
        "works": works,
        "sync": {str(process.number): process.freed for process in in_order if process.freed},
        "init_state": {
            str(process.number): ("none", "freeable", "freeing")[process.opened]
            for process in in_order
            if process.opened is not None
        },
        "final_nr_exiting": int(shared[step.EXITING]),
        "cache_allocs": int(shared[step.GATHER_CALLS]),
        "page_allocs": int(shared[step.PAGE_CALLS]),
        "peak_pages": pages_held,
        "pages_held_before_drain": pages_held,
        "drained_entries": sum(drained),
        "drain_matches": drained == [work["entries"] for work in works],
        "leaked_gathers": int(shared[step.GATHERS_ALIVE]),
        "leaked_pages": int(shared[step.PAGES_ALIVE]),
        "vm_bug": 0,  # the patch's assertions cannot fail while every batch has room for a run of two slots
    }


def ordinals(name: str, failing: Iterable[int]) -> step.Vector:
    """Sorted ordinals of failing allocations, as `swaplib.model.gather_state` reads them; -1 fails always."""
    values = list(failing)
    for position, value in enumerate(values):
        if isinstance(value, bool) or not isinstance(value, int | np.integer) or (value < 1 and value != -1):
            raise ValueError(
                f"{name}[{position}] is {value!r}; expected the ordinal of a call, from 1, or -1 for always"
            )
    return np.array(sorted(values), dtype=np.int64)


def append_runs(coded: list[list[int]], first: int, nr: int, count: int, stride: int) -> None:
    """Append `count` runs of `nr` entries, `stride` apart, to a run-length coded list, as coding one by one would.

    A coded item ``[first, nr, count, stride]`` takes a further run of the same length if that lies one stride on; its
    second run sets the stride.
    """
    while count > 0:
        if coded and coded[-1][1] == nr:
            last = coded[-1]
            if last[2] == 1:
                last[2:] = 2, first - last[0]
                first, count = first + stride, count - 1
            if first == last[0] + last[2] * last[3]:
                fitting = count if stride == last[3] else min(count, 1)
                last[2] += fitting
                first, count = first + fitting * stride, count - fitting
        if count > 0:
            coded.append([first, nr, count, stride if count > 1 else 0])
            return


@dataclass
class _Process:
    """One process of a replay: its gather, calls so far, runs of the current work and runs freed synchronously."""

    number: int
    vector: step.Vector = field(default_factory=lambda: np.zeros(step.GATHER_FIELDS, np.int64))
    opened: int | None = None
    calls: int = 0
    held: list[list[int]] = field(default_factory=list)
    freed: list[list[int]] = field(default_factory=list)

    def queued(self, operation: int, *, at_finish: bool) -> dict[str, Any]:
        """Describe the work just queued, and start the next."""
        runs, self.held = self.held, []
        return {
            "p": self.number,
            "op": operation,
            "after_calls": self.calls,
            "at_finish": at_finish,
            "pages": int(self.vector[step.QUEUED_PAGES]),
            "slots": int(self.vector[step.QUEUED_SLOTS]),
            "items": int(self.vector[step.QUEUED_RECORDS]),
            "entries": int(self.vector[step.QUEUED_ENTRIES]),
            "list": runs,
        }


def _checked(index: int, operation: Any) -> tuple[str, list[int]]:
    """Name and arguments of an operation that has the right ones."""
    name, *arguments = operation
    if name not in _OPERATIONS:
        raise ValueError(f"ops[{index}] is {name!r}; expected one of {', '.join(_OPERATIONS)}")
    wanted = _OPERATIONS[name]
    if len(arguments) != len(wanted) or not all(isinstance(value, int) for value in arguments):
        raise ValueError(
            f"ops[{index}] is {operation!r}; expected [{', '.join((name, *wanted))}] in whole numbers"
        )
    if name == "rm" and (arguments[2] < 1 or arguments[3] < 0):
        raise ValueError(f"ops[{index}] is {operation!r}; expected nr of at least 1 and count of at least 0")
    return name, arguments
