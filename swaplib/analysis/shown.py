"""What a timeline shows of a run, whoever draws it: lanes, lines, marks and words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from matplotlib.colors import to_rgb

from swaplib.analysis.cpu_time import ACTIVITIES, binned_time, equal_bins
from swaplib.analysis.headline import count, digits, distinct_names, span
from swaplib.analysis.style import ACTIVITY_COLOURS, BLUE, GREEN, INK, SOLID, VERMILLION, policy_line
from swaplib.sim.outcome import Outcome

Array = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

MOST_LANES = 16  # with more CPUs, a lane is a node
STEPS = 120  # of the lines
COLUMNS = 5  # of pixels in a step, where the run is as long as the time axis


class Shown(NamedTuple):
    """What is shown of one outcome."""

    outcome: Outcome
    name: str
    line: tuple[str, Any]
    end: int  # nanoseconds
    edges: Array  # of the steps, nanoseconds
    columns: Array  # nanoseconds by activity, CPU and column of pixels
    waiting: Floats  # CPUs, by step
    backlog: Floats  # entries, by step
    peak: int  # entries
    spin_ns: int
    shares: Floats  # of the run's CPU time, by activity


def shown(outcomes: Sequence[Outcome], end: int) -> list[Shown]:
    """Return what is shown of traced outcomes on an axis that ends at `end` nanoseconds."""
    names = distinct_names(outcomes)
    lines = [policy_line(outcome.policy.name) for outcome in outcomes]
    if len(set(lines)) < len(lines):
        lines = [((INK, BLUE, VERMILLION, GREEN)[i % 4], SOLID) for i in range(len(lines))]
    return [_shown(o, name, line, end) for o, name, line in zip(outcomes, names, lines, strict=True)]


def _shown(outcome: Outcome, name: str, line: tuple[str, Any], end: int) -> Shown:
    mine = outcome.end_ns
    columns = max(1, round(COLUMNS * mine / end))
    edges = equal_bins(outcome, STEPS * columns)
    time = binned_time(outcome, edges)
    steps = edges[::columns]
    spin = time[list(ACTIVITIES).index("waiting for locks")].sum(axis=0).reshape(STEPS, columns).sum(axis=1)
    samples = outcome.df_samples()
    at = np.searchsorted(samples.time_ms.to_numpy(), (steps[:-1] + steps[1:]) / 2e6, side="right") - 1
    return Shown(
        outcome,
        name,
        line,
        max(1, mine),
        steps,
        time,
        spin / np.maximum(1, np.diff(steps)),
        samples.backlog_entries.to_numpy(dtype=float)[np.maximum(at, 0)],
        outcome.backlog_entries_peak,
        int(spin.sum()),
        time.sum(axis=(1, 2)) / max(1, mine * outcome.machine.cpus),
    )


def lanes_of(outcome: Outcome) -> tuple[list[str], npt.NDArray[np.int64]]:
    """Return the lanes' names, and the lane of each CPU."""
    machine = outcome.machine
    if machine.cpus <= MOST_LANES:
        return [str(cpu) for cpu in range(machine.cpus)], np.arange(machine.cpus)
    counts = [machine.node.count(node) for node in range(machine.nodes)]
    return [f"node {node}\n{cpus} CPUs" for node, cpus in enumerate(counts)], np.array(machine.node)


def lane_pixels(shares: Floats, height: int, gap: int) -> npt.NDArray[np.uint8]:
    """Return pixels of lanes from shares by activity, lane and column; the first activity is at a lane's bottom."""
    level = (np.arange(height) + 0.5) / height
    reached = np.cumsum(shares, axis=0)[:-1]  # the last activity, idle, fills the rest
    index = (level[:, None] >= reached[:, :, None, :]).sum(axis=0)
    colours = np.array(
        [[round(255 * part) for part in to_rgb(ACTIVITY_COLOURS[name])] for name in ACTIVITIES]
    )
    pixels = np.full((shares.shape[1], height + gap, shares.shape[2], 3), 255, np.uint8)
    pixels[:, :height] = colours[index][:, ::-1]
    return pixels.reshape(-1, shares.shape[2], 3)


def marks_of(outcome: Outcome) -> list[tuple[int, str]]:
    """Return nanoseconds and name of what the storm was about, in order of time."""
    phases = outcome.phase_ends_ns
    if phases:
        start = outcome.storm.foreground_at_ns
        marks = [(start, "app starts")] if start else []
        marks += [(at, f"phase {i} done") for i, at in enumerate(phases, 1) if at >= 0]
        if phases[-1] >= 0:
            marks[-1] = (phases[-1], f"app ready {'in ' if start else ''}{span(phases[-1] - start)}")
        return marks
    gone = outcome.last_exit_ns
    return [(gone, f"all gone {span(gone)}")] if gone >= 0 else []


def memory(entries: int) -> str:
    """Say what the most entries that waited are in memory of 4 KiB each."""
    if not entries:
        return "none"
    size = f"{digits(entries / 256)} MiB" if entries < 1 << 18 else f"{digits(entries / (1 << 18))} GiB"
    return f"at most {size}" if entries >= 1000 else f"at most {count(entries)} entries"


def spread_out(places: list[float], apart: float) -> list[float]:
    """Move ascending places to be `apart` from each other: upward first, then down from 1."""
    moved: list[float] = []
    for place in places:
        moved.append(max(place, moved[-1] + apart if moved else place))
    limit = 1.0
    for i in reversed(range(len(moved))):
        moved[i] = min(moved[i], limit)
        limit = moved[i] - apart
    return moved
