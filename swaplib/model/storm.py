"""A storm: who dies, when, with what in memory, and what else wants the CPUs meanwhile."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from swaplib.model.checks import at_least, one_of
from swaplib.model.machine import Machine

Array = npt.NDArray[np.int64]
Spec = int | tuple[int, int] | list[int]  # a constant, a uniform range, or equally likely values

CLUSTER_ENTRIES = 512  # SWAPFILE_CLUSTER with THP_SWAP, Linux 6.12 mm/swapfile.c

_LONGEST_NS = 1 << 52  # 52 days; 1024 times as much still fits into 64 bits
_MOST_ENTRIES = 1 << 30  # of one process: 4 TiB


@dataclass(frozen=True)
class Background:
    """Tasks that run `burst_ns` (at capacity 1024) of every `period_ns`, at a nice level or in real time.

    `threads` of them start at different points of the period. `monitor` marks a cost of measuring, which is reported
    as other time, not as background.
    """

    threads: int
    burst_ns: int
    period_ns: int
    nice: int = 0
    realtime: bool = False
    monitor: bool = False

    def __post_init__(self) -> None:
        at_least("background: threads", self.threads, 1, 4096)
        at_least("background: burst_ns", self.burst_ns, 1, _LONGEST_NS >> 2)
        at_least("background: period_ns", self.period_ns, 1, _LONGEST_NS >> 2)
        at_least("background: nice", self.nice, -20, 19)


@dataclass(frozen=True)
class Phase:
    """A part of the foreground's start: `cpu_ns` of work at capacity 1024, then `pages` to touch, by `threads`."""

    cpu_ns: int
    pages: int = 0
    threads: int = 1

    def __post_init__(self) -> None:
        at_least("foreground phase: cpu_ns", self.cpu_ns, 0, _LONGEST_NS >> 2)
        at_least("foreground phase: pages", self.pages, 0, _MOST_ENTRIES)
        at_least("foreground phase: threads", self.threads, 1, 64)


@dataclass(frozen=True)
class Storm:
    """A recipe from which `draw` makes deaths: sizes and gaps are constants, ranges or equally likely values.

    Parameters
    ----------
    name, what
        What it is called, and one sentence.
    processes
        How many die.
    swap_entries, present_pages, file_pages
        What each has, in entries and 4 KiB pages; an int, a (low, high) range, or a list of equally likely values.
    run_entries
        Entries of the runs that the page-table walk sees.
    folio_pages
        Pages of a present anonymous folio: 1, or 16 for 64 KiB folios.
    layout
        Order of page-out: ``random`` blocks of run_entries, ``sequential``, or ``even-odd`` pages.
    swapped_in_front
        True when a process's swapped pages come first in its address space (the lab pages out the front of a mapping),
        False when they lie evenly among the others.
    gap_ns
        Time between kills.
    how
        ``exit`` or ``munmap`` (the task lives on: no prelude, no reaping, and it is not dying).
    sharing
        Processes whose entries share clusters.
    size_classes
        zsmalloc size classes in use (1 when all pages compress alike, about 100 with apps).
    same_filled_permille
        Share of pages that zram stores without an object.
    zspage_objects, frees_in_order
        Objects of a zspage, and whether a process frees them in allocation order.
    cold
        False when exit follows swap-out so closely that caches are warm (machine number ``warm_entries``).
    background, foreground, foreground_at_ns
        What else runs.
    foreground_reclaims
        Below the watermark the foreground reclaims by itself (True) or waits for memory (False).
    free_pages, swap_used_entries
        Free memory and foreign swap entries at the start; None takes the machine's free pages.
    limit_ns
        A run that has not ended by then is cut off, and says so.
    """

    name: str
    what: str = ""
    processes: int = 1
    swap_entries: Spec = 16384
    present_pages: Spec = 0
    file_pages: Spec = 0
    run_entries: Spec = 1
    folio_pages: int = 1
    layout: str = "random"
    swapped_in_front: bool = False
    gap_ns: Spec = 0
    how: str = "exit"
    sharing: int = 1
    size_classes: int = 1
    same_filled_permille: int = 0
    zspage_objects: int = 4
    frees_in_order: bool = False
    cold: bool = True
    background: tuple[Background, ...] = ()
    foreground: tuple[Phase, ...] = ()
    foreground_at_ns: int = 0
    foreground_reclaims: bool = True
    free_pages: int | None = None
    swap_used_entries: int = 0
    limit_ns: int = 60_000_000_000

    def __post_init__(self) -> None:
        where = f"storm '{self.name}': "
        for name, low, high in (
            ("processes", 0, 1_000_000),
            ("sharing", 1, 4096),
            ("folio_pages", 1, 512),
            ("size_classes", 1, 256),
            ("same_filled_permille", 0, 1000),
            ("zspage_objects", 1, 64),
            ("foreground_at_ns", 0, _LONGEST_NS),
            ("swap_used_entries", 0, None),
            ("limit_ns", 1, _LONGEST_NS),
        ):
            at_least(where + name, getattr(self, name), low, high)
        for name, low, high in (
            ("swap_entries", 0, _MOST_ENTRIES),
            ("present_pages", 0, _MOST_ENTRIES),
            ("file_pages", 0, _MOST_ENTRIES),
            ("run_entries", 1, CLUSTER_ENTRIES),
            ("gap_ns", 0, _LONGEST_NS),
        ):
            values = _values(where + name, getattr(self, name))
            for value in values:
                at_least(where + name, value, low, high)
            if name == "gap_ns" and self.processes * max(values) > _LONGEST_NS:
                raise ValueError(
                    f"{where}the last kill may come later than 64-bit times allow; use a smaller gap_ns"
                )
        one_of(where + "layout", self.layout, ("random", "sequential", "even-odd"))
        one_of(where + "how", self.how, ("exit", "munmap"))
        if self.free_pages is not None:
            at_least(where + "free_pages", self.free_pages, 0)

    def but(self, **changes: Any) -> Storm:
        """Return the storm with some choices changed; an unknown choice is a ValueError that lists the choices."""
        known = {field.name for field in fields(self)}
        for name in changes:
            one_of(f"storm '{self.name}': choice", name, sorted(known))
        return replace(self, **changes)

    def draw(self, machine: Machine, seed: int = 0, experiment: int = 0) -> Deaths:
        """Draw who dies when, by common random numbers: one stream of raw words for each source.

        Raises
        ------
        ValueError
            If the storm does not fit into the machine's memory or swap.
        """
        at_least("seed", seed, 0)

        def stream(source: int, spec: Spec) -> Array:
            return _draw(spec, random_words(self.processes, experiment, seed, source))

        kill_ns = np.cumsum(stream(0, self.gap_ns)) if self.processes else np.zeros(0, np.int64)
        deaths = Deaths(
            kill_ns=kill_ns - (kill_ns[0] if kill_ns.size else 0),
            swap_entries=stream(1, self.swap_entries),
            present_pages=stream(2, self.present_pages),
            file_pages=stream(3, self.file_pages),
            run_entries=np.minimum(stream(4, self.run_entries), CLUSTER_ENTRIES),
            node=np.arange(self.processes, dtype=np.int64) % machine.nodes,
        )
        swap = int(deaths.swap_entries.sum()) + self.swap_used_entries
        if swap > machine["swap_slots"]:
            raise ValueError(
                f"storm '{self.name}' has {swap} swap entries; machine '{machine.name}' has {machine['swap_slots']}"
            )
        free = machine["free_pages"] if self.free_pages is None else self.free_pages
        pages = int(deaths.present_pages.sum() + deaths.file_pages.sum()) + free
        pages += swap * 1000 // machine["zram_ratio_permille"]
        if pages > machine["memory_pages"]:
            raise ValueError(
                f"storm '{self.name}' needs {pages} pages with the free ones and zram; machine '{machine.name}' "
                f"has {machine['memory_pages']}"
            )
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


