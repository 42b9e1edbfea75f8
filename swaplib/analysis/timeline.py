"""The picture of a run: what every CPU does over time, who waits for locks, what waits to be freed."""

from __future__ import annotations

import textwrap
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba_array
from matplotlib.figure import Figure

from swaplib.analysis.style import BLUE, GREEN, INK, MUTED, PAPER, SOFT, SOLID, VERMILLION, policy_line
from swaplib.analysis.words import count, distinct_names, finding, span
from swaplib.sim.outcome import Outcome
from swaplib.sim.state import CATEGORIES

# What a CPU does, from a lane's bottom to its top: a colour, and categories of CPU time (`Outcome.df_cpu`).
ACTIVITIES = {
    "app starts": ("#0a3161", ["foreground"]),
    "kworker frees": ("#159070", ["drain"]),
    "reaper frees": ("#b35f9b", ["reap"]),
    "exits free": ("#e3a11b", ["walk", "release", "gather"]),
    "waiting for locks": ("#b53010", ["spin"]),
    "app reclaims": ("#4fa8e0", ["reclaim"]),
    "other": ("#9b9b9b", ["switch", "other"]),
    "background": ("#dedede", ["background"]),
    "idle": (PAPER, ["idle"]),
}
COLOURS = to_rgba_array([colour for colour, _ in ACTIVITIES.values()])
COLUMNS, STEPS = 600, 120  # of pixels in a lane; of the line of waiting CPUs
BESIDE: dict[str, Any] = {"loc": "center left", "bbox_to_anchor": (1, 0.5), "fontsize": 9}  # of legends


def plot_timeline(*outcomes: Outcome, figure: Figure | None = None) -> Figure:
    """Draw runs of the same storm above each other on one time axis; the title says what they showed.

    A lane is a CPU: what it did in the time of a column of pixels shares the column. The bar beside the lanes
    is the whole run's CPU time. Below: how many CPUs wait for a lock, and how many entries were taken from
    page tables and are not yet freed. Without a run, or with one that was not traced, it raises ValueError.
    `figure`, instead of a new one, is cleared first and keeps its size.
    """
    if not outcomes:
        raise ValueError("plot_timeline has no outcome to draw; expected what simulate returns")
    end = max(1, *(outcome.end_ns for outcome in outcomes))
    names, lines = distinct_names(outcomes), [policy_line(outcome.policy.name) for outcome in outcomes]
    if len(set(lines)) < len(lines):
        lines = [((INK, BLUE, VERMILLION, GREEN)[i % 4], SOLID) for i in range(len(lines))]
    figure, (*lanes, waiting, backlog) = _panels(outcomes, figure)
    for outcome, name, line, ax in zip(outcomes, names, lines, lanes, strict=True):
        ax.set_title(name, color=line[0], fontsize=11, pad=18)
        spins = _draw_lanes(ax, outcome, end).reshape(STEPS, -1).sum(axis=1)
        samples, summary = outcome.df_samples(), outcome.summary()
        spent, most = span(summary.spin_ms * 1e6), count(summary.backlog_entries_peak)
        middles = end * (np.arange(STEPS) + 0.5) / STEPS
        _draw_line(waiting, line, middles, spins * STEPS / end, f"{name}\n{spent} of CPU time")
        _draw_line(backlog, line, samples.time_ms * 1e6, samples.backlog_entries, f"{name}\nat most {most}")
    waiting.set_title("CPUs that wait for a lock", fontsize=9.5, weight="normal")
    backlog.set_title("swap entries that wait to be freed by another task", fontsize=9.5, weight="normal")
    unit, per_unit = ("s", 1e9) if end >= 1e9 else ("ms", 1e6)
    backlog.set(xlim=(0, end), xlabel=f"time since the first kill / {unit}")
    backlog.xaxis.set_major_formatter(lambda at, _: f"{at / per_unit:g}")
    return figure


def cpu_time(outcome: Outcome, edges: np.ndarray) -> np.ndarray:
    """Return nanoseconds by activity, CPU and bin: exact, as a trace covers every CPU from 0 to the end."""
    if not outcome.is_traced:
        raise ValueError(f"policy '{outcome.policy.name}' was not traced; simulate it with trace=True")
    time = np.zeros((len(ACTIVITIES), outcome.machine.cpus, len(edges) - 1))
    for cpu in range(outcome.machine.cpus):
        _, start, end, category, _ = outcome.trace[outcome.trace[:, 0] == cpu].T
        for activity, (_, categories) in enumerate(ACTIVITIES.values()):
            belongs = np.isin(category, [CATEGORIES.index(name) for name in categories])
            spent = np.append(0, np.cumsum(np.where(belongs, end - start, 0)))
            time[activity, cpu] = np.diff(np.interp(edges, np.append(0, end), spent))
    return time


