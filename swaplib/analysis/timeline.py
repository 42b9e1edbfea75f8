"""The picture of a run: what every CPU does, who waits for locks, and how much waits to be freed, over time."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence
from typing import Any, NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from swaplib.analysis.cpu_time import ACTIVITIES, binned_time, equal_bins, timeline_table
from swaplib.analysis.headline import count, digits, distinct_names, finding, last_exit_ns, setting, span
from swaplib.analysis.style import ACTIVITY_COLOURS, BLUE, GREEN, INK, MUTED, SOLID, VERMILLION, policy_line
from swaplib.sim.outcome import Outcome

__all__ = ["plot_timeline", "timeline_table"]

Array = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

MOST_LANES = 16  # with more CPUs, a lane is a node
STEPS = 120  # of the lines
COLUMNS = 5  # of pixels in a step, where the run is as long as the time axis
SMALL = 9.0  # points
LEFT, WIDTH = 0.085, 0.648  # of the panels, in figure widths; the rest is for names at the right


def plot_timeline(*outcomes: Outcome, figure: Figure | None = None) -> Figure:
    """Draw one run, or several above each other on one time axis; the title says what came of it.

    A lane is a CPU (a node, with more than 16 CPUs): what its CPUs did in the time of a column of pixels shares the
    column's height. The bar beside the lanes is the whole run's CPU time. Below: how many CPUs wait for a lock, and
    how many entries were taken from page tables and are not yet freed. `timeline_table` has the numbers.

    Parameters
    ----------
    outcomes
        Runs that were traced; best of the same storm.
    figure
        Where to draw, instead of a new figure; it is cleared first and keeps its size.

    Returns
    -------
    Figure

    Raises
    ------
    ValueError
        Without an outcome, or if one was not traced.
    """
    if not outcomes:
        raise ValueError("plot_timeline has no outcome to draw; expected one or more, as simulate returns them")
    end = max(1, *(int(outcome.world.system[0].now) for outcome in outcomes))
    unit, per_unit = ("s", 1e9) if end >= 1e9 else ("ms", 1e6)
    runs = _look(outcomes, end)
    has_backlog = any(run.peak for run in runs)
    title = textwrap.fill(re.sub(r"(\d) ", "\\1\N{NO-BREAK SPACE}", finding(outcomes)), 84)
    figure, lanes, lines = _panels(figure, runs, 1 + has_backlog, title.count("\n") + 1)

    for run, ax in zip(runs, lanes, strict=True):
        _draw_lanes(ax, run, end, per_unit)
        _draw_bar(ax, run.shares, int(run.outcome.world.time.sum()))
        _mark_ends(ax, run, end, per_unit)
        if len(runs) > 1:
            lift = 1 + 0.24 / _inches(ax)[1]
            ax.text(0, lift, run.name, transform=ax.transAxes, color=run.line[0], weight="bold", fontsize=11)
    waits = [(run, run.waiting, f"{span(run.spin_ns)} of CPU time") for run in runs]
    _draw_lines(lines[0], "CPUs that wait for a lock", waits, per_unit)
    if has_backlog:
        size, word = (1e6, "million") if max(run.peak for run in runs) >= 1e6 else (1e3, "thousand")
        left = [(run, run.backlog / size, _memory(run.peak)) for run in runs]
        _draw_lines(lines[1], f"swap entries that wait to be freed by another task / {word}", left, per_unit)
    for ax in (*lanes, *lines):
        ax.set_xlim(0, end / per_unit)
        ax.tick_params(labelbottom=ax is lines[-1], length=3)
    lines[-1].set_xlabel(f"time since the first kill / {unit}")

    height = figure.bbox.height / figure.dpi
    figure.text(0.012, 1 - 0.07 / height, title, va="top", weight="bold", fontsize=12, linespacing=1.15)
    below = 1 - (0.13 + 0.2 * (title.count("\n") + 1)) / height
    figure.text(0.012, below, setting(outcomes), va="top", color=MUTED, fontsize=SMALL + 0.5)
    return figure


class _Run(NamedTuple):
    """One outcome, ready to draw."""

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


def _look(outcomes: Sequence[Outcome], end: int) -> list[_Run]:
    names = distinct_names(outcomes)
    lines = [policy_line(outcome.policy.name) for outcome in outcomes]
    if len(set(lines)) < len(lines):
        lines = [((INK, BLUE, VERMILLION, GREEN)[i % 4], SOLID) for i in range(len(lines))]
    return [_look_at(o, name, line, end) for o, name, line in zip(outcomes, names, lines, strict=True)]


def _look_at(outcome: Outcome, name: str, line: tuple[str, Any], end: int) -> _Run:
    mine = int(outcome.world.system[0].now)
    columns = max(1, round(COLUMNS * mine / end))
    edges = equal_bins(outcome, STEPS * columns)
    time = binned_time(outcome, edges)
    steps = edges[::columns]
    spin = time[list(ACTIVITIES).index("waiting for locks")].sum(axis=0).reshape(STEPS, columns).sum(axis=1)
    samples = outcome.df_samples()
    at = np.searchsorted(samples.time_ms.to_numpy(), (steps[:-1] + steps[1:]) / 2e6, side="right") - 1
    return _Run(
        outcome,
        name,
        line,
        max(1, mine),
        steps,
        time,
        spin / np.maximum(1, np.diff(steps)),
        samples.backlog_entries.to_numpy(dtype=float)[np.maximum(at, 0)],
        int(outcome.world.system[0].backlog_peak),
        int(spin.sum()),
        time.sum(axis=(1, 2)) / max(1, mine * outcome.machine.cpus),
    )


def _panels(
    figure: Figure | None, runs: list[_Run], lines: int, title_lines: int
) -> tuple[Figure, list[Axes], list[Axes]]:
    """Lay the panels out by inches, top down: the title, lanes for each run, one or two panels of lines."""
    heights = []
    for run in runs:
        lanes, cpus = len(_lanes(run.outcome)[0]), run.outcome.machine.cpus
        heights.append(min(2.8, max(0.8, lanes * (0.27 if cpus <= MOST_LANES else 0.8))))
    above = 0.52 if len(runs) > 1 else 0.38
    rows = [(above, height) for height in heights] + [(0.36, 0.72)] * lines
    top = total = 0.22 + 0.2 * title_lines + sum(space + height for space, height in rows) + 0.52
    if figure is None:
        figure = plt.figure(figsize=(8.6, total))
    figure.clear()
    figure.set_layout_engine("constrained")
    figure.set_layout_engine("none")  # savefig restores an engine that was there, and takes the style's for none
    top -= 0.22 + 0.2 * title_lines
    axes = []
    for space, height in rows:
        top -= space + height
        axes.append(figure.add_axes((LEFT, top / total, WIDTH, height / total)))
    return figure, axes[: len(runs)], axes[len(runs) :]


def _lanes(outcome: Outcome) -> tuple[list[str], npt.NDArray[np.int64]]:
    """Return the lanes' names, and the lane of each CPU."""
    machine = outcome.machine
    if machine.cpus <= MOST_LANES:
        return [str(cpu) for cpu in range(machine.cpus)], np.arange(machine.cpus)
    counts = [machine.node.count(node) for node in range(machine.nodes)]
    return [f"node {node}\n{cpus} CPUs" for node, cpus in enumerate(counts)], np.array(machine.node)


