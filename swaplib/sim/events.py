"""The event queue: a binary heap ordered by time, and by order of scheduling where times are equal."""

from __future__ import annotations

from swaplib.model.compiled import compiled
from swaplib.sim.state import CPU_EVENT
from swaplib.sim.world import Table, World

KINDS = 4


@compiled
def _move(heap: Table, source: int, target: int) -> None:
    for column in range(4):
        heap[target, column] = heap[source, column]


@compiled
def schedule(w: World, time: int, kind: int, argument: int, generation: int) -> None:
    """Add an event."""
    system = w.system[0]
    heap = w.heap
    system.sequence += 1
    sequence = system.sequence
    child = system.heap_size
    system.heap_size += 1
    while child > 0:
        parent = (child - 1) >> 1
        if heap[parent, 0] <= time:  # what is there already came earlier
            break
        _move(heap, parent, child)
        child = parent
    heap[child, 0] = time
    heap[child, 1] = sequence
    heap[child, 2] = argument * KINDS + kind
    heap[child, 3] = generation


@compiled
def schedule_cpu(w: World, cpu: int, time: int) -> None:
    """Let a CPU go on at `time`; what it was to do earlier is void."""
    c = w.cpu[cpu]
    c.generation += 1
    schedule(w, time, CPU_EVENT, cpu, c.generation)


@compiled
def take(w: World) -> tuple[int, int, int, int]:
    """Remove and return the next event: time, kind, argument, generation."""
    heap = w.heap
    system = w.system[0]
    time, packed, generation = heap[0, 0], heap[0, 2], heap[0, 3]
    system.heap_size -= 1
    last = system.heap_size
    at, sequence = heap[last, 0], heap[last, 1]
    packed_last, generation_last = heap[last, 2], heap[last, 3]
    parent = 0
    while True:
        child = 2 * parent + 1
        if child >= last:
            break
        right = child + 1
        if right < last and (
            heap[right, 0] < heap[child, 0]
            or (heap[right, 0] == heap[child, 0] and heap[right, 1] < heap[child, 1])
        ):
            child = right
        if at < heap[child, 0] or (at == heap[child, 0] and sequence < heap[child, 1]):
            break
        _move(heap, child, parent)
        parent = child
    heap[parent, 0] = at
    heap[parent, 1] = sequence
    heap[parent, 2] = packed_last
    heap[parent, 3] = generation_last
    return time, packed % KINDS, packed // KINDS, generation
