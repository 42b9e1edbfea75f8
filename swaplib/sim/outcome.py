"""What a run returns: frames with documented columns, and a flat summary."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from swaplib.model.kernel import Kernel, Lock
from swaplib.model.machine import Machine
from swaplib.model.policy import Policy
from swaplib.model.storm import Storm
from swaplib.sim import state
from swaplib.sim.world import World


@dataclass(frozen=True, repr=False)
class Outcome:
    """One simulated storm.

    Times in frames are milliseconds since the first kill; -1 inside the engine becomes NaN.
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
        what = f"{self.machine.name}, {self.kernel.name}, {self.storm.name}, {self.policy.name}, seed {self.seed}"
        return f"<Outcome of {what}: over after {_ms(self.world.system[0].now):.1f} ms>"

    @property
    def end_ns(self) -> int:
        """When the run was over, in nanoseconds since the first kill."""
        return int(self.world.system[0].now)

    @property
    def is_traced(self) -> bool:
        """Whether the run kept what every CPU did (column by column in `trace`)."""
        return bool(self.world.system[0].is_traced)

    @property
    def spin_ns(self) -> int:
        """CPU time that went into waiting for locks, of all CPUs."""
        return int(self.world.time[:, state.SPIN].sum())

    @property
    def cpu_ns(self) -> int:
        """CPU time of all CPUs, idle time included: CPUs x duration."""
        return int(self.world.time.sum())

    @property
    def backlog_entries_peak(self) -> int:
        """The most entries that were taken from page tables and not yet freed."""
        return int(self.world.system[0].backlog_peak)

    @property
    def phase_ends_ns(self) -> list[int]:
        """When each phase of the foreground was done, in nanoseconds since the first kill; -1 where it was not."""
        return [int(end) for end in self.world.phases[:, 3]]

    @property
    def last_exit_ns(self) -> int:
        """When the last process was reaped, since the first kill; -1 if one was not, or there was none."""
        exited = self.world.process.exited_ns[: int((self.world.task.kind == state.WALKER).sum())]
        return int(exited.max()) if len(exited) and exited.min() >= 0 else -1

    @property
    def timed_out(self) -> bool:
        """Whether the run was cut off at the storm's limit, or everybody slept for ever."""
        return bool(self.world.system[0].timed_out)

    def summary(self) -> pd.Series:
        """Return the run in one row.

        Index: exit_ms_median and exit_ms_last (kill to reaped), present_freed_ms and swap_freed_ms (when the last
        present page and swap slot came back), foreground_ms (when the foreground was done, NaN without one), spin_ms,
        cpu_ms_total (all categories but idle, foreground and background), backlog_entries_peak, works, entries_sync,
        entries_async, entries_reaped, stranded (entries left in slot caches, object
        pages or the list), duration_ms, stalls, slot_failures, timed_out.
        """
        system = self.world.system[0]
        processes = self.df_processes()
        cpu = self.df_cpu().sum()
        exit_ms = processes.exited_ms - processes.killed_ms
        paid = [c for c in state.CATEGORIES if c not in ("idle", "foreground", "background")]
        return pd.Series(
            {
                "exit_ms_median": exit_ms.median(),
                "exit_ms_last": exit_ms.max() if exit_ms.notna().all() else np.nan,
                "present_freed_ms": processes.present_freed_ms.max(),
                "swap_freed_ms": _ms(system.swap_back_ns),
                "foreground_ms": self._foreground_ms(),
                "spin_ms": cpu["spin"],
                "cpu_ms_total": float(sum(cpu[c] for c in paid)),
                "backlog_entries_peak": int(system.backlog_peak),
                "works": int(system.works),
                "entries_sync": int(processes.entries_sync.sum()),
                "entries_async": int(processes.entries_async.sum()),
                "entries_reaped": int(processes.entries_reaped.sum()),
                "stranded": self.stranded,
                "duration_ms": _ms(system.now),
                "stalls": int(system.stalls),
                "slot_failures": int(system.slot_failures),
                "timed_out": self.timed_out,
            },
            name=self.policy.name,
        )

    @property
    def stranded(self) -> int:
        """Entries that were taken from page tables and stay in slot caches, object pages or the list."""
        return int(self.world.bag.entries.sum())

    def df_processes(self) -> pd.DataFrame:
        """Return one row a process.

        Columns: process, swap_entries, present_pages, run_entries, node, killed_ms, opened_ms (gather opened),
        present_freed_ms, exited_ms, swap_freed_ms (last entry freed), entries_sync, entries_async, entries_reaped,
        exit_cpu_ms (its own CPU time).
        """
        count = int((self.world.task.kind == state.WALKER).sum())
        p = self.world.process[:count]
        return pd.DataFrame(
            {
                "process": np.arange(count),
                "swap_entries": p.entries,
                "present_pages": p.present,
                "run_entries": p.run,
                "node": p.node,
                "killed_ms": _ms(p.killed_ns),
                "opened_ms": _ms(p.opened_ns),
                "present_freed_ms": _ms(p.present_ns),
                "exited_ms": _ms(p.exited_ns),
                "swap_freed_ms": _ms(p.freed_ns),
                "entries_sync": p.sync,
                "entries_async": p.deferred,
                "entries_reaped": p.reaped,
                "exit_cpu_ms": self.world.task.cpu_ns[:count] / 1e6,
            }
        )

    def df_cpu(self) -> pd.DataFrame:
        """Return one row a CPU (index cpu) with milliseconds by category; a row adds up to the run's duration."""
        frame = pd.DataFrame(self.world.time / 1e6, columns=list(state.CATEGORIES))
        return frame.rename_axis("cpu")

    def df_locks(self) -> pd.DataFrame:
        """Return one row a kind of lock: lock, instances, acquisitions, contended (acquisitions), wait_ms."""
        k = self.world.lock
        frame = pd.DataFrame(
            {
                "lock": [Lock(kind).name.lower().replace("_", " ") for kind in k.kind],
                "acquisitions": k.acquisitions,
                "contended": k.contended,
                "wait_ms": k.wait_ns / 1e6,
            }
        )
        grouped = frame.groupby("lock", sort=False)
        return grouped.sum().assign(instances=grouped.size()).reset_index()

    def df_samples(self) -> pd.DataFrame:
        """Return the counters over time.

        Columns: time_ms, gathered_entries (in open gathers or the list), queued_entries, working_entries (in works
        being freed), deferred_entries (zram objects), backlog_entries (their sum), free_pages, free_slots, exiting,
        spinning_cpus.
        """
        rows = self.world.sample[: int(self.world.system[0].samples)]
        frame = pd.DataFrame(rows, columns=list(state.SAMPLE_COLUMNS))
        frame.insert(0, "time_ms", frame.pop("time_ns") / 1e6)
        parts = ["gathered_entries", "queued_entries", "working_entries", "deferred_entries"]
        frame.insert(5, "backlog_entries", frame[parts].sum(axis=1))
        return frame

    def df_phases(self) -> pd.DataFrame:
        """Return one row a foreground phase: phase, cpu_ms, pages, threads, end_ms (since the first kill)."""
        phases = self.world.phases
        return pd.DataFrame(
            {
                "phase": np.arange(len(phases)),
                "cpu_ms": phases[:, 0] / 1e6,
                "pages": phases[:, 1],
                "threads": phases[:, 2],
                "end_ms": _ms(phases[:, 3]),
            }
        )

    def df_trace(self) -> pd.DataFrame:
        """Return what every CPU did: cpu, start_ms, end_ms, category, task (-1 when idle), kind ("" when idle)."""
        t = self.trace
        tasks = t[:, 4]
        busy = tasks >= 0
        kinds = np.array(["process", "kworker", "reaper", "foreground", "background", ""])
        kind = np.where(busy, self.world.task.kind[tasks], 5)
        return pd.DataFrame(
            {
                "cpu": t[:, 0],
                "start_ms": t[:, 1] / 1e6,
                "end_ms": t[:, 2] / 1e6,
                "category": np.array(state.CATEGORIES)[t[:, 3]],
                "task": tasks,
                "kind": kinds[kind],
            }
        )

    def to_perfetto(self, path: str | Path) -> Path:
        """Write a Chrome JSON trace that ui.perfetto.dev opens; see `swaplib.sim.perfetto`."""
        from swaplib.sim.perfetto import write_trace

        return write_trace(self, path)

    def _foreground_ms(self) -> float:
        phases = self.world.phases
        if len(phases) == 0 or phases[-1, 3] < 0:
            return float("nan")
        return float(phases[-1, 3] - self.storm.foreground_at_ns) / 1e6


def _ms(nanoseconds: np.ndarray | int) -> np.ndarray | float:
    milliseconds = np.where(np.asarray(nanoseconds) < 0, np.nan, np.asarray(nanoseconds) / 1e6)
    return float(milliseconds) if milliseconds.ndim == 0 else milliseconds
