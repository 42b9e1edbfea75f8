"""The picture of `plot_timeline` as an SVG text, which is drawn in a few milliseconds while a slider moves.

What is shown is decided in `swaplib.analysis.shown`: lanes, lines, marks and words. Here they are placed.
"""

from __future__ import annotations

import base64
import io
import textwrap
from collections.abc import Iterator, Sequence
from html import escape
from typing import Any

import numpy as np
from matplotlib.ticker import MaxNLocator
from PIL import Image

from swaplib.analysis.cpu_time import ACTIVITIES
from swaplib.analysis.headline import finding, setting, span
from swaplib.analysis.shown import Shown, lane_pixels, lanes_of, marks_of, memory, shown, spread_out
from swaplib.analysis.style import ACTIVITY_COLOURS, INK, MUTED, PAPER, SOFT
from swaplib.sim.outcome import Outcome

__all__ = ["picture"]

LEFT, WIDTH, RIGHT = 74, 600, 226  # pixels: before the panels, the panels, and names at their right
TOP, LANES, LINES = 58, 144, 56  # the title, a run's lanes, a panel of lines
ABOVE, BELOW = 34, 46  # room over a panel for its name, and under the last for the time
LETTER = 6.6  # the mean width of a letter


def picture(outcomes: Sequence[Outcome]) -> str:
    """Draw runs above each other on one time axis.

    Parameters
    ----------
    outcomes
        Runs of the same storm that were traced.

    Returns
    -------
    str
        An ``<svg>`` whose height does not depend on what the runs did, with the finding as its title.
    """
    end = max(1, *(outcome.end_ns for outcome in outcomes))
    runs = shown(outcomes, end)
    words = finding(outcomes)
    lines = textwrap.wrap(words, 100)
    top = TOP + 17 * max(0, len(lines) - 2)
    height = top + len(runs) * (LANES + ABOVE) + 2 * (LINES + ABOVE) + BELOW
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {LEFT + WIDTH + RIGHT} {height}" role="img" '
        f'aria-label="{escape(words)}" fill="{INK}" font-family="system-ui, sans-serif" font-size="12" '
        f'style="display: block; width: 100%; max-width: {LEFT + WIDTH + RIGHT}px; background: {PAPER}; '
        'border-radius: 6px">'
    ]
    parts += [_text(10, 20 + 17 * i, line, size=14, bold=True) for i, line in enumerate(lines)]
    parts.append(_text(10, 20 + 17 * len(lines), setting(outcomes), colour=SOFT))
    for run in runs:
        top += ABOVE
        parts.append(_text(LEFT, top - 20, run.name, colour=run.line[0], size=13, bold=True))
        parts += [*_draw_lanes(run, top, end), *_draw_bar(run, top), *_draw_marks(run, top, end)]
        top += LANES
    waits = [(run, run.waiting, f"{span(run.spin_ns)} of CPU time") for run in runs]
    left = [(run, run.backlog / 1e3, memory(run.peak)) for run in runs]
    for title, values in (
        ("CPUs that wait for a lock", waits),
        ("thousand entries that wait for another task", left),
    ):
        top += ABOVE
        parts += [_text(LEFT, top - 6, title), *_draw_lines(values, top, end)]
        top += LINES
    parts += [*_draw_time(top, end), "</svg>"]
    return "".join(parts)


