"""A release policy is data: who frees which entries, from when on, grouped how, by how many workers."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from enum import IntEnum
from typing import Any

from swaplib.model.checks import check_fields, one_of


class Hold(IntEnum):
    """Where a met run waits before it is freed; the one choice that the engine branches on."""

    NOWHERE = 0  # freed at once by whoever meets it
    GATHER = 1  # the patch's bundle and batch pages, one gather a process
    LIST = 2  # one list and one lock for all processes
    SLOT_CACHE = 3  # the per-CPU slot cache of the swap core
    ZRAM_BUFFER = 4  # freed in the swap core at once; its zram object waits in a per-CPU page


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

    Parameters
    ----------
    name, origin, what
        What it is called, who proposed it where, and one sentence on what it does.
    hold
        Where a met run waits (`Hold`, or its name in lower case).
    freed_by_caller
        True when the exiting process itself frees what was held (``gather-sync``); False when kworkers do.
    grouping
        What one call frees (`Grouping`, or its name).
    threshold
        Exiting processes from which runs wait; 0 is always. A gather that began to hold goes on holding.
    swap_entries_min
        Entries a process must have for its runs to be held.
    minimum_is_reread
        True when the minimum is compared with what is left at every run, False when once at the start.
    dying_only
        True when only dying tasks hold (the patch); False when munmap does too.
    only_if_useful
        Hold only while present pages remain or another task waits for this CPU.
    backlog_entries_max
        Hold only while fewer entries than this are held or queued anywhere; None is no bound.
    batch_records
        Records that make a work of the list.
    pool_pages
        Pages of 512 objects that the zram buffer may use.
    present_first
        Two passes: present pages and their flush first, swap entries after.
    workers, max_active, exiting_per_worker, worker_nice
        How many kworkers free at once (`Workers`, or its name) at which nice level (-20 to 19).
    reapers
        Reaping threads beside the exiting processes (process_mrelease).
    needs
        Kernel features without which it makes no sense, see `swaplib.model.kernel.Kernel.features`.

    Raises
    ------
    ValueError
        If a value is out of its range, naming the field.
    """

    name: str
    origin: str = ""
    what: str = ""
    hold: Hold = Hold.NOWHERE
    freed_by_caller: bool = False
    grouping: Grouping = Grouping.KERNEL
    threshold: int = 0
    swap_entries_min: int = 0
    minimum_is_reread: bool = False
    dying_only: bool = True
    only_if_useful: bool = False
    backlog_entries_max: int | None = None
    batch_records: int = 32
    pool_pages: int = 64
    present_first: bool = False
    workers: Workers = Workers.WORKQUEUE
    max_active: int = 1
    exiting_per_worker: int = 8
    worker_nice: int = -20
    reapers: int = 0
    needs: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        where = f"policy '{self.name}': "
        for field, choice in (("hold", Hold), ("grouping", Grouping), ("workers", Workers)):
            value = getattr(self, field)
            if not isinstance(value, choice):
                one_of(where + field, value, [member.name.lower() for member in choice])
                object.__setattr__(self, field, choice[value.upper()])
        check_fields(
            where,
            self,
            freed_by_caller=bool,
            threshold=(0, 1 << 30),
            swap_entries_min=(0, 1 << 30),
            minimum_is_reread=bool,
            dying_only=bool,
            only_if_useful=bool,
            batch_records=(1, 4096),
            pool_pages=(1, 1 << 20),
            present_first=bool,
            max_active=(1, 512),
            exiting_per_worker=(1, 1 << 20),
            worker_nice=(-20, 19),
            reapers=(0, 64),
            needs=[str],
        )
        if self.backlog_entries_max is not None:
            check_fields(where, self, backlog_entries_max=(1, 1 << 40))

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
