"""Works, their queues, and the kworkers that free what the works hold."""

from __future__ import annotations

from swaplib.model.compiled import compiled
from swaplib.model.policy import Workers
from swaplib.sim.clock import exiting
from swaplib.sim.scheduler import wake
from swaplib.sim.world import World

_PER_EXITING = int(Workers.PER_EXITING)


@compiled
def queue_work(w: World, parts: int, entries: int, pages: int, cpu: int) -> None:
    """Queue a work on behalf of a CPU, and start a worker if the rules allow one more."""
    system = w.system[0]
    work = system.free_work
    r = w.work[work]
    system.free_work = r.next
    system.free_works -= 1
    r.parts, r.entries, r.pages, r.cpu, r.queued_ns, r.next = parts, entries, pages, cpu, system.now, -1
    queue = w.cpu[cpu].node if system.queues > 1 else 0
    q = w.queue[queue]
    if q.tail < 0:
        q.head = work
    else:
        w.work[q.tail].next = work
    q.tail = work
    q.length += 1
    q.longest = max(q.longest, q.length)
    system.queued += entries
    system.works += 1
    system.works_pending += 1
    if q.active < worker_limit(w, queue) and q.idle >= 0:
        worker = q.idle
        q.idle = w.task[worker].next
        q.active += 1
        w.task[worker].near = cpu
        wake(w, worker)


@compiled
def worker_limit(w: World, queue: int) -> int:
    """Return how many workers of a queue may be active now."""
    system = w.system[0]
    if system.workers == _PER_EXITING:
        return max(1, (exiting(w) + system.exiting_per_worker - 1) // system.exiting_per_worker)
    return w.queue[queue].limit


@compiled
def take_work(w: World, queue: int) -> int:
    """Take the oldest work of a queue, or -1."""
    system = w.system[0]
    q = w.queue[queue]
    work = q.head
    if work < 0:
        return -1
    q.head = w.work[work].next
    if q.head < 0:
        q.tail = -1
    q.length -= 1
    system.queued -= w.work[work].entries
    system.in_work += w.work[work].entries
    return work


@compiled
def free_work(w: World, work: int) -> None:
    """Give a finished work back."""
    system = w.system[0]
    w.work[work].next = system.free_work
    system.free_work = work
    system.free_works += 1
    system.works_pending -= 1
