"""What waits in order: events, tasks that were woken or wait for a CPU, portions in lists, and works."""

from swaplib.model.compiled import compiled, inlined
from swaplib.model.policy import Workers
from swaplib.sim.state import NEVER, QUEUED
from swaplib.sim.world import World

_PER_EXITING = int(Workers.PER_EXITING)

# Events: a tournament of slots, one for each CPU, each background thread and the next phase. Slot i has
# record w.event[slots + i]; every record before is the sooner of the two at twice its index, from 1 on.


@inlined
def schedule(w: World, slot: int, time: int) -> None:
    """Let the event of a slot happen at `time`, behind others of that time, and not as before."""
    system = w.system[0]
    system.sequence += 1
    sequence = system.sequence
    place = len(w.event) // 2 + slot
    while place > 0:
        e = w.event[place]
        e.time, e.sequence, e.slot = time, sequence, slot
        other = w.event[place ^ 1]
        if place > 1 and (other.time < time or (other.time == time and other.sequence < sequence)):
            time, sequence, slot = other.time, other.sequence, other.slot
        place >>= 1


@inlined
def cancel(w: World, slot: int) -> None:
    """Let the event of a slot not happen."""
    if w.event[len(w.event) // 2 + slot].time != NEVER:
        schedule(w, slot, NEVER)


@compiled
def wake(w: World, task: int) -> None:
    """Let the scheduler find a CPU for a sleeping task, when the present step is done."""
    system = w.system[0]
    w.task[task].next_woken = -1
    if system.first_woken < 0:
        system.first_woken = task
    else:
        w.task[system.last_woken].next_woken = task
    system.last_woken = task


# Tasks that wait for a CPU: real-time tasks first, then the least virtual runtime, then who came first.


@compiled
def enqueue(w: World, cpu: int, task: int) -> None:
    """Let a task wait for a CPU, behind its equals; most come last or first, where the search begins."""
    c, t = w.cpu[cpu], w.task[task]
    ahead = c.last_waiting
    if c.waiting > 0 and goes_before(w, task, c.first_waiting):
        ahead = -1
    while ahead >= 0 and goes_before(w, task, ahead):
        ahead = w.task[ahead].ahead
    behind = w.task[ahead].behind if ahead >= 0 else c.first_waiting
    _link(w, cpu, ahead, task)
    _link(w, cpu, task, behind)
    t.state, t.cpu = QUEUED, cpu
    c.waiting += 1
    c.load += t.weight


@compiled
def dequeue(w: World, cpu: int, task: int) -> None:
    """Take a task out of those that wait for a CPU."""
    c, t = w.cpu[cpu], w.task[task]
    _link(w, cpu, t.ahead, t.behind)
    c.waiting -= 1
    c.load -= t.weight


@compiled
def may_run(w: World, task: int, cpu: int) -> bool:
    """Whether a CPU is of the task's node and cpuset."""
    t, c = w.task[task], w.cpu[cpu]
    return (t.node < 0 or t.node == c.node) and c.capacity <= t.capacity_max


@compiled
def first_waiting(w: World, cpu: int, other: int) -> int:
    """Return the first task waiting for a CPU that may run on another; -1 when there is none."""
    task = w.cpu[cpu].first_waiting
    while task >= 0 and not may_run(w, task, other):
        task = w.task[task].behind
    return task


@compiled
def goes_before(w: World, a: int, b: int) -> bool:
    """Whether task a runs rather than b: real time first, then the smaller virtual runtime."""
    one, other = w.task[a], w.task[b]
    if one.realtime != other.realtime:
        return one.realtime > other.realtime
    return one.realtime == 0 and one.vruntime < other.vruntime


@compiled
def _link(w: World, cpu: int, ahead: int, behind: int) -> None:
    """Make two tasks neighbours; -1 is the end of the queue."""
    if ahead < 0:
        w.cpu[cpu].first_waiting = behind
    else:
        w.task[ahead].behind = behind
    if behind < 0:
        w.cpu[cpu].last_waiting = ahead
    else:
        w.task[behind].ahead = ahead


# Portions, "so many entries of this process": what the list, a slot cache, a page of objects or a work holds.


@compiled
def new_portion(w: World, process: int, entries: int, jumps: int) -> int:
    """Return a new portion; the loop sees to it that a step finds as many as it needs."""
    system = w.system[0]
    portion = system.free_portion
    a = w.portion[portion]
    system.free_portion = a.next
    system.free_portions -= 1
    a.process, a.entries, a.jumps, a.next = process, entries, jumps, -1
    return portion


@compiled
def free_portion(w: World, portion: int) -> int:
    """Give a portion back; return the one behind it."""
    system = w.system[0]
    behind = w.portion[portion].next
    w.portion[portion].next = system.free_portion
    system.free_portion = portion
    system.free_portions += 1
    return behind


@compiled
def put(w: World, store: int, process: int, entries: int, jumps: int, records: int) -> None:
    """Put entries of a process into a store, where they join the last portion if that is of this process."""
    s = w.store[store]
    s.entries += entries
    s.jumps += jumps
    s.records += records
    if s.last >= 0 and w.portion[s.last].process == process:
        w.portion[s.last].entries += entries
        w.portion[s.last].jumps += jumps
        return
    portion = new_portion(w, process, entries, jumps)
    if s.last < 0:
        s.first = portion
    else:
        w.portion[s.last].next = portion
    s.last = portion


@compiled
def empty(w: World, store: int) -> int:
    """Take everything out of a store and return the first of its portions."""
    s = w.store[store]
    first = s.first
    s.first, s.last, s.entries, s.jumps, s.records = -1, -1, 0, 0, 0
    return first


# Works: one is queued for a CPU, and a kworker is woken if the rules allow one more.


@compiled
def append_work(w: World, portions: int, entries: int, pages: int, cpu: int) -> None:
    """Put a work behind the others, on behalf of a CPU; the loop sees to it that there is a free one."""
    system, policy = w.system[0], w.policy[0]
    work = system.free_work
    a = w.work[work]
    system.free_work = a.next
    system.free_works -= 1
    a.portions, a.entries, a.pages, a.cpu, a.next = portions, entries, pages, cpu, -1
    queue = w.cpu[cpu].node if len(w.queue) > 1 else 0
    q = w.queue[queue]
    if q.last < 0:
        q.first = work
    else:
        w.work[q.last].next = work
    q.last = work
    w.counter[0].queued_entries += entries
    system.works += 1
    system.works_pending += 1
    limit = q.limit
    if policy.workers == _PER_EXITING:
        exiting = w.counter[0].exiting
        limit = max(1, (exiting + policy.exiting_per_worker - 1) // policy.exiting_per_worker)
    if q.active < limit and q.idle >= 0:
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
