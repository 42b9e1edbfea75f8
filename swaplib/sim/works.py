"""Works and their queues: a work is queued for a CPU, and a kworker is woken if the rules allow one more."""

from __future__ import annotations

from swaplib.model.compiled import compiled
from swaplib.model.policy import Workers
from swaplib.sim.queues import wake
from swaplib.sim.world import World

_PER_EXITING = int(Workers.PER_EXITING)


@compiled
def queue_work(w: World, portions: int, entries: int, pages: int, cpu: int) -> None:
    """Queue a work on behalf of a CPU; the loop sees to it that there is a free one."""
    system = w.system[0]
    work = system.free_work
    a = w.work[work]
    system.free_work = a.next
    system.free_works -= 1
    a.portions, a.entries, a.pages, a.cpu, a.next = portions, entries, pages, cpu, -1
    queue = w.cpu[cpu].node if system.queues > 1 else 0
    q = w.queue[queue]
    if q.last < 0:
        q.first = work
    else:
        w.work[q.last].next = work
    q.last = work
    w.counter[0].queued_entries += entries
    system.works += 1
    system.works_pending += 1
    if q.active < _most_active(w, queue) and q.idle >= 0:
        worker = q.idle
        q.idle = w.task[worker].next_idle
        q.active += 1
        w.task[worker].near = cpu
        wake(w, worker)


@compiled
def take_work(w: World, task: int) -> bool:
    """Give a kworker the oldest work of its queue; without one it joins the idle kworkers (False)."""
    t = w.task[task]
    q = w.queue[t.queue]
    if q.first < 0:
        q.active -= 1
        t.next_idle = q.idle
        q.idle = task
        return False
    t.work = q.first
    a = w.work[t.work]
    q.first = a.next
    if q.first < 0:
        q.last = -1
    w.counter[0].queued_entries -= a.entries
    w.counter[0].working_entries += a.entries
    return True


@compiled
def free_work(w: World, work: int) -> None:
    """Give a finished work back."""
    system = w.system[0]
    w.work[work].next = system.free_work
    system.free_work = work
    system.free_works += 1
    system.works_pending -= 1


@compiled
def _most_active(w: World, queue: int) -> int:
    """Return how many kworkers of a queue may be active now."""
    policy = w.policy[0]
    if policy.workers == _PER_EXITING:
        return max(1, (w.counter[0].exiting + policy.exiting_per_worker - 1) // policy.exiting_per_worker)
    return w.queue[queue].limit
