"""A machine: its CPUs, what a cache line and a wake-up cost on it, and its memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd

from swaplib.model.checks import at_least, one_of

KINDS = ("measured", "published", "fitted", "assumed")

# name, unit, smallest, what it is
NUMBERS: tuple[tuple[str, str, int, str], ...] = (
    (
        "cpu_cost_permille",
        "1/1000",
        1,
        "CPU part of every cost on a core of capacity 1024, against the reference core",
    ),
    ("memory_cost_permille", "1/1000", 0, "memory part of every cost, against the reference machine"),
    (
        "core_entry_permille",
        "1/1000",
        1,
        "entry parts of what is not zram, against the reference machine",
    ),
    ("remote_memory_permille", "1/1000", 1000, "memory part when the entry's home is another node"),
    ("transfer_local_ns", "ns", 0, "handing a lock or cache line to another CPU of the node"),
    ("transfer_remote_ns", "ns", 0, "handing it to a CPU of another node"),
    ("waiter_ns", "ns", 0, "what each further waiter adds to a hand-over"),
    ("slice_ns", "ns", 1000, "time slice while others wait for the CPU"),
    ("tick_ns", "ns", 0, "timer tick, at which a slice that is used up ends; 0 ends it at once"),
    ("switch_ns", "ns", 0, "context switch"),
    ("wake_ns", "ns", 0, "from wake-up to running on an idle CPU"),
    ("prelude_ns", "ns", 0, "from running with the fatal signal to opening the gather"),
    ("postlude_ns", "ns", 0, "from closing the gather to being reaped"),
    (
        "warm_entries",
        "entries",
        0,
        "entries whose data caches hold when exit follows swap-out; 0 is always cold",
    ),
    ("gather_record_ps", "ps", 0, "storing one record in a gather, at the reference core"),
    ("gather_page_ns", "ns", 0, "allocating one batch page"),
    ("queue_work_ns", "ns", 0, "queueing one work"),
    ("work_ns", "ns", 0, "taking up one work"),
    ("sort_ps", "ps", 0, "sorting, an entry and a doubling of the batch, at the reference core"),
    ("fault_ns", "ns", 0, "touching one new page: fault, allocation, clearing"),
    ("memory_pages", "pages", 1, "memory of 4 KiB pages"),
    ("free_pages", "pages", 0, "free when the storm begins"),
    (
        "watermark_pages",
        "pages",
        0,
        "below it (low) an allocating thread reclaims; below a fifth of it GFP_ATOMIC fails",
    ),
    ("zram_ratio_permille", "1/1000", 1000, "uncompressed size over zram memory"),
    ("swap_slots", "entries", 1, "size of the swap device"),
)


@dataclass(frozen=True)
class Machine:
    """CPUs and numbers, each number with its kind and source.

    Parameters
    ----------
    name, what
        What it is called, and one sentence.
    capacity, node, pod
        For each CPU its capacity (1024 is the machine's fastest core), its memory node, and the pod of CPUs that share
        a cache. Tuples of equal length.
    preemption
        ``full`` or ``voluntary``.
    numbers
        The values of `NUMBERS`, by name.
    origin
        By name of a number: (kind, source); kind is measured, published, fitted or assumed.

    Raises
    ------
    ValueError
        No CPU, more nodes than CPUs, a missing, unknown or impossible number.
    """

    name: str
    what: str
    capacity: tuple[int, ...]
    node: tuple[int, ...]
    pod: tuple[int, ...]
    preemption: str
    numbers: Mapping[str, int]
    origin: Mapping[str, tuple[str, str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        where = f"machine '{self.name}': "
        if not self.capacity:
            raise ValueError(where + "it has no CPUs; expected at least 1")
        if not len(self.capacity) == len(self.node) == len(self.pod):
            raise ValueError(where + "capacity, node and pod must name the same CPUs")
        for cpu, capacity in enumerate(self.capacity):
            at_least(f"{where}capacity of CPU {cpu}", capacity, 1, 1024)
        if sorted(set(self.node)) != list(range(max(self.node) + 1)):
            raise ValueError(
                f"{where}every node needs a CPU, numbered from 0; got nodes {sorted(set(self.node))}"
            )
        if sorted(set(self.pod)) != list(range(max(self.pod) + 1)):
            raise ValueError(
                f"{where}every pod needs a CPU, numbered from 0; got pods {sorted(set(self.pod))}"
            )
        one_of(where + "preemption", self.preemption, ("full", "voluntary"))
        known = {name: low for name, _, low, _ in NUMBERS}
        for name in self.numbers:
            one_of(where + "number", name, known)
        for name, low in known.items():
            if name not in self.numbers:
                raise ValueError(f"{where}{name} is missing")
            at_least(where + name, self.numbers[name], low, 1 << 44)
        if self.numbers["free_pages"] > self.numbers["memory_pages"]:
            raise ValueError(f"{where}free_pages is more than memory_pages {self.numbers['memory_pages']}")

    def __getitem__(self, name: str) -> int:
        """Return one number."""
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
        numbers, origin = dict(self.numbers), dict(self.origin)
        for name, value in changes.items():
            numbers[name] = value
            origin[name] = ("assumed", "changed by the caller")
        return replace(self, numbers=numbers, origin=origin)

    def only(self, cpus: Sequence[int]) -> Machine:
        """Return the machine with some of its CPUs, as if everything were pinned to them; nodes and pods close up."""
        for cpu in cpus:
            at_least(f"machine '{self.name}': CPU", cpu, 0, self.cpus - 1)

        def closed_up(values: tuple[int, ...]) -> tuple[int, ...]:
            kept = [values[cpu] for cpu in cpus]
            return tuple(sorted(set(kept)).index(value) for value in kept)

        capacity = tuple(self.capacity[cpu] for cpu in cpus)
        return replace(self, capacity=capacity, node=closed_up(self.node), pod=closed_up(self.pod))

    def df(self) -> pd.DataFrame:
        """Return every number with unit, kind, source and meaning (columns number, value, unit, kind, source, what)."""
        rows = []
        for name, unit, _, what in NUMBERS:
            kind, source = self.origin.get(name, ("assumed", ""))
            rows.append((name, self.numbers[name], unit, kind, source, what))
        return pd.DataFrame(rows, columns=["number", "value", "unit", "kind", "source", "what"])

    def cores(self) -> pd.DataFrame:
        """Return one row a CPU (columns cpu, capacity, node, pod)."""
        return pd.DataFrame(
            {"cpu": np.arange(self.cpus), "capacity": self.capacity, "node": self.node, "pod": self.pod}
        )