def _draw_lanes(run: Shown, top: float, end: int) -> Iterator[str]:
    names, lane_of = lanes_of(run.outcome)
    by_lane = np.stack([run.columns[:, lane_of == lane].sum(axis=1) for lane in range(len(names))], axis=1)
    height = LANES // len(names)
    gap = max(1, height // 8)
    pixels = lane_pixels(by_lane / np.maximum(1, by_lane.sum(axis=0)), height - gap, gap)
    data = io.BytesIO()
    Image.fromarray(pixels).save(data, "png", compress_level=1)
    address = base64.b64encode(data.getvalue()).decode()
    yield (
        f'<image x="{LEFT}" y="{top}" width="{WIDTH * run.end / end:.1f}" height="{LANES}" '
        f'preserveAspectRatio="none" style="image-rendering: pixelated" href="data:image/png;base64,{address}"/>'
    )
    yield f'<rect x="{LEFT}" y="{top}" width="{WIDTH}" height="{LANES}" fill="none" stroke="#e6e6e6"/>'
    for lane, name in enumerate(names):
        for row, part in enumerate(name.split("\n")):
            yield _text(
                LEFT - 8, top + (lane + 0.45) * LANES / len(names) + 4 + 13 * row, part, anchor="end", size=11
            )
    if run.outcome.machine.cpus == len(names):
        yield _text(LEFT - 66, top + LANES / 2 + 4, "CPU")
    if run.end < 0.9 * end:
        words = "cut off" if run.outcome.timed_out else "storm over"
        yield _text(LEFT + WIDTH * run.end / end + 6, top + LANES / 2, words, colour=SOFT)


def _draw_bar(run: Shown, top: float) -> Iterator[str]:
    """Draw the run's CPU time as one bar beside the lanes, each part named with its CPU time."""
    x, above, total_ns = LEFT + WIDTH + 12, np.cumsum(run.shares), run.outcome.cpu_ns
    for i in np.flatnonzero(run.shares):
        y = top + LANES * (1 - above[i])
        colour = ACTIVITY_COLOURS[list(ACTIVITIES)[i]]
        yield f'<rect x="{x}" y="{y:.1f}" width="16" height="{LANES * run.shares[i]:.1f}" fill="{colour}"/>'
    yield f'<rect x="{x}" y="{top}" width="16" height="{LANES}" fill="none" stroke="{MUTED}" stroke-width="0.6"/>'
    visible = np.flatnonzero(run.shares >= 0.01)
    middles = [float(above[i] - run.shares[i] / 2) for i in visible]
    for i, middle, place in zip(visible, middles, spread_out(middles, 14 / LANES), strict=True):
        activity = list(ACTIVITIES)[i]
        y = top + LANES * (1 - place)
        yield _line(x + 16, top + LANES * (1 - middle), x + 24, y, MUTED, 0.6)
        words = f"{activity} {span(run.shares[i] * total_ns)}"
        yield _text(x + 28, y + 4, words, bold=activity == "waiting for locks")


def _draw_marks(run: Shown, top: float, end: int) -> Iterator[str]:
    """Mark when the foreground's phases were done, or the last exit where there is none; labels do not meet."""
    taken: list[tuple[float, float]] = []
    marks = marks_of(run.outcome)
    for at, words in reversed(marks):
        is_last = not taken
        x, length = WIDTH * at / end, LETTER * len(words) + 4
        yield _line(
            LEFT + x, top - 2, LEFT + x, top + LANES, INK, 1.6 if is_last else 0.9, "" if is_last else "2 2"
        )
        for start, anchor in ((x, "start"), (x - length, "end")):
            stop = start + length
            if start >= 0 and stop <= WIDTH + 40 and all(start >= b or stop <= a for a, b in taken):
                taken.append((start, stop))
                yield _text(LEFT + x, top - 5, words, anchor=anchor, bold=is_last)
                break


def _draw_lines(lines: Sequence[tuple[Shown, np.ndarray, str]], top: float, end: int) -> Iterator[str]:
    """Draw a line a run over a filled shape, named at the right, the greatest first."""
    most = max(1.0, 1.05 * max(float(values.max()) for _, values, _ in lines))
    base = top + LINES
    for tick in MaxNLocator(3).tick_values(0, most):
        if 0 <= tick <= most:
            y = base - LINES * tick / most
            yield _line(LEFT - 4, y, LEFT, y, MUTED, 1)
            yield _text(LEFT - 8, y + 4, f"{tick:g}", anchor="end", size=11)
    for run, values, _ in lines:
        x = LEFT + WIDTH * run.edges / end
        level = base - LINES * values / most
        points = " ".join(map(str, np.column_stack([x[:-1], level, x[1:], level]).ravel().round(1).tolist()))
        yield f'<polygon points="{LEFT},{base} {points} {x[-1]:.1f},{base}" fill="{run.line[0]}" opacity="0.18"/>'
        yield f'<polyline points="{points}" fill="none" {_stroke(*run.line)}/>'
    yield _line(LEFT, top, LEFT, base, MUTED, 1) + _line(LEFT, base, LEFT + WIDTH, base, MUTED, 1)
    ordered = sorted(lines, key=lambda line: -float(line[1].sum()))
    for i, (run, _, words) in enumerate(ordered):
        y = top + LINES / 2 + (i - (len(ordered) - 1) / 2) * 32
        yield f'<path d="M{LEFT + WIDTH + 10} {y}h18" {_stroke(*run.line)}/>'
        for down, part in ((-2, textwrap.shorten(run.name, 30, placeholder=" …")), (12, words)):
            yield _text(LEFT + WIDTH + 34, y + down, part, colour=run.line[0])


def _draw_time(base: float, end: int) -> Iterator[str]:
    unit, per_unit = ("s", 1e9) if end >= 1e9 else ("ms", 1e6)
    for tick in MaxNLocator(6, steps=[1, 2, 2.5, 5, 10]).tick_values(0, end / per_unit):
        x = LEFT + WIDTH * tick * per_unit / end
        if LEFT <= x <= LEFT + WIDTH:
            yield _line(x, base, x, base + 4, MUTED, 1)
            yield _text(x, base + 17, f"{tick:g}", anchor="middle", size=11)
    yield _text(LEFT + WIDTH / 2, base + 36, f"time since the first kill / {unit}", anchor="middle")


def _text(
    x: float,
    y: float,
    words: str,
    *,
    anchor: str = "start",
    size: int = 12,
    bold: bool = False,
    colour: str = INK,
) -> str:
    weight = ' font-weight="700"' if bold else ""
    where = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}" fill="{colour}"'
    return f"<text {where}{weight}>{escape(words)}</text>"


def _line(x1: float, y1: float, x2: float, y2: float, colour: str, width: float, dash: str = "") -> str:
    where = f'x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"'
    return f'<line {where} stroke="{colour}" stroke-width="{width}" stroke-dasharray="{dash or "none"}"/>'


def _stroke(colour: str, dashes: Any) -> str:
    """Return the stroke of a policy's line; dashes are those of matplotlib."""
    dash = "none" if isinstance(dashes, str) else " ".join(f"{1.8 * part:g}" for part in dashes[1])
    return f'stroke="{colour}" stroke-width="1.6" stroke-dasharray="{dash}"'
