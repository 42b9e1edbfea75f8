"""One run queue a CPU: who runs next, who preempts whom, and where a woken task goes."""

from __future__ import annotations

from swaplib.model.compiled import compiled
from swaplib.sim.clock import close_segment
from swaplib.sim.queues import dequeue, enqueue, first_waiting, goes_before, schedule
from swaplib.sim.state import BACKGROUND_THREAD, CPU_BUSY, FOREGROUND_THREAD, IDLE, RUNNING, SWITCH
from swaplib.sim.world import World

MISFIT_NS = 1_000_000  # a burst that is nearly over is not moved
_MOVE_UP = 2  # in `resched`: a faster CPU is idle


@compiled
def place_woken(w: World) -> None:
    """Give every woken task a CPU: an idle one that it may use, else the one where least weight waits."""
    system = w.system[0]
    while system.first_woken >= 0:
        task = system.first_woken
        system.first_woken = w.task[task].next_woken
        cpu = _idle_cpu(w, task)
        _place(w, task, cpu if cpu >= 0 else _least_loaded_cpu(w, task))


@compiled
def give_up(w: World, cpu: int) -> bool:
    """Put the running task back if another should run, where it may be preempted; True when it was."""
    c = w.cpu[cpu]
    task = c.task
    if c.resched == _MOVE_UP:
        c.resched = 0
        faster = _idle_cpu(w, task)
        if faster >= 0 and _is_faster(w, faster, cpu):
            c.task = -1
            best = _idle_cpu(w, task)
            if best != cpu:
                _place(w, task, best)
                return True
            c.task = task  # it wants to stay near its place, and begins a slice here as after any move
            _begin_slice(w, cpu, w.system[0].now + w.machine[0].wake_ns)
            schedule(w, cpu, w.system[0].now + w.machine[0].wake_ns)  # to look around, should it end before
    if c.waiting == 0:
        c.resched = 0
        return False
    now = w.system[0].now
    if c.resched == 0 and now < c.slice_end:
        return False
    c.resched = 0
    if not goes_before(w, c.first_waiting, task):
        _begin_slice(w, cpu, now)
        return False
    c.task = -1
    idle = _idle_cpu(w, task)
    if idle >= 0:
        _place(w, task, idle)
    else:
        enqueue(w, cpu, task)
    return True


@compiled
def next_task(w: World, cpu: int) -> bool:
    """Let a free CPU run the first task of its own queue, else of the fullest one; False when none waits."""
    c = w.cpu[cpu]
    task = c.first_waiting
    if task >= 0:
        dequeue(w, cpu, task)
    else:
        task = _pull(w, cpu)
    if task < 0:
        _call_for_misfit(w, cpu)
        return False
    t = w.task[task]
    t.state, t.cpu = RUNNING, cpu
    c.task = task
    c.resched = 0
    if t.realtime == 0:
        c.vruntime = max(c.vruntime, t.vruntime)
    _begin_slice(w, cpu, w.system[0].now)
    return True


@compiled
def _place(w: World, task: int, cpu: int) -> None:
    """Let a task run on a CPU if that is idle, else wait for it and perhaps preempt."""
    t, c = w.task[task], w.cpu[cpu]
    now = w.system[0].now
    earned = (
        t.vruntime if t.cpu == cpu else 0
    )  # a sleeper comes back with the virtual runtime that it left with
    t.cpu = cpu
    t.vruntime = max(earned, _least_vruntime(w, cpu))
    if c.task < 0:
        close_segment(w, cpu)
        wake_ns = w.machine[0].wake_ns
        t.state = RUNNING
        c.task, c.state, c.category, c.planned_ns = task, CPU_BUSY, IDLE, wake_ns
        _begin_slice(w, cpu, now + wake_ns)
        schedule(w, cpu, now + wake_ns)
        return
    enqueue(w, cpu, task)
    if _preempts(w, task, cpu):
        c.resched = 1
        _cut(w, cpu, now)
    else:
        _cut(w, cpu, c.slice_end)


@compiled
def _begin_slice(w: World, cpu: int, since: int) -> None:
    """Give the running task a slice; that it is used up is seen at a tick."""
    c, machine = w.cpu[cpu], w.machine[0]
    c.slice_since = since
    c.slice_end = since + machine.slice_ns
    if machine.tick_ns > 0:
        c.slice_end = (c.slice_end + machine.tick_ns - 1) // machine.tick_ns * machine.tick_ns


@compiled
def _least_loaded_cpu(w: World, task: int) -> int:
    """Return the CPU with the least weight per capacity, near ones first."""
    t = w.task[task]
    best = -1
    best_load = 0
    best_near = False
    for cpu in range(len(w.cpu)):
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
    """Return the best idle CPU for a task: near its place, then by capacity, then node; -1 if none."""
    t = w.task[task]
    best = -1
    best_score = -1
    home = -1 if t.near < 0 else w.cpu[t.near].node
    for cpu in range(len(w.cpu)):
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
        for other in range(len(w.cpu)):
            o = w.cpu[other]
            if o.waiting > most and (o.node == mine) == same_node and first_waiting(w, other, mine) >= 0:
                source, most = other, o.waiting
        if source >= 0:
            task = first_waiting(w, source, mine)
            dequeue(w, source, task)
            w.task[task].vruntime += w.cpu[cpu].vruntime - _least_vruntime(w, source)
            return task
    return -1


@compiled
def _call_for_misfit(w: World, cpu: int) -> None:
    """Let an idle CPU ask the slowest CPU for its task, if that would run a quarter faster here (misfit)."""
    source = -1
    for other in range(len(w.cpu)):
        o = w.cpu[other]
        if o.task < 0 or o.category == IDLE or o.resched != 0 or not _is_faster(w, cpu, other):
            continue
        t = w.task[o.task]
        if (t.kind == FOREGROUND_THREAD or t.kind == BACKGROUND_THREAD) and t.left_ns < MISFIT_NS:
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
    if c.waiting > 0 and w.task[c.first_waiting].realtime == 0:
        first = w.task[c.first_waiting].vruntime
        least = first if least < 0 else min(least, first)
    c.vruntime = max(c.vruntime, least)
    return c.vruntime


@compiled
def _preempts(w: World, task: int, cpu: int) -> bool:
    """Whether a task takes the CPU at once: in real time, or by virtual deadline."""
    c = w.cpu[cpu]
    t, running = w.task[task], w.task[c.task]
    if t.realtime != running.realtime:
        return t.realtime > running.realtime
    now, slice_ns = w.system[0].now, w.machine[0].slice_ns
    if t.realtime > 0 or (w.kernel[0].run_to_parity > 0 and now < c.slice_since + slice_ns):
        return False
    runtime = running.vruntime + (now - c.since) * 1024 // running.weight
    return t.vruntime + slice_ns * 1024 // t.weight < runtime + slice_ns * 1024 // running.weight


@compiled
def _cut(w: World, cpu: int, at: int) -> None:
    """End a running burst at `at`, if it would last longer and may be interrupted."""
    c = w.cpu[cpu]
    if c.state != CPU_BUSY or c.category == IDLE or c.category == SWITCH:
        return
    if w.task[c.task].left_ns > 0:  # only a burst can be taken up again where it stopped
        at = max(at, w.system[0].now)
        if c.since + c.planned_ns > at:
            schedule(w, cpu, at)
