"""Pictures of a comparison: every value and the difference with its interval, the order of runs, the power."""

from __future__ import annotations

import math

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from swaplib.analysis import power as pw
from swaplib.analysis import significance as sig
from swaplib.analysis.comparison import Comparison, Result
from swaplib.analysis.mail import change, plain, signed
from swaplib.analysis.style import AFTER, BEFORE, INK, MUTED

_HEIGHT = 0.62  # of the swarm, in arms


def plot_estimation(comparison: Comparison, result: Result) -> Figure:
    """Draw every value of both arms, and beside them the difference with its interval before what chance alone gives.

    The axis of the difference is that of the values, shifted so that 0 is at the base's mean (an estimation plot,
    M. J. Gardner and D. G. Altman 1986). In grey: the permutation distribution; where it is not exact, that of the
    shown values by random splits. Pairs are joined by lines; simulated arms have no distribution.
    """
    b, a = np.array(result.values_base), np.array(result.values_arm)
    figure, (left, right) = plt.subplots(1, 2, sharey=True, width_ratios=(1.25, 1))
    spots = [np.zeros(len(b)), np.ones(len(a))]
    if comparison.paired:
        left.plot(
            np.stack(spots),
            np.stack([b, a]),
            color=MUTED,
            linewidth=0.7,
            alpha=max(0.05, min(0.6, 12 / len(b))),
        )
    else:
        spots = [x + _swarm(y, b, a) for x, y in zip(spots, (b, a), strict=True)]
    size = 34 if len(b) + len(a) <= 60 else 6
    for x, y, colour, marker in zip(spots, (b, a), (BEFORE, AFTER), ("o", "D"), strict=True):
        left.scatter(x, y, s=size, color=colour, marker=marker, edgecolor="white", linewidth=0.5, zorder=3)
    for at, mean in ((0, result.mean_base), (1, result.mean_arm)):
        left.plot([at - 0.38, at + 0.38], [mean, mean], color=INK, linewidth=1.6, zorder=4)
    names = [
        f"{_short(name)}\nn = {n}" for name, n in ((result.base, result.n_base), (result.arm, result.n_arm))
    ]
    left.set_xticks([0, 1], names)
    left.set_xlim(-0.55, 1.55)
    left.set_ylabel(_axis(result))
    for level in (result.mean_base, result.mean_arm):
        right.axhline(level, color=MUTED, linewidth=0.7, linestyle=":", zorder=0)
    if not comparison.simulated and min(len(a), len(b)) > 1:
        _draw_chance(right, b, a, result, comparison.paired)
    low, high = result.difference_low, result.difference_high
    if low is not None and high is not None:
        right.plot([0.5, 0.5], [result.mean_base + low, result.mean_base + high], color=INK, linewidth=2.2)
    right.plot([0.5], [result.mean_arm], marker="D", color=AFTER, markersize=8, markeredgecolor=INK)
    told = "" if low is None or high is None else f"\n[{signed(low)}, {signed(high)}]"
    right.annotate(
        f"{signed(result.difference)}{told}",
        (0.5, result.mean_arm),
        xytext=(10, 0),
        textcoords="offset points",
        va="center",
    )
    right.set_xlim(-0.05, 1.25)
    right.set_xticks([])
    right.spines.left.set_visible(False)
    right.tick_params(axis="y", length=0)
    beside = right.secondary_yaxis(
        "right", functions=(lambda y: y - result.mean_base, lambda d: d + result.mean_base)
    )
    beside.set_ylabel(f"difference of means{_in_unit(result)}")
    beside.spines.right.set_visible(True)
    figure.suptitle(
        f"{_short(result.metric, 40)}: {change(comparison, result)}", x=0.01, ha="left", weight="bold"
    )
    return figure


def plot_order(comparison: Comparison, result: Result) -> Figure:
    """Draw the values of each arm in order of its rows: a drift shows as a slope; the lines are least squares."""
    figure, axes = plt.subplots(1, 2, sharey=True)
    arms = ((result.base, result.values_base, BEFORE, "o"), (result.arm, result.values_arm, AFTER, "D"))
    slopes = []
    for ax, (name, values, colour, marker) in zip(axes, arms, strict=True):
        x = np.arange(1, len(values) + 1)
        ax.plot(x, values, color=colour, marker=marker, markersize=6 if len(x) <= 60 else 2, linewidth=0.8)
        ax.set_title(_short(name), weight="normal")
        ax.set_xlabel("run, in order of rows")
        ax.xaxis.get_major_locator().set_params(integer=True)
        if len(values) > 2:
            slope, start = np.polyfit(x, values, 1)
            ax.plot(x[[0, -1]], start + slope * x[[0, -1]], color=INK, linestyle="--", linewidth=1.2)
            slopes.append(f"{signed(slope)} in {_short(name, 14)}")
    axes[0].set_ylabel(_axis(result))
    told = f": drift{_in_unit(result)} a run {', '.join(slopes)}" if slopes else ": too few runs to see drift"
    figure.suptitle(_short(result.metric, 30) + told, x=0.01, ha="left", weight="bold")
    return figure