def _draw_lanes(ax: Axes, run: _Run, end: int, per_unit: float) -> None:
    names, lane_of = _lanes(run.outcome)
    by_lane = np.stack([run.columns[:, lane_of == lane].sum(axis=1) for lane in range(len(names))], axis=1)
    height = max(10, 160 // len(names))
    pixels = _image(by_lane / np.maximum(1, by_lane.sum(axis=0)), height, gap=max(1, height // 8))
    ax.imshow(pixels, extent=(0, run.end / per_unit, len(names), 0), aspect="auto", interpolation="nearest")
    ax.set_ylim(len(names), 0)
    ax.set_yticks(np.arange(len(names)) + 0.45, names)
    ax.tick_params(axis="y", length=0)
    if run.outcome.machine.cpus <= MOST_LANES:
        ax.set_ylabel("CPU")
    if run.end < 0.9 * end:
        words = "cut off" if run.outcome.timed_out else "storm over"
        ax.text((run.end + 0.01 * end) / per_unit, len(names) / 2, words, color=MUTED, fontsize=SMALL, va="center")


def _image(shares: Floats, height: int, gap: int) -> npt.NDArray[np.uint8]:
    """Return pixels of lanes from shares by activity, lane and column; the first activity is at a lane's bottom."""
    level = (np.arange(height) + 0.5) / height
    reached = np.cumsum(shares, axis=0)[:-1]  # the last activity, idle, fills the rest
    index = (level[:, None] >= reached[:, :, None, :]).sum(axis=0)
    colours = np.array([[round(255 * part) for part in to_rgb(ACTIVITY_COLOURS[name])] for name in ACTIVITIES])
    pixels = np.full((shares.shape[1], height + gap, shares.shape[2], 3), 255, np.uint8)
    pixels[:, :height] = colours[index][:, ::-1]
    return pixels.reshape(-1, shares.shape[2], 3)


def _draw_bar(ax: Axes, shares: Floats, total_ns: int) -> None:
    """Draw the run's CPU time as one bar beside the lanes, each part named with its CPU time."""
    beside: dict[str, Any] = {"transform": ax.transAxes, "clip_on": False}
    names, top = list(ACTIVITIES), np.cumsum(shares)
    for i in np.flatnonzero(shares):
        colour = ACTIVITY_COLOURS[names[i]]
        ax.add_patch(Rectangle((1.018, top[i] - shares[i]), 0.025, shares[i], color=colour, linewidth=0, **beside))
    ax.add_patch(Rectangle((1.018, 0), 0.025, 1, fill=False, edgecolor=MUTED, linewidth=0.6, **beside))
    shown = np.flatnonzero(shares >= 0.01)
    places = _spread([top[i] - shares[i] / 2 for i in shown], 0.16 / _inches(ax)[1])
    for i, y in zip(shown, places, strict=True):
        ax.plot([1.043, 1.055], [top[i] - shares[i] / 2, y], color=MUTED, linewidth=0.6, **beside)
        weight = "bold" if names[i] == "waiting for locks" else "normal"
        words = f"{names[i]} {span(shares[i] * total_ns)}"
        ax.text(1.06, y, words, transform=ax.transAxes, va="center", fontsize=SMALL, weight=weight)


def _spread(places: list[float], apart: float) -> list[float]:
    """Move ascending places to be `apart` from each other: upward first, then down from 1."""
    moved: list[float] = []
    for place in places:
        moved.append(max(place, moved[-1] + apart if moved else place))
    limit = 1.0
    for i in reversed(range(len(moved))):
        moved[i] = min(moved[i], limit)
        limit = moved[i] - apart
    return moved


def _mark_ends(ax: Axes, run: _Run, end: int, per_unit: float) -> None:
    """Mark when the foreground's phases were done, or the last exit where there is none; labels do not meet."""
    marks = _ends(run.outcome)
    width, height = _inches(ax)
    taken: list[tuple[float, float]] = []
    for at, text in reversed(marks):
        is_last = at == marks[-1][0]
        weight = "bold" if is_last else "normal"
        ax.axvline(at / per_unit, color=INK, linewidth=1.6 if is_last else 0.9, linestyle="-" if is_last else ":")
        x, length = at / end * width, 0.068 * len(text) + 0.05
        for left, align in ((x, "left"), (x - length, "right")):
            right = left + length
            if left >= 0 and right <= width + 0.33 and all(left >= b or right <= a for a, b in taken):
                taken.append((left, right))
                place = (x / width, 1 + 0.05 / height)
                ax.text(*place, text, transform=ax.transAxes, ha=align, fontsize=SMALL, weight=weight)
                break


def _ends(outcome: Outcome) -> list[tuple[int, str]]:
    """Return nanoseconds and name of what the storm was about, in order of time."""
    phases = [int(at) for at in outcome.world.phases[:, 3]]
    if phases:
        start = outcome.storm.foreground_at_ns
        marks = [(start, "app starts")] if start else []
        marks += [(at, f"phase {i} done") for i, at in enumerate(phases, 1) if at >= 0]
        if phases[-1] >= 0:
            marks[-1] = (phases[-1], f"app ready {'in ' if start else ''}{span(phases[-1] - start)}")
        return marks
    gone = last_exit_ns(outcome)
    return [(gone, f"all gone {span(gone)}")] if gone >= 0 else []


def _draw_lines(ax: Axes, title: str, lines: list[tuple[_Run, Floats, str]], per_unit: float) -> None:
    """Draw a line a run, named at the right, the greatest first."""
    for run, values, _ in lines:
        colour, dashes = run.line
        ax.stairs(values, run.edges / per_unit, fill=True, color=colour, alpha=0.18, linewidth=0)
        ax.stairs(values, run.edges / per_unit, color=colour, linestyle=dashes, linewidth=1.5, baseline=None)
    ax.set_ylim(0, max(1.0, 1.08 * max(values.max() for _, values, _ in lines)))
    ax.locator_params(axis="y", nbins=3)
    height = _inches(ax)[1]
    ax.text(0, 1 + 0.06 / height, title, transform=ax.transAxes, fontsize=SMALL + 0.5)
    ordered = sorted(lines, key=lambda line: line[1].sum())
    for i, (run, _, text) in enumerate(ordered):
        y = 0.5 + (i - (len(ordered) - 1) / 2) * 0.34 / height
        words = f"{run.name}\n{text}" if len(lines) > 1 else text
        colour, dashes = run.line
        ax.plot([1.012, 1.04], [y, y], transform=ax.transAxes, clip_on=False, color=colour, linestyle=dashes)
        ax.text(1.05, y, words, transform=ax.transAxes, va="center", fontsize=SMALL, color=colour, linespacing=1.0)


def _memory(entries: int) -> str:
    """Say what the most entries that waited are in memory of 4 KiB each."""
    if not entries:
        return "none"
    size = f"{digits(entries / 256)} MiB" if entries < 1 << 18 else f"{digits(entries / (1 << 18))} GiB"
    return f"at most {size}" if entries >= 1000 else f"at most {count(entries)} entries"


def _inches(ax: Axes) -> tuple[float, float]:
    box = ax.get_window_extent()
    return box.width / ax.figure.dpi, box.height / ax.figure.dpi
