"""How every figure looks: one theme, and one colour for each policy in all notebooks."""

from __future__ import annotations

import sys
import warnings
from typing import Any

import seaborn as sns

INK, SOFT, MUTED, PAPER = "#222222", "#666666", "#8a8a8a", "#ffffff"  # soft: of small words that stand back
# The colour-blind safe palette of Okabe and Ito (https://jfly.uni-koeln.de/color/).
BLACK, VERMILLION, BLUE, GREEN = "#000000", "#d55e00", "#0072b2", "#009e73"
PURPLE, ORANGE, SKY = "#cc79a7", "#e69f00", "#56b4e9"
BEFORE, AFTER = MUTED, BLUE

# A policy's line: its colour, and dashes that tell it from another of like lightness.
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
    "zram-slot-deferred": (GREEN, SOLID),
    "zram-handle-deferred": (GREEN, DOTTED),
    "zspage-deferred": (ORANGE, DASHED),
    "reaper": (PURPLE, DASHED),
    "present-first": (GREEN, DASHED),
    "adaptive": (VERMILLION, SOLID),
}


def policy_line(name: str) -> tuple[str, Any]:
    """Return a policy's colour and line style, by its name without changed choices; others are muted dots."""
    return POLICY_LINES.get(name.split(" ")[0], (MUTED, DOTTED))


def set_style() -> None:
    """Apply the collection's figure style to matplotlib; in a notebook, figures are sharp PNG."""
    rc = {"figure.dpi": 96, "figure.facecolor": PAPER, "figure.figsize": (8.0, 4.2), "savefig.dpi": 192}
    rc |= {"figure.constrained_layout.use": True, "svg.fonttype": "path", "svg.hashsalt": "swaplib"}
    rc |= {"axes.titlelocation": "left", "axes.titlesize": 12, "axes.titleweight": "bold"}
    rc |= {"axes.edgecolor": MUTED, "axes.labelcolor": INK, "axes.labelsize": 10.5, "text.color": INK}
    rc |= {"axes.spines.right": False, "axes.spines.top": False, "legend.frameon": False, "font.size": 10.5}
    rc |= {"xtick.color": INK, "xtick.labelsize": 9.5, "ytick.color": INK, "ytick.labelsize": 9.5}
    rc |= {"lines.linewidth": 1.8, "grid.color": "#e6e6e6"}
    sns.set_theme(style="ticks", palette=[BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY, BLACK], rc=rc)
    # seaborn's grids set their own layout; that is wanted, and no news to a reader.
    warnings.filterwarnings("ignore", "The figure layout has changed to tight")
    if "IPython" in sys.modules and sys.modules["IPython"].get_ipython() is not None:
        from matplotlib_inline.backend_inline import set_matplotlib_formats

        set_matplotlib_formats("retina")
