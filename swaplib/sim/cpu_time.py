"""Where CPU time goes: asked for by a step, charged, traced, and the counters beside it sampled."""

from swaplib.model.compiled import compiled, inlined
from swaplib.sim.queues import schedule
from swaplib.sim.state import AGAIN, IDLE, RUN, SWITCH
from swaplib.sim.world import World


@inlined
def spend(w: World, nanoseconds: int, category: int) -> int:
    """Ask the scheduler for CPU time; a step returns what this returns."""
    system = w.system[0]
    system.segment_ns, system.segment_category = nanoseconds, category
    return RUN if nanoseconds > 0 else AGAIN


@inlined
def begin_segment(w: World, cpu: int, nanoseconds: int, category: int) -> None:
    """Let a CPU be busy for so long, or until its task's slice ends if that is a burst and others wait."""
    c, end = w.cpu[cpu], w.system[0].now + nanoseconds
    c.category, c.planned_ns = category, nanoseconds
    if c.waiting > 0 and w.task[c.task].left_ns > 0:
        end = min(end, max(c.slice_end, w.system[0].now + 1))
    schedule(w, cpu, end)


@inlined
def close_segment(w: World, cpu: int) -> None:
    """Charge the time since a CPU's segment began to its category and its task, and begin a new one now.

    Where no time has passed nothing happens: at one instant a CPU writes at most one stretch to the trace.
    """
    c, system = w.cpu[cpu], w.system[0]
    elapsed = system.now - c.since
    if elapsed > 0:
        c.time[c.category] += elapsed
        if c.task >= 0 and c.category != IDLE:
            t = w.task[c.task]
            t.vruntime += elapsed if t.weight == 1024 else elapsed * 1024 // t.weight  # divisions are dear
            t.cpu_ns += elapsed
            if t.left_ns > 0 and c.category != SWITCH:  # a burst
                t.left_ns = 0 if elapsed >= c.planned_ns else max(1, t.left_ns - elapsed * c.capacity // 1024)
        task = -1 if c.category == IDLE else c.task
        if system.is_traced > 0 and (c.stretch_category != c.category or c.stretch_task != task):
            _write_stretch(w, cpu, c.since)
            c.stretch_since, c.stretch_category, c.stretch_task = c.since, c.category, task
    c.since = system.now


@compiled
def _write_stretch(w: World, cpu: int, until: int) -> None:
    """Write down what a CPU did since it last changed."""
    c, system = w.cpu[cpu], w.system[0]
    if until > c.stretch_since:
        row = w.stretch[system.stretches]
        row.cpu, row.since, row.until = cpu, c.stretch_since, until
        row.category, row.task = c.stretch_category, c.stretch_task
        system.stretches += 1


@compiled
def sample(w: World, until: int) -> None:
    """Note the counters at every sampling time up to `until`; a full table keeps every other row."""
    system = w.system[0]
    while system.next_sample_ns <= until:
        if system.samples < len(w.sample):
            _note(w, system.next_sample_ns)
        else:
            for row in range(0, system.samples, 2):
                w.sample[row // 2] = w.sample[row]
            system.samples = (system.samples + 1) // 2
            system.sample_ns *= 2
            system.next_sample_ns = w.sample[system.samples - 1].time_ns
        system.next_sample_ns += system.sample_ns


@compiled
def _note(w: World, time: int) -> None:
    w.counter[0].time_ns = time
    w.sample[w.system[0].samples] = w.counter[0]
    w.system[0].samples += 1


@compiled
def close(w: World) -> None:
    """Charge every CPU up to the end, and write the last sample and what is open of the trace."""
    system = w.system[0]
    for cpu in range(len(w.cpu)):
        close_segment(w, cpu)
        if system.is_traced > 0:
            _write_stretch(w, cpu, system.now)
    if system.samples > 0 and w.sample[system.samples - 1].time_ns == system.now:
        system.samples -= 1
    if system.samples < len(w.sample):
        _note(w, system.now)
