"""What an operation costs on a CPU: picoseconds of CPU and of memory time, varied by a counter hash."""

from __future__ import annotations

from swaplib.model.compiled import compiled
from swaplib.sim.world import World

_MASK = (1 << 31) - 1  # products of two 31-bit numbers stay inside int64, in numpy too


@compiled
def nanoseconds(w: World, cpu: int, node: int, cpu_ps: int, memory_ps: int) -> int:
    """Return what so many picoseconds at capacity 1024 take on a CPU, with the memory on a node."""
    c = w.cpu[cpu]
    system = w.system[0]
    memory_scale = system.memory_scale if node < 0 or node == c.node else system.remote_scale
    return ((cpu_ps * c.cpu_scale + memory_ps * memory_scale) // 1024 + 500) // 1000


@compiled
def operation_ns(w: World, task: int, operation: int) -> int:
    """Return the time of one operation of a release program, for the entries, calls and runs of this grain."""
    t = w.task[task]
    o = w.operation[operation]
    system = w.system[0]
    cpu_ps = t.entries * o.entry_cpu_ps + t.calls * o.call_cpu_ps + t.runs * o.run_cpu_ps
    memory_ps = t.entries * o.entry_memory_ps + t.calls * o.call_memory_ps + t.runs * o.run_memory_ps
    if o.objects > 0 and system.same_filled_permille > 0:
        keep = 1000 - system.same_filled_permille
        cpu_ps = cpu_ps * keep // 1000
        memory_ps = memory_ps * keep // 1000
    if system.variation > 0:
        factor = 1024000 + (2 * mix(t.process, t.position, operation) - 1023) * system.variation
        cpu_ps = cpu_ps // 1024 * factor // 1000
        memory_ps = memory_ps // 1024 * factor // 1000
    node = -1 if t.process < 0 else w.process[t.process].node
    return nanoseconds(w, t.cpu, node, cpu_ps, memory_ps)


@compiled
def mix(process: int, position: int, salt: int) -> int:
    """Return a number from 0 to 1023 that depends on its arguments alone, each value about equally often."""
    h = (process * 40503 + position * 2654435 + salt * 7919 + 12345) & _MASK
    h = ((h ^ (h >> 15)) * 739982445) & _MASK
    h = ((h ^ (h >> 12)) * 695872825) & _MASK
    return (h ^ (h >> 15)) & 1023
