"""A run as a trace in the Chrome JSON format, which ui.perfetto.dev and chrome://tracing open.

The format is the Trace Event Format (https://docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU).
A node is a process of the trace; its threads are its CPUs and the tasks that belong to it (on a machine of one node,
all). Tasks of no node are threads of a further process, and the first process holds the counters and the phases.

A CPU has a slice for each visit of a task, and inside it one for each category of CPU time; idle time has none. A task
has a slice for each visit to a CPU, an exiting process around them one from its kill to its end. Instants are kills,
exits, the last page and entry given back, and phase ends.

Times are decimal microseconds with four digits: three are the nanoseconds, and the fourth is always 1. Readers that
turn microseconds into nanoseconds in floating point and cut off the rest, as Perfetto does, would else lose a
nanosecond now and then, and drop slices that then seem to overlap.
"""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import numpy as np
import numpy.typing as npt

from swaplib.sim import state

if TYPE_CHECKING:
    from swaplib.sim.outcome import Outcome

Array = npt.NDArray[np.int64]

HEAD = '{"otherData":{"writer":"swaplib"'  # how every trace of ours begins

# pid and tid are unique numbers above zero: Perfetto takes thread 0 for the idle task.
STORM = 1  # the process of counters and phases, and its only thread
FIRST_NODE = 2
FIRST_CPU = 1_000
FIRST_TASK = 1_000_000

_KINDS = ("exit", "kworker", "reaper", "app", "background")  # by kind of task
_ORDER = (3, 1, 2, 0, 4)  # of kinds among a node's threads: kworkers, reapers, exits, the app, background
_ROWS = 1 << 14  # of the trace, turned into text at once


def write_trace(outcome: Outcome, path: str | Path) -> Path:
    """Write the trace of a run, in one piece or not at all; see the module's text for what is in it.

    Parameters
    ----------
    outcome
        A run that was traced.
    path
        A file that does not exist, or a trace written earlier, which is replaced.

    Returns
    -------
    Path
        The path.

    Raises
    ------
    ValueError
        If the run was not traced.
    FileExistsError
        If the path is anything but a trace written here.
    FileNotFoundError
        If its folder does not exist.
    """
    path = Path(path)
    if not outcome.world.system[0].is_traced:
        raise ValueError(
            f"{path}: the run of policy '{outcome.policy.name}' was not traced; simulate it with trace=True"
        )
    _check_replaceable(path)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with part.open("x", encoding="ascii", newline="\n") as file:
            _write(outcome, file)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    return path


def _check_replaceable(path: Path) -> None:
    if not path.parent.is_dir():
        raise FileNotFoundError(f"{path}: there is no folder {path.parent}")
    if not path.exists() and not path.is_symlink():
        return
    if path.is_file() and not path.is_symlink():
        with path.open("rb") as file:
            if file.read(len(HEAD)) == HEAD.encode():
                return
    raise FileExistsError(
        f"{path} exists and is not a trace that swaplib wrote; choose another name, or remove it"
    )


def _write(outcome: Outcome, file: TextIO) -> None:
    about = {what: getattr(outcome, what).name for what in ("machine", "kernel", "storm", "policy")}
    about["seed"] = str(outcome.seed)
    file.write(f'{HEAD},{json.dumps(about)[1:]},"displayTimeUnit":"ms","traceEvents":[\n')
    threads = _Threads(outcome)
    lines = itertools.chain(
        threads.metadata(),
        _phases(outcome),
        _counters(outcome),
        _lives(outcome, threads),
        _visits(outcome, threads),
    )
    file.write(next(lines))
    for line in lines:
        file.write(",\n" + line)
    file.write("\n]}\n")


class _Threads:
    """Names, process and thread numbers of CPUs and tasks."""

    def __init__(self, outcome: Outcome) -> None:
        world, machine = outcome.world, outcome.machine
        kind = world.task.kind
        node = np.where(kind == state.WORKER, world.task.node, -1)
        walkers = np.flatnonzero(kind == state.WALKER)
        node[walkers] = world.process.node[: len(walkers)]
        if machine.nodes == 1:
            node[:] = 0
        self.outcome = outcome
        self.cpu_pid = [FIRST_NODE + n for n in machine.node]
        self.task_pid = (FIRST_NODE + np.where(node < 0, machine.nodes, node)).tolist()
        self.number = np.zeros(len(kind), np.int64)  # among tasks of its kind
        for k in range(len(_KINDS)):
            self.number[kind == k] = np.arange((kind == k).sum())
        self.kind = kind
        self.task_name = [f"{_KINDS[k]} {n}" for k, n in zip(kind, self.number, strict=True)]

    def metadata(self) -> Iterator[str]:
        """Name and order every process and thread."""
        o = self.outcome
        title = f"{o.storm.name} storm, {o.policy.name}, kernel {o.kernel.name}, {o.machine.name}"
        yield from _named("process", STORM, STORM, title, 0)
        yield from _named("thread", STORM, STORM, "phases of the app", 0)
        for node in range(o.machine.nodes):
            yield from _named("process", FIRST_NODE + node, 0, f"node {node}", 1 + node)
        if FIRST_NODE + o.machine.nodes in self.task_pid:
            yield from _named(
                "process", FIRST_NODE + o.machine.nodes, 0, "tasks of no node", 1 + o.machine.nodes
            )
        for cpu, pid in enumerate(self.cpu_pid):
            yield from _named("thread", pid, FIRST_CPU + cpu, f"CPU {cpu}", cpu)
        for task, name in enumerate(self.task_name):
            order = FIRST_TASK * (1 + _ORDER.index(self.kind[task])) + int(self.number[task])
            yield from _named("thread", self.task_pid[task], FIRST_TASK + task, name, order)


