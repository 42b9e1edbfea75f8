"""How every figure looks: one theme, one colour for each kind of CPU time and for each policy in all notebooks."""

from __future__ import annotations

import sys
from typing import Any

import matplotlib as mpl
import seaborn as sns

INK = "#222222"
MUTED = "#8a8a8a"
SOFT = "#666666"  # small words that stand back: dark enough to read
PAPER = "#ffffff"

# The colour-blind safe palette of Okabe and Ito (https://jfly.uni-koeln.de/color/).
BLACK, VERMILLION, BLUE, GREEN, PURPLE, ORANGE, SKY, YELLOW = (
    "#000000",
    "#d55e00",
    "#0072b2",
    "#009e73",
    "#cc79a7",
    "#e69f00",
    "#56b4e9",
    "#f0e442",
)

BEFORE, AFTER = MUTED, BLUE

# What CPUs do, darkest where it matters most: apart in grey, and to colour-blind readers (tests/test_timeline.py).
ACTIVITY_COLOURS = {
    "app starts": "#0a3161",
    "kworker frees": "#159070",
    "reaper frees": "#b35f9b",
    "exits free": "#e3a11b",
    "waiting for locks": "#b53010",
    "app reclaims": "#4fa8e0",
    "other": "#9b9b9b",
    "background": "#dedede",
    "idle": PAPER,
}

# A line of a policy: its colour, and dashes that tell it from another of like lightness.
SOLID, DASHED, DOTTED = "-", (0, (5, 2)), (0, (1, 1.4))
POLICY_LINES = {
    "sync": (INK, SOLID),
    "sync-batched": (MUTED, SOLID),
    "gather-sync": (INK, DASHED),
    "slot-cache-async": (ORANGE, SOLID),
    "async-v3": (BLUE, SOLID),
    "async-per-8": (SKY, SOLID),
    "async-per-node": (BLUE, DASHED),
    "async-list": (PURPLE, SOLID),
    "zram-deferred": (GREEN, SOLID),
    "reaper": (PURPLE, DASHED),
    "present-first": (GREEN, DASHED),
    "adaptive": (VERMILLION, SOLID),
}


def policy_line(name: str) -> tuple[str, Any]:
    """Return the colour and line style of a policy, by its name before any changed choices; others are muted dots."""
    return POLICY_LINES.get(name.split(" ")[0], (MUTED, DOTTED))


def set_style() -> None:
    """Apply the collection's figure style to matplotlib and to inline figures.

    Figures are PNG at twice the screen resolution: strict notebook comparison ignores them, and the table behind each
    figure is what the tests compare.
    """
    sns.set_theme(
        context="notebook", style="ticks", palette=[BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY, BLACK]
    )
    mpl.rcParams.update(
        {
            "axes.edgecolor": MUTED,
            "axes.labelcolor": INK,
            "axes.spines.right": False,
            "axes.spines.top": False,
            "axes.titlelocation": "left",
            "axes.titlesize": 12,
            "axes.titleweight": "bold",
            "axes.labelsize": 10.5,
            "figure.constrained_layout.use": True,
            "figure.dpi": 96,
            "figure.facecolor": PAPER,
            "figure.figsize": (8.0, 4.2),
            "font.size": 10.5,
            "grid.color": "#e6e6e6",
            "legend.frameon": False,
            "lines.linewidth": 1.8,
            "savefig.dpi": 192,
            "svg.fonttype": "path",
            "svg.hashsalt": "swaplib",
            "text.color": INK,
            "xtick.color": INK,
            "xtick.labelsize": 9.5,
            "ytick.color": INK,
            "ytick.labelsize": 9.5,
        }
    )
    if (ipython := sys.modules.get("IPython")) and ipython.get_ipython() is not None:  # in a notebook
        from matplotlib_inline.backend_inline import set_matplotlib_formats

        set_matplotlib_formats("retina")
