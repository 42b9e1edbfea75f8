"""The picture of a run: what every CPU does, who waits for locks, and how much waits to be freed, over time."""

from __future__ import annotations

import re
import textwrap
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from swaplib.analysis.cpu_time import ACTIVITIES, timeline_table
from swaplib.analysis.headline import finding, setting, span
from swaplib.analysis.shown import (
    MOST_LANES,
    Floats,
    Shown,
    lane_pixels,
    lanes_of,
    marks_of,
    memory,
    shown,
    spread_out,
)
from swaplib.analysis.style import ACTIVITY_COLOURS, INK, MUTED, SOFT
from swaplib.sim.outcome import Outcome

__all__ = ["plot_timeline", "timeline_table"]

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
        raise ValueError(
            "plot_timeline has no outcome to draw; expected one or more, as simulate returns them"
        )
    end = max(1, *(outcome.end_ns for outcome in outcomes))
    unit, per_unit = ("s", 1e9) if end >= 1e9 else ("ms", 1e6)
    runs = shown(outcomes, end)
    has_backlog = any(run.peak for run in runs)
    title = textwrap.fill(re.sub(r"(\d) ", "\\1\N{NO-BREAK SPACE}", finding(outcomes)), 84)
    figure, lanes, lines = _panels(figure, runs, 1 + has_backlog, title.count("\n") + 1)

    for run, ax in zip(runs, lanes, strict=True):
        _draw_lanes(ax, run, end, per_unit)
        _draw_bar(ax, run.shares, run.outcome.cpu_ns)
        _mark_ends(ax, run, end, per_unit)
        if len(runs) > 1:
            _name(ax, run)
    waits = [(run, run.waiting, f"{span(run.spin_ns)} of CPU time") for run in runs]
    _draw_lines(lines[0], "CPUs that wait for a lock", waits, per_unit)
    if has_backlog:
        size, word = (1e6, "million") if max(run.peak for run in runs) >= 1e6 else (1e3, "thousand")
        left = [(run, run.backlog / size, memory(run.peak)) for run in runs]
        _draw_lines(lines[1], f"swap entries that wait to be freed by another task / {word}", left, per_unit)
    for ax in (*lanes, *lines):
        ax.set_xlim(0, end / per_unit)
        ax.tick_params(labelbottom=ax is lines[-1], length=3)
    lines[-1].set_xlabel(f"time since the first kill / {unit}")

    height = figure.bbox.height / figure.dpi
    figure.text(0.012, 1 - 0.07 / height, title, va="top", weight="bold", fontsize=12, linespacing=1.15)
    below = 1 - (0.13 + 0.2 * (title.count("\n") + 1)) / height
    figure.text(0.012, below, setting(outcomes), va="top", color=SOFT, fontsize=SMALL + 0.5)
    return figure


def _panels(
    figure: Figure | None, runs: list[Shown], lines: int, title_lines: int
) -> tuple[Figure, list[Axes], list[Axes]]:
    """Lay the panels out by inches, top down: the title, lanes for each run, one or two panels of lines."""
    heights = []
    for run in runs:
        lanes, cpus = len(lanes_of(run.outcome)[0]), run.outcome.machine.cpus
        heights.append(min(2.8, max(0.8, lanes * (0.27 if cpus <= MOST_LANES else 0.8))))
    above = 0.52 if len(runs) > 1 else 0.38
    rows = [(above, height) for height in heights] + [(0.36, 0.72)] * lines
    top = total = 0.22 + 0.2 * title_lines + sum(space + height for space, height in rows) + 0.52
    if figure is None:
        figure = plt.figure(figsize=(8.6, total))
    figure.clear()
    figure.set_layout_engine("constrained")
    figure.set_layout_engine(
        "none"
    )  # savefig restores an engine that was there, and takes the style's for none
    top -= 0.22 + 0.2 * title_lines
    axes = []
    for space, height in rows:
        top -= space + height
        axes.append(figure.add_axes((LEFT, top / total, WIDTH, height / total)))
    return figure, axes[: len(runs)], axes[len(runs) :]


