"""Memory and swap slots: what comes back when entries and pages are freed, and who waits for it."""

from __future__ import annotations

from swaplib.model.compiled import compiled
from swaplib.model.policy import Hold
from swaplib.sim.queues import wake
from swaplib.sim.state import DRAIN, REAP, STALLED, TOUCH
from swaplib.sim.world import World

RECLAIM_PAGES = 32  # SWAP_CLUSTER_MAX, Linux 6.12 include/linux/swap.h:225
_ZRAM_BUFFER = int(Hold.ZRAM_BUFFER)


@compiled
def credit(w: World, process: int, entries: int, category: int) -> None:
    """Book freed entries of a process: who freed them, their slots and their zram memory."""
    p = w.process[process]
    p.freed_entries += entries
    if category == DRAIN:
        p.entries_async += entries
    elif category == REAP:
        p.entries_reaped += entries
    else:
        p.entries_sync += entries
    if w.policy[0].hold != _ZRAM_BUFFER:  # there the slots came back before the objects
        credit_slots(w, entries)
    if p.freed_entries == p.swap_entries:
        p.swap_freed_ns = w.system[0].now
    back = _zram_pages_back(w, process)
    give_pages(w, back - p.zram_pages_back)
    p.zram_pages_back = back


@compiled
def credit_slots(w: World, slots: int) -> None:
    """Give swap slots back, or take some; the slot cache is on or off by how many are free.

    On above 5 x 64 free slots a CPU, off below 2 x 64 (Linux 6.12 mm/swap_slots.c).
    """
    system, counter = w.system[0], w.counter[0]
    counter.free_slots += slots
    if slots > 0:
        system.swap_back_ns = system.now
    if counter.free_slots > len(w.cpu) * 320:
        system.cache_is_on = 1
    elif counter.free_slots < len(w.cpu) * 128:
        system.cache_is_on = 0
    _wake_stalled(w)


@compiled
def give_pages(w: World, pages: int) -> None:
    """Add free pages, and wake foreground threads that sleep for them."""
    w.counter[0].free_pages += pages
    _wake_stalled(w)


@compiled
def give_present_pages(w: World, process: int, pages: int) -> None:
    """Book present pages of a process as free."""
    p = w.process[process]
    p.present_pages_back += pages
    if p.present_pages_back == p.present_pages:
        p.present_freed_ns = w.system[0].now
        w.system[0].present_back_ns = w.system[0].now
    give_pages(w, pages)


@compiled
def atomic_pages_are_short(w: World) -> bool:
    """Whether GFP_ATOMIC fails: free pages below a quarter of the min watermark (low is 5/4 of min)."""
    return w.counter[0].free_pages < w.machine[0].watermark_pages // 5


@compiled
def _zram_pages_back(w: World, process: int) -> int:
    """Return the zram pages that are free again: in allocation order the share freed, else its power."""
    p = w.process[process]
    if p.freed_entries == p.swap_entries:
        return p.zram_pages
    if w.storm[0].frees_in_order > 0:
        return p.zram_pages * p.freed_entries // p.swap_entries
    share = (p.freed_entries << 16) // p.swap_entries
    power = 1 << 16
    for _ in range(w.storm[0].zspage_objects):
        power = power * share >> 16
    return p.zram_pages * power >> 16


@compiled
def _wake_stalled(w: World) -> None:
    """Wake the foreground threads that can touch their next pages or reclaim some."""
    system = w.system[0]
    if system.stalled == 0:
        return
    can_reclaim = w.storm[0].foreground_reclaims > 0 and w.counter[0].free_slots >= RECLAIM_PAGES
    for task in range(system.first_foreground, system.first_background):
        t = w.task[task]
        left = w.counter[0].free_pages - min(RECLAIM_PAGES, t.pages_left)
        if t.doing == STALLED and (can_reclaim or left >= w.machine[0].watermark_pages):
            t.doing = TOUCH
            system.stalled -= 1
            wake(w, task)
