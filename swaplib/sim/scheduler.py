"""One run queue a CPU: who runs next, who preempts whom, where a woken task goes, and what is balanced."""

from swaplib.model.compiled import compiled, inlined
from swaplib.sim.cpu_time import close_segment
from swaplib.sim.queues import dequeue, enqueue, first_waiting, goes_before, may_run, schedule
from swaplib.sim.state import CPU_BUSY, FOREGROUND_THREAD, IDLE, RUNNING, SWITCH
from swaplib.sim.world import World

MISFIT_NS = 1_000_000  # a burst that is nearly over is not moved
# For each CPU, where all are busy: min_interval x busy_factor, Linux 6.12 kernel/sched/topology.c:1613.
BALANCE_NS = 16_000_000
_GIVE_WAY, _MOVE_UP = 1, 2  # in `resched`: another task should run; a faster CPU is idle


@compiled
def place_woken(w: World) -> None:
    """Give every woken task a CPU: an idle one that it may use, else the one where least weight waits."""
    system = w.system[0]
    while system.first_woken >= 0:
        task = system.first_woken
        system.first_woken = w.task[task].next_woken
        cpu = _best_cpu(w, task, True)
        _place(w, task, cpu if cpu >= 0 else _best_cpu(w, task, False))


@inlined
def give_up(w: World, cpu: int) -> bool:
    """Put the running task back if another should run, where it may be preempted; True when it was."""
    c, now = w.cpu[cpu], w.system[0].now
    task, asked, c.resched = c.task, c.resched, 0
    if now >= c.next_balance:
        c.next_balance = now + len(w.cpu) * BALANCE_NS
        _balance(w, cpu)
    if asked == _MOVE_UP:
        faster = _best_cpu(w, task, True)
        if faster >= 0 and w.cpu[faster].capacity * 4 > c.capacity * 5:
            c.task = -1
            best = _best_cpu(w, task, True)
            if best != cpu:
                _place(w, task, best)
                return True
            c.task = task  # it wants to stay near its place, and begins a slice here as after any move
            _begin_slice(w, cpu, now + w.machine[0].wake_ns)
            schedule(w, cpu, now + w.machine[0].wake_ns)  # to look around, should it end before
    if c.waiting == 0 or (asked != _GIVE_WAY and now < c.slice_end):
        return False
    if not goes_before(w, c.first_waiting, task):
        _begin_slice(w, cpu, now)
        return False
    c.task = -1
    idle = _best_cpu(w, task, True)
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
    c.task, c.resched = task, 0
    if t.realtime == 0:
        c.vruntime = max(c.vruntime, t.vruntime)
    _begin_slice(w, cpu, w.system[0].now)
    return True


@compiled
def _place(w: World, task: int, cpu: int) -> None:
    """Let a task run on a CPU if that is idle, else wait for it and perhaps preempt."""
    t, c = w.task[task], w.cpu[cpu]
    now = w.system[0].now
    least = _least_vruntime(w, cpu)
    t.vruntime = max(t.vruntime, least) if t.cpu == cpu else least  # a sleeper keeps its virtual runtime
    t.cpu = cpu
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
        c.resched = _GIVE_WAY
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
def _best_cpu(w: World, task: int, idle: bool) -> int:
    """Return the best CPU for a task: near its place, then the fastest idle one, or that with least load.

    -1 where all are busy. Among idle CPUs as fast, one of its node is better, and the one that it had.
    """
    t = w.task[task]
    home = -1 if t.near < 0 else w.cpu[t.near].node
    best, most = -1, 0
    for cpu in range(len(w.cpu)):
        c = w.cpu[cpu]
        if not may_run(w, task, cpu) or (idle and (c.task >= 0 or c.waiting > 0)):
            continue
        score = 1 << 50 if t.near >= 0 and c.pod == w.cpu[t.near].pod else 0
        if idle:
            score += c.capacity * 4 + (2 if c.node == home else 0) + (1 if cpu == t.cpu else 0)
        else:
            load = _load(w, cpu)
            if t.realtime > 0 and c.task >= 0 and w.task[c.task].realtime > 0:  # find_lowest_rq
                load += 1 << 20
            score -= load * 1024 // c.capacity
        if best < 0 or score > most:
            best, most = cpu, score
    return best


