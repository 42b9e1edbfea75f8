"""The reduced model in SimPy: processes that exit on CPUs of their own, one lock, one kworker on its own CPU.

Written from the description of the model, without code of the engine: generators instead of a state machine,
SimPy's event queue, own arithmetic. It frees entries one by one, under `sync` or under the patch's gather.
"""

from collections import deque
from dataclasses import dataclass, field

import simpy

PTES = 512  # entries of a page table
BUNDLE, PAGE, PAGES = 7, 509, 19  # single entries in a bundle and in a batch page; batch pages of a work
WORK = BUNDLE + PAGES * PAGE  # 9678


@dataclass(frozen=True)
class Costs:
    """Times in nanoseconds; `walk_ns`, `outside_ns`, `hold_ns` and `record_ns` are for one entry."""

    walk_ns: int = 12
    outside_ns: int = 300
    hold_ns: int = 100
    handover_ns: int = 0
    line_ns: int = 0
    growth_permille: int = 0
    record_ns: int = 15
    page_ns: int = 0
    queue_ns: int = 0
    work_ns: int = 0


@dataclass
class Times:
    """When each process had exited and had its last entry freed, and what the lock saw."""

    exit_ns: list[int]
    freed_ns: list[int]
    acquisitions: int = 0
    contended: int = 0
    wait_ns: int = 0
    works: int = 0


@dataclass
class DeviceLock:
    """A FIFO lock; from another CPU it is handed over if it was waited for, else it moves as a line does."""

    env: simpy.Environment
    costs: Costs
    times: Times
    held: bool = False
    last: object = None
    queue: deque = field(default_factory=deque)

    def free_one(self, cpu):
        """Take the lock, work inside, drop it."""
        self.times.acquisitions += 1
        has_waited, waiters = self.held, 0
        if has_waited:
            turn = self.env.event()
            self.queue.append((turn, cpu, self.env.now))
            self.times.contended += 1
            waiters = yield turn
        self.held = True
        transfer = 0
        if self.last is not None and self.last is not cpu:
            transfer = self.costs.handover_ns if has_waited else self.costs.line_ns
            transfer += transfer * waiters * self.costs.growth_permille // 1000
        self.last = cpu
        yield self.env.timeout(self.costs.hold_ns + transfer)
        if self.queue:  # handed over: it is never seen free
            turn, _, since = self.queue.popleft()
            self.times.wait_ns += self.env.now - since
            turn.succeed(len(self.queue))
        else:
            self.held = False


def simulate_reduced(kill_ns, swap_entries, costs, *, threshold=None, swap_entries_min=32):
    """Return what happens when processes with `swap_entries` die at `kill_ns`; `threshold` None is sync.

    Every process has a CPU to itself, and so has the kworker.
    """
    env = simpy.Environment()
    times = Times([-1] * len(kill_ns), [-1] * len(kill_ns))
    lock = DeviceLock(env, costs, times)
    left = list(swap_entries)
    exiting = 0
    works, sleeping = deque(), []

    def free_one(cpu, process):
        if costs.outside_ns:
            yield env.timeout(costs.outside_ns)
        yield from lock.free_one(cpu)
        left[process] -= 1
        if left[process] == 0:
            times.freed_ns[process] = env.now

    def queue_work(process, entries):
        works.append((process, entries))
        times.works += 1
        if sleeping:
            sleeping.pop().succeed()
        if costs.queue_ns:
            yield env.timeout(costs.queue_ns)

    def exit_process(process):
        nonlocal exiting
        yield env.timeout(kill_ns[process])
        cpu, total = process, swap_entries[process]
        counted = threshold is not None and total >= swap_entries_min
        gathers, held, pages = False, 0, 0
        if counted:
            exiting += 1
            gathers = exiting >= threshold  # as it is opened; later at every run
        tables = max(1, -(-total // PTES))
        for table in range(tables):
            ptes = total * (table + 1) // tables - total * table // tables
            if ptes * costs.walk_ns:
                yield env.timeout(ptes * costs.walk_ns)
            while ptes:
                gathers = gathers or (counted and exiting >= threshold)
                if not gathers:
                    yield from free_one(cpu, process)
                    ptes -= 1
                    continue
                met = min(ptes, WORK - held)
                held += met
                ptes -= met
                needed = min(PAGES, 0 if held < BUNDLE else 1 + (held - BUNDLE) // PAGE)
                spent = met * costs.record_ns + (needed - pages) * costs.page_ns
                pages = needed
                if spent:
                    yield env.timeout(spent)
                if held == WORK:
                    yield from queue_work(process, held)
                    held = pages = 0
        if counted:
            exiting -= 1
        if gathers:
            yield from queue_work(process, held)  # perhaps empty, as in the patch
        times.exit_ns[process] = env.now

    def kworker():
        cpu = "kworker"
        while True:
            if not works:
                call = env.event()
                sleeping.append(call)
                yield call
            process, entries = works.popleft()
            if costs.work_ns:
                yield env.timeout(costs.work_ns)
            for _ in range(entries):
                yield from free_one(cpu, process)

    env.process(kworker())
    for process in range(len(kill_ns)):
        env.process(exit_process(process))
    env.run()
    return times
