"""What runs beside the exits, and the memory and swap slots that come back for the foreground."""

from swaplib.model.compiled import compiled, inlined
from swaplib.model.policy import Hold
from swaplib.sim import state
from swaplib.sim.calls import start_program
from swaplib.sim.cpu_time import spend
from swaplib.sim.queues import schedule, wake
from swaplib.sim.state import AGAIN, FOREGROUND, SLEEP
from swaplib.sim.world import World

RECLAIM_PAGES = 32  # SWAP_CLUSTER_MAX, Linux 6.12 include/linux/swap.h:225
LOOK_NS = 10_000_000  # between looks of lmkd while swap is low: PSI_POLL_PERIOD_SHORT_MS, AOSP lmkd.cpp
_ZRAM_BUFFER = int(Hold.ZRAM_BUFFER)


@compiled
def share(total: int, part: int, parts: int) -> int:
    """Return an even share of a whole number: what part `part` of `parts` has of it."""
    return total * (part + 1) // parts - total * part // parts


@compiled
def start_phase(w: World) -> None:
    """Wake the threads of the next phase, each with its share of the work."""
    system = w.system[0]
    phase = w.phase[system.phase]
    system.phase_threads_left = phase.threads
    for thread in range(phase.threads):
        t = w.task[system.first_foreground + thread]
        t.left_ns = share(phase.cpu_ns, thread, phase.threads)
        t.pages_left = share(phase.pages, thread, phase.threads)
        t.doing = state.COMPUTE
        wake(w, system.first_foreground + thread)


@compiled
def step_foreground(w: World, task: int) -> int:
    """Do the next thing of a foreground thread: compute, touch pages, reclaim, or wait for the others."""
    t, system = w.task[task], w.system[0]
    if t.doing == state.COMPUTE:
        if t.left_ns > 0:
            return _burst(w, task, FOREGROUND)
        t.doing = state.TOUCH
    if t.doing == state.RECLAIMED:
        system.reclaimed += RECLAIM_PAGES
        give_pages(w, RECLAIM_PAGES * system.reclaim_gain_permille // 1000)
        t.doing = state.TOUCH
    if t.pages_left > 0:
        return _touch(w, task)
    t.doing = state.BARRIER
    system.phase_threads_left -= 1
    if system.phase_threads_left == 0:
        w.phase[system.phase].end_ns = system.now
        system.phase += 1
        if system.phase < len(w.phase):
            schedule(w, len(w.event) // 2 - 1, system.now)
    return SLEEP


@compiled
def step_background(w: World, task: int) -> int:
    """Do the next thing of a background thread: its burst, or sleep until the next one is due."""
    t, system = w.task[task], w.system[0]
    if t.left_ns > 0:
        return _burst(w, task, t.category)
    t.next_burst_ns += t.period_ns
    if t.next_burst_ns <= system.now:
        t.missed += 1 + (system.now - t.next_burst_ns) // t.period_ns
        t.next_burst_ns = system.now
        t.left_ns = t.burst_ns
        return AGAIN
    schedule(w, len(w.cpu) + task - system.first_background, t.next_burst_ns)
    return SLEEP


@compiled
def _burst(w: World, task: int, category: int) -> int:
    t = w.task[task]
    capacity = w.cpu[t.cpu].capacity
    return spend(w, (t.left_ns * 1024 + capacity - 1) // capacity, category)


@compiled
def _touch(w: World, task: int) -> int:
    """Touch the next pages, or reclaim some first where memory is short, or sleep until some come back."""
    t, system, machine = w.task[task], w.system[0], w.machine[0]
    pages = min(RECLAIM_PAGES, t.pages_left)
    if w.counter[0].free_pages - pages >= machine.watermark_pages:
        w.counter[0].free_pages -= pages
        t.pages_left -= pages
        return spend(w, pages * machine.fault_ns * 1024 // w.cpu[t.cpu].capacity, FOREGROUND)
    if w.storm[0].foreground_reclaims > 0:
        if w.counter[0].free_slots >= RECLAIM_PAGES:
            t.doing = state.RECLAIMED
            credit_slots(w, -RECLAIM_PAGES)  # taken now, so that no other thread counts on them
            start_program(w, task, state.SWAP_OUT, -1, RECLAIM_PAGES, 1, 1, state.RECLAIM)
            return AGAIN
        system.slot_failures += 1
    t.doing = state.STALLED
    system.stalls += 1
    system.stalled += 1
    return SLEEP


@inlined
def credit(w: World, process: int, entries: int, category: int) -> None:
    """Book freed entries of a process: who freed them, their slots and their zram memory."""
    p = w.process[process]
    p.freed_entries += entries
    if category == state.DRAIN:
        p.entries_async += entries
    elif category == state.REAP:
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


@inlined
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
def memory_is_short(w: World) -> bool:
    """Tell whether lmkd wants to kill: free pages and free swap slots are both below its thresholds."""
    storm, counter, slots = w.storm[0], w.counter[0], w.machine[0].swap_slots
    swap_is_low = counter.free_slots * 1000 < slots * storm.kill_below_slots_permille
    return swap_is_low and counter.free_pages < storm.kill_below_pages


@compiled
def victim_is_gone(w: World, process: int) -> None:
    """Let lmkd look at once when the process that it killed last is gone."""
    system = w.system[0]
    if w.storm[0].kill_timeout_ns >= 0 and process + 1 == system.next_kill < system.first_worker:
        w.process[system.next_kill].kill_ns = system.now


@compiled
def give_pages(w: World, pages: int) -> None:
    """Add free pages, and wake foreground threads that sleep for them."""
    w.counter[0].free_pages += pages
    _wake_stalled(w)


@inlined
def _zram_pages_back(w: World, process: int) -> int:
    """Return the zram pages that are free again: in allocation order the share freed, else its power."""
    p = w.process[process]
    if p.zram_pages == 0 or p.freed_entries == p.swap_entries:
        return p.zram_pages
    if w.storm[0].frees_in_order > 0:
        return p.zram_pages * p.freed_entries // p.swap_entries
    return p.zram_pages * w.power[(p.freed_entries << 16) // p.swap_entries].of_65536 >> 16


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
        if t.doing == state.STALLED and (can_reclaim or left >= w.machine[0].watermark_pages):
            t.doing = state.TOUCH
            system.stalled -= 1
            wake(w, task)
