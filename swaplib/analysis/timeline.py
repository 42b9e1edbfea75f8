"""The picture of a run: what every CPU does over time, who waits for locks, what waits to be freed."""

from __future__ import annotations

import textwrap
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba_array
from matplotlib.figure import Figure

from swaplib.analysis.style import BLUE, GREEN, INK, MUTED, PAPER, SOFT, SOLID, VERMILLION, policy_line
from swaplib.analysis.words import count, distinct_names, finding, setting, span
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
MOST_LANES = 16  # with more CPUs, a lane is a node
STEPS, COLUMNS = 120, 600  # of the line of waiting CPUs; of pixels in a lane


def plot_timeline(*outcomes: Outcome, figure: Figure | None = None) -> Figure:
    """Draw one run, or several above each other on one time axis; the title says what they showed.

    A lane is a CPU (a node, with more than 16 CPUs): what its CPUs did in the time of a column of pixels
    shares the column. The bar beside the lanes is the whole run's CPU time. Below: how many CPUs wait for a
    lock, and how many entries were taken from page tables and are not yet freed.

    Parameters
    ----------
    outcomes
        Runs of the same storm; without one, or with one that was not traced, it raises ValueError.
    figure
        Where to draw, instead of a new figure; it is cleared first and keeps its size.
    """
    if not outcomes:
        raise ValueError("plot_timeline has no outcome to draw; expected what simulate returns")
    end = max(1, *(outcome.end_ns for outcome in outcomes))
    edges = end * np.arange(COLUMNS + 1) // COLUMNS
    names, lines = distinct_names(outcomes), [policy_line(outcome.policy.name) for outcome in outcomes]
    if len(set(lines)) < len(lines):
        lines = [((INK, BLUE, VERMILLION, GREEN)[i % 4], SOLID) for i in range(len(lines))]
    figure, (*lanes, waiting, backlog) = _panels(outcomes, figure)
    for outcome, name, line, ax in zip(outcomes, names, lines, lanes, strict=True):
        time = _cpu_time(outcome, edges)
        ax.set_title(name, color=line[0], fontsize=11, pad=18)
        _draw_lanes(ax, outcome, time, edges)
        _draw_key(ax, time.sum(axis=(1, 2)), _draw_marks(ax, outcome, end))
        spins = time[list(ACTIVITIES).index("waiting for locks")].sum(axis=0).reshape(STEPS, -1).sum(axis=1)
        middles = end * (np.arange(STEPS) + 0.5) / STEPS
        _draw_line(waiting, line, middles, spins * STEPS / end, name, f"{span(outcome.spin_ns)} of CPU time")
        samples, most = outcome.df_samples(), count(outcome.backlog_entries_peak)
        _draw_line(backlog, line, samples.time_ms * 1e6, samples.backlog_entries, name, f"at most {most}")
    waiting.set_title("CPUs that wait for a lock", fontsize=9.5, weight="normal")
    backlog.set_title("swap entries that wait to be freed by another task", fontsize=9.5, weight="normal")
    unit, per_unit = ("s", 1e9) if end >= 1e9 else ("ms", 1e6)
    backlog.set(xlim=(0, end), xlabel=f"time since the first kill / {unit}")
    backlog.xaxis.set_major_formatter(lambda at, _: f"{at / per_unit:g}")
    return figure


def timeline_table(outcome: Outcome, bins: int = 120) -> pd.DataFrame:
    """Return what `plot_timeline` shows of a traced run, in equal bins from the first kill to its end.

    Columns: start_ms, end_ms, activity (a key of `ACTIVITIES`), cpu_ms, and cpu_share (of all CPUs' time).
    Fewer bins than one, or a run that was not traced, is a ValueError.
    """
    if bins < 1:
        raise ValueError(f"bins is {bins}; expected at least 1")
    edges = outcome.end_ns * np.arange(bins + 1) // bins
    frame = pd.DataFrame(_cpu_time(outcome, edges).sum(axis=1).T / 1e6, columns=list(ACTIVITIES))
    frame = frame.assign(start_ms=edges[:-1] / 1e6, end_ms=edges[1:] / 1e6)
    frame = frame.melt(["start_ms", "end_ms"], var_name="activity", value_name="cpu_ms")
    width_ms = (frame.end_ms - frame.start_ms).clip(lower=1e-6)
    return frame.assign(cpu_share=frame.cpu_ms / width_ms / outcome.machine.cpus)


