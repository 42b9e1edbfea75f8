"""How every figure looks: one theme, and one colour a policy in all notebooks."""

from __future__ import annotations

import sys

import matplotlib as mpl
import seaborn as sns

INK = "#222222"
MUTED = "#8a8a8a"
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


def set_style() -> None:
    """Apply the collection's figure style to matplotlib and to inline figures.

    Figures are PNG at twice the screen resolution: strict notebook comparison ignores them, and the table behind each
    figure is what the tests compare.
    """
    sns.set_theme(context="notebook", style="ticks", palette=[BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY, BLACK])
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
