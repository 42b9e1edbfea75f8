"""A run as a trace in the Chrome JSON format, which ui.perfetto.dev and chrome://tracing open.

A node is a process of the trace; its threads are its CPUs and the tasks that belong to it (of one node: all).
Tasks of no node are threads of a further process; the first process holds counters and phases.

A CPU has a slice for each visit of a task, and inside it one for each category of CPU time, but none when
idle. A task has a slice for each visit to a CPU, an exiting process around them one from its kill to its end.
Instants are kills, exits, the last page and entry given back, and phase ends.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from swaplib.sim.outcome import Outcome

Event = dict[str, Any]

HEAD = '{"otherData":{"writer":"swaplib"'  # how every trace of ours begins
STORM, FIRST_NODE, FIRST_CPU, FIRST_TASK = 1, 2, 1_000, 1_000_000  # unique: thread 0 is Perfetto's idle task
KINDS = {
    "foreground": "app",
    "kworker": "kworker",
    "reaper": "reaper",
    "process": "exit",
    "background": "background",
}


class Thread(NamedTuple):
    """A CPU or a task in the trace."""

    pid: int
    tid: int
    name: str
    order: int  # among the threads of its process


def write_trace(outcome: Outcome, path: str | Path) -> Path:
    """Write the trace of a run, in one piece or not at all, and return its path.

    A trace written earlier is replaced. Any other file is a FileExistsError, a missing folder a
    FileNotFoundError, and a run that was not traced a ValueError.
    """
    path, run = Path(path), f"the run of policy '{outcome.policy.name}'"
    if not outcome.is_traced:
        raise ValueError(f"{path}: {run} was not traced; simulate it with trace=True")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"{path}: there is no folder {path.parent}")
    if path.is_symlink() or (path.exists() and not _is_ours(path)):
        raise FileExistsError(
            f"{path} exists and is not a trace that swaplib wrote; choose another name, or remove it"
        )
    about = {what: getattr(outcome, what).name for what in ("machine", "kernel", "storm", "policy")}
    about = {**about, "seed": str(outcome.seed)}
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with part.open("x", encoding="ascii", newline="\n") as file:
            file.write(f'{HEAD},{json.dumps(about)[1:]},"displayTimeUnit":"ms","traceEvents":[')
            for index, event in enumerate(_events(outcome)):
                file.write((",\n" if index else "\n") + json.dumps(event, separators=(",", ":")))
            file.write("\n]}\n")
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    return path


def _is_ours(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(len(HEAD)) == HEAD.encode()


def _events(outcome: Outcome) -> Iterator[Event]:
    nodes, frame = outcome.machine.nodes, outcome.df_tasks()
    cpus = [
        Thread(FIRST_NODE + node, FIRST_CPU + cpu, f"CPU {cpu}", cpu)
        for cpu, node in enumerate(outcome.machine.node)
    ]
    numbers = frame.groupby("kind").cumcount()
    tasks = []
    for task, (kind, node, number) in enumerate(zip(frame.kind, frame.node, numbers, strict=True)):
        pid = FIRST_NODE + (0 if nodes == 1 else nodes if node < 0 else node)
        order = FIRST_TASK * (1 + list(KINDS).index(kind)) + number
        tasks.append(Thread(pid, FIRST_TASK + task, f"{KINDS[kind]} {number}", order))
    yield from _names(outcome, [*cpus, *tasks])
    yield from _phases(outcome)
    yield from _counters(outcome)
    yield from _lives(outcome, tasks)
    yield from _visits(outcome, cpus, tasks)


def _names(outcome: Outcome, threads: list[Thread]) -> Iterator[Event]:
    """Name and order every process and thread."""
    storm, kernel = f"{outcome.storm.name} storm", f"kernel {outcome.kernel.name}"
    title = f"{storm}, {outcome.policy.name}, {kernel}, {outcome.machine.name}"
    names = [title, *(f"node {node}" for node in range(outcome.machine.nodes))]
    if any(thread.pid > len(names) for thread in threads):
        names.append("tasks of no node")
    rows = [("process", Thread(pid, pid, name, pid - 1)) for pid, name in enumerate(names, STORM)]
    rows += [("thread", thread) for thread in (Thread(STORM, STORM, "phases of the app", 0), *threads)]
    for what, thread in rows:
        ids = {"ph": "M", "pid": thread.pid, "tid": thread.tid}
        if what == "process" and thread.pid != STORM:  # no thread has this number
            del ids["tid"]
        yield {**ids, "name": f"{what}_name", "args": {"name": thread.name}}
        yield {**ids, "name": f"{what}_sort_index", "args": {"sort_index": thread.order}}


def _phases(outcome: Outcome) -> Iterator[Event]:
    """Yield a slice for each phase that began, and an instant where it ended."""
    ends, begin = outcome.phase_ends_ns, outcome.storm.foreground_at_ns
    for phase, end in enumerate(ends, 1):
        until = end if end >= 0 else outcome.end_ns
        if until > begin:
            yield _slice(STORM, STORM, begin, until, f"phase {phase}")
        if end < 0:
            return
        yield _instant(STORM, STORM, end, "app ready" if phase == len(ends) else f"phase {phase} done")
        begin = end


def _counters(outcome: Outcome) -> Iterator[Event]:
    samples = outcome.df_samples()
    for name, unit, values in (
        ("backlog", "entries", samples.backlog_entries),
        ("free memory", "MiB", samples.free_pages / 256),
        ("waiting for locks", "CPUs", samples.spinning_cpus),
    ):
        for at, value in zip(_ns(samples.time_ms), values.tolist(), strict=True):
            yield {"ph": "C", "pid": STORM, "tid": STORM, "name": name, "ts": _us(at), "args": {unit: value}}


def _lives(outcome: Outcome, tasks: list[Thread]) -> Iterator[Event]:
    """Yield each process's slice from its kill to its end, and what happened to it."""
    names = ("killed", "last present page freed", "exited", "last swap entry freed")
    what = "exiting" if outcome.storm.how == "exit" else "unmapping"
    for p, t in zip(outcome.df_processes().itertuples(), tasks, strict=False):
        times = _ns([p.killed_ms, p.present_freed_ms, p.exited_ms, p.swap_freed_ms])
        end = times[2] if times[2] >= 0 else outcome.end_ns
        if 0 <= times[0] < end:
            args = {"swap_entries": p.swap_entries, "present_pages": p.present_pages}
            yield {**_slice(t.pid, t.tid, times[0], end, what), "args": args}
        for at, name in zip(times, names, strict=True):
            if at >= 0:
                yield _instant(t.pid, t.tid, at, name)


