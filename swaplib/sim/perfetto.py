"""A run as a Chrome JSON trace that ui.perfetto.dev opens."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from swaplib.sim.outcome import Outcome


def write_trace(outcome: Outcome, path: str | Path) -> Path:
    """Write the trace of an outcome."""
    raise NotImplementedError