def _panels(outcomes: tuple[Outcome, ...], figure: Figure | None) -> tuple[Figure, list[Axes]]:
    """Lay out, by inches, the title, lanes for each run and two panels of lines, all on one time axis."""
    entries = outcomes[0].df_processes().swap_entries
    places = {f"{outcome.machine.name}, kernel {outcome.kernel.name}": None for outcome in outcomes}
    dying = f"simulated: {len(entries)} processes with {count(entries.sum())} swap entries exit"
    heights = [min(2.8, max(0.8, 0.27 * outcome.machine.cpus)) for outcome in outcomes] + [0.72, 0.72]
    title = textwrap.fill(finding(outcomes), 84)
    above, space, below = 1.1 + 0.2 * title.count("\n"), 0.5, 0.55
    total = above + sum(heights) + space * (len(heights) - 1) + below
    figure = figure or plt.figure(figsize=(8.6, total))
    figure.clear()
    figure.set_layout_engine("none")
    figure.text(0.01, 1 - 0.08 / total, title, va="top", weight="bold", fontsize=12)
    line = "; ".join([dying, *places])
    figure.text(0.01, 1 - (above - 0.75) / total, line, va="top", color=SOFT, fontsize=9.5)
    grid: dict[str, Any] = {"left": 0.12, "right": 0.72, "bottom": below / total, "top": 1 - above / total}
    grid |= {"height_ratios": heights, "hspace": space * len(heights) / sum(heights)}
    return figure, list(figure.subplots(len(heights), sharex=True, gridspec_kw=grid))


def _draw_lanes(ax: Axes, outcome: Outcome, end: int) -> np.ndarray:
    """Draw what the CPUs did, their time in one bar, and when the app was ready; return who spins when."""
    cpus, edges = outcome.machine.cpus, end * np.arange(COLUMNS + 1) // COLUMNS
    time, height = cpu_time(outcome, edges), max(2, 160 // cpus)
    filled = np.cumsum(time / np.maximum(1, np.diff(edges)), axis=0)[:-1]  # idle fills the rest
    level = (np.arange(height)[::-1] + 0.5) / height
    activity = (level[:, None] >= filled[:, :, None, :]).sum(axis=0)
    gap = ((0, 0), (0, height // 8), (0, 0))
    pixels = COLOURS[np.pad(activity, gap, constant_values=len(COLOURS) - 1)].reshape(-1, COLUMNS, 4)
    ax.imshow(pixels, extent=(0, end, cpus, 0), aspect="auto", interpolation="nearest")
    labelled = np.arange(0, cpus, -(-cpus // 8))
    speeds = [f"{cpu}, {100 * outcome.machine.capacity[cpu] // 1024} %" for cpu in labelled]
    alike = len(set(outcome.machine.capacity)) == 1
    ax.set_yticks(labelled + 0.45, labelled if alike else speeds)
    ax.set_ylabel("CPU" if alike else "CPU, its speed")
    words, start, done = "all gone", 0, outcome.df_processes().exited_ms.max(skipna=False) * 1e6
    if outcome.phase_ends_ns:
        words, start, done = "app ready", outcome.storm.foreground_at_ns, outcome.phase_ends_ns[-1]
    if done >= 0:
        ax.axvline(done, color=INK, linewidth=1.6, clip_on=False)
        side = "right" if done > end / 2 else "left"
        ax.text(done, -0.02 * cpus, f"{words} {span(done - start)}", weight="bold", fontsize=9, ha=side)
    bar = ax.inset_axes((1.018, 0, 0.025, 1), xlim=(-0.4, 0.4), ylim=(0, 1))
    bar.axis("off")
    spent = time.sum(axis=(1, 2))
    share = spent / max(1, spent.sum())
    labels = [f"{activity} {span(ns)}" for activity, ns in zip(ACTIVITIES, spent, strict=True)]
    parts = bar.bar(0, share, bottom=np.cumsum(share) - share, color=COLOURS, label=labels, ec=MUTED, lw=0.6)
    bar.legend(handles=[parts[i] for i in np.flatnonzero(share > 0.01)[::-1]], title="all CPUs", **BESIDE)
    return time[list(ACTIVITIES).index("waiting for locks")].sum(axis=0)


def _draw_line(ax: Axes, line: tuple[str, Any], x: Any, y: Any, label: str) -> None:
    ax.plot(x, y, color=line[0], linestyle=line[1], linewidth=1.5, label=label)
    ax.fill_between(x, y, color=line[0], alpha=0.18, linewidth=0)
    ax.set_ylim(0, max(1, 1.08 * ax.dataLim.y1))
    ax.locator_params(axis="y", nbins=3, integer=True)
    ax.yaxis.set_major_formatter(lambda n, _: f"{n / 1e6:g} M" if n >= 1e6 else f"{n:,.0f}")
    ax.legend(labelcolor="linecolor", **BESIDE)
