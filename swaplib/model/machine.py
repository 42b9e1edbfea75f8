"""A machine: its CPUs, what a cache line and a wake-up cost on it, and its memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated

import pandas as pd

from swaplib.model.checks import at_least, check_fields, one_of

KINDS = ("measured", "published", "fitted", "assumed")
MOST_CPUS, MOST_NODES = 4096, 1024  # of the largest configurations of the kernel
SECOND, MOST_PAGES = 10**9, 1 << 36  # in nanoseconds; 256 TiB
MOST_PS = 10**7  # picoseconds of one hand-over

# Name, unit, smallest and largest value, what it is. With these bounds products of times fit into 64 bits.
NUMBERS = (
    ("cpu_cost_permille", "1/1000", 1, 10**6, "CPU part of a cost at capacity 1024, against the reference"),
    ("memory_cost_permille", "1/1000", 0, 10**5, "memory part of every cost, against the reference machine"),
    ("core_entry_permille", "1/1000", 1, 10**5, "entry parts outside zram, against the reference machine"),
    ("remote_memory_permille", "1/1000", 1000, 10**4, "memory part when the entry's home is another node"),
    ("handover_local_ps", "ps", 0, MOST_PS, "a queued spin lock from its holder to the waiter, on one node"),
    ("handover_remote_ps", "ps", 0, MOST_PS, "the same to a waiter on another node"),
    ("line_local_ps", "ps", 0, MOST_PS, "a cache line that another CPU of the node changed last"),
    ("line_remote_ps", "ps", 0, MOST_PS, "the same where a CPU of another node changed it"),
    ("growth_permille", "1/1000", 0, 10**4, "what each further waiting CPU adds to both; 0 with far atomics"),
    ("slice_ns", "ns", 1000, SECOND, "time slice while others wait for the CPU"),
    ("tick_ns", "ns", 0, SECOND, "timer tick, at which a slice that is used up ends; 0 ends it at once"),
    ("switch_ns", "ns", 0, SECOND, "context switch"),
    ("wake_ns", "ns", 0, SECOND, "from wake-up to running on an idle CPU"),
    ("prelude_ns", "ns", 0, SECOND, "from running with the fatal signal to opening the gather"),
    ("postlude_ns", "ns", 0, SECOND, "from closing the gather to being reaped"),
    ("warm_entries", "entries", 0, MOST_PAGES, "held by caches when exit follows swap-out; 0: always cold"),
    ("gather_record_ps", "ps", 0, 10**7, "storing one record in a gather, at the reference core"),
    ("gather_page_ns", "ns", 0, SECOND, "allocating one batch page"),
    ("queue_work_ns", "ns", 0, SECOND, "queueing one work"),
    ("work_ns", "ns", 0, SECOND, "taking up one work"),
    ("sort_ps", "ps", 0, 10**6, "sorting, an entry and a doubling of the batch, at the reference core"),
    ("fault_ns", "ns", 0, SECOND, "touching one new page: fault, allocation, clearing"),
    ("memory_pages", "pages", 1, MOST_PAGES, "memory of 4 KiB pages"),
    ("free_pages", "pages", 0, MOST_PAGES, "free when the storm begins"),
    ("watermark_pages", "pages", 0, MOST_PAGES, "low: the foreground reclaims below it"),
    ("atomic_reserve_pages", "pages", 0, MOST_PAGES, "GFP_ATOMIC fails below: 3/8 of the min watermark"),
    ("zram_ratio_permille", "1/1000", 1000, 10**9, "uncompressed size over zram memory"),
    ("swap_slots", "entries", 1, 1 << 44, "size of the swap device"),
)


@dataclass(frozen=True)
class Machine:
    """CPUs and numbers, each number with its kind and source. Tuples have one value a CPU."""

    name: str
    what: str  # one sentence
    capacity: tuple[Annotated[int, 1, 1024], ...]  # 1024 is the machine's fastest core
    node: tuple[Annotated[int, 0, MOST_NODES - 1], ...]  # of memory
    pod: tuple[Annotated[int, 0, MOST_CPUS - 1], ...]  # CPUs that share a cache
    preemption: Annotated[str, "full", "voluntary"]
    numbers: Mapping[str, int]  # the values of `NUMBERS`, by name
    origin: Mapping[str, tuple[str, str]] = field(default_factory=dict)  # of each: one of `KINDS`, and source
    # How a contended line is changed: as on x86, on Arm with far atomics (LSE), or by trying again.
    core: Annotated[str, "x86", "LSE", "no LSE"] = "x86"
    memory_nodes: Annotated[int, 0, MOST_NODES] = 0  # further nodes, which have memory and no CPUs

    def __post_init__(self) -> None:
        where = f"machine '{self.name}': "
        check_fields(where, self)
        at_least(where + "number of CPUs", len(self.capacity), 1, MOST_CPUS)
        if not len(self.capacity) == len(self.node) == len(self.pod):
            raise ValueError(where + "capacity, node and pod must name the same CPUs")
        for what, found in (("node", sorted(set(self.node))), ("pod", sorted(set(self.pod)))):
            if found != list(range(len(found))):
                raise ValueError(f"{where}every {what} needs a CPU, numbered from 0; got {what}s {found}")
        numbers = {}
        for name in self.numbers:
            one_of(where + "number", name, [known for known, *_ in NUMBERS])
        for name, _, low, high, _ in NUMBERS:
            if name not in self.numbers:
                raise ValueError(f"{where}{name} is missing")
            numbers[name] = at_least(where + name, self.numbers[name], low, high)
        object.__setattr__(self, "numbers", numbers)
        if numbers["free_pages"] > numbers["memory_pages"]:
            raise ValueError(f"{where}free_pages is more than memory_pages {numbers['memory_pages']}")

    def __getitem__(self, name: str) -> int:
        return self.numbers[name]

    @property
    def cpus(self) -> int:
        """Number of CPUs."""
        return len(self.capacity)

    @property
    def nodes(self) -> int:
        """Number of memory nodes."""
        return max(self.node) + 1

    def but(self, **changes: int) -> Machine:
        """Return the machine with some numbers changed; what was changed is marked assumed."""
        origin = dict.fromkeys(changes, ("assumed", "changed by the caller"))
        return replace(self, numbers={**self.numbers, **changes}, origin={**self.origin, **origin})

    def with_contention(self, factor: float) -> Machine:
        """Return the machine whose hand-overs of locks and moves of lines cost `factor` times as much."""
        numbers = [name for name in self.numbers if name.startswith(("handover_", "line_"))]
        return self.but(**{name: round(self[name] * factor) for name in numbers})

    def with_nodes(self, nodes: int, cpus: int, memory_nodes: int = 0) -> Machine:
        """Return a machine of `cpus` CPUs like the first, in equal parts on `nodes`; each node is one pod.

        `memory_nodes` further nodes have memory alone (CXL, HBM): every process whose memory lies there runs
        on another node.
        """
        at_least(f"machine '{self.name}': number of nodes", nodes, 1, min(cpus, MOST_NODES))
        node = tuple(cpu * nodes // cpus for cpu in range(cpus))
        capacity = (self.capacity[0],) * cpus
        name = f"{self.name}, {cpus} CPUs on {nodes} nodes"
        return replace(self, name=name, capacity=capacity, node=node, pod=node, memory_nodes=memory_nodes)

    def only(self, cpus: Sequence[int]) -> Machine:
        """Return the machine with some of its CPUs, as if all tasks were pinned; nodes and pods close up."""
        for cpu in cpus:
            at_least(f"machine '{self.name}': CPU", cpu, 0, self.cpus - 1)

        def closed_up(values: tuple[int, ...]) -> tuple[int, ...]:
            kept = sorted({values[cpu] for cpu in cpus})
            return tuple(kept.index(values[cpu]) for cpu in cpus)

        capacity = tuple(self.capacity[cpu] for cpu in cpus)
        return replace(self, capacity=capacity, node=closed_up(self.node), pod=closed_up(self.pod))

    def df(self) -> pd.DataFrame:
        """Return every number: columns number, value, unit, kind, source and what."""
        own = {name: self.origin.get(name, ("assumed", "")) for name in self.numbers}
        rows = [(name, self[name], unit, *own[name], what) for name, unit, _, _, what in NUMBERS]
        return pd.DataFrame(rows, columns=["number", "value", "unit", "kind", "source", "what"])
