"""Pictures of a comparison: every value and the difference with its interval, order, power."""

from __future__ import annotations

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from swaplib.analysis import significance as sig
from swaplib.analysis.compare import Comparison, in_unit, signed
from swaplib.analysis.style import AFTER, BEFORE, INK, MUTED
from swaplib.model.checks import printable

_BESIDE: dict[str, Any] = {"textcoords": "offset points", "fontsize": 9}


def plot_estimation(comparison: Comparison, r: Any) -> Figure:
    """Draw every value of both arms, and beside them the difference with its interval before chance alone.

    The axis of the difference is that of the values, shifted so that 0 is at the base's mean (an estimation
    plot, M. J. Gardner and D. G. Altman 1986). In grey: the permutation distribution; where it is not exact,
    that of the shown values by random splits. Pairs are joined by lines; simulated arms have no distribution.
    """
    b, a = comparison.values[r.metric, r.arm]
    figure, (left, right) = plt.subplots(1, 2, sharey=True, width_ratios=(1.25, 1))
    height = float(np.ptp(np.concatenate([b, a]))) / 18 or 1.0
    if comparison.paired:
        faint = max(0.05, min(0.6, 12 / len(b)))
        left.plot([[0] * len(b), [1] * len(a)], [b, a], color=MUTED, linewidth=0.7, alpha=faint)
    size = 34 if len(b) + len(a) <= 60 else 6
    edge: dict[str, Any] = {"s": size, "edgecolor": "white", "linewidth": 0.5, "zorder": 3}
    arms = ((0, b, r.mean_base, BEFORE, "o"), (1, a, r.mean_arm, AFTER, "D"))
    for place, values, mean, colour, marker in arms:
        x = np.full(len(values), float(place))
        if not comparison.paired:
            x += _aside(values, float(min(b.min(), a.min())), height)
        left.scatter(x, values, color=colour, marker=marker, **edge)
        left.plot([place - 0.38, place + 0.38], [mean, mean], color=INK, linewidth=1.6, zorder=4)
        right.axhline(mean, color=MUTED, linewidth=0.7, linestyle=":", zorder=0)
    names = [f"{_short(comparison.base)}\nn = {r.n_base}", f"{_short(r.arm)}\nn = {r.n_arm}"]
    left.set_xticks([0, 1], names)
    left.set(xlim=(-0.55, 1.55), ylabel=_axis(r))
    if not comparison.simulated and min(len(a), len(b)) > 1:
        _draw_chance(right, b, a, r.mean_base, comparison.paired)
    told = signed(r.difference)
    if np.isfinite([r.difference_low, r.difference_high]).all():
        ends = [r.mean_base + r.difference_low, r.mean_base + r.difference_high]
        right.plot([0.5, 0.5], ends, color=INK, linewidth=2.2)
        told += f"\n[{signed(r.difference_low)}, {signed(r.difference_high)}]"
    right.plot([0.5], [r.mean_arm], marker="D", color=AFTER, markersize=8, markeredgecolor=INK)
    right.annotate(told, (0.5, r.mean_arm), xytext=(10, 0), textcoords="offset points", va="center")
    right.set(xlim=(-0.05, 1.25), xticks=[])
    right.spines.left.set_visible(False)
    right.tick_params(axis="y", length=0)
    shifts = (lambda y: y - r.mean_base, lambda d: d + r.mean_base)
    beside = right.secondary_yaxis("right", functions=shifts)
    beside.set_ylabel(in_unit("difference of means", printable(r.unit)))
    beside.spines.right.set_visible(True)
    figure.suptitle(f"{_short(r.metric, 40)}: {comparison.change(r)}", x=0.01, ha="left", weight="bold")
    return figure


