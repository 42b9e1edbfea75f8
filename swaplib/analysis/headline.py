"""What came of one or more runs, in one sentence with numbers that a person can read."""

from __future__ import annotations

from collections.abc import Sequence

from swaplib.sim.outcome import Outcome


def finding(outcomes: Sequence[Outcome]) -> str:
    """Say in one sentence what came of the same storm: for two runs, of the second against the first.

    When the foreground was done after its start, or where there is none the last process gone after the first kill;
    and how much CPU time went into waiting for locks.
    """
    names = distinct_names(outcomes)
    what, spans = _goal(outcomes)
    times = [
        span(took) if took >= 0 else f"not within {span(o.end_ns)}"
        for took, o in zip(spans, outcomes, strict=True)
    ]
    waited = [o.spin_ns for o in outcomes]
    waits = [span(time) for time in waited]
    if len(outcomes) == 1:
        when = f"after {times[0]}" if spans[0] >= 0 else times[0]
        share = 100 * waited[0] / max(1, outcomes[0].cpu_ns)
        lost = f"takes {share:.0f} % of CPU time ({waits[0]})" if waited[0] else "takes no time"
        return f"{names[0]}: {what} {when}; waiting for locks {lost}"
    if len(outcomes) > 2 or min(spans) < 0:
        told = ", ".join(f"{name} {time}" for name, time in zip(names, times, strict=True))
        lost = ", ".join(f"{name} {wait}" for name, wait in zip(names, waits, strict=True))
        return f"{_capital(what)}: {told}; CPU time spent waiting for locks: {lost}"
    before, after = spans
    if abs(before - after) < 0.01 * before:
        change = f"{what} as late under {names[1]} as under {names[0]} ({times[1]} and {times[0]})"
    else:
        sooner = f"{span(abs(before - after))} {'sooner' if after < before else 'later'}"
        change = f"{what} {sooner} under {names[1]} than under {names[0]} ({times[1]}, not {times[0]})"
    return f"{_capital(change)}; waiting for locks takes {waits[1]} of CPU time, not {waits[0]}"


def setting(outcomes: Sequence[Outcome]) -> str:
    """Say what the runs have in common: that they are simulated, storm, machine, kernel."""
    first = outcomes[0]
    processes = first.df_processes()
    said = {
        "storm": f"{len(processes)} processes with {count(processes.swap_entries.sum())} swap entries exit",
        "machine": f"{first.machine.name} with {first.machine.cpus} CPU{'s' * (first.machine.cpus > 1)}",
        "kernel": f"kernel {first.kernel.name}",
    }
    return "simulated: " + "; ".join(
        text for what, text in said.items() if len({getattr(o, what).name for o in outcomes}) == 1
    )


def distinct_names(outcomes: Sequence[Outcome]) -> list[str]:
    """Name runs by what tells them apart: policy, else kernel, machine or storm, else policy and number."""
    for what in ("policy", "kernel", "machine", "storm"):
        names = [getattr(outcome, what).name for outcome in outcomes]
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
    """Return a number of things with three significant figures, in thousands or millions where that is shorter."""
    for word, size in ((" million", 1e6), (" thousand", 1e3)):
        if number >= 0.9995 * size:
            return digits(number / size) + word
    return f"{number:.0f}"


def digits(value: float) -> str:
    """Return a number with three significant figures, never as a power of ten."""
    return f"{float(f'{value:.3g}'):.0f}" if value >= 99.95 else f"{value:#.3g}"


def _goal(outcomes: Sequence[Outcome]) -> tuple[str, list[int]]:
    """Return what the storm is about, and how long each run took for it in nanoseconds; -1 where it did not happen."""
    if all(o.phase_ends_ns for o in outcomes):
        ends = [(o.phase_ends_ns[-1], o.storm.foreground_at_ns) for o in outcomes]
        return "app ready", [end - start if end >= 0 else -1 for end, start in ends]
    return "all processes gone", [o.last_exit_ns for o in outcomes]


def _capital(sentence: str) -> str:
    return sentence[0].upper() + sentence[1:]
