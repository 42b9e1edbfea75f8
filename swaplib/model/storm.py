"""A storm: who dies, when, with what in memory, and what else wants the CPUs meanwhile."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from functools import lru_cache
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt

from swaplib.model.checks import at_least, check_fields, one_of
from swaplib.model.machine import MOST_PAGES, Machine

Array = npt.NDArray[np.int64]
Spec = int | tuple[int, int] | list[int]  # a constant, a uniform range, or equally likely values

CLUSTER_ENTRIES = 512  # SWAPFILE_CLUSTER with THP_SWAP, Linux 6.12 mm/swapfile.c

LONGEST_NS = 1 << 50  # 13 days; 1024 times as much still fits into 64 bits
MOST_ENTRIES = 1 << 30  # of one process: 4 TiB


@dataclass(frozen=True)
class Background:
    """Tasks that run `burst_ns` (at capacity 1024) of every `period_ns`, at a nice level or in real time.

    `threads` of them start at different points of the period. `monitor` marks a cost of measuring, which is
    reported as other time, not as background. `frames` marks the frames of an app: a period whose burst ends
    late is a missed frame of `Outcome.summary`.
    """

    threads: Annotated[int, 1, 4096]
    burst_ns: Annotated[int, 1, LONGEST_NS]
    period_ns: Annotated[int, 1, LONGEST_NS]
    nice: Annotated[int, -20, 19] = 0
    realtime: bool = False
    monitor: bool = False
    frames: bool = False

    def __post_init__(self) -> None:
        check_fields("background: ", self)


@dataclass(frozen=True)
class Phase:
    """A part of the foreground's start: `cpu_ns` at capacity 1024, then `pages` to touch, by `threads`."""

    cpu_ns: Annotated[int, 0, LONGEST_NS]
    pages: Annotated[int, 0, MOST_ENTRIES] = 0
    threads: Annotated[int, 1, 64] = 1

    def __post_init__(self) -> None:
        check_fields("foreground phase: ", self)


