"""From models to arrays: the world of one run, with everything that can be computed once computed here."""

from __future__ import annotations

import numpy as np

from swaplib.model.capacity import Limits, capacity
from swaplib.model.gather_state import GATHER_FIELDS, SHARED_FIELDS
from swaplib.model.kernel import Kernel, Lock
from swaplib.model.machine import Machine
from swaplib.model.policy import Policy, Workers
from swaplib.model.storm import CLUSTER_ENTRIES, Deaths, Storm, jump_entries, sorted_run_entries
from swaplib.sim import state
from swaplib.sim.fits import check_together
from swaplib.sim.programs import build_programs
from swaplib.sim.world import Records, Table, World, records

SAMPLES = 2048
GATHER_PAGES = 8 + 19 * 510  # of the ordinary mmu_gather, Linux 6.12 include/asm-generic/tlb.h


def weight(nice: int) -> int:
    """Return the scheduler's weight of a nice level: 1024 at 0, a quarter more for each level down."""
    return round(1024 * 1.25**-nice)


def prepare(
    machine: Machine,
    kernel: Kernel,
    storm: Storm,
    policy: Policy,
    deaths: Deaths,
    *,
    grain: int = 16,
    variation_permille: int = 300,
    trace: bool = True,
) -> World:
    """Return the world at the first kill.

    Parameters
    ----------
    machine, kernel, storm, policy
        The models.
    deaths
        What the storm drew.
    grain
        Lock acquisitions simulated as one.
    variation_permille
        Largest deviation of a cost from its mean, so that equal costs do not lock step.
    trace
        Whether to keep what every CPU did when.
    """
    check_together(machine, kernel, policy)
    kernel = kernel.with_core(machine["core_entry_permille"])
    world = World(
        system=_system(machine, kernel, storm, policy, deaths, grain, variation_permille, trace),
        cpu=_cpus(machine),
        task=_tasks(machine, kernel, storm, policy, deaths),
        process=_processes(machine, storm, policy, deaths),
        lock=_locks(machine, storm),
        operation=records(state.OPERATION, 0),
        program=np.zeros((state.PROGRAMS, 2), np.int64),
        lock_base=_lock_bases(machine, kernel, storm),
        heap=np.zeros((1024, 4), np.int64),
        work=records(state.WORK, 0),
        part=records(state.PART, 0),
        bag=records(state.BAG, 1 + 2 * machine.cpus, head=-1, tail=-1),
        queue=_queues(machine, kernel, policy, deaths),
        held=np.full((0, state.MOST_HELD), -1, np.int64),
        gather=np.zeros((max(1, len(deaths.kill_ns)), GATHER_FIELDS), np.int64),
        shared=np.zeros(SHARED_FIELDS, np.int64),
        limits=Limits(threshold=policy.threshold, swap_entries_min=policy.swap_entries_min).vector(),
        phases=np.array([(p.cpu_ns, p.pages, p.threads, -1) for p in storm.foreground], np.int64).reshape(
            -1, 4
        ),
        time=np.zeros((machine.cpus, len(state.CATEGORIES)), np.int64),
        trace=np.zeros((1 << 14 if trace else 1024, 5), np.int64),
        sample=np.zeros((SAMPLES, len(state.SAMPLE_COLUMNS)), np.int64),
        never=np.zeros(0, np.int64),
        always=np.array([-1], np.int64),
    )
    operations, programs = build_programs(kernel, policy)
    world = world.with_arrays(
        operation=operations,
        program=programs,
        held=np.full((len(world.task), state.MOST_HELD), -1, np.int64),
    )
    system = world.system[0]
    system.queues = len(world.queue)
    system.first_reaper, system.first_front, system.first_back = np.searchsorted(
        world.task.kind, [state.REAPER, state.FRONT, state.BACK]
    )
    world = grow(world, works=256, parts=1024, events=4 * len(world.task) + 1024)
    _link_workers(world)
    return world


def grow(w: World, *, works: int = 0, parts: int = 0, events: int = 0) -> World:
    """Return the world with more room for works, parts and events; what is there keeps its index."""
    system = w.system[0]
    for field, dtype, count, head, total in (
        ("work", state.WORK, works, "free_work", "free_works"),
        ("part", state.PART, parts, "free_part", "free_parts"),
    ):
        if count:
            old = getattr(w, field)
            new = records(dtype, len(old) + count)
            new[: len(old)] = old
            new.next[len(old) :] = np.arange(len(old) + 1, len(new) + 1)
            new.next[-1] = system[head] if system[total] else -1
            system[head] = len(old)
            system[total] += count
            w = w.with_arrays(**{field: new})
    if events:
        w = w.with_arrays(heap=np.concatenate([w.heap, np.zeros((events, 4), np.int64)]))
    return w