@compiled
def _pull(w: World, cpu: int) -> int:
    """Take a waiting task from the fullest queue, of the same node first."""
    mine = w.cpu[cpu].node
    source, most = -1, 0
    for other in range(len(w.cpu)):
        o = w.cpu[other]
        score = o.waiting + (1 << 30 if o.node == mine else 0)
        if o.waiting > 0 and score > most and first_waiting(w, other, cpu) >= 0:
            source, most = other, score
    return -1 if source < 0 else _take(w, cpu, source)


@compiled
def _take(w: World, cpu: int, source: int) -> int:
    """Take the first task that waits for CPU `source` and may run on `cpu`."""
    task = first_waiting(w, source, cpu)
    dequeue(w, source, task)
    w.task[task].vruntime += w.cpu[cpu].vruntime - _least_vruntime(w, source)
    return task


@compiled
def _balance(w: World, cpu: int) -> None:
    """Let a busy CPU take a waiting task from the most loaded one, if that keeps more load than it gets."""
    mine = w.cpu[cpu]
    source, most = -1, 0
    for other in range(len(w.cpu)):
        task = first_waiting(w, other, cpu)
        if other == cpu or task < 0 or w.task[task].realtime > 0:
            continue
        weight = w.task[task].weight
        left = (_load(w, other) - weight) * 1024 // w.cpu[other].capacity
        if left > most and left > (_load(w, cpu) + weight) * 1024 // mine.capacity:
            source, most = other, left
    if source >= 0:
        enqueue(w, cpu, _take(w, cpu, source))


@compiled
def _load(w: World, cpu: int) -> int:
    """Return the sum of weights of the tasks that wait for a CPU or run on it."""
    c = w.cpu[cpu]
    return c.load + (0 if c.task < 0 else w.task[c.task].weight)


@compiled
def _call_for_misfit(w: World, cpu: int) -> None:
    """Let an idle CPU ask the slowest CPU for its task, if that would run a quarter faster here (misfit)."""
    source, mine = -1, w.cpu[cpu]
    for other in range(len(w.cpu)):
        o = w.cpu[other]
        if o.task < 0 or o.category == IDLE or o.resched != 0 or mine.capacity * 4 <= o.capacity * 5:
            continue
        t = w.task[o.task]
        if t.kind >= FOREGROUND_THREAD and t.left_ns < MISFIT_NS:
            continue
        if may_run(w, o.task, cpu) and (source < 0 or o.capacity < w.cpu[source].capacity):
            source = other
    if source >= 0:
        w.cpu[source].resched = _MOVE_UP
        _cut(w, source, w.system[0].now)


@compiled
def _least_vruntime(w: World, cpu: int) -> int:
    """Return the least virtual runtime of a CPU's tasks, never less than before."""
    c = w.cpu[cpu]
    least = -1
    if c.task >= 0 and w.task[c.task].realtime == 0:
        least = _vruntime_now(w, cpu)
    if c.waiting > 0 and w.task[c.first_waiting].realtime == 0:
        first = w.task[c.first_waiting].vruntime
        least = first if least < 0 else min(least, first)
    c.vruntime = max(c.vruntime, least)
    return c.vruntime


@compiled
def _vruntime_now(w: World, cpu: int) -> int:
    """Return the virtual runtime of a CPU's running task, that of its present segment included."""
    t = w.task[w.cpu[cpu].task]
    return t.vruntime + (w.system[0].now - w.cpu[cpu].since) * 1024 // t.weight


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
    deadline = _vruntime_now(w, cpu) + slice_ns * 1024 // running.weight
    return t.vruntime + slice_ns * 1024 // t.weight < deadline


@compiled
def _cut(w: World, cpu: int, at: int) -> None:
    """End a running burst at `at`, if it would last longer and may be interrupted."""
    c = w.cpu[cpu]
    at = max(at, w.system[0].now)
    if c.state != CPU_BUSY or c.category == IDLE or c.category == SWITCH or c.since + c.planned_ns <= at:
        return
    if w.task[c.task].left_ns > 0:  # only a burst can be taken up again where it stopped
        schedule(w, cpu, at)