def _visits(outcome: Outcome, cpus: list[Thread], tasks: list[Thread]) -> Iterator[Event]:
    """Yield, for each visit of a task to a CPU, a slice on both, and on the CPU the categories inside."""
    rows = outcome.df_trace().query("task >= 0").sort_values(["cpu", "start_ms"])
    before = rows.shift()
    begins = (rows.cpu != before.cpu) | (rows.task != before.task) | (rows.start_ms != before.end_ms)
    left = rows.end_ms.groupby(begins.cumsum()).transform("last")
    columns = (rows.cpu, rows.task, _ns(rows.start_ms), _ns(rows.end_ms), rows.category, begins, _ns(left))
    for cpu, task, start, end, category, is_first, leaves in zip(*columns, strict=True):
        c, t = cpus[cpu], tasks[task]
        if is_first:
            yield _slice(c.pid, c.tid, start, leaves, t.name)
            yield _slice(t.pid, t.tid, start, leaves, c.name)
        yield _slice(c.pid, c.tid, start, end, category)


def _slice(pid: int, tid: int, start: int, end: int, name: str) -> Event:
    return {"ph": "X", "pid": pid, "tid": tid, "ts": _us(start), "dur": _us(end - start), "name": name}


def _instant(pid: int, tid: int, at: int, name: str) -> Event:
    return {"ph": "i", "pid": pid, "tid": tid, "ts": _us(at), "s": "t", "name": name}


def _ns(milliseconds: Any) -> list[int]:
    ms = np.asarray(milliseconds, float)
    return np.where(np.isnan(ms), -1, np.round(ms * 1e6)).astype(np.int64).tolist()


def _us(nanoseconds: int) -> float:
    """Return microseconds with a fourth digit of 1: Perfetto cuts off, and would else lose a nanosecond."""
    return (10 * nanoseconds + 1) / 10_000