def _system(
    machine: Machine,
    kernel: Kernel,
    storm: Storm,
    policy: Policy,
    deaths: Deaths,
    grain: int,
    variation: int,
    trace: bool,
) -> Records:
    number = machine.numbers
    warm = 0 if storm.cold else number["warm_entries"]
    entries = int(deaths.swap_entries.sum())
    memory_scale = number["memory_cost_permille"] * 1024 // 1000
    if warm:  # what the caches still hold costs no memory time
        memory_scale = memory_scale * entries // (entries + warm)
    slots = number["swap_slots"]
    free = number["free_pages"] if storm.free_pages is None else storm.free_pages
    system = records(
        state.SYSTEM,
        1,
        hold=policy.hold,
        by_caller=policy.freed_by_caller,
        grouping=policy.grouping,
        threshold=policy.threshold,
        entries_min=policy.swap_entries_min,
        reread=policy.minimum_is_reread,
        dying_only=policy.dying_only,
        if_useful=policy.only_if_useful,
        backlog_max=-1 if policy.backlog_entries_max is None else policy.backlog_entries_max,
        batch_records=policy.batch_records,
        present_first=policy.present_first,
        workers=policy.workers,
        exiting_per_worker=policy.exiting_per_worker,
        native_call=("entry", "run", "run-of-two").index(kernel.native_call),
        cache_entries=kernel.slot_cache_entries,
        voluntary=machine.preemption == "voluntary",
        run_to_parity=kernel.run_to_parity,
        memory_scale=memory_scale,
        remote_scale=memory_scale * number["remote_memory_permille"] // 1000,
        reclaim_gain_permille=1000 - 1_000_000 // number["zram_ratio_permille"],
        watermark=number["watermark_pages"],
        flush_capacity=GATHER_PAGES * storm.folio_pages,
        zone_pages=kernel.zone_pages,
        classes=storm.size_classes,
        clusters=min(1024, max(1, entries // CLUSTER_ENTRIES)),
        sharing=storm.sharing,
        same_filled_permille=storm.same_filled_permille,
        zspage_objects=storm.zspage_objects,
        in_order=storm.frees_in_order,
        reclaims=storm.foreground_reclaims,
        walk_entry_ps=kernel.walk.entry_cpu_ps,
        walk_run_cpu_ps=kernel.walk.run_cpu_ps,
        walk_run_memory_ps=kernel.walk.run_memory_ps,
        present_cpu_ps=kernel.present.entry_cpu_ps + kernel.present.run_cpu_ps // storm.folio_pages,
        present_memory_ps=kernel.present.entry_memory_ps + kernel.present.run_memory_ps // storm.folio_pages,
        folio_pages=storm.folio_pages,
        in_front=storm.swapped_in_front,
        grain=grain,
        variation=variation,
        limit_ns=storm.limit_ns,
        is_traced=trace,
        alive=len(deaths.kill_ns),
        front_phases=len(storm.foreground),
        free_pages=free,
        free_slots=slots - storm.swap_used_entries - entries,
        cache_on=1,
        present_back_ns=-1,
        swap_back_ns=-1,
        pool_free=policy.pool_pages,
        sample_ns=1000,
        free_work=-1,
        free_part=-1,
    )
    for name in (
        "slice_ns",
        "tick_ns",
        "switch_ns",
        "wake_ns",
        "prelude_ns",
        "postlude_ns",
        "transfer_local_ns",
        "transfer_remote_ns",
        "waiter_ns",
        "gather_record_ps",
        "gather_page_ns",
        "queue_work_ns",
        "work_ns",
        "sort_ps",
        "fault_ns",
    ):
        system[name] = number[name]
    return system


def _cpus(machine: Machine) -> Records:
    count = machine.cpus
    cpus = records(state.CPU, count, task=-1, queue=-1, last=-1, category=state.IDLE, trace_task=-1)
    cpus.capacity = machine.capacity
    cpus.node = machine.node
    cpus.pod = machine.pod
    cpus.cpu_scale = [1024 * 1024 * machine["cpu_cost_permille"] // (1000 * c) for c in machine.capacity]
    cpus.cache = 1 + np.arange(count)
    cpus.objects = 1 + count + np.arange(count)
    cpus.trace_category = state.IDLE
    return cpus


def _processes(machine: Machine, storm: Storm, policy: Policy, deaths: Deaths) -> Records:
    processes = records(
        state.PROCESS,
        max(1, len(deaths.kill_ns)),
        killed_ns=-1,
        opened_ns=-1,
        present_ns=-1,
        exited_ns=-1,
        freed_ns=-1,
        dying=storm.how == "exit",
    )
    count = len(deaths.kill_ns)
    rows = processes[:count]
    rows.entries, rows.present, rows.file = deaths.swap_entries, deaths.present_pages, deaths.file_pages
    rows.run, rows.node = deaths.run_entries, deaths.node
    rows.sorted_run = [
        sorted_run_entries(storm.layout, int(run), int(entries), int(capacity(run).entries), storm.sharing)
        for run, entries in zip(deaths.run_entries, deaths.swap_entries, strict=True)
    ]
    rows.jump = [jump_entries(storm.layout, int(run), storm.sharing) for run in deaths.run_entries]
    pages = rows.entries + rows.present + rows.file
    rows.tables = np.maximum(1, -(-pages // 512))
    kept = rows.entries * (1000 - storm.same_filled_permille) // 1000
    rows.zram_pages = kept * 1000 // machine["zram_ratio_permille"]
    return processes


def _tasks(machine: Machine, kernel: Kernel, storm: Storm, policy: Policy, deaths: Deaths) -> Records:
    count = len(deaths.kill_ns)
    workers = int(_queues(machine, kernel, policy, deaths).longest.sum()) if policy.defers else 0
    fronts = max((phase.threads for phase in storm.foreground), default=0)
    backs = sum(b.threads for b in storm.background)
    blank = {
        "next": -1,
        "node": -1,
        "near": -1,
        "process": -1,
        "program": -1,
        "work": -1,
        "weight": 1024,
        "cpu": -1,
    }

    walkers = records(state.TASK, count, kind=state.WALKER, **blank)
    walkers.process = np.arange(count)
    first_of_node = np.array([machine.node.index(node) for node in range(machine.nodes)])
    walkers.near = first_of_node[deaths.node] if machine.nodes > 1 else -1
    kworkers = records(state.TASK, workers, kind=state.WORKER, **blank)
    kworkers.weight = weight(policy.worker_nice)
    reapers = records(state.TASK, policy.reapers, kind=state.REAPER, **blank)
    reapers.weight = weight(-20)
    front = records(state.TASK, fronts, kind=state.FRONT, **blank)
    back = records(state.TASK, backs, kind=state.BACK, **blank)
    at = 0
    for b in storm.background:
        rows = back[at : at + b.threads]
        rows.weight = weight(b.nice)
        rows.realtime = b.realtime
        rows.burst_ns, rows.period_ns = b.burst_ns, b.period_ns
        rows.next_ns = b.period_ns * np.arange(b.threads) // b.threads
        rows.by = state.OTHER if b.monitor else state.BACKGROUND
        at += b.threads
    return np.concatenate([walkers, kworkers, reapers, front, back]).view(np.recarray)


def _queues(machine: Machine, kernel: Kernel, policy: Policy, deaths: Deaths) -> Records:
    """Return the queues of works: `limit` workers at once, `longest` (for now) how many workers to make."""
    by_node = kernel.workers_on_node(policy.max_active, 1, 1) > 0
    if policy.workers == Workers.PER_NODE or (policy.workers == Workers.WORKQUEUE and by_node):
        queues = records(state.QUEUE, machine.nodes, head=-1, tail=-1, idle=-1)
        for node in range(machine.nodes):
            cpus = machine.node.count(node)
            workqueue = kernel.workers_on_node(policy.max_active, cpus, machine.cpus)
            queues[node].limit = policy.max_active if policy.workers == Workers.PER_NODE else workqueue
            queues[node].longest = queues[node].limit
        queues.node = np.arange(machine.nodes)
        return queues
    queue = records(state.QUEUE, 1, head=-1, tail=-1, idle=-1, node=-1)
    limit = policy.max_active
    if policy.workers == Workers.PER_EXITING:
        limit = max(1, -(-len(deaths.kill_ns) // policy.exiting_per_worker))
    elif policy.workers == Workers.PER_CPU:
        limit = machine.cpus
    queue[0].limit = queue[0].longest = limit
    return queue


def _link_workers(w: World) -> None:
    tasks = np.flatnonzero(w.task.kind == state.WORKER)
    at = 0
    for index, queue in enumerate(w.queue):
        mine = tasks[at : at + queue.longest]
        at += len(mine)
        for task in mine[::-1]:
            w.task[task].queue = index
            w.task[task].node = queue.node if len(w.queue) > 1 else -1
            w.task[task].next = queue.idle
            queue.idle = task
        queue.longest = 0


def _locks(machine: Machine, storm: Storm) -> Records:
    kinds = [kind for kind in Lock for _ in range(_instances(kind, machine, storm)) if kind != Lock.NONE]
    locks = records(state.LOCK, len(kinds), owner=-1, last_cpu=-1, head=-1, tail=-1)
    locks.kind = kinds
    return locks


def _instances(kind: Lock, machine: Machine, storm: Storm) -> int:
    if kind == Lock.CLUSTER:
        return 1024 if storm.sharing > 1 else 0
    return {Lock.NONE: 0, Lock.CLASS: storm.size_classes, Lock.ZONE: machine.nodes}.get(kind, 1)


def _lock_bases(machine: Machine, kernel: Kernel, storm: Storm) -> Table:
    bases = np.full(len(Lock), -1, np.int64)
    at = 0
    for kind in Lock:
        count = _instances(kind, machine, storm)
        if count:
            bases[kind] = at
        at += count
    return bases
