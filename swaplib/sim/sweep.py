"""Many runs: settings by replications on common random numbers, one after another or on any executor."""

from __future__ import annotations

import contextlib
import hashlib
import os
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd

from swaplib.model.checks import at_least
from swaplib.model.compiled import digest_of_sources
from swaplib.model.kernel import Kernel
from swaplib.model.machine import Machine
from swaplib.model.policy import Policy
from swaplib.model.storm import Storm
from swaplib.sim.checkpoint import Checkpoint, Row
from swaplib.sim.fits import check_together
from swaplib.sim.simulate import GRAIN, simulate

KINDS = ("machine", "kernel", "storm", "policy")

Labels = Mapping[str, str | int | float | bool | None]


@dataclass(frozen=True)
class Setting:
    """One machine, kernel, storm and policy, and the labels that tell its rows from others (scalars, by column)."""

    machine: Machine
    kernel: Kernel
    storm: Storm
    policy: Policy
    labels: Labels = field(default_factory=dict)


def run_settings(
    settings: Sequence[Setting],
    *,
    replications: int = 20,
    seed: int = 0,
    experiment: int = 0,
    grain: int = GRAIN,
    executor: Executor | str | None = None,
    checkpoint: str | Path | None = None,
    progress: bool | None = None,
    version: str = "",
) -> pd.DataFrame:
    """Simulate every setting `replications` times and return one row a run; `swaplib.sweep` has the parameters.

    Everything is checked before the first run. `version` is what a checkpoint records beside the digest of the
    engine's sources.
    """
    at_least("replications", replications, 1)
    at_least("seed", seed, 0)
    at_least("experiment", experiment, 0)
    at_least("grain", grain, 1, GRAIN)
    if not (executor is None or executor == "threads" or hasattr(executor, "submit")):
        raise ValueError(
            f"executor is {executor!r}; expected None, 'threads' or a concurrent.futures.Executor"
        )
    seeds = range(seed, seed + replications)
    _check(settings, seeds, experiment)
    jobs = [Job(setting, s, experiment, grain) for setting in settings for s in seeds]
    inputs: dict[str, str | int] = {"version": version, "replications": replications, "seed": seed}
    inputs |= {"experiment": experiment, "grain": grain}
    inputs |= _contents(settings)
    with contextlib.ExitStack() as stack:
        kept = None if checkpoint is None else stack.enter_context(Checkpoint(checkpoint, inputs))
        rows = {} if kept is None else {run: row for run, row in kept.rows.items() if run < len(jobs)}
        line = stack.enter_context(contextlib.closing(_Line(len(jobs), len(rows), progress)))
        for finished in _finished(jobs, [run for run in range(len(jobs)) if run not in rows], executor):
            named = {
                run: {**jobs[run].setting.labels, "replication": run % replications, **outcome}
                for run, outcome in finished.items()
            }
            if kept is not None:
                kept.append(named)
            rows.update(named)
            line.show(len(rows))
    return pd.DataFrame([rows[run] for run in range(len(jobs))])


@dataclass(frozen=True)
class Job:
    """One run of a sweep."""

    setting: Setting
    seed: int
    experiment: int
    grain: int


def run_jobs(jobs: Sequence[Job]) -> list[Row]:
    """Run some jobs and return their summaries; executors call this, so it stands in the package."""
    return [_summary(job) for job in jobs]


def _summary(job: Job) -> Row:
    s = job.setting
    try:
        outcome = simulate(
            s.machine,
            s.kernel,
            s.storm,
            s.policy,
            job.seed,
            experiment=job.experiment,
            grain=job.grain,
            trace=False,
        )
        return {
            str(name): value.item() if isinstance(value, np.generic) else value
            for name, value in outcome.summary().items()
        }
    except Exception as error:
        names = ", ".join(f"{kind} '{getattr(s, kind).name}'" for kind in KINDS)
        error.add_note(f"in the sweep's run with {names}, seed {job.seed}")
        raise


def _check(settings: Sequence[Setting], seeds: Iterable[int], experiment: int) -> None:
    """Refuse what could not run, and labels that would hide a column of the outcome."""
    if not settings:
        raise ValueError("the sweep has no settings; expected at least 1")
    drawn = set()
    for setting in settings:
        check_together(setting.machine, setting.kernel, setting.policy)
        if (key := (id(setting.machine), id(setting.storm))) not in drawn:
            drawn.add(key)
            for seed in seeds:
                try:
                    setting.storm.draw(setting.machine, seed, experiment)
                except ValueError as error:
                    raise ValueError(f"{error} (drawn with seed {seed}, experiment {experiment})") from None
    columns = {"replication", *_compile(settings[0])}
    for setting in settings:
        if clash := columns & set(setting.labels):
            raise ValueError(f"label '{min(clash)}' is a column of the outcome; call it something else")


def _compile(setting: Setting) -> Row:
    """Simulate an empty storm, which compiles the engine once, here, before others need it; return its summary."""
    return _summary(
        Job(replace(setting, storm=Storm("empty", processes=0), policy=Policy("none")), 0, 0, GRAIN)
    )


def _contents(settings: Sequence[Setting]) -> dict[str, str]:
    """Return a digest of the engine, of every model by kind and name, and of the settings' order and labels."""
    texts: dict[str, dict[str, None]] = {}
    order = []
    for setting in settings:
        models = [getattr(setting, kind) for kind in KINDS]
        for kind, model in zip(KINDS, models, strict=True):
            texts.setdefault(f"{kind} '{model.name}'", {})[repr(model)] = None
        order.append(repr((models, dict(setting.labels))))
    digests = {name: _digest(found) for name, found in texts.items()}
    return {"the engine": digest_of_sources(), **digests, "the list of settings": _digest(order)}


def _digest(texts: Iterable[str]) -> str:
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()[:16]


def _finished(
    jobs: Sequence[Job], runs: Sequence[int], executor: Executor | str | None
) -> Iterator[dict[int, Row]]:
    """Yield the outcomes of runs by number as they end, in any order."""
    if executor is None:
        for run in runs:
            yield {run: _summary(jobs[run])}
        return
    with contextlib.ExitStack() as stack:
        if isinstance(executor, str):
            executor = stack.enter_context(ThreadPoolExecutor(_usable_cpus()))
        size = min(
            8, 1 + len(runs) // 256
        )  # few enough that little is lost or left over, enough to cost little
        chunks = [runs[at : at + size] for at in range(0, len(runs), size)]
        futures = {executor.submit(run_jobs, [jobs[run] for run in chunk]): chunk for chunk in chunks}
        try:
            for future in as_completed(futures):
                yield dict(zip(futures.pop(future), future.result(), strict=True))
        finally:
            for future in futures:
                future.cancel()


def _usable_cpus() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class _Line:
    """A line on the terminal that says how far the sweep is; silent elsewhere, a notebook included."""

    def __init__(self, total: int, before: int, wanted: bool | None):
        self.total, self.before = total, before
        self.wanted = sys.stderr.isatty() if wanted is None else wanted
        self.start = self.last = time.monotonic()

    def show(self, done: int) -> None:
        now = time.monotonic()
        if self.wanted and now - self.last >= 0.2:
            self.last = now
            left = (now - self.start) * (self.total - done) / (done - self.before)
            self._write(f"{done} of {self.total} runs, {left:.0f} s left")

    def close(self) -> None:
        if self.last > self.start:
            self._write("")

    def _write(self, text: str) -> None:
        print(f"\r{text:<60}\r", end="", file=sys.stderr, flush=True)
