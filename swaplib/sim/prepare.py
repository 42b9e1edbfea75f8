"""From models to records: the world of one run, with everything that can be computed once computed here."""

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np

from swaplib.model.gather import Limits, capacity
from swaplib.model.kernel import COST_PARTS, Kernel, Lock
from swaplib.model.machine import Machine
from swaplib.model.policy import Hold, Policy, Workers
from swaplib.model.storm import CLUSTER_ENTRIES, Deaths, Storm, jump_entries, sorted_run_entries
from swaplib.sim import state
from swaplib.sim.calls import CLUSTERS, programs_of
from swaplib.sim.exits import TABLE_PAGES
from swaplib.sim.scheduler import BALANCE_NS
from swaplib.sim.world import Records, World, records

SAMPLES = 2048
ROOM = {"work": 256, "portion": 1024}  # at first
MOST_PS = 1 << 48  # an operation handles at most 4096 entries at once, and its cost may vary twofold


def prepare(
    machine: Machine,
    kernel: Kernel,
    storm: Storm,
    policy: Policy,
    deaths: Deaths,
    grain: int = 16,
    variation_permille: int = 300,
    trace: bool = True,
) -> World:
    """Return the world at the first kill; the arguments are those of `simulate`, and what the storm drew."""
    check_together(machine, kernel, policy)
    kernel = kernel.with_core(machine["core_entry_permille"])
    queues = _queues(machine, kernel, policy, deaths)
    tasks = _tasks(machine, storm, policy, deaths, queues)
    operations, programs = programs_of(kernel, policy)
    processes = _processes(machine, storm, deaths)
    locks, lock_base = _locks(machine, storm, int(processes.tables.sum()) if policy.reapers else 0)
    first_table_lock, lock_base[Lock.PAGE_TABLE] = int(lock_base[Lock.PAGE_TABLE]), -1
    entries = int(deaths.swap_entries.sum())
    pages = int(deaths.present_pages.sum() + deaths.file_pages.sum()) + sum(p.pages for p in storm.foreground)
    memory_scale = machine["memory_cost_permille"] * 1024 // 1000
    if machine["warm_entries"] and not storm.cold:  # what the caches still hold costs no memory time
        memory_scale = memory_scale * entries // (entries + machine["warm_entries"])
    system = records(
        state.SYSTEM,
        1,
        steps_max=(1 << 20) + 64 * (entries + pages),  # without time passing: every step has something to do
        is_voluntary=machine.preemption == "voluntary",
        frees_by_entry=kernel.native_call == "entry",
        memory_scale=memory_scale,
        remote_scale=memory_scale * machine["remote_memory_permille"] // 1000,
        reclaim_gain_permille=1000 - 1_000_000 // machine["zram_ratio_permille"],
        # The ordinary gather has the patch's geometry since 6.9: a batch of a folio's pages takes two slots.
        flush_capacity=int(capacity(storm.folio_pages).entries),
        clusters=min(CLUSTERS, max(1, entries // CLUSTER_ENTRIES)),
        alive=len(deaths.kill_ns),
        free_pool_pages=policy.pool_pages,
        cache_is_on=1,
        sample_ns=1000,
        grain=grain,
        variation=variation_permille,
        is_traced=trace,
        lock_base=lock_base,
        first_table_lock=first_table_lock,
        none="turn first_woken swap_back_ns free_work free_portion always",
    )
    for kind, name in enumerate(("worker", "reaper", "foreground", "background"), state.WORKER):
        system[f"first_{name}"] = np.searchsorted(tasks.kind, kind)
    phases = [(phase.cpu_ns, phase.pages, phase.threads, -1) for phase in storm.foreground]
    free_slots = machine["swap_slots"] - storm.swap_used_entries - entries
    free_pages = machine["free_pages"] if storm.free_pages is None else storm.free_pages
    world = World(
        system=system,
        counter=records(state.COUNTER, 1, free_pages=free_pages, free_slots=free_slots),
        policy=_record_of(state.POLICY, vars(policy)),
        kernel=_record_of(state.KERNEL, vars(kernel)),
        machine=_record_of(state.MACHINE, machine.numbers),
        storm=_record_of(state.STORM, vars(storm)),
        shared=records(state.SHARED, 1),
        limits=_record_of(state.LIMITS, vars(Limits()) | vars(policy)),
        cpu=_cpus(machine),
        task=tasks,
        process=processes,
        gather=records(state.GATHER, max(1, len(deaths.kill_ns))),
        lock=locks,
        operation=operations,
        program=programs,
        cost=_costs(kernel, storm),
        work=records(state.WORK, 0),
        portion=records(state.PORTION, 0),
        store=records(state.STORE, 1 + 2 * machine.cpus, "first last"),
        queue=queues,
        event=_events(machine, storm, tasks),
        phase=np.array(phases, state.PHASE).view(np.recarray),
        power=_powers(storm.zspage_objects),
        stretch=records(state.STRETCH, max(1 << 14, 4 * machine.cpus) if trace else 0),
        sample=records(state.SAMPLE, SAMPLES),
    )
    return grow(grow(world, "work", ROOM["work"]), "portion", ROOM["portion"])


def grow(w: World, what: str, count: int) -> World:
    """Return the world with `count` more works or portions; those that are there keep their index."""
    system, old = w.system[0], getattr(w, what)
    new = records(old.dtype, len(old) + count)
    new[: len(old)] = old
    new.next[len(old) :] = np.arange(len(old) + 1, len(new) + 1)
    new.next[-1] = system[f"free_{what}"] if system[f"free_{what}s"] else -1
    system[f"free_{what}"] = len(old)
    system[f"free_{what}s"] += count
    return replace(w, **{what: new})


def check_together(machine: Machine, kernel: Kernel, policy: Policy) -> None:
    """Raise a ValueError for what a kernel lacks, locks that block themselves, and costs beyond 64 bits."""
    needs = {*policy.needs, "slot cache"} if policy.hold == Hold.SLOT_CACHE else set(policy.needs)
    for feature in sorted(needs - kernel.features):
        lacks = f"which kernel '{kernel.name}' does not have; swaplib.policies() says which kernels have it"
        raise ValueError(f"policy '{policy.name}' needs the {feature}, {lacks}")
    programs_of(kernel, policy)
    costs = [stage.cost for top in (*kernel.single, *kernel.run, *kernel.drain) for stage in top.walk()]
    dearest = sum(getattr(cost, part) for cost in costs for part in COST_PARTS)
    flush = sum(getattr(kernel.flush, part) for part in COST_PARTS)
    dearest += 64 * flush  # flushing handles 64 times as many at once
    if dearest * machine["cpu_cost_permille"] * 1024 // min(machine.capacity) > MOST_PS:
        raise ValueError(f"kernel '{kernel.name}' is too dear for 64 bits on machine '{machine.name}'")


def _record_of(dtype: np.dtype, values: Mapping[str, Any]) -> Records:
    """Return a record of a model's own fields; None, which is no bound, becomes -1."""
    named = {name: values[name] for name in dtype.names or ()}
    return records(dtype, 1, "", **{name: -1 if value is None else value for name, value in named.items()})


def _events(machine: Machine, storm: Storm, tasks: Records) -> Records:
    """Return the tournament of events: those of CPUs (none yet), background threads and the first phase."""
    first = tasks.next_burst_ns[tasks.kind == state.BACKGROUND_THREAD]
    slots = machine.cpus + len(first) + 1
    events = records(state.EVENT, 2 * slots)
    leaves = events[slots:]
    leaves.time, leaves.slot, leaves.sequence = state.NEVER, np.arange(slots), np.arange(slots) - slots
    leaves.time[machine.cpus :] = [*first, storm.foreground_at_ns if storm.foreground else state.NEVER]
    order = slots + np.argsort(leaves.time, kind="stable")  # of the leaves, the soonest first
    rank = np.argsort(np.append(np.arange(slots), order))
    level = 1 << (slots - 1).bit_length()
    while level := level >> 1:
        end = min(2 * level, slots)
        rank[level:end] = np.minimum(rank[2 * level : 2 * end : 2], rank[2 * level + 1 : 2 * end : 2])
    events[1:slots] = events[order[rank[1:slots] - slots]]
    return events


def _costs(kernel: Kernel, storm: Storm) -> Records:
    """Return the costs of a walk, and of a present page with its part of what its folio costs."""
    costs, present = records(state.COST, 2), kernel.present
    costs[state.WALK_COST] = tuple(getattr(kernel.walk, part) for part in COST_PARTS)
    page = costs[state.PRESENT_COST]
    page.entry_cpu_ps = present.entry_cpu_ps + present.run_cpu_ps // storm.folio_pages
    page.entry_memory_ps = present.entry_memory_ps + present.run_memory_ps // storm.folio_pages
    return costs


@lru_cache(maxsize=8)  # no run changes them
def _powers(exponent: int) -> Records:
    """Return the powers of all shares, cut to whole 65,536ths after every multiplication."""
    power, share = np.full(1 << 16, 1 << 16), np.arange(1 << 16)
    for _ in range(exponent):
        power = power * share >> 16
    return records(state.POWER, 1 << 16, of_65536=power)


def _cpus(machine: Machine) -> Records:
    count = machine.cpus
    cpus = records(state.CPU, count, "task first_waiting last_waiting last stretch_task")
    cpus.category = cpus.stretch_category = state.IDLE
    cpus.capacity, cpus.node, cpus.pod = machine.capacity, machine.node, machine.pod
    cpus.scale = 1024 * 1024 * machine["cpu_cost_permille"] // (1000 * cpus.capacity)
    cpus.next_balance = BALANCE_NS * (1 + np.arange(count))
    cpus.cache = 1 + np.arange(count)
    cpus.page = 1 + count + np.arange(count)
    return cpus


def _processes(machine: Machine, storm: Storm, deaths: Deaths) -> Records:
    count = len(deaths.kill_ns)
    never = "killed_ns opened_ns present_freed_ns exited_ns swap_freed_ns"
    processes = records(state.PROCESS, max(1, count), never, dying=storm.how == "exit")
    rows = processes[:count]
    for name, values in vars(deaths).items():
        rows[name] = values
    batches = capacity(rows.run_entries).entries.tolist() if count else []
    sizes = [*zip(rows.run_entries.tolist(), rows.swap_entries.tolist(), batches, strict=True)]
    rows.jump_entries = [jump_entries(storm.layout, run, storm.sharing) for run, *_ in sizes]
    rows.sorted_run_entries = [sorted_run_entries(storm.layout, *size, storm.sharing) for size in sizes]
    pages = rows.swap_entries + rows.present_pages + rows.file_pages
    rows.tables = np.maximum(1, -(-pages // TABLE_PAGES))
    rows.first_table = np.cumsum(rows.tables) - rows.tables
    stored = rows.swap_entries * (1000 - storm.same_filled_permille) // 1000
    rows.zram_pages = stored * 1000 // machine["zram_ratio_permille"]
    return processes


def _queues(machine: Machine, kernel: Kernel, policy: Policy, deaths: Deaths) -> Records:
    """Return the queues of works, each with the most kworkers that may be active at once."""
    none, node = "first last idle", np.arange(machine.nodes)
    most = policy.max_active or kernel.default_active
    cpus = [int(count) for count in np.bincount(machine.node)]
    by_node = [kernel.workers_on_node(most, count, machine.cpus) for count in cpus]
    if policy.workers == Workers.PER_NODE:
        return records(state.QUEUE, machine.nodes, none, limit=most, node=node)
    if policy.workers == Workers.WORKQUEUE and by_node[0] > 0:
        return records(state.QUEUE, machine.nodes, none, limit=by_node, node=node)
    if policy.workers == Workers.PER_EXITING:
        most = max(1, -(-len(deaths.kill_ns) // policy.exiting_per_worker))
    elif policy.workers == Workers.PER_CPU:
        most = machine.cpus
    return records(state.QUEUE, 1, none, limit=most, node=-1)


def _tasks(machine: Machine, storm: Storm, policy: Policy, deaths: Deaths, queues: Records) -> Records:
    """Return all tasks in the order of their kinds; the kworkers wait in the idle lists of their queues."""
    count = len(deaths.kill_ns)
    workers = int(queues.limit.sum()) if policy.defers else 0
    threads = max((phase.threads for phase in storm.foreground), default=0)
    background = [b for b in storm.background for _ in range(b.threads)]
    kinds = np.repeat(np.arange(5), [count, workers, policy.reapers, threads, len(background)])
    none = "cpu node near ahead behind next_waiter next_idle next_woken process program portions work"
    none += " table_lock"
    tasks = records(state.TASK, len(kinds), none, kind=kinds, weight=1024, capacity_max=1024)
    tasks.capacity_max[:count] = storm.exits_capacity_max
    tasks.process[:count] = np.arange(count)
    if machine.nodes > 1:
        first_of_node = np.array([machine.node.index(node) for node in range(machine.nodes)])
        tasks.near[:count] = first_of_node[deaths.node % machine.nodes]
    tasks.weight[kinds == state.WORKER] = _weight(policy.worker_nice)
    tasks.weight[kinds == state.REAPER] = _weight(-20)
    if workers:
        rows, ends = tasks[count : count + workers], count + np.cumsum(queues.limit)
        rows.queue = np.repeat(np.arange(len(queues)), queues.limit)
        rows.node = queues.node[rows.queue] if len(queues) > 1 else -1
        rows.next_idle = 1 + np.arange(count, count + workers)
        tasks.next_idle[ends - 1] = -1
        queues.idle = ends - queues.limit
    at = len(tasks) - len(background)
    for b in storm.background:
        rows = tasks[at : at + b.threads]
        rows.weight, rows.realtime = _weight(b.nice), b.realtime
        rows.burst_ns, rows.period_ns = b.burst_ns, b.period_ns
        rows.next_burst_ns = b.period_ns * np.arange(b.threads) // b.threads
        rows.category = state.OTHER if b.monitor else state.BACKGROUND
        at += b.threads
    return tasks


def _weight(nice: int) -> int:
    """Return the scheduler's weight of a nice level: 1024 at 0, a quarter more for each level down."""
    return round(1024 * 1.25**-nice)


def _locks(machine: Machine, storm: Storm, tables: int) -> tuple[Records, np.ndarray]:
    """Return the locks, and for each kind the first of them, or -1 where nobody can contend."""
    instances = {Lock.NONE: 0, Lock.CLASS: storm.size_classes, Lock.ZONE: machine.nodes}
    instances |= {Lock.CLUSTER: CLUSTERS if storm.sharing > 1 else 0, Lock.PAGE_TABLE: tables}
    counts = np.array([instances.get(kind, 1) for kind in Lock])
    kinds = np.repeat(np.arange(len(Lock)), counts)
    first = np.where(counts > 0, np.cumsum(counts) - counts, -1)
    return records(state.LOCK, len(kinds), "owner last_cpu first_waiter last_waiter", kind=kinds), first