def plot_power(comparison: Comparison, result: Result) -> Figure:
    """Draw the chance that a Welch test sees a true difference: with these runs, two and four times as many.

    Spread as observed; values normal. A line marks the observed difference.
    """
    if comparison.simulated or result.sd_base is None or result.sd_arm is None:
        raise ValueError("power is that of measured arms with at least two runs each; this result has none")
    if comparison.paired:
        raise ValueError("the power curve is that of unpaired arms; see `detectable` of the paired result")
    sd_b, sd_a = result.sd_base, result.sd_arm
    most = 1.25 * max(abs(result.difference), _or_zero(result.detectable)) or 1.0
    differences = np.linspace(0, most, 80)
    figure, ax = plt.subplots()
    for times, dashes, level, side in ((1, "-", 0.3, 6), (2, "--", 0.45, 6), (4, ":", 0.6, -6)):
        n = times * result.n_base, times * result.n_arm
        chances = [pw.power(d, sd_b, sd_a, *n, alpha=comparison.alpha) for d in differences]
        ax.plot(differences, chances, color=AFTER, linestyle=dashes)
        at = int(np.argmin(np.abs(np.array(chances) - level)))
        align = "left" if side > 0 else "right"
        spot = differences[at], chances[at]
        ax.annotate(
            f"n = {n[0]}+{n[1]}", spot, xytext=(side, -3), textcoords="offset points", ha=align, fontsize=9
        )
    ax.axhline(pw.POWER, color=MUTED, linewidth=0.8)
    ax.axvline(abs(result.difference), color=INK, linewidth=1)
    ax.annotate("observed", (abs(result.difference), 0.03), xytext=(5, 0), textcoords="offset points")
    ax.set_ylim(0, 1.02)
    ax.set_xlim(0, most)
    ax.set_xlabel(f"true difference of means{_in_unit(result)}")
    ax.set_ylabel(f"chance that p is at most {comparison.alpha:g}")
    ax.set_title(
        f"{_short(result.metric, 30)}: {result.n_base}+{result.n_arm} runs see "
        f"{_or_zero(result.detectable):.3g} {plain(result.unit)} four times in five"
    )
    return figure


def _draw_chance(ax: Axes, b: sig.Floats, a: sig.Floats, result: Result, paired: bool) -> None:
    null = sig.permutation_distribution(b, a, paired=paired)[0]
    counts, edges = np.histogram(null, bins=31)
    ax.stairs(
        0.42 * counts / counts.max(),
        result.mean_base + edges,
        orientation="horizontal",
        fill=True,
        color=MUTED,
        alpha=0.45,
        zorder=0,
    )
    ax.annotate(
        "chance alone",
        (0.02, result.mean_base + edges[-1]),
        (0, 4),
        textcoords="offset points",
        fontsize=9,
        color=INK,
        va="bottom",
    )


def _swarm(values: sig.Floats, *both: sig.Floats) -> sig.Floats:
    """Return how far each value is moved aside: like values lie next to each other, in order of rows."""
    everything = np.concatenate(both)
    height = float(np.ptp(everything)) / 18 or 1.0
    level = np.floor((values - everything.min()) / height)
    aside = np.zeros(len(values))
    for one in np.unique(level):
        own = np.flatnonzero(level == one)
        step = min(0.12, _HEIGHT / len(own))
        aside[own] = (np.arange(len(own)) - (len(own) - 1) / 2) * step
    return aside


def _axis(result: Result) -> str:
    return f"{_short(result.metric, 40)}{_in_unit(result)}, {result.better} is better"


def _in_unit(result: Result) -> str:
    return f" / {plain(result.unit)}" if result.unit else ""


def _short(name: str, most: int = 22) -> str:
    """Return a name that fits, and that matplotlib does not take for a formula."""
    text = plain(name)
    return (text if len(text) <= most else text[: most - 1] + "…").replace("$", r"\$")


def _or_zero(number: float | None) -> float:
    return 0.0 if number is None or math.isnan(number) else number