def _named(what: str, pid: int, tid: int, name: str, order: int) -> Iterator[str]:
    ids: dict[str, Any] = {"ph": "M", "pid": int(pid)} | ({"tid": int(tid)} if tid else {})
    yield _json(ids | {"name": f"{what}_name", "args": {"name": name}})
    yield _json(ids | {"name": f"{what}_sort_index", "args": {"sort_index": order}})


def _phases(outcome: Outcome) -> Iterator[str]:
    """Yield a slice for each phase that began, and an instant where it ended."""
    ends = outcome.world.phases[:, 3].tolist()
    over = int(outcome.world.system[0].now)
    begin = outcome.storm.foreground_at_ns
    for phase, end in enumerate(ends, 1):
        until = end if end >= 0 else over
        if until > begin:
            yield _slice(STORM, STORM, begin, until, f"phase {phase}")
        if end < 0:
            return
        yield _instant(STORM, STORM, end, "app ready" if phase == len(ends) else f"phase {phase} done")
        begin = end


def _counters(outcome: Outcome) -> Iterator[str]:
    samples = outcome.df_samples()
    times = outcome.world.sample[: len(samples), 0].tolist()
    for name, unit, values in (
        ("backlog", "entries", samples.backlog_entries),
        ("free memory", "MiB", samples.free_pages / 256),
        ("waiting for locks", "CPUs", samples.spinning_cpus),
    ):
        begin = f'{{"ph":"C","pid":{STORM},"tid":{STORM},"name":"{name}","ts":'
        for at, value in zip(times, values.tolist(), strict=True):
            yield f'{begin}{_us(at)},"args":{{"{unit}":{value}}}}}'


def _lives(outcome: Outcome, threads: _Threads) -> Iterator[str]:
    """Yield each process's slice from its kill to its end, and what happened to it."""
    end = int(outcome.world.system[0].now)
    for i in range(int((threads.kind == state.WALKER).sum())):
        p = outcome.world.process[i]
        if p.killed_ns < 0:
            continue
        pid, tid = threads.task_pid[i], FIRST_TASK + i
        last = int(p.exited_ns) if p.exited_ns >= 0 else end
        args = json.dumps({"swap_entries": int(p.entries), "present_pages": int(p.present)})
        if last > p.killed_ns:
            yield _slice(pid, tid, int(p.killed_ns), last, "exiting" if p.dying else "unmapping", args)
        for at, name in (
            (p.killed_ns, "killed"),
            (p.present_ns, "last present page freed"),
            (p.exited_ns, "exited"),
            (p.freed_ns, "last swap entry freed"),
        ):
            if at >= 0:
                yield _instant(pid, tid, int(at), name)


def _visits(outcome: Outcome, threads: _Threads) -> Iterator[str]:
    """Yield, for each visit of a task to a CPU, its slice on the CPU and on the task, and the categories inside."""
    trace = outcome.trace[outcome.trace[:, 4] >= 0]
    order = np.lexsort((trace[:, 1], trace[:, 0]))
    leave = _leaving(trace, order)
    names = [json.dumps(name) for name in state.CATEGORIES]
    visit = -1, -1, -1
    for low in range(0, len(order), _ROWS):
        chunk = slice(low, low + _ROWS)
        for (cpu, since, until, category, task), left in zip(
            trace[order[chunk]].tolist(), leave[chunk].tolist(), strict=True
        ):
            pid, tid = threads.cpu_pid[cpu], FIRST_CPU + cpu
            if (cpu, task, left) != visit:
                visit = cpu, task, left
                yield _slice(pid, tid, since, left, threads.task_name[task])
                yield _slice(threads.task_pid[task], FIRST_TASK + task, since, left, f"CPU {cpu}")
            yield (
                f'{{"ph":"X","pid":{pid},"tid":{tid},"ts":{_us(since)},"dur":{_us(until - since)},'
                f'"name":{names[category]}}}'
            )


def _leaving(trace: Array, order: Array) -> Array:
    """Return when the visit ends that each row is part of, in order of CPU and time; a gap ends a visit."""
    cpu, since, until, _, task = trace[order].T
    ends = (cpu[1:] != cpu[:-1]) | (task[1:] != task[:-1]) | (since[1:] != until[:-1])
    last = np.append(np.flatnonzero(ends), len(order) - 1)
    return np.repeat(until[last], np.diff(last, prepend=-1)) if len(order) else until


def _slice(pid: int, tid: int, since: int, until: int, name: str, args: str = "") -> str:
    more = f',"args":{args}' if args else ""
    return f'{{"ph":"X","pid":{pid},"tid":{tid},"ts":{_us(since)},"dur":{_us(until - since)},"name":"{name}"{more}}}'


def _instant(pid: int, tid: int, at: int, name: str) -> str:
    return f'{{"ph":"i","pid":{pid},"tid":{tid},"ts":{_us(at)},"s":"t","name":"{name}"}}'


def _us(nanoseconds: int) -> str:
    return f"{nanoseconds // 1000}.{nanoseconds % 1000:03d}1"


def _json(event: dict[str, Any]) -> str:
    return json.dumps(event, separators=(",", ":"))
