"""Page tables of 512 entries, claimed in address order by the owner and by a reaper."""

from __future__ import annotations

from swaplib.model.compiled import compiled
from swaplib.sim.cost import nanoseconds
from swaplib.sim.world import World

PAGES = 512  # of one table


@compiled
def claim_table(w: World, task: int, two_passes: bool, second_pass: bool) -> bool:
    """Claim the next page table; the walk's time is left in ``system.segment_ns``. False when none is left."""
    t = w.task[task]
    p = w.process[t.process]
    system = w.system[0]
    swap_pass = two_passes and second_pass
    table = p.next_swap_table if swap_pass else p.next_table
    if table >= p.tables:
        return False
    if swap_pass:
        p.next_swap_table += 1
    else:
        p.next_table += 1
    if system.in_front > 0:
        swap = _stretch(0, p.entries, table)
        present = _stretch(p.entries, p.present, table)
        file = _stretch(p.entries + p.present, p.file, table)
    else:
        swap = _share(p.entries, table, p.tables)
        present = _share(p.present, table, p.tables)
        file = _share(p.file, table, p.tables)
    if swap_pass:
        present, file = 0, 0
    scanned = swap
    if two_passes and not second_pass:
        swap = 0
    runs = (swap + p.run - 1) // p.run
    jumps = (swap + p.jump - 1) // p.jump
    t.swap_left, t.present_left, t.file_left = swap, present, file
    cpu_ps = (
        scanned * system.walk_entry_ps
        + runs * system.walk_run_cpu_ps
        + (present + file) * system.present_cpu_ps
    )
    memory_ps = jumps * system.walk_run_memory_ps + (present + file) * system.present_memory_ps
    system.segment_ns = nanoseconds(w, t.cpu, p.node, cpu_ps, memory_ps)
    return True


@compiled
def _share(total: int, table: int, tables: int) -> int:
    return total * (table + 1) // tables - total * table // tables


@compiled
def _stretch(start: int, pages: int, table: int) -> int:
    """Return how many pages of a stretch that begins at page `start` lie in a table."""
    return max(0, min(start + pages, (table + 1) * PAGES) - max(start, table * PAGES))
