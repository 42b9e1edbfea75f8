"""What a run returns: frames with documented columns, and a flat summary."""

from __future__ import annotations

from collections.abc import Callable
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

KINDS = ("process", "kworker", "reaper", "foreground", "background", "")  # of task, by its number
ENTRIES = ["entries_sync", "entries_async", "entries_reaped"]
PROCESS_FIELDS = (  # of the engine's records, as `Outcome.df_processes` names them but in ms
    *("swap_entries", "present_pages", "run_entries", "node", "killed_ns", "opened_ns"),
    *("present_freed_ns", "exited_ns", "swap_freed_ns", *ENTRIES),
)
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
        names = f"{self.storm.name}, {self.policy.name}, {self.kernel.name}, {self.machine.name}"
        return f"<Outcome of {names}, seed {self.seed}: over after {self.end_ns / 1e6:.1f} ms>"

    @property
    def end_ns(self) -> int:
        """When the run was over, since the first kill."""
        return int(self.world.system[0].now)

    @property
    def is_traced(self) -> bool:
        """Whether the run kept what every CPU did, in `trace`."""
        return bool(self.world.system[0].is_traced)

    @property
    def phase_ends_ns(self) -> list[int]:
        """When each phase of the foreground was done, since the first kill; -1 where it was not."""
        return [int(end) for end in self.world.phase.end_ns]

    @property
    def timed_out(self) -> bool:
        """Whether the run was cut off at the storm's limit, or everybody slept for ever."""
        return bool(self.world.system[0].timed_out)

    @property
    def stranded(self) -> int:
        """Entries that were taken from page tables and stay in slot caches, object pages or the list."""
        return int(self.world.store.entries.sum())

    def summary(self) -> pd.Series:
        """Return the run in one row.

        Index: kills (processes killed), exit_ms_median and exit_ms_last (kill to reaped), present_freed_ms
        and swap_freed_ms (when the last present page and swap slot came back), foreground_ms (when the
        foreground was done, NaN without one), spin_ms, cpu_ms_total (all but idle, foreground and
        background), backlog_entries_peak, works, entries_sync, entries_async, entries_reaped, stranded,
        duration_ms, stalls, slot_failures, frames_missed (periods that ended before their burst, of
        background tasks that are frames), timed_out.
        """
        return pd.Series(self.totals(), name=self.policy.name)

    def totals(self) -> dict[str, Any]:
        """Return the values of `summary` by name."""
        system, is_process = self.world.system[0], self.world.task.kind == state.WALKER
        processes = self.world.process[: int(is_process.sum())]
        cpu = dict(zip(state.CATEGORIES, self.world.cpu.time.sum(axis=0) / 1e6, strict=True))
        killed = processes["killed_ns"] >= 0
        exit_ms = _ms(processes["exited_ns"]) - _ms(processes["killed_ns"])
        if self.storm.kill_timeout_ns is not None:  # who survives lmkd has nothing to wait for
            exit_ms = exit_ms[killed]
        threads = [background.threads for background in self.storm.background]
        is_frame = np.repeat([background.frames for background in self.storm.background], threads)
        missed = self.world.task.missed[int(system.first_background) :]
        ready_ns = (self.phase_ends_ns or [-1])[-1]
        return {
            "kills": int(killed.sum()),
            "exit_ms_median": _known(np.median, exit_ms),
            "exit_ms_last": float(exit_ms.max()) if len(exit_ms) else np.nan,
            "present_freed_ms": _known(np.max, _ms(processes["present_freed_ns"])),
            "swap_freed_ms": _ms(system.swap_back_ns),
            "foreground_ms": (ready_ns - self.storm.foreground_at_ns) / 1e6 if ready_ns >= 0 else np.nan,
            "spin_ms": cpu["spin"],
            "cpu_ms_total": float(sum(ms for category, ms in cpu.items() if category not in NOT_PAID)),
            "backlog_entries_peak": int(system.backlog_peak),
            "works": int(system.works),
            **{name: int(processes[name].sum()) for name in ENTRIES},
            "stranded": self.stranded,
            "duration_ms": _ms(system.now),
            "stalls": int(system.stalls),
            "slot_failures": int(system.slot_failures),
            "frames_missed": int(missed[is_frame.astype(bool)].sum()),
            "timed_out": self.timed_out,
        }

    def df_processes(self) -> pd.DataFrame:
        """Return one row a process.

        Columns: process, swap_entries, present_pages, run_entries, node, killed_ms, opened_ms (its gather),
        present_freed_ms, exited_ms, swap_freed_ms (last entry freed), entries_sync, entries_async,
        entries_reaped, exit_cpu_ms (its own CPU time).
        """
        count = int((self.world.task.kind == state.WALKER).sum())
        records, columns = self.world.process[:count], {"process": np.arange(count)}
        for name in PROCESS_FIELDS:
            is_time = name.endswith("_ns")
            columns[name.replace("_ns", "_ms")] = _ms(records[name]) if is_time else records[name]
        return pd.DataFrame({**columns, "exit_cpu_ms": self.world.task.cpu_ns[:count] / 1e6})

    def df_cpu(self) -> pd.DataFrame:
        """Return one row a CPU (index cpu): milliseconds by category, which add up to the run's duration."""
        return pd.DataFrame(self.world.cpu.time / 1e6, columns=list(state.CATEGORIES)).rename_axis("cpu")

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
        frame = pd.DataFrame(self.world.sample[: int(self.world.system[0].samples)])
        frame.insert(0, "time_ms", frame.pop("time_ns") / 1e6)
        waiting = frame[["gathered_entries", "queued_entries", "working_entries", "deferred_entries"]]
        frame.insert(5, "backlog_entries", waiting.sum(axis=1))
        return frame

    def df_trace(self) -> pd.DataFrame:
        """Return what every CPU did: cpu, start_ms, end_ms, category, task and kind (-1 and "" if idle)."""
        cpu, start, end, category, task = self.trace.T
        kinds, categories = np.array(KINDS), np.array(state.CATEGORIES)
        kind = kinds[np.where(task >= 0, self.world.task.kind[task], len(KINDS) - 1)]
        columns = {"cpu": cpu, "start_ms": start / 1e6, "end_ms": end / 1e6}
        columns |= {"category": categories[category], "task": task, "kind": kind}
        return pd.DataFrame(columns)

    def to_perfetto(self, path: str | Path) -> Path:
        """Write a Chrome JSON trace that ui.perfetto.dev opens; see `swaplib.sim.perfetto`."""
        from swaplib.sim.perfetto import write_trace

        return write_trace(self, path)


def _ms(nanoseconds: Any) -> Any:
    milliseconds = np.where(np.asarray(nanoseconds) < 0, np.nan, np.asarray(nanoseconds) / 1e6)
    return float(milliseconds) if milliseconds.ndim == 0 else milliseconds


def _known(function: Callable[[Any], Any], values: Any) -> float:
    """Return a function of the values that are known; NaN of none."""
    known = values[~np.isnan(values)]
    return float(function(known)) if len(known) else np.nan
