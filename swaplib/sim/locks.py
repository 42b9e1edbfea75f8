"""FIFO locks: waiters burn their CPU, holders and waiters are not preempted, a hand-over moves a cache line."""

from __future__ import annotations

from swaplib.model.compiled import compiled
from swaplib.sim.clock import close_segment
from swaplib.sim.events import schedule_cpu
from swaplib.sim.state import CPU_BUSY
from swaplib.sim.world import World


@compiled
def acquire(w: World, lock: int, task: int, acquisitions: int, touches: int) -> bool:
    """Take a lock `acquisitions` times in a row, or join its queue; True when it was free."""
    k, t = w.lock[lock], w.task[task]
    k.acquisitions += acquisitions
    if k.owner >= 0:
        k.contended += acquisitions
        k.waiters += 1
        t.next = -1
        if k.head < 0:
            k.head = task
        else:
            w.task[k.tail].next = task
        k.tail = task
        t.calls_in_grain = acquisitions * touches
        return False
    _grant(w, lock, task, acquisitions * touches)
    return True


@compiled
def _grant(w: World, lock: int, task: int, transfers: int) -> None:
    k, t = w.lock[lock], w.task[task]
    k.owner = task
    if k.last_cpu >= 0 and k.last_cpu != t.cpu:
        system = w.system[0]
        near = w.cpu[k.last_cpu].node == w.cpu[t.cpu].node
        each = (
            system.transfer_local_ns if near else system.transfer_remote_ns
        ) + k.waiters * system.waiter_ns
        t.owed_ns += transfers * each
    k.last_cpu = t.cpu


@compiled
def release(w: World, lock: int) -> None:
    """Drop a lock; the first waiter has it at once and its CPU goes on now."""
    k = w.lock[lock]
    k.owner = -1
    task = k.head
    if task < 0:
        return
    k.head = w.task[task].next
    if k.head < 0:
        k.tail = -1
    k.waiters -= 1
    cpu = w.task[task].cpu
    k.wait_ns += w.system[0].now - w.cpu[cpu].since
    close_segment(w, cpu)
    _grant(w, lock, task, w.task[task].calls_in_grain)
    w.cpu[cpu].state = CPU_BUSY
    w.cpu[cpu].planned = 0
    schedule_cpu(w, cpu, w.system[0].now)
