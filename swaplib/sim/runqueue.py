"""The run queue of a CPU: a pairing heap, real-time tasks first, then the least virtual runtime, then who came first.

A task joins in constant time and the first leaves in O(log n) on average, so that a CPU may hold thousands. The heap is
linked through the tasks: `child` is a task's first follower, `next` the next follower of the same parent.
"""

from __future__ import annotations

from swaplib.model.compiled import compiled
from swaplib.sim.state import QUEUED
from swaplib.sim.world import World


@compiled
def enqueue(w: World, cpu: int, task: int) -> None:
    """Add a task to a CPU's run queue, behind its equals."""
    c, t = w.cpu[cpu], w.task[task]
    c.tickets += 1
    t.ticket = c.tickets
    t.state = QUEUED
    t.cpu = cpu
    _put(w, cpu, task)


@compiled
def dequeue(w: World, cpu: int, node: int) -> int:
    """Take the first task that may run on a node (any node: -1) out of a CPU's run queue; -1 when there is none."""
    c = w.cpu[cpu]
    passed = -1
    while c.queue >= 0 and not _may_run_on(w, c.queue, node):
        task = _take_first(w, cpu)
        w.task[task].next = passed
        passed = task
    found = -1 if c.queue < 0 else _take_first(w, cpu)
    while passed >= 0:
        following = w.task[passed].next
        _put(w, cpu, passed)
        passed = following
    return found


@compiled
def holds_for(w: World, cpu: int, node: int) -> bool:
    """Whether a task waits in a CPU's run queue that may run on a node."""
    if w.cpu[cpu].queue < 0 or _may_run_on(w, w.cpu[cpu].queue, node):
        return w.cpu[cpu].queue >= 0
    task = dequeue(w, cpu, node)
    if task >= 0:
        _put(w, cpu, task)
    return task >= 0


@compiled
def goes_before(w: World, a: int, b: int) -> bool:
    """Whether task a runs rather than b: real time first, then the smaller virtual runtime."""
    if w.task[a].realtime != w.task[b].realtime:
        return w.task[a].realtime > w.task[b].realtime
    return w.task[a].realtime == 0 and w.task[a].vruntime < w.task[b].vruntime


@compiled
def _may_run_on(w: World, task: int, node: int) -> bool:
    return node < 0 or w.task[task].node < 0 or w.task[task].node == node


@compiled
def _put(w: World, cpu: int, task: int) -> None:
    c, t = w.cpu[cpu], w.task[task]
    t.child = -1
    c.queue = _meld(w, c.queue, task)
    c.waiting += 1
    c.load += t.weight


@compiled
def _take_first(w: World, cpu: int) -> int:
    """Remove the root and meld its followers, first in pairs and then from the last pair on."""
    c = w.cpu[cpu]
    first = c.queue
    pairs = -1
    task = w.task[first].child
    while task >= 0:
        other = w.task[task].next
        following = -1 if other < 0 else w.task[other].next
        pair = _meld(w, task, other)
        w.task[pair].next = pairs
        pairs = pair
        task = following
    root = -1
    while pairs >= 0:
        following = w.task[pairs].next
        root = _meld(w, root, pairs)
        pairs = following
    c.queue = root
    c.waiting -= 1
    c.load -= w.task[first].weight
    return first


@compiled
def _meld(w: World, a: int, b: int) -> int:
    """Return the root of two heaps made one."""
    if a < 0 or b < 0:
        return max(a, b)
    if goes_before(w, b, a) or (not goes_before(w, a, b) and w.task[b].ticket < w.task[a].ticket):
        a, b = b, a
    w.task[b].next = w.task[a].child
    w.task[a].child = b
    return a