def _name(ax: Axes, run: Shown) -> None:
    """Name a run above its lanes, and say what its policy does."""
    lift = 1 + 0.24 / _inches(ax)[1]
    name = ax.text(0, lift, run.name, transform=ax.transAxes, color=run.line[0], weight="bold", fontsize=11)
    if run.name == run.outcome.policy.name:
        beside: dict[str, Any] = {
            "xycoords": name,
            "xytext": (7, 0),
            "textcoords": "offset points",
            "va": "center",
        }
        ax.annotate(run.outcome.policy.what, (1, 0.45), color=SOFT, fontsize=SMALL, **beside)


def _draw_lanes(ax: Axes, run: Shown, end: int, per_unit: float) -> None:
    names, lane_of = lanes_of(run.outcome)
    by_lane = np.stack([run.columns[:, lane_of == lane].sum(axis=1) for lane in range(len(names))], axis=1)
    height = max(10, 160 // len(names))
    pixels = lane_pixels(by_lane / np.maximum(1, by_lane.sum(axis=0)), height, gap=max(1, height // 8))
    ax.imshow(pixels, extent=(0, run.end / per_unit, len(names), 0), aspect="auto", interpolation="nearest")
    ax.set_ylim(len(names), 0)
    ax.set_yticks(np.arange(len(names)) + 0.45, names)
    ax.tick_params(axis="y", length=0)
    if run.outcome.machine.cpus <= MOST_LANES:
        ax.set_ylabel("CPU")
    if run.end < 0.9 * end:
        words = "cut off" if run.outcome.timed_out else "storm over"
        ax.text(
            (run.end + 0.01 * end) / per_unit, len(names) / 2, words, color=SOFT, fontsize=SMALL, va="center"
        )


def _draw_bar(ax: Axes, shares: Floats, total_ns: int) -> None:
    """Draw the run's CPU time as one bar beside the lanes, each part named with its CPU time."""
    beside: dict[str, Any] = {"transform": ax.transAxes, "clip_on": False}
    names, top = list(ACTIVITIES), np.cumsum(shares)
    for i in np.flatnonzero(shares):
        colour = ACTIVITY_COLOURS[names[i]]
        ax.add_patch(
            Rectangle((1.018, top[i] - shares[i]), 0.025, shares[i], color=colour, linewidth=0, **beside)
        )
    ax.add_patch(Rectangle((1.018, 0), 0.025, 1, fill=False, edgecolor=MUTED, linewidth=0.6, **beside))
    visible = np.flatnonzero(shares >= 0.01)
    places = spread_out([top[i] - shares[i] / 2 for i in visible], 0.16 / _inches(ax)[1])
    for i, y in zip(visible, places, strict=True):
        ax.plot([1.043, 1.055], [top[i] - shares[i] / 2, y], color=MUTED, linewidth=0.6, **beside)
        weight = "bold" if names[i] == "waiting for locks" else "normal"
        words = f"{names[i]} {span(shares[i] * total_ns)}"
        ax.text(1.06, y, words, transform=ax.transAxes, va="center", fontsize=SMALL, weight=weight)


def _mark_ends(ax: Axes, run: Shown, end: int, per_unit: float) -> None:
    """Mark when the foreground's phases were done, or the last exit where there is none; labels do not meet."""
    marks = marks_of(run.outcome)
    width, height = _inches(ax)
    taken: list[tuple[float, float]] = []
    for at, text in reversed(marks):
        is_last = at == marks[-1][0]
        weight = "bold" if is_last else "normal"
        ax.axvline(
            at / per_unit, color=INK, linewidth=1.6 if is_last else 0.9, linestyle="-" if is_last else ":"
        )
        x, length = at / end * width, 0.068 * len(text) + 0.05
        for left, align in ((x, "left"), (x - length, "right")):
            right = left + length
            if left >= 0 and right <= width + 0.33 and all(left >= b or right <= a for a, b in taken):
                taken.append((left, right))
                place = (x / width, 1 + 0.05 / height)
                ax.text(*place, text, transform=ax.transAxes, ha=align, fontsize=SMALL, weight=weight)
                break


def _draw_lines(ax: Axes, title: str, lines: list[tuple[Shown, Floats, str]], per_unit: float) -> None:
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
        ax.text(
            1.05, y, words, transform=ax.transAxes, va="center", fontsize=SMALL, color=colour, linespacing=1.0
        )


def _inches(ax: Axes) -> tuple[float, float]:
    box = ax.get_window_extent()
    return box.width / ax.figure.dpi, box.height / ax.figure.dpi
