"""A kernel generation: what freeing swap entries costs, under which locks, and how workers are counted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from enum import IntEnum
from functools import lru_cache
from typing import Annotated

from swaplib.model.checks import check_fields, one_of

# The parts of a cost: charged for every entry, call and run, on the CPU and in memory.
COST_PARTS = tuple(f"{what}_{where}_ps" for what in ("entry", "call", "run") for where in ("cpu", "memory"))
Picoseconds = Annotated[int, 0, 10**9]


class Lock(IntEnum):
    """What a stage may hold. Each kind has as many instances as its comment says.

    Most are queued spin locks, which a holder hands to the first waiter. Three are cache lines that are only
    changed atomically, in turn: counters, and the count of readers of a read lock.
    """

    NONE = 0
    DEVICE = 1  # si->lock: one, as there is one swap device
    CLUSTER = 2  # one for every 512 slots that some processes share
    POOL = 3  # zsmalloc's pool: one, up to 6.1
    CLASS = 4  # zsmalloc's size classes in use: a parameter of the storm
    ZONE = 5  # the page allocator: one a node
    SWAP_COUNTER = 6  # nr_swap_pages and inuse_pages: one line
    ZRAM_COUNTER = 7  # zram's statistics: one line
    LIST = 8  # the list of async-list: one
    POOL_READERS = 9  # of zsmalloc's pool, counted as they come and go: one line
    PAGE_TABLE = 10  # of a dying process, where a reaper walks beside it; no stage's

    @property
    def is_line(self) -> bool:
        """Whether it is a line that is changed atomically, not a spin lock."""
        return self in (Lock.POOL_READERS, Lock.SWAP_COUNTER, Lock.ZRAM_COUNTER)


@dataclass(frozen=True)
class Cost:
    """What one stage costs, in picoseconds at capacity 1024 with cold caches.

    A CPU part shrinks on a faster core; a memory part does not, and disappears as caches get warm. Both are
    charged for every entry, every call and every run (a run is what makes the zram table and the handles
    neighbours).
    """

    entry_cpu_ps: Picoseconds = 0
    entry_memory_ps: Picoseconds = 0
    call_cpu_ps: Picoseconds = 0
    call_memory_ps: Picoseconds = 0
    run_cpu_ps: Picoseconds = 0
    run_memory_ps: Picoseconds = 0
    kind: Annotated[str, "measured", "published", "fitted", "assumed"] = "assumed"
    source: str = ""

    def __post_init__(self) -> None:
        check_fields(f"cost from {self.source or 'code'}: ", self)

    def total_ps(self, run_entries: int = 1, calls_per_run: int = 1) -> float:
        """Picoseconds an entry in runs of `run_entries` that `calls_per_run` calls free."""
        calls = (self.call_cpu_ps + self.call_memory_ps) * calls_per_run / run_entries
        runs = (self.run_cpu_ps + self.run_memory_ps) / run_entries
        return self.entry_cpu_ps + self.entry_memory_ps + calls + runs


@dataclass(frozen=True)
class Stage:
    """One step of freeing, with the lock that is held around it and around its children."""

    name: str
    cost: Cost = Cost()  # of the step by itself
    lock: Lock = Lock.NONE
    acquired: Annotated[str, "call", "entry"] = "call"  # for each of which the lock is taken
    # Cache lines that move when another CPU had it last: changes of a line, else those that a lock protects.
    lines: Annotated[int, 0, 16] = 0
    zram: bool = False  # belongs to zram and zsmalloc: a policy may defer it alone
    objects: bool = False  # is skipped for same-filled pages, which zram stores without an object
    zspages: bool = False  # gives zsmalloc's pages back: dearer where a storm's content leaves more of them
    children: tuple[Stage, ...] = ()  # stages that run inside

    def __post_init__(self) -> None:
        check_fields(f"stage '{self.name}': ", self)

    def walk(self) -> Iterator[Stage]:
        """Yield the stage and everything inside it, outermost first."""
        yield self
        for child in self.children:
            yield from child.walk()


@dataclass(frozen=True)
class Kernel:
    """One generation of the swap core, zram and the workqueue."""

    name: str  # the release from which it holds
    what: str  # sets it apart
    # What one call frees; "run-of-two" is a run of two entries or more.
    native_call: Annotated[str, "entry", "run", "run-of-two"]
    single: tuple[Stage, ...]  # of a call that frees one entry, up to the slot cache where there is one
    run: tuple[Stage, ...]  # of a call that frees a run at once
    drain: tuple[Stage, ...]  # of emptying the slot cache; none where there is no cache
    slot_cache_entries: Annotated[int, 0, 4096]  # of each CPU; 0 where there is none
    walk: Cost  # of meeting a run in the page table
    present: Cost  # of unmapping a present page
    flush: Cost  # of freeing it later
    zone: Cost  # of giving one batch of pages to the page allocator
    list_push: Cost  # of putting a record on a shared list
    allocate: Cost  # of allocating swap slots
    compress: Cost  # of compressing a reclaimed page
    zone_pages: Annotated[int, 1, 4096]  # present pages that the allocator takes under one zone lock
    ordered_single: bool  # max_active = 1 means one worker in the whole system (before 6.9)
    default_active: Annotated[int, 1, 2048] = 256  # workers a node that max_active = 0 allows
    # A woken task lets the running one finish its first slice (RUN_TO_PARITY, 6.12 kernel/sched/fair.c),
    # else a later virtual deadline is enough to lose the CPU.
    run_to_parity: bool = False

    def __post_init__(self) -> None:
        where = f"kernel '{self.name}': "
        check_fields(where, self)
        if not self.single or not self.run:
            raise ValueError(where + "single and run need at least one stage")
        if bool(self.drain) != bool(self.slot_cache_entries):
            raise ValueError(where + "a slot cache and the stages that drain it go together")

    @property
    def features(self) -> frozenset[str]:
        """What a policy may need: ``slot cache``, ``device lock``, ``free by run``, ``class in the object``.

        With its size class in the object's handle, zsmalloc takes no pool lock to find it.
        """
        stages = [stage for top in (*self.run, *self.drain) for stage in top.walk()]
        has = {
            "slot cache": self.slot_cache_entries > 0,
            "device lock": any(stage.lock == Lock.DEVICE for stage in stages),
            "free by run": self.native_call != "entry",
            "class in the object": not {stage.lock for stage in stages} & {Lock.POOL, Lock.POOL_READERS},
        }
        return frozenset(feature for feature in has if has[feature])

    def workers_on_node(self, max_active: int, node_cpus: int, cpus: int) -> int:
        """Workers of an unbound workqueue that may run at once on a node; 0: one in the whole system.

        Before 6.9 ``max_active=1`` is one worker in the system, and more is allowed to every node in full
        (Linux 6.1 kernel/workqueue.c). Since then the limit is clamp(ceil(max_active x node_cpus / cpus),
        min(max_active, 8), max_active), commit 5797b1c18919.
        """
        if self.ordered_single:
            return 0 if max_active == 1 else max_active
        share = -(-max_active * node_cpus // cpus)
        return max(min(max_active, 8), min(share, max_active))

    @lru_cache(maxsize=256)  # noqa: B019 - kernels are few and small
    def with_core(self, permille: int) -> Kernel:
        """Return the kernel with the entry parts of walking and of all stages outside zram multiplied."""

        def multiplied(cost: Cost) -> Cost:
            cpu, memory = cost.entry_cpu_ps * permille // 1000, cost.entry_memory_ps * permille // 1000
            return replace(cost, entry_cpu_ps=cpu, entry_memory_ps=memory)

        return self if permille == 1000 else self._with_costs(multiplied, skip_zram=True)

    def scaled(self, **factors: float) -> Kernel:
        """Return the kernel with parts of its costs multiplied by factors.

        A factor of one of `COST_PARTS` holds for walking and every stage of freeing; ``page`` and ``folio``
        hold for the entry and run parts of `present` and `flush`. Another name is a ValueError.
        """
        for name in factors:
            one_of(f"kernel '{self.name}': part of the costs", name, (*COST_PARTS, "page", "folio"))
        of_page = {part: "page" if "entry" in part else "folio" for part in COST_PARTS if "call" not in part}

        def multiplied(cost: Cost, names: dict[str, str]) -> Cost:
            values = {part: getattr(cost, part) * factors.get(name, 1) for part, name in names.items()}
            return replace(cost, **{part: round(value) for part, value in values.items()})

        kernel = self._with_costs(lambda cost: multiplied(cost, {part: part for part in COST_PARTS}))
        present, flush = multiplied(self.present, of_page), multiplied(self.flush, of_page)
        return replace(kernel, present=present, flush=flush)

    def without(self, flag: str) -> Kernel:
        """Return the kernel without the stages of a flag: ``zram``, ``objects`` or ``zspages``."""

        def kept(stages: tuple[Stage, ...]) -> tuple[Stage, ...]:
            left = (stage for stage in stages if not getattr(stage, flag))
            return tuple(replace(stage, children=kept(stage.children)) for stage in left)

        return replace(self, single=kept(self.single), run=kept(self.run), drain=kept(self.drain))

    def only(self, flag: str) -> tuple[Stage, ...]:
        """Return the outermost stages of a flag in a call: what `without` takes out, done by itself."""

        def outermost(stages: tuple[Stage, ...]) -> Iterator[Stage]:
            for stage in stages:
                yield from (stage,) if getattr(stage, flag) else outermost(stage.children)

        return tuple(outermost(self.drain or self.run))

    def _with_costs(self, change: Callable[[Cost], Cost], skip_zram: bool = False) -> Kernel:
        def changed(stage: Stage) -> Stage:
            if skip_zram and stage.zram:
                return stage
            return replace(stage, cost=change(stage.cost), children=tuple(map(changed, stage.children)))

        single, run, drain = (tuple(map(changed, stages)) for stages in (self.single, self.run, self.drain))
        return replace(self, walk=change(self.walk), single=single, run=run, drain=drain)
