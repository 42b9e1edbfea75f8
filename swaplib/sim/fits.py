"""Refusals before a run: models that do not fit together, or numbers that 64 bits cannot hold."""

from __future__ import annotations

from collections.abc import Iterator

from swaplib.model.kernel import COST_PARTS, Cost, Kernel, Stage
from swaplib.model.machine import Machine
from swaplib.model.policy import Hold, Policy
from swaplib.sim.state import MOST_HELD

MOST = 1 << 62  # a sum of two such numbers still fits
GRAIN_ENTRIES = 64 * 512  # more than any operation handles at once
WORK_ENTRIES = 4849 * 512  # the largest work of the gather, in runs of 512


def check_together(machine: Machine, kernel: Kernel, policy: Policy) -> None:
    """Refuse a policy that needs what the kernel lacks, locks that block themselves, and costs beyond 64 bits.

    Raises
    ------
    ValueError
        Naming the models and what is wrong.
    """
    needs = {*policy.needs, "slot cache"} if policy.hold == Hold.SLOT_CACHE else set(policy.needs)
    for feature in sorted(needs - kernel.features):
        raise ValueError(
            f"policy '{policy.name}' needs the {feature}, which kernel '{kernel.name}' does not have; "
            f"see swaplib.policies() for the kernels of each policy"
        )
    for top in (*kernel.single, *kernel.run, *kernel.drain):
        _check_locks(kernel, top, ())
    _check_sizes(machine, kernel)


def _check_locks(kernel: Kernel, stage: Stage, held: tuple[int, ...]) -> None:
    if stage.lock and stage.lock in held:
        raise ValueError(
            f"kernel '{kernel.name}': stage '{stage.name}' takes the {stage.lock.name} lock while it is held; "
            f"it would wait for itself"
        )
    held = (*held, stage.lock) if stage.lock else held
    if len(held) > MOST_HELD:
        raise ValueError(
            f"kernel '{kernel.name}': stage '{stage.name}' holds {len(held)} locks; at most {MOST_HELD}"
        )
    for child in stage.children:
        _check_locks(kernel, child, held)


def _check_sizes(machine: Machine, kernel: Kernel) -> None:
    """Refuse costs, transfers and sorting whose products on this machine would not fit into 64 bits."""
    cpu_scale = 1024 * 1024 * machine["cpu_cost_permille"] // (1000 * min(machine.capacity))
    memory_scale = 1024 * machine["memory_cost_permille"] * machine["remote_memory_permille"] // 1_000_000
    where = f"machine '{machine.name}' with kernel '{kernel.name}': "
    for what, cost in _costs(kernel):
        ps = 2 * GRAIN_ENTRIES * sum(getattr(cost, part) for part in COST_PARTS)  # twice: a cost varies
        _check(where + what, ps * max(cpu_scale, memory_scale, 2048))
    hand_over = (
        max(machine["transfer_local_ns"], machine["transfer_remote_ns"]) + machine.cpus * machine["waiter_ns"]
    )
    _check(where + "handing over locks", 16 * GRAIN_ENTRIES * hand_over)
    _check(
        where + "sorting a batch", WORK_ENTRIES * WORK_ENTRIES.bit_length() * machine["sort_ps"] * cpu_scale
    )
    _check(where + "storing a record", GRAIN_ENTRIES * machine["gather_record_ps"] * cpu_scale)


def _costs(kernel: Kernel) -> Iterator[tuple[str, Cost]]:
    for top in (*kernel.single, *kernel.run, *kernel.drain):
        for stage in top.walk():
            yield f"stage '{stage.name}'", stage.cost
    for name in ("walk", "present", "flush", "zone", "list_push", "allocate", "compress"):
        yield f"'{name}'", getattr(kernel, name)


def _check(what: str, product: int) -> None:
    if product > MOST:
        raise ValueError(
            f"{what} costs {product / MOST:.3g} times what 64 bits can count; "
            f"expected costs in picoseconds of at most microseconds an entry, and scales near 1000 permille"
        )
