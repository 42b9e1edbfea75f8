"""A kernel generation: what freeing swap entries costs, which locks it holds, and how its workqueue counts workers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from enum import IntEnum

from swaplib.model.checks import at_least, one_of


class Lock(IntEnum):
    """What a stage may hold. Each kind has as many instances as its comment says."""

    NONE = 0
    DEVICE = 1  # si->lock: one, as there is one swap device
    CLUSTER = 2  # one for every 512 slots that some processes share
    POOL = 3  # zsmalloc's pool: one
    CLASS = 4  # zsmalloc's size classes in use: a parameter of the storm
    ZONE = 5  # the page allocator: one a node
    SWAP_COUNTER = 6  # nr_swap_pages, inuse_pages and the memcg counter: one cache line
    ZRAM_COUNTER = 7  # zram's statistics: one cache line
    LIST = 8  # the list of async-list: one


@dataclass(frozen=True)
class Cost:
    """What one stage costs, in picoseconds at capacity 1024 with cold caches.

    A CPU part shrinks on a faster core; a memory part does not, and disappears as caches get warm. Both are charged
    for every entry, every call and every run (a run is what makes the zram table and the handles neighbours).
    """

    entry_cpu_ps: int = 0
    entry_memory_ps: int = 0
    call_cpu_ps: int = 0
    call_memory_ps: int = 0
    run_cpu_ps: int = 0
    run_memory_ps: int = 0
    kind: str = "assumed"
    source: str = ""

    def __post_init__(self) -> None:
        for name in COST_PARTS:
            at_least(f"cost from {self.source or 'code'}: {name}", getattr(self, name), 0, 10**12)
        one_of("kind of a cost", self.kind, ("measured", "published", "fitted", "assumed"))

    def total_ps(self, run_entries: int = 1, calls_per_run: int = 1) -> float:
        """Picoseconds an entry, cold, at capacity 1024, in runs of `run_entries` freed by `calls_per_run` calls."""
        return (
            self.entry_cpu_ps
            + self.entry_memory_ps
            + (self.call_cpu_ps + self.call_memory_ps) * calls_per_run / run_entries
            + (self.run_cpu_ps + self.run_memory_ps) / run_entries
        )


COST_PARTS = (
    "entry_cpu_ps",
    "entry_memory_ps",
    "call_cpu_ps",
    "call_memory_ps",
    "run_cpu_ps",
    "run_memory_ps",
)


@dataclass(frozen=True)
class Stage:
    """One step of freeing, with the lock that is held around it and around its children.

    Parameters
    ----------
    name
        What the stage does.
    cost
        What it costs by itself.
    lock
        What is held meanwhile, or `Lock.NONE`.
    acquired
        ``call`` or ``entry``: how often the lock is taken.
    touches
        Cache-line transfers an acquisition costs when another CPU had the line (a reader takes and drops: 2).
    zram
        True when the stage belongs to zram and zsmalloc: a policy may defer it alone.
    objects
        True when it is skipped for same-filled pages, which zram stores without an object.
    children
        Stages that run inside.
    """

    name: str
    cost: Cost = Cost()
    lock: Lock = Lock.NONE
    acquired: str = "call"
    touches: int = 1
    zram: bool = False
    objects: bool = False
    children: tuple[Stage, ...] = ()

    def __post_init__(self) -> None:
        one_of(f"stage '{self.name}': acquired", self.acquired, ("call", "entry"))
        at_least(f"stage '{self.name}': touches", self.touches, 0, 16)

    def walk(self) -> Iterator[Stage]:
        """Yield the stage and everything inside it, outermost first."""
        yield self
        for child in self.children:
            yield from child.walk()


@dataclass(frozen=True)
class Kernel:
    """One generation of the swap core, zram and the workqueue.

    Parameters
    ----------
    name, what
        The release from which it holds, and what sets it apart.
    native_call
        What one call frees: ``entry``; ``run``; or ``run-of-two`` (a run when it has two entries or more).
    single
        Stages of a call that frees one entry, up to the slot cache where there is one.
    run
        Stages of a call that frees a run at once.
    drain
        Stages of emptying the slot cache; empty where there is none.
    slot_cache_entries
        Entries of the per-CPU slot cache; 0 where there is none.
    walk, present, flush, zone
        Costs of meeting a run in the page table, of unmapping a present page, of freeing it later, and of giving one
        batch to the page allocator.
    list_push, allocate, compress
        Costs of putting a record on a shared list, of allocating swap slots, and of compressing a reclaimed page.
    zone_pages
        Present pages that the page allocator takes back under one zone lock.
    ordered_single
        True when max_active = 1 means one worker in the whole system (before 6.9).
    run_to_parity
        True when a woken task lets the running one finish its first slice (scheduler feature RUN_TO_PARITY, Linux 6.12
        kernel/sched/fair.c), False when a later virtual deadline is enough to lose the CPU.
    """

    name: str
    what: str
    native_call: str
    single: tuple[Stage, ...]
    run: tuple[Stage, ...]
    drain: tuple[Stage, ...]
    slot_cache_entries: int
    walk: Cost
    present: Cost
    flush: Cost
    zone: Cost
    list_push: Cost
    allocate: Cost
    compress: Cost
    zone_pages: int
    ordered_single: bool
    run_to_parity: bool = False

    def __post_init__(self) -> None:
        where = f"kernel '{self.name}': "
        one_of(where + "native_call", self.native_call, ("entry", "run", "run-of-two"))
        at_least(where + "slot_cache_entries", self.slot_cache_entries, 0, 4096)
        at_least(where + "zone_pages", self.zone_pages, 1, 4096)
        if bool(self.drain) != bool(self.slot_cache_entries):
            raise ValueError(where + "a slot cache and the stages that drain it go together")

    @property
    def features(self) -> frozenset[str]:
        """What a policy may need: ``slot cache``, ``device lock``, ``free by run``."""
        locks = {stage.lock for top in (*self.run, *self.drain) for stage in top.walk()}
        found = {"slot cache"} if self.slot_cache_entries else set()
        if Lock.DEVICE in locks:
            found.add("device lock")
        if self.native_call != "entry":
            found.add("free by run")
        return frozenset(found)

    def workers_on_node(self, max_active: int, node_cpus: int, cpus: int) -> int:
        """Workers of one unbound workqueue that may run at once on a node (0: the limit is system-wide, see below).

        Before 6.9 ``max_active=1`` is one worker in the system and the caller must treat the queue as one, and more
        is allowed to every node in full (Linux 6.1 kernel/workqueue.c). Since then the limit is
        clamp(ceil(max_active x node_cpus / cpus), min(max_active, 8), max_active), commit 5797b1c18919.
        """
        if self.ordered_single:
            return 0 if max_active == 1 else max_active
        share = -(-max_active * node_cpus // cpus)
        return max(min(max_active, 8), min(share, max_active))

    def with_core(self, permille: int) -> Kernel:
        """Return the kernel with the entry parts of walking and of all stages outside zram multiplied."""
        if permille == 1000:
            return self

        def cost(old: Cost) -> Cost:
            parts = ("entry_cpu_ps", "entry_memory_ps")
            return replace(old, **{part: getattr(old, part) * permille // 1000 for part in parts})

        def core(stages: tuple[Stage, ...]) -> tuple[Stage, ...]:
            return tuple(
                s if s.zram else replace(s, cost=cost(s.cost), children=core(s.children)) for s in stages
            )

        return replace(
            self, single=core(self.single), run=core(self.run), drain=core(self.drain), walk=cost(self.walk)
        )

    def without_zram(self) -> Kernel:
        """Return the kernel with every zram stage taken out of a call: what is left when zram is deferred."""

        def core(stages: tuple[Stage, ...]) -> tuple[Stage, ...]:
            return tuple(replace(stage, children=core(stage.children)) for stage in stages if not stage.zram)

        return replace(self, single=core(self.single), run=core(self.run), drain=core(self.drain))

    def scaled(self, **factors: float) -> Kernel:
        """Return the kernel with parts of its costs multiplied.

        Parameters
        ----------
        factors
            By a name of `COST_PARTS`: of walking and of every stage of freeing. ``page`` and ``folio``: of a present
            page's own part and of its folio's part.
        """

        def cost(old: Cost, parts: Mapping[str, str]) -> Cost:
            return replace(
                old,
                **{part: round(getattr(old, part) * factors.get(name, 1)) for part, name in parts.items()},
            )

        def tree(stages: tuple[Stage, ...]) -> tuple[Stage, ...]:
            return tuple(replace(s, cost=cost(s.cost, same), children=tree(s.children)) for s in stages)

        for name in factors:
            one_of(f"kernel '{self.name}': part of the costs", name, (*COST_PARTS, "page", "folio"))
        same = {part: part for part in COST_PARTS}
        pages = {
            part: "page" if part.startswith("entry") else "folio" for part in COST_PARTS if "call" not in part
        }
        return replace(
            self,
            single=tree(self.single),
            run=tree(self.run),
            drain=tree(self.drain),
            walk=cost(self.walk, same),
            present=cost(self.present, pages),
            flush=cost(self.flush, pages),
        )

    def zram_stages(self) -> tuple[Stage, ...]:
        """Return the outermost zram stages of a call: what a deferred object still costs."""

        def outermost(stages: tuple[Stage, ...]) -> Iterator[Stage]:
            for stage in stages:
                if stage.zram:
                    yield stage
                else:
                    yield from outermost(stage.children)

        return tuple(outermost(self.drain or self.run))