def jump_entries(layout: str, run_entries: int, sharing: int = 1) -> int:
    """Return how many entries of a walk lie near each other in swap before the next ones lie far away.

    A run ends with a jump, except for even-odd pages: their runs of one come alternately from two stretches of slots,
    and both stay near until a cluster ends.
    """
    return max(1, CLUSTER_ENTRIES // sharing) if layout == "even-odd" else run_entries


def sorted_run_entries(
    layout: str, run_entries: int, entries: int, batch_entries: int, sharing: int = 1
) -> int:
    """Return the mean run after sorting a batch by offset, for one process.

    A batch of `batch_entries` holds the share q of the process's `entries`. Random blocks: a block's neighbour is in
    the same batch with probability q, so runs grow to run / (1 - q). Even-odd pages: the batch holds both halves of a
    stretch. Sequential: the batch is one stretch. Slots of a cluster that other processes hold end a run.
    """
    if entries == 0:
        return 1
    longest = max(1, CLUSTER_ENTRIES // sharing)
    batch = max(1, min(batch_entries, entries))
    if layout == "sequential":
        return min(longest, batch)
    if layout == "even-odd":
        return min(longest, max(1, batch // 2))
    if batch == entries:
        return min(longest, batch)
    return min(longest, max(run_entries, round(run_entries * entries / (entries - batch))))


def random_words(count: int, *key: int) -> npt.NDArray[np.uint64]:
    """Return `count` raw 64-bit words of PCG64 seeded by whole numbers: the same on every machine."""
    return np.random.PCG64(np.random.SeedSequence(key)).random_raw(count)


def _values(where: str, spec: Spec) -> list[int]:
    if isinstance(spec, tuple):
        if len(spec) != 2 or spec[0] > spec[1]:
            raise ValueError(f"{where} is {spec}; expected a range (low, high)")
        return list(spec)
    if isinstance(spec, list):
        if not spec:
            raise ValueError(f"{where} is an empty list; expected equally likely values")
        return spec
    return [spec]


def _draw(spec: Spec, words: npt.NDArray[np.uint64]) -> Array:
    """Map raw words to values by multiplication and shift, without floating point."""
    if isinstance(spec, tuple):
        low, high = spec
        return np.array([low + (int(word) * (high - low + 1) >> 64) for word in words], dtype=np.int64)
    if isinstance(spec, list):
        return np.array([spec[int(word) * len(spec) >> 64] for word in words], dtype=np.int64)
    return np.full(words.size, spec, dtype=np.int64)


def background_load(
    machine: Machine, share_permille: int, threads: int, period_ns: int
) -> tuple[Background, ...]:
    """Return background tasks that use `share_permille` of the machine's capacity, or none for 0."""
    burst_ns = sum(machine.capacity) * period_ns * share_permille // (1024 * 1000 * threads)
    return (Background(threads, burst_ns, period_ns),) if burst_ns else ()