def _cpu_time(outcome: Outcome, edges: np.ndarray) -> np.ndarray:
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
    heights = [min(2.8, max(0.8, 0.27 * outcome.machine.cpus)) for outcome in outcomes] + [0.72, 0.72]
    title = textwrap.fill(finding(outcomes), 84)
    above, space, below = 0.35 + 0.2 * title.count("\n"), 0.5, 0.55
    total = above + 0.75 + sum(heights) + space * (len(heights) - 1) + below
    figure = figure or plt.figure(figsize=(8.6, total))
    figure.clear()
    figure.set_layout_engine("none")
    figure.text(0.01, 1 - 0.08 / total, title, va="top", weight="bold", fontsize=12)
    figure.text(0.01, 1 - above / total, setting(outcomes), va="top", color=SOFT, fontsize=9.5)
    top = 1 - (above + 0.75) / total
    grid: dict[str, Any] = {"left": 0.1, "right": 0.72, "bottom": below / total, "top": top}
    grid |= {"height_ratios": heights, "hspace": space * len(heights) / sum(heights)}
    axes = figure.subplots(len(heights), sharex=True, squeeze=False, gridspec_kw=grid)
    return figure, list(axes[:, 0])


def _draw_lanes(ax: Axes, outcome: Outcome, time: np.ndarray, edges: np.ndarray) -> None:
    cpus, end = outcome.machine.cpus, edges[-1]
    names, lane_of = [str(cpu) for cpu in range(cpus)], np.arange(cpus)
    if cpus > MOST_LANES:
        lane_of = np.array(outcome.machine.node)
        names = [f"node {node}\n{(lane_of == node).sum()} CPUs" for node in range(outcome.machine.nodes)]
    shares = np.stack([time[:, lane_of == lane].mean(axis=1) for lane in range(len(names))], axis=1)
    filled = np.cumsum(shares / np.maximum(1, np.diff(edges)), axis=0)[:-1]  # idle fills the rest
    height = max(10, 160 // len(names))
    level = (np.arange(height)[::-1] + 0.5) / height
    activity = (level[:, None] >= filled[:, :, None, :]).sum(axis=0)
    gap = ((0, 0), (0, max(1, height // 8)), (0, 0))
    pixels = COLOURS[np.pad(activity, gap, constant_values=len(COLOURS) - 1)].reshape(-1, len(edges) - 1, 4)
    ax.imshow(pixels, extent=(0, end, len(names), 0), aspect="auto", interpolation="nearest")
    ax.set_yticks(np.arange(len(names)) + 0.45, names)
    ax.set_ylabel("CPU" if cpus <= MOST_LANES else "")
    if outcome.end_ns < 0.9 * end:
        words = "cut off" if outcome.timed_out else "storm over"
        ax.text(outcome.end_ns + 0.01 * end, len(names) / 2, words, color=SOFT, fontsize=9)


def _draw_marks(ax: Axes, outcome: Outcome, end: int) -> list[Any]:
    """Mark when the foreground was ready, else the last exit; return dotted lines of what was done before."""
    start = outcome.storm.foreground_at_ns if outcome.phase_ends_ns else 0
    *phases, last = outcome.phase_ends_ns or [outcome.last_exit_ns]
    marks = {"app starts": start} | {f"phase {number} done": at for number, at in enumerate(phases, 1)}
    if last >= 0:
        words = f"app ready {span(last - start)}" if outcome.phase_ends_ns else f"all gone {span(last)}"
        ax.axvline(last, color=INK, linewidth=1.6)
        side = "right" if last > end / 2 else "left"
        ax.text(last, -0.02 * ax.get_ylim()[0], words, weight="bold", fontsize=9, ha=side)
    dots: dict[str, Any] = {"color": INK, "linewidth": 0.9, "linestyle": ":"}
    return [ax.axvline(at, label=f"{words} {span(at)}", **dots) for words, at in marks.items() if at > 0]


def _draw_key(ax: Axes, spent: np.ndarray, marks: list[Any]) -> None:
    """Draw the run's CPU time as one bar beside the lanes; name parts above one percent, and the marks."""
    bar = ax.inset_axes((1.018, 0, 0.025, 1), xlim=(-0.4, 0.4), ylim=(0, 1))
    bar.axis("off")
    share = spent / max(1, spent.sum())
    labels = [f"{activity} {span(time)}" for activity, time in zip(ACTIVITIES, spent, strict=True)]
    parts = bar.bar(0, share, bottom=np.cumsum(share) - share, color=COLOURS, label=labels, ec=MUTED, lw=0.6)
    named = [parts[i] for i in np.flatnonzero(share > 0.01)[::-1]]
    bar.legend(handles=[*named, *marks], loc="center left", bbox_to_anchor=(1, 0.5), fontsize=9)


def _draw_line(ax: Axes, line: tuple[str, Any], x: Any, y: Any, name: str, words: str) -> None:
    label = textwrap.shorten(name, 28, placeholder=" …") + "\n" + words
    ax.plot(x, y, color=line[0], linestyle=line[1], linewidth=1.5, label=label)
    ax.fill_between(x, y, color=line[0], alpha=0.18, linewidth=0)
    ax.set_ylim(0, max(1, 1.08 * ax.dataLim.y1))
    ax.locator_params(axis="y", nbins=3, integer=True)
    ax.yaxis.set_major_formatter(lambda n, _: f"{n / 1e6:g} M" if n >= 1e6 else f"{n:,.0f}")
    ax.legend(loc="center left", bbox_to_anchor=(1, 0.5), labelcolor="linecolor", fontsize=9)
