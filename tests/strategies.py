"""Random small machines, kernels, storms and policies for the engine's properties."""

from hypothesis import strategies as st

import swaplib
from swaplib.model.kernel import Cost, Kernel, Lock, Stage
from swaplib.model.machine import NUMBERS, Machine
from swaplib.model.storm import Background, Phase, Storm

COSTS = ("walk", "present", "flush", "zone", "list_push", "allocate", "compress")  # of a kernel
MS = 1_000_000
LIMIT_NS = 200 * MS  # far beyond the end of any storm drawn here

# A machine on which nothing but what a test names takes time or is short.
QUIET = {
    **{name: low for name, _, low, *_ in NUMBERS},
    "cpu_cost_permille": 1000,
    "memory_cost_permille": 1000,
    "core_entry_permille": 1000,
    "slice_ns": 3 * MS,
    "tick_ns": 0,
    "memory_pages": 1 << 24,
    "free_pages": 1 << 22,
    "watermark_pages": 1000,
    "atomic_reserve_pages": 200,
    "zram_ratio_permille": 4000,
    "swap_slots": 1 << 24,
}


def quiet_machine(cpus, nodes=1, preemption="full", **numbers):
    """Equal CPUs at capacity 1024, spread over the nodes in blocks, with every time at zero."""
    node = tuple(cpu * nodes // cpus for cpu in range(cpus))
    return Machine("quiet", "", (1024,) * cpus, node, node, preemption, {**QUIET, **numbers})


def lock_kernel(inside_ps, outside_ps=0, *, walk_ps=1000, lock=Lock.DEVICE, **changes):
    """A kernel whose call costs `outside_ps` without a lock, then `inside_ps` an entry under one lock."""
    outside, inside = Cost(entry_cpu_ps=outside_ps), Cost(entry_cpu_ps=inside_ps)
    stages = Stage("outside", outside), Stage("inside", inside, lock)
    calls = {"native_call": "run", "single": stages, "run": stages, "drain": (), "slot_cache_entries": 0}
    costs = {**dict.fromkeys(COSTS, Cost()), "walk": Cost(entry_cpu_ps=walk_ps)}
    rules = {"zone_pages": 63, "ordered_single": False}
    return Kernel(**{"name": "one lock", "what": "", **calls, **costs, **rules, **changes})


NUMBER_CHOICES = {
    "cpu_cost_permille": (700, 1000, 3000),
    "memory_cost_permille": (0, 1000, 1500),
    "core_entry_permille": (1000, 2500),
    "remote_memory_permille": (1000, 1600),
    "slice_ns": (20_000, 3 * MS),
    "tick_ns": (0, 4 * MS),
    "warm_entries": (0, 1000),
    "watermark_pages": (20, 500, 2500),
    "atomic_reserve_pages": (4, 100, 500),
    "zram_ratio_permille": (1000, 2800, 4000),
}
TIMES = {"handover_local_ps": 120_000, "handover_remote_ps": 370_000, "line_local_ps": 29_300}
TIMES |= {"line_remote_ps": 58_000, "growth_permille": 230, "switch_ns": 1500, "wake_ns": 5000}
TIMES |= {"prelude_ns": 30_000, "postlude_ns": 20_000, "gather_record_ps": 15_000, "gather_page_ns": 300}
TIMES |= {"queue_work_ns": 500, "work_ns": 300, "sort_ps": 2500, "fault_ns": 700}


@st.composite
def machines(draw, most_cpus=6):
    """Machines whose nodes, pods and capacities are independent of each other, often without any cost."""
    few = st.integers(1, 6)
    cpus = draw(st.one_of(few, st.sampled_from((17, 130, most_cpus))) if most_cpus > 6 else few)
    shuffle = draw(st.booleans())
    node, pod = (_parts(draw, cpus, shuffle) for _ in range(2))
    capacity = draw(st.lists(st.sampled_from((1024, 700, 280, 2)), min_size=3, max_size=3))
    short = draw(st.booleans())  # so little memory that GFP_ATOMIC fails and the foreground reclaims
    free = draw(st.booleans())  # nothing costs anything
    numbers = {
        **{name: draw(st.sampled_from(choices)) for name, choices in NUMBER_CHOICES.items()},
        **{name: 0 if free else draw(st.sampled_from((0, time))) for name, time in TIMES.items()},
        "memory_pages": 1 << 24,
        "free_pages": draw(st.integers(0, 400)) if short else 1 << 18,
        "swap_slots": 80_000,
    }
    preemption = draw(st.sampled_from(("full", "voluntary")))
    capacities = tuple(capacity[cpu % 3] for cpu in range(cpus))
    return Machine("random", "", capacities, node, pod, preemption, numbers)


def _parts(draw, cpus, shuffle):
    """Which of some nodes or pods each CPU belongs to, in blocks or by turns."""
    parts = draw(st.integers(1, min(3, cpus)))
    return tuple(cpu % parts if shuffle else cpu * parts // cpus for cpu in range(cpus))


def costs():
    """Costs up to 2 us an entry, zero included."""
    part = st.sampled_from((0, 0, 1_000, 70_500, 400_000))
    return st.builds(Cost, part, part, part, part, part, part)


@st.composite
def stages(draw, above=0, depth=0):
    """A tree whose locks nest in one order, as a kernel free of deadlocks has them."""
    rows = []
    for _ in range(draw(st.integers(1 if depth == 0 else 0, 2))):
        inner = [lock for lock in Lock if above < lock < Lock.LIST and lock != Lock.ZONE]
        lock = draw(st.sampled_from([Lock.NONE, *inner]))
        taken = draw(st.sampled_from(("call", "entry"))), draw(st.integers(0, 2))
        flags = {"zram": depth > 0 and draw(st.booleans()), "objects": depth > 0 and draw(st.booleans())}
        children = draw(stages(max(above, int(lock)), depth + 1)) if depth < 2 else ()
        rows.append(Stage("stage", draw(costs()), lock, *taken, **flags, children=children))
    return tuple(rows)


@st.composite
def random_kernels(draw):
    cached = draw(st.booleans())
    run = draw(stages())
    return Kernel(
        name="random",
        what="",
        native_call=draw(st.sampled_from(("entry", "run", "run-of-two"))),
        single=draw(stages()) if cached else run,
        run=run,
        drain=draw(stages()) if cached else (),
        slot_cache_entries=draw(st.sampled_from((1, 8, 64))) if cached else 0,
        **{part: draw(costs()) for part in COSTS},
        zone_pages=draw(st.sampled_from((1, 63))),
        ordered_single=draw(st.booleans()),
    )


def kernels():
    """A generation of the catalogue, or a random tree of stages."""
    return st.one_of(st.sampled_from(list(swaplib.kernels().name)).map(swaplib.kernel), random_kernels())


@st.composite
def storms(draw):
    size = st.one_of(st.integers(0, 40), st.integers(0, 1500), st.just(11_000))
    background = st.builds(
        Background,
        threads=st.sampled_from((1, 2, 3, 64)),
        burst_ns=st.sampled_from((3_000, 200_000)),
        period_ns=st.sampled_from((500_000, 2 * MS)),
        nice=st.sampled_from((-10, 0, 10)),
        realtime=st.booleans(),
        monitor=st.booleans(),
        frames=st.booleans(),
    )
    phase = st.builds(Phase, st.sampled_from((0, 100_000, MS)), st.integers(0, 600), st.integers(1, 3))
    lmkd = {"kill_timeout_ns": draw(st.sampled_from((None, 50_000, 2 * MS)))}
    if lmkd["kill_timeout_ns"]:
        lmkd |= {"kill_below_pages": 1 << draw(st.integers(10, 24)), "kill_below_slots_permille": 1000}
    else:
        lmkd |= {"gap_ns": draw(st.sampled_from((0, 1_000, (0, 400_000))))}
    return Storm(
        "random",
        **lmkd,
        processes=draw(st.integers(0, 6)),
        swap_entries=draw(st.lists(size, min_size=1, max_size=3)),
        present_pages=draw(st.lists(st.one_of(st.just(0), st.integers(0, 1500)), min_size=1, max_size=2)),
        file_pages=draw(st.sampled_from((0, 300, 10_000))),
        run_entries=draw(st.sampled_from((1, [1, 3], 16, 512))),
        layout=draw(st.sampled_from(("random", "sequential", "even-odd"))),
        how=draw(st.sampled_from(("exit", "exit", "munmap"))),
        sharing=draw(st.sampled_from((1, 4))),
        size_classes=draw(st.sampled_from((1, 30))),
        same_filled_permille=draw(st.sampled_from((0, 300, 1000))),
        zspage_objects=draw(st.integers(1, 6)),
        frees_in_order=draw(st.booleans()),
        cold=draw(st.booleans()),
        background=tuple(draw(st.lists(background, max_size=2))),
        foreground=tuple(draw(st.lists(phase, max_size=2))),
        foreground_at_ns=draw(st.sampled_from((0, 300_000))),
        foreground_reclaims=draw(st.booleans()),
        limit_ns=LIMIT_NS,
    )


EITHER = (False, True)
POLICY_CHOICES = {
    **{"threshold": (0, 1, 2, 4), "swap_entries_min": (0, 32, 500), "backlog_entries_max": (1, 700)},
    **{"grouping": ("kernel", "entry", "run", "cluster"), "reapers": (0, 1, 2, 64), "present_first": EITHER},
    **{"workers": ("workqueue", "per_exiting", "per_node", "per_cpu"), "max_active": (0, 1, 2, 512)},
    **{"exiting_per_worker": (1, 2, 3), "worker_nice": (-20, 0, 19), "dying_only": EITHER},
    **{"minimum_is_reread": EITHER, "only_if_useful": EITHER, "freed_by_caller": EITHER},
    **{"batch_records": (1, 32), "pool_pages": (1, 64), "page_objects": (512, 1024)},
    **{"deferred": ("slot_free", "handle", "zspage")},
}


@st.composite
def policies(draw, kernel):
    """A row of the catalogue that the kernel allows, often with choices changed."""
    rows = [row for row in map(swaplib.policy, swaplib.policies().name) if set(row.needs) <= kernel.features]
    choices = {name: st.sampled_from(values) for name, values in POLICY_CHOICES.items()}
    return draw(st.sampled_from(rows)).but(**draw(st.fixed_dictionaries({}, optional=choices)))


@st.composite
def runs(draw, most_cpus=6):
    """Arguments of `swaplib.simulate` that fit together."""
    machine, kernel, storm = draw(machines(most_cpus)), draw(kernels()), draw(storms())
    if draw(st.booleans()):  # swap is nearly full
        most = storm.processes * max(storm.swap_entries)
        storm = storm.but(swap_used_entries=machine["swap_slots"] - most - draw(st.integers(0, 300)))
    storm = storm.but(exits_capacity_max=draw(st.sampled_from(machine.capacity)))
    return {
        "machine": machine,
        "kernel": kernel,
        "storm": storm,
        "policy": draw(policies(kernel)),
        "seed": draw(st.integers(0, 3)),
        "grain": draw(st.sampled_from((1, 4, 16))),
        "variation_permille": draw(st.sampled_from((0, 300, 1000))),
    }
