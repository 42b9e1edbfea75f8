"""A release policy is data: who frees which entries, from when on, grouped how, by how many workers."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from enum import IntEnum
from typing import Annotated, Any

from swaplib.model.checks import check_fields


class Hold(IntEnum):
    """Where a met run waits before it is freed; the one choice that the engine branches on."""

    NOWHERE = 0  # freed at once by whoever meets it
    GATHER = 1  # the patch's bundle and batch pages, one gather a process
    LIST = 2  # one list and one lock for all processes
    SLOT_CACHE = 3  # the per-CPU slot cache of the swap core
    ZRAM_BUFFER = 4  # freed in the swap core at once; of zram's part `Deferred` waits in a per-CPU page


class Deferred(IntEnum):
    """What of zram's part waits in the zram buffer; the rest is freed at once."""

    SLOT_FREE = 0  # all of it
    HANDLE = 1  # zsmalloc's object; zram's own slot is freed at once
    ZSPAGE = 2  # an empty zspage's pages on their way to the page allocator


class Grouping(IntEnum):
    """What one call into the swap core frees."""

    KERNEL = 0  # what the generation does for a run
    ENTRY = 1  # one entry
    RUN = 2  # one run, whatever the generation
    CLUSTER = 3  # one run of the batch after sorting it by offset


class Workers(IntEnum):
    """How many kworkers may free at once."""

    WORKQUEUE = 0  # the generation's rule for max_active
    PER_EXITING = 1  # one for every `exiting_per_worker` exiting processes, from one queue
    PER_NODE = 2  # `max_active` on each node, bound to it
    PER_CPU = 3  # one on each CPU, unbound


@dataclass(frozen=True)
class Policy:
    """One way of releasing swap entries at exit, as a row of orthogonal choices.

    A value out of its range is a ValueError that names the field. Choices may be given by their names.
    """

    name: str
    origin: str = ""  # who proposed it where
    what: str = ""  # it does, in one sentence
    hold: Hold = Hold.NOWHERE  # where a met run waits
    # True when the exiting process itself frees what was held (gather-sync), False when kworkers do.
    freed_by_caller: bool = False
    grouping: Grouping = Grouping.KERNEL  # what one call frees
    threshold: Annotated[int, 0, 1 << 30] = 0  # exiting processes from which runs wait; 0 is always
    swap_entries_min: Annotated[int, 0, 1 << 30] = 0  # that a process must have for its runs to be held
    # True when the minimum is compared with what is left at every run, False when once at the start.
    minimum_is_reread: bool = False
    dying_only: bool = True  # only dying tasks hold (the patch); else munmap does too
    only_if_useful: bool = False  # hold only while present pages remain or another task waits for this CPU
    # Hold only while fewer entries than this are held or queued anywhere; None is no bound.
    backlog_entries_max: Annotated[int, 1, 1 << 40] | None = None
    batch_records: Annotated[int, 1, 4096] = 32  # on the list; each one more queues a work
    deferred: Deferred = Deferred.SLOT_FREE  # what waits in the zram buffer
    # ZS_DEFERRED_POOL_SIZE of 256 KiB, https://lkml.iu.edu/hypermail/linux/kernel/2605.1/00144.html
    pool_pages: Annotated[int, 1, 1 << 20] = 64  # that the zram buffer may use beside one on each CPU
    page_objects: Annotated[int, 512, 4096] = 1024  # that a page holds, as indices of four bytes
    present_first: bool = False  # two passes: present pages and their flush first, swap entries after
    workers: Workers = Workers.WORKQUEUE  # how many kworkers free at once
    max_active: Annotated[int, 0, 2048] = 1  # 0 is the kernel's default
    exiting_per_worker: Annotated[int, 1, 1 << 20] = 8
    worker_nice: Annotated[int, -20, 19] = -20
    reapers: Annotated[int, 0, 64] = 0  # threads beside the exiting processes (process_mrelease)
    # From the last page table on, as if each had its own VMA: Linux since 6.18 takes VMAs in that order.
    reapers_walk_backwards: bool = False
    needs: tuple[str, ...] = ()  # kernel features without which it makes no sense, see `Kernel.features`

    def __post_init__(self) -> None:
        check_fields(f"policy '{self.name}': ", self)

    def but(self, **changes: Any) -> Policy:
        """Return the policy with some choices changed; an unknown one is a ValueError that lists them all."""
        known = [field.name for field in fields(self)]
        for name in sorted(set(changes) - set(known)):
            choices = ", ".join(sorted(set(known) - {"name", "origin", "what", "needs"}))
            raise ValueError(f"policy '{self.name}' has no choice '{name}'; its choices are {choices}")
        if changes and "name" not in changes:
            changes["name"] = self.name + "".join(f" {key}={value}" for key, value in sorted(changes.items()))
        return replace(self, **changes)

    @property
    def defers(self) -> bool:
        """Whether anything is ever freed by a kworker."""
        return self.hold != Hold.NOWHERE and not self.freed_by_caller
