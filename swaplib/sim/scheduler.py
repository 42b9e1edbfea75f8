"""One run queue a CPU: who runs next, who preempts whom, and where a woken task goes."""

from __future__ import annotations

from swaplib.model.compiled import compiled
from swaplib.sim.clock import close_segment
from swaplib.sim.events import schedule_cpu
from swaplib.sim.runqueue import dequeue, enqueue, goes_before, holds_for
from swaplib.sim.state import BACK, CPU_BUSY, CPU_IDLE, FRONT, IDLE, QUEUED, RUNNING, SWITCH
from swaplib.sim.world import World

MISFIT_NS = 1_000_000  # a burst that is nearly over is not moved
_MOVE_UP = 2  # in `resched`: a faster CPU is idle


@compiled
def wake(w: World, task: int) -> None:
    """Make a sleeping task runnable: on an idle CPU that it may use, else where least weight waits."""
    t = w.task[task]
    cpu = _choose_cpu(w, task)
    c = w.cpu[cpu]
    earned = t.vruntime if t.cpu == cpu else 0  # sleeping gains nothing where the task ran before
    t.cpu = cpu
    t.vruntime = max(earned, _least_vruntime(w, cpu))
    if c.task < 0:
        close_segment(w, cpu)
        t.state = RUNNING
        c.task = task
        c.state = CPU_BUSY
        c.category = IDLE
        c.planned = w.system[0].wake_ns
        _begin_slice(w, cpu, w.system[0].now + w.system[0].wake_ns)
        schedule_cpu(w, cpu, w.system[0].now + w.system[0].wake_ns)
        return
    enqueue(w, cpu, task)
    if _preempts(w, task, cpu):
        c.resched = 1
        _cut(w, cpu, w.system[0].now)
    else:
        _cut(w, cpu, c.slice_end)


@compiled
def _begin_slice(w: World, cpu: int, since: int) -> None:
    """Give the running task a slice; that it is used up is seen at a tick."""
    c = w.cpu[cpu]
    c.slice_since = since
    c.slice_end = since + w.system[0].slice_ns
    tick_ns = w.system[0].tick_ns
    if tick_ns > 0:
        c.slice_end = (c.slice_end + tick_ns - 1) // tick_ns * tick_ns


@compiled
def give_up(w: World, cpu: int) -> bool:
    """At a point where the running task may be preempted: put it back if another should run; True when it was."""
    c = w.cpu[cpu]
    if c.resched == _MOVE_UP:
        c.resched = 0
        faster = _idle_cpu(w, c.task)
        if faster >= 0 and _is_faster(w, faster, cpu):
            w.task[c.task].state = QUEUED
            task = c.task
            c.task = -1
            wake(w, task)
            return True
    if c.waiting == 0:
        c.resched = 0
        return False
    system = w.system[0]
    if c.resched == 0 and system.now < c.slice_end:
        return False
    c.resched = 0
    task = c.task
    if not goes_before(w, c.queue, task):
        _begin_slice(w, cpu, system.now)
        return False
    c.task = -1
    idle = _idle_cpu(w, task)
    if idle >= 0 and idle != cpu:
        w.task[task].state = QUEUED
        wake(w, task)
    else:
        enqueue(w, cpu, task)
    return True


@compiled
def next_task(w: World, cpu: int) -> int:
    """Take the task that a free CPU runs next from its own queue, else from the fullest one; -1 when none waits."""
    c = w.cpu[cpu]
    task = dequeue(w, cpu, -1)
    if task < 0:
        task = _pull(w, cpu)
    if task < 0:
        _call_for_misfit(w, cpu)
        return -1
    t = w.task[task]
    t.state = RUNNING
    t.cpu = cpu
    c.task = task
    c.resched = 0
    if t.realtime == 0:
        c.vruntime = max(c.vruntime, t.vruntime)
    _begin_slice(w, cpu, w.system[0].now)
    return task


@compiled
def _choose_cpu(w: World, task: int) -> int:
    idle = _idle_cpu(w, task)
    if idle >= 0:
        return idle
    t = w.task[task]
    best = -1
    best_load = 0
    best_near = False
    for cpu in range(w.cpu.shape[0]):
        c = w.cpu[cpu]
        if t.node >= 0 and c.node != t.node:
            continue
        near = t.near >= 0 and c.pod == w.cpu[t.near].pod
        running = 0 if c.task < 0 else w.task[c.task].weight
        if t.realtime > 0 and c.task >= 0 and w.task[c.task].realtime > 0:  # find_lowest_rq
            running += 1 << 20
        load = (c.load + running) * 1024 // c.capacity
        if best < 0 or (near and not best_near) or (near == best_near and load < best_load):
            best, best_load, best_near = cpu, load, near
    return best