def plot_order(comparison: Comparison, r: Any) -> Figure:
    """Draw the values of each arm in order of its rows, with least squares: a drift shows as a slope."""
    figure, axes = plt.subplots(1, 2, sharey=True)
    b, a = comparison.values[r.metric, r.arm]
    slopes = []
    arms = ((comparison.base, b, BEFORE, "o"), (r.arm, a, AFTER, "D"))
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
    axes[0].set_ylabel(_axis(r))
    drift = f"{in_unit('drift', printable(r.unit))} a run {', '.join(slopes)}"
    told = drift if slopes else "too few runs to see drift"
    figure.suptitle(f"{_short(r.metric, 30)}: {told}", x=0.01, ha="left", weight="bold")
    return figure


def plot_power(comparison: Comparison, r: Any) -> Figure:
    """Draw the chance that a Welch test sees a true difference: with these runs, two and four times as many.

    Spread as observed; values normal. A line marks the observed difference.
    """
    if comparison.simulated or comparison.paired or not r.detectable > 0:
        raise ValueError("power is drawn of measured, unpaired arms whose runs vary; see `detectable`")
    differences = np.linspace(0, 1.25 * max(abs(r.difference), r.detectable), 80)
    figure, ax = plt.subplots()
    for times, dashes, level, side in ((1, "-", 0.3, 6), (2, "--", 0.45, 6), (4, ":", 0.6, -6)):
        n = times * r.n_base, times * r.n_arm
        error, df = sig.welch(r.sd_base**2 / n[0], r.sd_arm**2 / n[1], *n)
        chances = sig.power(differences / error, df, comparison.alpha)
        ax.plot(differences, chances, color=AFTER, linestyle=dashes)
        at = int(np.argmin(np.abs(chances - level)))
        align = "left" if side > 0 else "right"
        ax.annotate(f"n = {n[0]}+{n[1]}", (differences[at], chances[at]), (side, -3), ha=align, **_BESIDE)
    ax.axhline(sig.POWER, color=MUTED, linewidth=0.8)
    ax.axvline(abs(r.difference), color=INK, linewidth=1)
    ax.annotate("observed", (abs(r.difference), 0.03), xytext=(5, 0), textcoords="offset points")
    ax.set(ylim=(0, 1.02), xlim=(0, differences[-1]), ylabel=f"chance that p is at most {comparison.alpha:g}")
    ax.set_xlabel(in_unit("true difference of means", printable(r.unit)))
    seen = f"{r.n_base}+{r.n_arm} runs see {r.detectable:.3g} {printable(r.unit)}"
    ax.set_title(f"{_short(r.metric, 30)}: {seen} four times in five")
    return figure


KINDS = {"estimation": plot_estimation, "order": plot_order, "power": plot_power}


def _draw_chance(ax: Axes, b: sig.Floats, a: sig.Floats, zero: float, paired: bool) -> None:
    counts, edges = np.histogram(sig.chance(b, a, paired)[0], bins=31)
    shape = 0.42 * counts / counts.max()
    ax.stairs(shape, zero + edges, orientation="horizontal", fill=True, color=MUTED, alpha=0.45, zorder=0)
    ax.annotate("chance alone", (0.02, zero + edges[-1]), (0, 4), color=INK, va="bottom", **_BESIDE)


def _aside(values: sig.Floats, lowest: float, height: float) -> sig.Floats:
    """Return how far each value is moved aside: like values lie next to each other, in order of rows."""
    level = np.floor((values - lowest) / height)
    aside = np.zeros(len(values))
    for one in np.unique(level):
        own = np.flatnonzero(level == one)
        aside[own] = (np.arange(len(own)) - (len(own) - 1) / 2) * min(0.12, 0.62 / len(own))
    return aside


def _axis(r: Any) -> str:
    return f"{in_unit(_short(r.metric, 40), printable(r.unit))}, {r.better} is better"


def _short(name: str, most: int = 22) -> str:
    """Return a name that fits, and that matplotlib does not take for a formula."""
    text = printable(name)
    return (text if len(text) <= most else text[: most - 1] + "…").replace("$", r"\$")
