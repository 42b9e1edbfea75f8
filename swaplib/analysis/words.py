"""What runs showed, in one sentence with numbers that a person can read."""

from __future__ import annotations

from collections.abc import Sequence

from swaplib.sim.outcome import Outcome


def finding(outcomes: Sequence[Outcome]) -> str:
    """Say in one sentence what the same storm did: for two runs, the second against the first.

    When the foreground was ready after its start (without one, when the last process was gone after the first
    kill), and how much CPU time went into waiting for locks.
    """
    names, waits = distinct_names(outcomes), [span(outcome.spin_ns) for outcome in outcomes]
    goal, took = _goal(outcomes)
    times = [
        span(t) if t >= 0 else f"not within {span(o.end_ns)}" for t, o in zip(took, outcomes, strict=True)
    ]
    if len(outcomes) != 2 or min(took) < 0:
        each = [f"{name} {time} ({wait})" for name, time, wait in zip(names, times, waits, strict=True)]
        return f"{goal.capitalize()} (CPU time spent waiting for locks): {', '.join(each)}"
    before, after = took
    change = f"{span(abs(before - after))} {'sooner' if after < before else 'later'}"
    than = f"than under {names[0]} ({times[1]}, not {times[0]})"
    if abs(before - after) < 0.01 * before:
        change, than = "as late", f"as under {names[0]} ({times[1]} and {times[0]})"
    lost = f"waiting for locks takes {waits[1]} of CPU time, not {waits[0]}"
    return f"{goal.capitalize()} {change} under {names[1]} {than}; {lost}"


def setting(outcomes: Sequence[Outcome]) -> str:
    """Say what the runs have in common: that they are simulated, storm, machine, kernel."""
    first = outcomes[0]
    entries = first.df_processes().swap_entries
    said = {
        "storm": f"{len(entries)} processes with {count(entries.sum())} swap entries exit",
        "machine": f"{first.machine.name} with {first.machine.cpus} CPU{'s' * (first.machine.cpus > 1)}",
        "kernel": f"kernel {first.kernel.name}",
    }
    common = [words for part, words in said.items() if len({getattr(o, part).name for o in outcomes}) == 1]
    return "simulated: " + "; ".join(common)


def distinct_names(outcomes: Sequence[Outcome]) -> list[str]:
    """Name runs by what tells them apart: policy, else kernel, machine or storm, else policy and number."""
    for part in ("policy", "kernel", "machine", "storm"):
        names = [getattr(outcome, part).name for outcome in outcomes]
        if len(set(names)) == len(names):
            return names
    return [f"{outcome.policy.name} ({number})" for number, outcome in enumerate(outcomes, 1)]


def span(nanoseconds: float) -> str:
    """Return a time with three significant figures in the unit that fits it."""
    for unit, size in (("s", 1e9), ("ms", 1e6), ("µs", 1e3)):
        if nanoseconds >= 0.9995 * size:
            return f"{digits(nanoseconds / size)} {unit}"
    return f"{nanoseconds:.0f} ns" if nanoseconds else "0 s"


def count(number: float) -> str:
    """Return a number of things with three significant figures, in thousands or millions if shorter."""
    for word, size in ((" million", 1e6), (" thousand", 1e3)):
        if number >= 0.9995 * size:
            return digits(number / size) + word
    return f"{number:.0f}"


def digits(value: float) -> str:
    """Return a number with three significant figures, never as a power of ten."""
    return f"{float(f'{value:.3g}'):.0f}" if value >= 99.95 else f"{value:#.3g}"


def _goal(outcomes: Sequence[Outcome]) -> tuple[str, list[int]]:
    """Return what the storm is about, and nanoseconds until it was so in each run; -1 where it never was."""
    if all(o.phase_ends_ns for o in outcomes):
        ends = [(o.phase_ends_ns[-1], o.storm.foreground_at_ns) for o in outcomes]
        return "app ready", [end - start if end >= 0 else -1 for end, start in ends]
    return "all processes gone", [o.last_exit_ns for o in outcomes]
