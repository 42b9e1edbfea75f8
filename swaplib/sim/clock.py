"""Where CPU time goes: closing a CPU's segment, tracing it, and sampling the counters."""

from __future__ import annotations

from swaplib.model.compiled import compiled
from swaplib.sim.state import CPU_SPINS, IDLE, SWITCH
from swaplib.sim.world import World

TRACE_ROOM = 512  # rows that one event may need


@compiled
def close_segment(w: World, cpu: int) -> None:
    """Charge the time since a CPU's segment began to its category and its task, and begin a new one now."""
    c = w.cpu[cpu]
    now = w.system[0].now
    elapsed = now - c.since
    if elapsed > 0:
        w.time[cpu, c.category] += elapsed
        if c.task >= 0 and c.category != IDLE:
            t = w.task[c.task]
            t.vruntime += elapsed * 1024 // t.weight
            t.cpu_ns += elapsed
            if t.left_ns > 0 and c.category != SWITCH:  # a burst
                t.left_ns = 0 if elapsed >= c.planned else max(1, t.left_ns - elapsed * c.capacity // 1024)
        if w.system[0].is_traced:
            _trace(w, cpu, now)
    c.since = now


@compiled
def _trace(w: World, cpu: int, now: int) -> None:
    """Extend the CPU's open stretch, or write it down and open another."""
    c = w.cpu[cpu]
    task = -1 if c.category == IDLE else c.task
    if c.trace_category == c.category and c.trace_task == task:
        return
    write_stretch(w, cpu, c.since)
    c.trace_since, c.trace_category, c.trace_task = c.since, c.category, task


@compiled
def write_stretch(w: World, cpu: int, until: int) -> None:
    """Write a CPU's open stretch to the trace."""
    c = w.cpu[cpu]
    system = w.system[0]
    if until > c.trace_since:
        row = system.traced
        w.trace[row, 0] = cpu
        w.trace[row, 1] = c.trace_since
        w.trace[row, 2] = until
        w.trace[row, 3] = c.trace_category
        w.trace[row, 4] = c.trace_task
        system.traced += 1


@compiled
def sample(w: World, until: int) -> None:
    """Note the counters at every sampling time before `until`; keep every other row when the table is full."""
    system = w.system[0]
    while system.next_sample_ns <= until:
        if system.samples == w.sample.shape[0]:
            for row in range(0, system.samples, 2):
                w.sample[row // 2] = w.sample[row]
            system.samples = (system.samples + 1) // 2
            system.sample_ns *= 2
            system.next_sample_ns = w.sample[system.samples - 1, 0] + system.sample_ns
            continue
        note(w, system.next_sample_ns)
        system.next_sample_ns += system.sample_ns


@compiled
def note(w: World, time: int) -> None:
    """Write one row of counters."""
    system = w.system[0]
    row = w.sample[system.samples]
    row[0] = time
    row[1] = system.gathered
    row[2] = system.queued
    row[3] = system.in_work
    row[4] = system.deferred
    row[5] = system.free_pages
    row[6] = system.free_slots
    row[7] = exiting(w)
    spinning = 0
    for cpu in range(w.cpu.shape[0]):
        if w.cpu[cpu].state == CPU_SPINS:
            spinning += 1
    row[8] = spinning
    system.samples += 1


@compiled
def exiting(w: World) -> int:
    """Return the exiting processes with an open gather, as the policy counts them."""
    return w.system[0].exiting + w.shared[0]