@compiled
def _idle_cpu(w: World, task: int) -> int:
    """Return the best idle CPU for a task: near first where it has a place, then capacity, then node; -1 if none."""
    t = w.task[task]
    best = -1
    best_score = -1
    home = -1 if t.near < 0 else w.cpu[t.near].node
    for cpu in range(w.cpu.shape[0]):
        c = w.cpu[cpu]
        if c.task >= 0 or c.waiting > 0 or (t.node >= 0 and c.node != t.node):
            continue
        score = c.capacity * 4
        if t.near >= 0 and c.pod == w.cpu[t.near].pod:
            score += 1 << 20
        if c.node == home:
            score += 2
        if cpu == t.cpu:
            score += 1
        if score > best_score:
            best, best_score = cpu, score
    return best


@compiled
def _pull(w: World, cpu: int) -> int:
    """Take a waiting task from the fullest queue, of the same node first."""
    mine = w.cpu[cpu].node
    for same_node in (True, False):
        source = -1
        most = 0
        for other in range(w.cpu.shape[0]):
            o = w.cpu[other]
            if o.waiting > most and (o.node == mine) == same_node and holds_for(w, other, mine):
                source, most = other, o.waiting
        if source >= 0:
            task = dequeue(w, source, mine)
            w.task[task].vruntime += w.cpu[cpu].vruntime - _least_vruntime(w, source)
            return task
    return -1


@compiled
def _call_for_misfit(w: World, cpu: int) -> None:
    """Let an idle CPU ask the slowest CPU for its task, when that would run a quarter faster here (misfit balance)."""
    source = -1
    for other in range(w.cpu.shape[0]):
        o = w.cpu[other]
        if o.task < 0 or o.category == IDLE or o.resched != 0 or not _is_faster(w, cpu, other):
            continue
        t = w.task[o.task]
        if (t.kind == FRONT or t.kind == BACK) and t.left_ns < MISFIT_NS:
            continue
        if (t.node < 0 or t.node == w.cpu[cpu].node) and (source < 0 or o.capacity < w.cpu[source].capacity):
            source = other
    if source >= 0:
        w.cpu[source].resched = _MOVE_UP
        _cut(w, source, w.system[0].now)


@compiled
def _is_faster(w: World, a: int, b: int) -> bool:
    return w.cpu[a].capacity * 4 > w.cpu[b].capacity * 5


@compiled
def _least_vruntime(w: World, cpu: int) -> int:
    """Return the least virtual runtime of a CPU's tasks, never less than before."""
    c = w.cpu[cpu]
    least = -1
    if c.task >= 0 and w.task[c.task].realtime == 0:
        t = w.task[c.task]
        least = t.vruntime + (w.system[0].now - c.since) * 1024 // t.weight
    if c.queue >= 0 and w.task[c.queue].realtime == 0 and (least < 0 or w.task[c.queue].vruntime < least):
        least = w.task[c.queue].vruntime
    c.vruntime = max(c.vruntime, least)
    return c.vruntime


@compiled
def _preempts(w: World, task: int, cpu: int) -> bool:
    """Whether a woken task takes the CPU at once: real time always, others by virtual deadline, not in a kept slice."""
    c = w.cpu[cpu]
    t, running = w.task[task], w.task[c.task]
    if t.realtime != running.realtime:
        return t.realtime > running.realtime
    if t.realtime > 0 or (
        w.system[0].run_to_parity > 0 and w.system[0].now < c.slice_since + w.system[0].slice_ns
    ):
        return False
    now = running.vruntime + (w.system[0].now - c.since) * 1024 // running.weight
    span = w.system[0].slice_ns * 1024
    return t.vruntime + span // t.weight < now + span // running.weight


@compiled
def _cut(w: World, cpu: int, at: int) -> None:
    """End a running burst at `at`, if it would last longer and may be interrupted."""
    c = w.cpu[cpu]
    if c.state != CPU_BUSY or c.category == IDLE or c.category == SWITCH:
        return
    if w.task[c.task].left_ns > 0:  # only a burst can be taken up again where it stopped
        at = max(at, w.system[0].now)
        if c.since + c.planned > at:
            schedule_cpu(w, cpu, at)


@compiled
def rest(w: World, cpu: int) -> None:
    """Leave a CPU without a task."""
    c = w.cpu[cpu]
    c.state = CPU_IDLE
    c.category = IDLE
    c.planned = 0
