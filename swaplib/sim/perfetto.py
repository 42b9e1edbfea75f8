"""A run as a trace in the Chrome JSON format, which ui.perfetto.dev and chrome://tracing open.

Three processes of the trace hold counters and phases, a thread for each CPU, and a thread for each task. CPUs
and tasks have a slice for each stretch of CPU time, named by its category; a dying process has one around
them, from its kill to its end. Instants are kills, exits, and the last page and entry given back.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from swaplib.sim.outcome import KINDS, Outcome
from swaplib.sim.state import CATEGORIES, WALKER

HEAD = b'{"otherData": {"swaplib": '  # by which a trace of ours is known
STORM, CPUS, TASKS = 1, 2, 3  # processes of the trace
FIRST_CPU, FIRST_TASK = 10_000, 1_000_000  # threads: unique, and 0 is Perfetto's idle task


def write_trace(outcome: Outcome, path: str | Path) -> Path:
    """Write the trace of a run and return its path; an earlier trace is replaced.

    Any other file is a FileExistsError, a missing folder a FileNotFoundError, and a run that was not traced a
    ValueError.
    """
    path = Path(path)
    if not outcome.is_traced:
        raise ValueError(f"{path}: {outcome} was not traced; simulate it with trace=True")
    if path.exists() and path.open("rb").read(len(HEAD)) != HEAD:
        raise FileExistsError(f"{path} is not a trace that swaplib wrote; choose another name, or remove it")
    tasks = [f"{KINDS[kind]} {task}" for task, kind in enumerate(outcome.world.task.kind)]
    events = [*_names(outcome, tasks), *_storm(outcome), *_lives(outcome), *_stretches(outcome, tasks)]
    about = {"otherData": {"swaplib": str(outcome)}, "displayTimeUnit": "ms"}
    trace = json.dumps({**about, "traceEvents": events})
    path.write_text(trace, encoding="ascii", newline="\n")
    return path


def _names(outcome: Outcome, tasks: list[str]) -> Iterator[dict[str, Any]]:
    """Name and order every process and thread."""
    names = (str(outcome).strip("<>"), "CPUs", "tasks")
    rows = [("process", {"pid": pid}, name) for pid, name in enumerate(names, STORM)]
    rows.append(("thread", {"pid": STORM, "tid": STORM}, "phases of the app"))
    for cpu, node in enumerate(outcome.machine.node):
        rows.append(("thread", {"pid": CPUS, "tid": FIRST_CPU + cpu}, f"CPU {cpu} of node {node}"))
    rows += [("thread", {"pid": TASKS, "tid": FIRST_TASK + i}, name) for i, name in enumerate(tasks)]
    for place, (what, ids, name) in enumerate(rows):
        yield {"ph": "M", **ids, "name": f"{what}_name", "args": {"name": name}}
        yield {"ph": "M", **ids, "name": f"{what}_sort_index", "args": {"sort_index": place}}


def _storm(outcome: Outcome) -> Iterator[dict[str, Any]]:
    """Yield a slice for each phase of the app that began, and counters."""
    begin = outcome.storm.foreground_at_ns
    for phase, end in enumerate(outcome.phase_ends_ns, 1):
        until = end if end >= 0 else outcome.end_ns
        if 0 <= begin < until:
            yield _slice(STORM, STORM, begin, until, f"phase {phase}")
        begin = end
    samples = outcome.df_samples()
    counters = {"backlog (entries)": samples.backlog_entries, "free memory (MiB)": samples.free_pages / 256}
    counters["CPUs that wait for locks"] = samples.spinning_cpus
    for name, values in counters.items():
        for ms, value in zip(samples.time_ms, values.tolist(), strict=True):
            yield _event("C", STORM, STORM, round(ms * 1e6), name, args={"value": value})


def _lives(outcome: Outcome) -> Iterator[dict[str, Any]]:
    """Yield each process's slice from its kill to its end, and what happened to it."""
    for task in range(int((outcome.world.task.kind == WALKER).sum())):  # processes are the first tasks
        p, tid = outcome.world.process[task], FIRST_TASK + task
        times = {"killed": p.killed_ns, "present pages freed": p.present_freed_ns}
        times |= {"exited": p.exited_ns, "swap entries freed": p.swap_freed_ns}
        end = p.exited_ns if p.exited_ns >= 0 else outcome.end_ns
        if 0 <= p.killed_ns < end:
            yield _slice(TASKS, tid, int(p.killed_ns), int(end), outcome.storm.how)
        seen = {name: int(at) for name, at in times.items() if at >= 0}
        yield from (_event("i", TASKS, tid, at, name, s="t") for name, at in seen.items())


def _stretches(outcome: Outcome, tasks: list[str]) -> Iterator[dict[str, Any]]:
    """Yield a slice of the CPU and one of the task for each stretch of CPU time."""
    for cpu, start, end, category, task in outcome.trace[outcome.trace[:, -1] >= 0].tolist():
        yield _slice(CPUS, FIRST_CPU + cpu, start, end, CATEGORIES[category], task=tasks[task])
        yield _slice(TASKS, FIRST_TASK + task, start, end, CATEGORIES[category], cpu=cpu)


def _slice(pid: int, tid: int, start: int, end: int, name: str, **args: Any) -> dict[str, Any]:
    return _event("X", pid, tid, start, name, dur=_us(end - start), args=args)


def _event(kind: str, pid: int, tid: int, at: int, name: str, **more: Any) -> dict[str, Any]:
    return {"ph": kind, "pid": pid, "tid": tid, "ts": _us(at), "name": name, **more}


def _us(nanoseconds: int) -> float:
    """Return microseconds with a fourth digit of 1: Perfetto cuts off, and would else lose a nanosecond."""
    return (10 * nanoseconds + 1) / 10_000
