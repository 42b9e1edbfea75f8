"""Lists of parts, "so many entries of this process": what a slot cache, the list, an object page or a work holds."""

from __future__ import annotations

from swaplib.model.compiled import compiled
from swaplib.sim.world import World


@compiled
def new_part(w: World, process: int, entries: int, runs: int) -> int:
    """Return a new part; the main loop sees to it that there is always one to be had."""
    system = w.system[0]
    part = system.free_part
    r = w.part[part]
    system.free_part = r.next
    system.free_parts -= 1
    r.process, r.entries, r.runs, r.next = process, entries, runs, -1
    return part


@compiled
def free_parts(w: World, part: int) -> None:
    """Give a list of parts back."""
    system = w.system[0]
    while part >= 0:
        following = w.part[part].next
        w.part[part].next = system.free_part
        system.free_part = part
        system.free_parts += 1
        part = following


@compiled
def fill_bag(w: World, bag: int, process: int, entries: int, runs: int, records: int) -> None:
    """Put entries into a bag; neighbours of the same process are one part."""
    b = w.bag[bag]
    b.entries += entries
    b.runs += runs
    b.records += records
    if b.tail >= 0 and w.part[b.tail].process == process:
        w.part[b.tail].entries += entries
        w.part[b.tail].runs += runs
        return
    part = new_part(w, process, entries, runs)
    if b.tail < 0:
        b.head = part
    else:
        w.part[b.tail].next = part
    b.tail = part


@compiled
def empty_bag(w: World, bag: int) -> int:
    """Take everything out of a bag and return the list of its parts."""
    b = w.bag[bag]
    head = b.head
    b.head = -1
    b.tail = -1
    b.entries = 0
    b.runs = 0
    b.records = 0
    return head
