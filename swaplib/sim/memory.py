"""Memory and swap slots: what comes back when entries and pages are freed, and who waits for it."""

from __future__ import annotations

from swaplib.model.compiled import compiled
from swaplib.model.policy import Hold
from swaplib.sim.scheduler import wake
from swaplib.sim.state import DRAIN, REAP, STALLED, TOUCHING
from swaplib.sim.world import World

_ZRAM_BUFFER = int(Hold.ZRAM_BUFFER)

RECLAIM_PAGES = 32  # SWAP_CLUSTER_MAX, Linux 6.12 include/linux/swap.h:225


@compiled
def credit(w: World, process: int, entries: int, by: int) -> None:
    """Book freed entries of a process: who freed them, their slots and their zram memory."""
    p = w.process[process]
    system = w.system[0]
    p.freed += entries
    if by == DRAIN:
        p.deferred += entries
    elif by == REAP:
        p.reaped += entries
    else:
        p.sync += entries
    if system.hold != _ZRAM_BUFFER:  # there the slots came back before the objects
        credit_slots(w, process, entries)
    if p.freed == p.entries:
        p.freed_ns = system.now
    back = _zram_back(w, process)
    give_pages(w, back - p.zram_back)
    p.zram_back = back


@compiled
def credit_slots(w: World, process: int, entries: int) -> None:
    """Give swap slots back; the slot cache is on or off by how many are free (Linux 6.12 mm/swap_slots.c)."""
    system = w.system[0]
    system.free_slots += entries
    if entries > 0:
        system.swap_back_ns = system.now
    switch_cache(w)
    _wake_stalled(w)


@compiled
def switch_cache(w: World) -> None:
    """Switch the slot cache on above 5 x 64 free slots a CPU and off below 2 x 64."""
    system = w.system[0]
    cpus = w.cpu.shape[0]
    if system.free_slots > cpus * 320:
        system.cache_on = 1
    elif system.free_slots < cpus * 128:
        system.cache_on = 0


@compiled
def _zram_back(w: World, process: int) -> int:
    """Return the zram pages that are free again: in allocation order the share freed, else its power."""
    p = w.process[process]
    if p.freed == p.entries:
        return p.zram_pages
    if w.system[0].in_order > 0:
        return p.zram_pages * p.freed // p.entries
    share = (p.freed << 16) // p.entries
    power = 1 << 16
    for _ in range(w.system[0].zspage_objects):
        power = power * share >> 16
    return p.zram_pages * power >> 16


@compiled
def give_pages(w: World, pages: int) -> None:
    """Add free pages, and wake foreground threads that sleep for them."""
    w.system[0].free_pages += pages
    _wake_stalled(w)


@compiled
def _wake_stalled(w: World) -> None:
    """Wake the foreground threads that can touch their next pages or reclaim some."""
    system = w.system[0]
    if system.stalled == 0:
        return
    can_reclaim = system.reclaims > 0 and system.free_slots >= RECLAIM_PAGES
    for task in range(system.first_front, system.first_back):
        t = w.task[task]
        can_touch = system.free_pages - min(RECLAIM_PAGES, t.pages_left) >= system.watermark
        if t.stage == STALLED and (can_touch or can_reclaim):
            t.stage = TOUCHING
            system.stalled -= 1
            wake(w, task)


@compiled
def atomic_pages_are_short(w: World) -> bool:
    """Whether a GFP_ATOMIC allocation fails: free pages below a quarter of the min watermark (low is 5/4 of min)."""
    return w.system[0].free_pages < w.system[0].watermark // 5
