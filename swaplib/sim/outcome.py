"""What a run returns: frames with documented columns, and a flat summary."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from swaplib.model.kernel import Kernel, Lock
from swaplib.model.machine import Machine
from swaplib.model.policy import Policy
from swaplib.model.storm import Storm
from swaplib.sim import state
from swaplib.sim.world import World

KINDS = (
    "process",
    "kworker",
    "reaper",
    "foreground",
    "background",
    "",
)  # of task, by its number; none when idle
NOT_PAID = ["idle", "foreground", "background"]  # CPU time that a policy does not cost


@dataclass(frozen=True, repr=False)
class Outcome:
    """One simulated storm. Times in frames are milliseconds since the first kill; NaN is never.

    `trace` has a row of whole numbers for each stretch of CPU time: CPU, start and end (ns), category (its
    index in `swaplib.sim.state.CATEGORIES`), and task (-1 when idle).
    """

    machine: Machine
    kernel: Kernel
    storm: Storm
    policy: Policy
    seed: int
    world: World
    trace: np.ndarray

    def __repr__(self) -> str:
        """Name what was run, and when it was over."""
        names = (self.machine.name, self.kernel.name, self.storm.name, self.policy.name)
        return f"<Outcome of {', '.join(names)}, seed {self.seed}: over after {self.end_ns / 1e6:.1f} ms>"

    @property
    def end_ns(self) -> int:
        """When the run was over, since the first kill."""
        return int(self.world.system[0].now)

    @property
    def is_traced(self) -> bool:
        """Whether the run kept what every CPU did, in `trace`."""
        return bool(self.world.system[0].is_traced)

    @property
    def spin_ns(self) -> int:
        """CPU time that went into waiting for locks, of all CPUs."""
        return int(self.world.cpu.time[:, state.SPIN].sum())

    @property
    def cpu_ns(self) -> int:
        """CPU time of all CPUs, idle time included: CPUs x duration."""
        return int(self.world.cpu.time.sum())

    @property
    def backlog_entries_peak(self) -> int:
        """The most entries that were taken from page tables and not yet freed."""
        return int(self.world.system[0].backlog_peak)

    @property
    def phase_ends_ns(self) -> list[int]:
        """When each phase of the foreground was done, since the first kill; -1 where it was not."""
        return [int(end) for end in self.world.phase.end_ns]

    @property
    def last_exit_ns(self) -> int:
        """When the last process was reaped, since the first kill; -1 if one was not, or there was none."""
        exited = self._processes.exited_ns
        return int(exited.max()) if len(exited) and exited.min() >= 0 else -1

    @property
    def timed_out(self) -> bool:
        """Whether the run was cut off at the storm's limit, or everybody slept for ever."""
        return bool(self.world.system[0].timed_out)

    @property
    def stranded(self) -> int:
        """Entries that were taken from page tables and stay in slot caches, object pages or the list."""
        return int(self.world.store.entries.sum())

    @property
    def _processes(self) -> Any:
        return self.world.process[: int((self.world.task.kind == state.WALKER).sum())]

    def summary(self) -> pd.Series:
        """Return the run in one row.

        Index: exit_ms_median and exit_ms_last (kill to reaped), present_freed_ms and swap_freed_ms (when the
        last present page and swap slot came back), foreground_ms (when the foreground was done, NaN without
        one), spin_ms, cpu_ms_total (all but idle, foreground and background), backlog_entries_peak, works,
        entries_sync, entries_async, entries_reaped, stranded, duration_ms, stalls, slot_failures, timed_out.
        """
        system, processes, cpu = self.world.system[0], self.df_processes(), self.df_cpu().sum()
        exit_ms = processes.exited_ms - processes.killed_ms
        ready = self.phase_ends_ns[-1:] or [-1]
        values = {
            "exit_ms_median": exit_ms.median(),
            "exit_ms_last": exit_ms.max(skipna=False),
            "present_freed_ms": processes.present_freed_ms.max(),
            "swap_freed_ms": _ms(system.swap_back_ns),
            "foreground_ms": (ready[0] - self.storm.foreground_at_ns) / 1e6 if ready[0] >= 0 else np.nan,
            "spin_ms": cpu["spin"],
            "cpu_ms_total": float(sum(cpu.drop(NOT_PAID))),
            "backlog_entries_peak": self.backlog_entries_peak,
            "works": int(system.works),
            "entries_sync": int(processes.entries_sync.sum()),
            "entries_async": int(processes.entries_async.sum()),
            "entries_reaped": int(processes.entries_reaped.sum()),
            "stranded": self.stranded,
            "duration_ms": _ms(system.now),
            "stalls": int(system.stalls),
            "slot_failures": int(system.slot_failures),
            "timed_out": self.timed_out,
        }
        return pd.Series(values, name=self.policy.name)

    def df_processes(self) -> pd.DataFrame:
        """Return one row a process.

        Columns: process, swap_entries, present_pages, run_entries, node, killed_ms, opened_ms (its gather),
        present_freed_ms, exited_ms, swap_freed_ms (last entry freed), entries_sync, entries_async,
        entries_reaped, exit_cpu_ms (its own CPU time).
        """
        p = self._processes
        columns = {
            "process": np.arange(len(p)),
            "swap_entries": p.swap_entries,
            "present_pages": p.present_pages,
            "run_entries": p.run_entries,
            "node": p.node,
            "killed_ms": _ms(p.killed_ns),
            "opened_ms": _ms(p.opened_ns),
            "present_freed_ms": _ms(p.present_freed_ns),
            "exited_ms": _ms(p.exited_ns),
            "swap_freed_ms": _ms(p.swap_freed_ns),
            "entries_sync": p.entries_sync,
            "entries_async": p.entries_async,
            "entries_reaped": p.entries_reaped,
            "exit_cpu_ms": self.world.task.cpu_ns[: len(p)] / 1e6,
        }
        return pd.DataFrame(columns)

    def df_tasks(self) -> pd.DataFrame:
        """Return one row a task: task, kind (process, kworker, ...), node (its home, -1 is none), cpu_ms."""
        tasks, p = self.world.task, self._processes
        node = np.where(tasks.kind == state.WORKER, tasks.node, -1)
        node[: len(p)] = p.node
        kind = np.array(KINDS)[tasks.kind]
        return pd.DataFrame(
            {"task": np.arange(len(kind)), "kind": kind, "node": node, "cpu_ms": tasks.cpu_ns / 1e6}
        )

    def df_cpu(self) -> pd.DataFrame:
        """Return one row a CPU (index cpu): milliseconds by category, which add up to the run's duration."""
        frame = pd.DataFrame(self.world.cpu.time / 1e6, columns=list(state.CATEGORIES))
        return frame.rename_axis("cpu")

    def df_locks(self) -> pd.DataFrame:
        """Return one row a kind of lock: lock, instances, acquisitions, contended (acquisitions), wait_ms."""
        k = self.world.lock
        names = [Lock(kind).name.lower().replace("_", " ") for kind in k.kind]
        columns = {"acquisitions": k.acquisitions, "contended": k.contended, "wait_ms": k.wait_ns / 1e6}
        grouped = pd.DataFrame({"lock": names, **columns}).groupby("lock", sort=False)
        return grouped.sum().assign(instances=grouped.size()).reset_index()

    def df_samples(self) -> pd.DataFrame:
        """Return the counters over time.

        Columns: time_ms, gathered_entries (in open gathers or the list), queued_entries, working_entries (in
        works being freed), deferred_entries (zram objects), backlog_entries (their sum), free_pages,
        free_slots, exiting, spinning_cpus.
        """
        rows = self.world.sample[: int(self.world.system[0].samples)]
        values = rows.view(np.int64).reshape(len(rows), -1)
        frame = pd.DataFrame(values, columns=list(state.SAMPLE_COLUMNS))
        frame.insert(0, "time_ms", frame.pop("time_ns") / 1e6)
        waiting = frame[["gathered_entries", "queued_entries", "working_entries", "deferred_entries"]]
        frame.insert(5, "backlog_entries", waiting.sum(axis=1))
        return frame

    def df_phases(self) -> pd.DataFrame:
        """Return one row a foreground phase: phase, cpu_ms, pages, threads, end_ms (since the first kill)."""
        phases = [(p.cpu_ns, p.pages, p.threads) for p in self.storm.foreground]
        cpu_ns, pages, threads = np.array(phases, np.int64).reshape(-1, 3).T
        columns = {
            "phase": np.arange(len(phases)),
            "cpu_ms": cpu_ns / 1e6,
            "pages": pages,
            "threads": threads,
        }
        return pd.DataFrame({**columns, "end_ms": _ms(self.phase_ends_ns)})

    def df_trace(self) -> pd.DataFrame:
        """Return what every CPU did: cpu, start_ms, end_ms, category, task and kind (-1 and "" if idle)."""
        cpu, start, end, category, task = self.trace.T
        kind = np.where(task >= 0, self.world.task.kind[task], len(KINDS) - 1)
        columns = {"cpu": cpu, "start_ms": start / 1e6, "end_ms": end / 1e6}
        columns |= {
            "category": np.array(state.CATEGORIES)[category],
            "task": task,
            "kind": np.array(KINDS)[kind],
        }
        return pd.DataFrame(columns)

    def to_perfetto(self, path: str | Path) -> Path:
        """Write a Chrome JSON trace that ui.perfetto.dev opens; see `swaplib.sim.perfetto`."""
        from swaplib.sim.perfetto import write_trace

        return write_trace(self, path)


def _ms(nanoseconds: Any) -> Any:
    milliseconds = np.where(np.asarray(nanoseconds) < 0, np.nan, np.asarray(nanoseconds) / 1e6)
    return float(milliseconds) if milliseconds.ndim == 0 else milliseconds
