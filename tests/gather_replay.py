"""Recorded calls on the patch's gather, replayed in the format of ``tests/vectors/gather.json``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from swaplib.model import gather as step
from swaplib.model.gather import Limits, ordinals

CONSTANTS = {
    "nr_min": "threshold",
    "swap_cluster_max": "swap_entries_min",
    "local_slots": "bundle_slots",
    "page_slots": "page_slots",
    "max_pages_per_work": "pages_per_work",
}


def replay(case: Mapping[str, Any]) -> dict[str, Any]:
    """Replay one case and return what is expected of it: the dict that stands under "expect" in the file.

    No work is drained before the last operation, so the pages held before the drain are also the peak. A
    gather that is opened again before it was finished, or never finished, is leaked with its pages.

    A case has "ops": ``[inc, d]``, ``[gather, p, dying, mm_swapents]``, ``[rm, p, first_entry, nr, count,
    stride]`` and ``[fin, p]``; perhaps "cache_alloc_fail" and "page_alloc_fail" (ordinals of failing calls
    from 1; -1 for always), "page_size" in bytes, and constants that differ from the patch's. Lists of runs
    are coded as ``[first_entry, nr, count, stride]``, greedily, with stride 0 for a single one.
    """
    changed = {field: case[constant] for constant, field in CONSTANTS.items() if constant in case}
    bounds = Limits.for_page(case.get("page_size", 4096), **changed).record()
    gather_fail = ordinals("cache_alloc_fail", case.get("cache_alloc_fail", ()))
    page_fail = ordinals("page_alloc_fail", case.get("page_alloc_fail", ()))
    shared = step.new_record(step.SHARED)
    processes: dict[int, Process] = {}
    works: list[dict[str, Any]] = []

    for index, (name, *arguments) in enumerate(case["ops"]):
        if name == "inc":
            shared.exiting += arguments[0]
            continue
        process = processes.setdefault(arguments[0], Process(arguments[0]))
        if name == "gather":
            dying, swap_entries = arguments[1:]
            opening = (process.gather, shared, bounds, gather_fail, bool(dying), swap_entries)
            process.opened, process.held = step.open_gather(*opening), []
        elif name == "fin":
            if step.finish(process.gather, shared):
                works.append(process.queued(index, at_finish=True))
        else:
            first, nr, count, stride = arguments[1:]
            while count > 0:
                taken, outcome = step.add(process.gather, shared, bounds, gather_fail, page_fail, nr, count)
                taken = int(taken)  # numpy's, where the step runs as plain Python
                process.calls += taken
                runs = process.freed if outcome == step.FREED else process.held
                append_runs(runs, first, nr, taken, stride)
                if outcome == step.QUEUED:
                    works.append(process.queued(index, at_finish=False))
                first, count = first + taken * stride, count - taken

    pages_held = int(shared.pages_alive)
    for work in works:
        shared.gathers_alive -= 1
        shared.pages_alive -= work["pages"]
    drained = [sum(nr * count for _, nr, count, _ in work["list"]) for work in works]
    in_order = [processes[number] for number in sorted(processes)]
    return {
        "works": works,
        "sync": {str(p.number): p.freed for p in in_order if p.freed},
        "init_state": {str(p.number): step.STATES[p.opened] for p in in_order if p.opened is not None},
        "final_nr_exiting": int(shared.exiting),
        "cache_allocs": int(shared.gather_calls),
        "page_allocs": int(shared.page_calls),
        "peak_pages": pages_held,
        "pages_held_before_drain": pages_held,
        "drained_entries": sum(drained),
        "drain_matches": drained == [work["entries"] for work in works],
        "leaked_gathers": int(shared.gathers_alive),
        "leaked_pages": int(shared.pages_alive),
        "vm_bug": 0,  # the patch's assertions cannot fail while every batch has room for a run of two slots
    }


def append_runs(coded: list[list[int]], first: int, nr: int, count: int, stride: int) -> None:
    """Append `count` runs of `nr` entries, `stride` apart, to a coded list, as coding one by one would."""
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


class Process:
    """One process: its gather, calls so far, runs of the current work and runs freed synchronously."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.gather = step.new_record(step.GATHER)
        self.opened: int | None = None
        self.calls = 0
        self.held: list[list[int]] = []
        self.freed: list[list[int]] = []

    def queued(self, operation: int, *, at_finish: bool) -> dict[str, Any]:
        """Describe the work just queued, and start the next."""
        runs, self.held = self.held, []
        return {
            "p": self.number,
            "op": operation,
            "after_calls": self.calls,
            "at_finish": at_finish,
            "pages": int(self.gather.queued_pages),
            "slots": int(self.gather.queued_slots),
            "items": int(self.gather.queued_records),
            "entries": int(self.gather.queued_entries),
            "list": runs,
        }
