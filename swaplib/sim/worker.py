"""A kworker: it takes works from its queue and frees what they hold, record by record."""

from __future__ import annotations

from swaplib.model.compiled import compiled
from swaplib.model.gather_state import drained
from swaplib.model.policy import Hold
from swaplib.sim.bags import free_parts
from swaplib.sim.memory import give_pages
from swaplib.sim.release import start_freeing, start_program, step_program
from swaplib.sim.state import AGAIN, DRAIN, EMPTY_CACHE, FETCH, FREE, RUN, SLEEP, ZRAM_PART
from swaplib.sim.works import free_work, take_work
from swaplib.sim.world import World

_GATHER, _SLOT_CACHE, _ZRAM_BUFFER = int(Hold.GATHER), int(Hold.SLOT_CACHE), int(Hold.ZRAM_BUFFER)


@compiled
def step_worker(w: World, task: int) -> int:
    """Do the next thing: fetch a work, free some of it, or go to sleep."""
    t = w.task[task]
    system = w.system[0]
    if t.program >= 0:
        return step_program(w, task)
    if t.stage == FETCH:
        work = take_work(w, t.queue)
        if work < 0:
            q = w.queue[t.queue]
            q.active -= 1
            t.next = q.idle
            q.idle = task
            return SLEEP
        t.work = work
        t.stage = FREE
        t.atomic = system.voluntary
        system.segment_ns, system.segment_category = system.work_ns, DRAIN
        return RUN if system.work_ns > 0 else AGAIN
    return _free(w, task)


@compiled
def _free(w: World, task: int) -> int:
    t = w.task[task]
    system = w.system[0]
    r = w.work[t.work]
    part = r.parts
    if part < 0:
        _finish(w, task)
        return AGAIN
    if system.hold == _SLOT_CACHE:
        r.parts = -1
        system.in_work -= r.entries
        runs = 0
        following = part
        while following >= 0:
            runs += w.part[following].runs
            following = w.part[following].next
        start_program(w, task, EMPTY_CACHE, w.part[part].process, r.entries, 1, runs, DRAIN)
        t.parts = part
        return AGAIN
    k = w.part[part]
    if system.hold == _ZRAM_BUFFER:
        entries = min(k.entries, system.grain)
        start_program(
            w,
            task,
            ZRAM_PART,
            k.process,
            entries,
            entries,
            (entries * k.runs + k.entries - 1) // k.entries,
            DRAIN,
        )
    else:
        entries = start_freeing(w, task, k.process, k.entries, DRAIN)
    system.in_work -= entries
    k.runs -= min(k.runs, t.runs)
    k.entries -= entries
    if k.entries == 0:
        r.parts = k.next
        k.next = -1
        free_parts(w, part)
    return AGAIN


@compiled
def _finish(w: World, task: int) -> None:
    t = w.task[task]
    system = w.system[0]
    r = w.work[t.work]
    if system.hold == _GATHER:
        drained(w.shared, r.pages)
        give_pages(w, r.pages)
    elif system.hold == _SLOT_CACHE:
        w.cpu[r.cpu].handed = 0
    elif system.hold == _ZRAM_BUFFER:
        system.pool_free += 1
    free_work(w, t.work)
    t.work = -1
    t.stage = FETCH
    t.atomic = 0