@dataclass(frozen=True)
class Storm:
    """A recipe of deaths. A `Spec` is one number, a (low, high) range, or a list of equally likely values."""

    name: str
    what: str = ""  # one sentence
    processes: Annotated[int, 0, 1_000_000] = 1  # that die
    swap_entries: Spec = 16384  # of each process
    present_pages: Spec = 0  # of 4 KiB, of each
    file_pages: Spec = 0
    run_entries: Spec = 1  # of the runs that the page-table walk sees
    folio_pages: Annotated[int, 1, 512] = 1  # of a present anonymous folio: 16 for 64 KiB folios
    # Of page-out: random blocks of run_entries, or by even and odd pages.
    layout: Annotated[str, "random", "sequential", "even-odd"] = "random"
    swapped_in_front: bool = False  # in the address space, as the lab pages out; else evenly among the others
    gap_ns: Spec = 0  # between kills
    # As AOSP's lmkd kills, if not None (lmkd.cpp, LOW_MEM_AND_SWAP; ro.lmk.kill_timeout_ms is 100 ms): the
    # next process when the last is gone or so long after it, only while fewer pages than kill_below_pages
    # are free, and fewer swap slots than this share (ro.lmk.swap_free_low_percentage is 10). Then `processes`
    # are the most that die, those that survive keep their entries, and times count from lmkd's first look.
    kill_timeout_ns: Annotated[int, 1, LONGEST_NS] | None = None
    kill_below_pages: Annotated[int, 0, MOST_PAGES] = 0
    kill_below_slots_permille: Annotated[int, 0, 1000] = 100
    # A munmap lets the task live on, without prelude, reaping and being counted as dying.
    how: Annotated[str, "exit", "munmap"] = "exit"
    sharing: Annotated[int, 1, 4096] = 1  # processes whose entries share clusters
    size_classes: Annotated[int, 1, 256] = 1  # of 119 (69 up to 6.1): 1 when pages are alike, 100 with apps
    same_filled_permille: Annotated[int, 0, 1000] = 0  # of the pages, which zram stores without an object
    # Cost of giving zsmalloc's pages back, against content that compresses 2.75 to 1.
    free_zspage_permille: Annotated[int, 0, 10**5] = 1000
    zspage_objects: Annotated[int, 1, 64] = 19  # at 2.75 to 1; 8 up to 6.1, whose zspages have 4 pages, not 8
    frees_in_order: bool = False  # a process frees the objects of a zspage in allocation order
    cold: bool = True  # caches; not when exit follows swap-out closely (the machine's warm_entries)
    # Of the CPUs that dying processes may use, as a cpuset says; kworkers and reapers use all. Android keeps
    # background apps on small cores; AOSP's lmkd moves its victims to the foreground's CPUs (reaper.cpp).
    exits_capacity_max: Annotated[int, 1, 1024] = 1024
    background: tuple[Background, ...] = ()
    foreground: tuple[Phase, ...] = ()
    foreground_at_ns: Annotated[int, 0, LONGEST_NS] = 0
    foreground_reclaims: bool = True  # by itself below the watermark; else it waits for memory
    free_pages: Annotated[int, 0, MOST_PAGES] | None = None  # at the start; None: as the machine says
    swap_used_entries: Annotated[int, 0, MOST_PAGES] = 0  # by others, at the start
    limit_ns: Annotated[int, 1, LONGEST_NS] = 60_000_000_000  # after which a run is cut off, and says so

    def __post_init__(self) -> None:
        check_fields(f"storm '{self.name}': ", self)
        for name in ("swap_entries", "present_pages", "file_pages"):
            self._check_spec(name, 0, MOST_ENTRIES)
        self._check_spec("run_entries", 1, CLUSTER_ENTRIES)
        self._check_spec("gap_ns", 0, LONGEST_NS // max(1, self.processes))
        if self.kill_timeout_ns is not None and self.gap_ns != 0:
            why = "expected 0 with kill_timeout_ns, where lmkd decides when the next process is killed"
            raise ValueError(f"storm '{self.name}': gap_ns is {self.gap_ns}; {why}")

    def _check_spec(self, name: str, low: int, high: int) -> None:
        what, spec = f"storm '{self.name}': {name}", getattr(self, name)
        many = isinstance(spec, tuple | list)
        values = [at_least(what, value, low, high) for value in (spec if many else (spec,))]
        if isinstance(spec, tuple) and (len(values) != 2 or values[0] > values[1]):
            raise ValueError(f"{what} is {spec}; expected a range (low, high)")
        if not values:
            raise ValueError(f"{what} is an empty list; expected equally likely values")
        object.__setattr__(self, name, type(spec)(values) if many else values[0])

    def but(self, **changes: Any) -> Storm:
        """Return the storm with some choices changed; an unknown one is a ValueError that lists them all."""
        for name in changes:
            one_of(f"storm '{self.name}': choice", name, sorted(field.name for field in fields(self)))
        return replace(self, **changes)

    def draw(self, machine: Machine, seed: int = 0, experiment: int = 0) -> Deaths:
        """Draw who dies when, by common random numbers: one stream of raw words for each source.

        A storm that does not fit into the machine's memory or swap is a ValueError.
        """
        at_least("seed", seed, 0)
        at_least("experiment", experiment, 0)
        specs = (self.gap_ns, self.swap_entries, self.present_pages, self.file_pages, self.run_entries)
        drawn = [_draw(spec, self.processes, experiment, seed, n) for n, spec in enumerate(specs)]
        gaps, swap_entries, present_pages, file_pages, run_entries = drawn
        homes = machine.nodes + machine.memory_nodes
        kill_ns, node = np.cumsum(gaps), np.arange(self.processes, dtype=np.int64) % homes
        deaths = Deaths(kill_ns - kill_ns[:1], swap_entries, present_pages, file_pages, run_entries, node)
        swap = int(deaths.swap_entries.sum()) + self.swap_used_entries
        free = machine["free_pages"] if self.free_pages is None else self.free_pages
        pages = int(deaths.present_pages.sum() + deaths.file_pages.sum()) + free
        pages += swap * 1000 // machine["zram_ratio_permille"]
        where, has = f"storm '{self.name}'", f"machine '{machine.name}' has"
        if (least := min(machine.capacity)) > (most := self.exits_capacity_max):
            raise ValueError(f"{where}: exits_capacity_max is {most}; {has} CPUs from {least}")
        if swap > (most := machine["swap_slots"]):
            raise ValueError(f"{where} has {swap} swap entries; {has} {most}")
        if pages > (most := machine["memory_pages"]):
            raise ValueError(f"{where} needs {pages} pages with the free ones and zram; {has} {most}")
        return deaths


@dataclass(frozen=True)
class Deaths:
    """What a storm drew: arrays with one value a process (int64): kill time, sizes, run length, home node."""

    kill_ns: Array
    swap_entries: Array
    present_pages: Array
    file_pages: Array
    run_entries: Array
    node: Array


@lru_cache(4096)
def jump_entries(layout: str, run_entries: int, sharing: int = 1) -> int:
    """Return how many entries of a walk lie near each other in swap before the next ones lie far away.

    `layout` is a storm's, and `sharing` processes share a cluster. A run ends with a jump, except for
    even-odd pages: their runs of one come alternately from two stretches of slots, and both stay near until a
    cluster ends.
    """
    return max(1, CLUSTER_ENTRIES // sharing) if layout == "even-odd" else run_entries


@lru_cache(4096)
def sorted_run_entries(layout: str, run_entries: int, entries: int, batch: int, sharing: int = 1) -> int:
    """Return the mean run, in entries, after sorting a batch of a process by offset.

    A batch of `batch` entries holds the share q of the process's `entries`. Random blocks: a block's
    neighbour is in the same batch with probability q, so runs grow to run_entries / (1 - q). Even-odd pages:
    the batch holds both halves of a stretch. Sequential: the batch is one stretch. Slots of a cluster that
    others of the `sharing` processes hold end a run.
    """
    if entries == 0:
        return 1
    longest, batch = max(1, CLUSTER_ENTRIES // sharing), max(1, min(batch, entries))
    if layout == "even-odd":
        return min(longest, max(1, batch // 2))
    if layout == "sequential" or batch == entries:
        return min(longest, batch)
    return min(longest, max(run_entries, round(run_entries * entries / (entries - batch))))


def background_load(
    machine: Machine, share_permille: int, threads: int, period_ns: int
) -> tuple[Background, ...]:
    """Return background tasks that use `share_permille` of the machine's capacity, or none for 0."""
    burst_ns = sum(machine.capacity) * period_ns * share_permille // (1024 * 1000 * threads)
    return (Background(threads, burst_ns, period_ns),) if burst_ns else ()


def random_words(count: int, *key: int) -> npt.NDArray[np.uint64]:
    """Return `count` raw 64-bit words of PCG64 seeded by whole numbers: the same on every machine."""
    return np.random.PCG64(np.random.SeedSequence(key)).random_raw(count)


def _draw(spec: Spec, count: int, *key: int) -> Array:
    """Draw values: raw words of the key are mapped by multiplication and shift, without floating point."""
    if isinstance(spec, int):
        return np.full(count, spec, dtype=np.int64)
    values = range(spec[0], spec[1] + 1) if isinstance(spec, tuple) else spec
    words = random_words(count, *key)
    return np.array([values[int(word) * len(values) >> 64] for word in words], dtype=np.int64)
