"""Compare arms of runs with a base arm: is a change real, how great is it, and what speaks against it."""

from __future__ import annotations

import json
import math
import re
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from inspect import signature
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from swaplib.analysis import significance as sig
from swaplib.analysis.cautions import cautions_of_all, cautions_of_line, told_p
from swaplib.analysis.samples import blocks, checked, listed, only, partners
from swaplib.model.checks import one_of, printable

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["TESTS", "Comparison", "compare"]

TESTS = {"permutation": "permutation", "welch": "Welch's t", "rank": "ranks (Mann-Whitney)"}
_OF_PAIRS = {"permutation": "sign flips", "welch": "Student's t of pairs", "rank": "signed ranks"}
_UNITS = {"percent": "%", "kib": "KiB", "mib": "MiB", "gib": "GiB", "kb": "kB", "mb": "MB"}
_UNITS |= {name: name for name in ("ns", "us", "ms", "s", "entries", "pages")}
_COLUMNS = 80  # of a mail
_KEPT = 1_000  # values of an arm, to be drawn


@dataclass(frozen=True)
class Comparison:
    """Arms compared with a base arm; made by `swaplib.compare`.

    table: what `df` returns. values: of base and arm by (metric, arm), at most 1,000 of each. base, test,
    alpha, paired, simulated: how they were compared. heading: what the report begins with. cautions: metric,
    arm and text of what to consider before believing a line; without metric and arm, before believing any.
    """

    table: pd.DataFrame
    values: dict[tuple[str, str], tuple[sig.Floats, sig.Floats]]
    base: str
    test: str
    alpha: float
    paired: bool
    simulated: bool
    heading: Sequence[str]
    cautions: Sequence[tuple[str, str, str]]

    def df(self) -> pd.DataFrame:
        """Return one row for each metric and arm; intervals are of 1 - alpha, NaN is what cannot be had.

        Returns
        -------
        DataFrame
            metric, unit, better, arm; n, mean, median and sd of both arms (``n_base``, ``n_arm`` ...);
            difference (arm less base), ratio (arm over base) and change_percent of means, with _low and
            _high; p of the test named before looking, p_holm (adjusted for all rows); p_permutation,
            permutation_kind ("exact", "Monte Carlo", "normal") and splits; p_welch, t and df; p_rank;
            hedges_g, g_low and g_high (in standard deviations); shift (Hodges and Lehmann's, in the unit);
            p_smallest that so many runs can give; detectable (least true difference seen with 80 % power);
            runs_needed (an arm, to see the observed one so); verdict (better, worse, ~, not tested,
            simulated); fragile (the tests disagree).
        """
        return self.table.copy()

    def text(self) -> str:
        """Return plain text of at most 80 columns, ready for a mail, in the grammar of benchstat."""
        lines = [*_wrapped(self.heading), ""]
        cells = [[printable(cell) for cell in row] for row in self._cells()]
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        if sum(widths) + 2 * 3 <= _COLUMNS:
            lines += ["  ".join(map(str.ljust, row, widths)).rstrip() for row in cells]
        else:  # a block for each line
            for name, before, after, change in cells:
                lines += _wrapped([name, f"  {before} -> {after}", f"  {change}"])
        notes = _wrapped([f"[{number}] {note}" for number, note in enumerate(self.notes(), 1)], "    ")
        return "\n".join([*lines, *[""] * bool(notes), *notes]) + "\n"

    def markdown(self) -> str:
        """Return the same as `text` as Markdown; nothing in a name acts as markup."""
        lines = [f"- {_escaped(told)}" for told in self.heading] + [""]
        rows = [f"| {' | '.join(map(_escaped, row))} |" for row in self._cells()]
        lines += [rows[0], "|---|---|---|---|", *rows[1:], ""]
        lines += [f"{number}. {_escaped(note)}" for number, note in enumerate(self.notes(), 1)]
        return "\n".join(lines).rstrip() + "\n"

    def json(self) -> str:
        """Return everything but the values as JSON; null is what cannot be had."""
        told = {name: getattr(self, name) for name in ("base", "test", "alpha", "paired", "simulated")}
        told |= {"heading": list(self.heading), "cautions": list(self.cautions)}
        told["results"] = json.loads(self.table.to_json(orient="records", double_precision=15))
        return json.dumps(told, allow_nan=False, indent=1)

    def plot(self, metric: str | tuple[str, str] | None = None, kind: str = "estimation") -> Figure:
        """Draw the first line, or that of a metric or (metric, arm).

        `kind` is "estimation" (all values, and the difference with its interval before what chance alone
        gives), "order" (values in order of rows: drift) or "power" (the chance of seeing a difference).
        """
        from swaplib.analysis.estimation import KINDS

        one_of("kind", kind, KINDS)
        wanted = (metric,) if isinstance(metric, str) else metric or next(iter(self.values))
        found = [place for place, line in enumerate(self.values) if line[: len(wanted)] == wanted]
        if len(found) != 1:
            many = "more than one" if found else "no"
            raise KeyError(f"{metric!r} is {many} result; there are {listed(self.values)}")
        return KINDS[kind](self, self.table.iloc[found[0]])

    def notes(self) -> list[str]:
        """Return every caution's text once, those of single lines first."""
        ordered = sorted(self.cautions, key=lambda caution: caution[0] == "")
        return list(dict.fromkeys(text for *_, text in ordered))

    def change(self, r: Any) -> str:
        """Return a line's change: ``-20.4 % [-33, -8] (p=0.011 n=6+6)``, or ``~ (p=0.446 n=6+6)``.

        In the metric's unit where a ratio has no meaning; without p where nothing is tested.
        """
        n = f"n={r.n_arm} pairs" if self.paired or self.simulated else f"n={r.n_base}+{r.n_arm}"
        tested = f"({n})" if math.isnan(r.p) else f"(p{told_p(r.p, '=')} {n})"
        if r.verdict == "~":
            return f"~ {tested}"
        size, limits = f"{signed(r.difference)} {r.unit}".rstrip(), [r.difference_low, r.difference_high]
        told = ", ".join(map(signed, limits))
        if not math.isnan(r.change_percent):
            limits = [r.change_low_percent, r.change_high_percent]
            size = f"{r.change_percent:+.{'1f' if abs(r.change_percent) < 999.95 else '3g'}} %"
            told = _whole(r.change_percent, *limits)
        return f"{size} [{told}] {tested}" if np.isfinite(limits).all() else f"{size} {tested}"

    def _cells(self) -> list[list[str]]:
        """Return what people read: metric, both means with their spread, change and numbers of notes."""
        units, arms = set(self.table.unit), list(self.table.arm.unique())
        unit = units.pop() if len(units) == 1 else ""
        arm = arms[0] if len(arms) == 1 else "arm"
        cells = [[in_unit("metric", unit), f"{self.base} (sd)", f"{arm} (sd)", "change"]]
        texts = [text for metric, _, text in self.cautions if metric]
        for r in _lines(self.table):
            own = {text for *line, text in self.cautions if line == [r.metric, r.arm]}
            marked = [text in own and texts.count(text) < max(2, len(self.table)) for text in self.notes()]
            marks = ",".join(str(number) for number, is_own in enumerate(marked, 1) if is_own)
            name = r.metric if unit else in_unit(r.metric, r.unit)
            name += f", {r.arm}" * (len(arms) > 1)
            cells.append([name, *_means(r), self.change(r) + (f" [{marks}]" if marks else "")])
        return cells

    __str__ = text
    _repr_markdown_ = markdown


def compare(
    frame: pd.DataFrame,
    base: str = "before",
    *,
    value: str = "value",
    better: str | Mapping[str, str] = "lower",
    arm: str | None = None,
    paired: bool = False,
    simulated: bool | None = None,
    unit: str = "",
    by: str | Sequence[str] = (),
    test: str = "permutation",
    alpha: float = 0.05,
    limit: int = sig.EXACT_SPLITS,
    seed: int = 0,
    kernel: str = "",
    machine: str = "",
    swap_device: str = "",
    command: str = "",
) -> Comparison:
    """Compare every other arm of a tidy frame with the base, for each metric.

    Parameters
    ----------
    frame
        One row a run and metric: the columns `value` and `arm`, and where there are some, run (or
        replication), metric, unit, better, simulated, order (when the run was made, among all arms), kernel,
        machine, swap_device. A frame of `swaplib.sweep` is one: its arms are policies.
    base, arm, by
        The arm that others are compared with; the column of arms (None: arm, else policy); further columns,
        each combination of whose values is a metric of its own.
    value, unit, better
        The column of numbers, whose ending may be the unit (value_ms). Where the frame does not say: the
        unit, and "lower" or "higher", or a mapping from metric to one of them.
    paired, simulated
        Whether run i of every arm belongs together, such as the same boot; whether runs are replications of a
        simulator on common random numbers, which are pairs and get no p, because more of them make anything
        significant. None is what a column simulated says, and True for a sweep's frame.
    test, alpha
        The test that decides, named before looking: permutation, welch or rank; p above alpha is not
        significant.
    limit, seed
        The most splits for an exact permutation p; the seed of random splits beyond.
    kernel, machine, swap_device, command
        What the report says, where it is not what the frame's columns say and this call.

    Raises
    ------
    ValueError
        If a column is missing, a cell is none (its row is counted from 1, after the header), the base is not
        there or alone, units are mixed within a metric, a run appears twice, or pairs are incomplete.
    """
    given: dict[str, Any] = {"value": value, "better": better, "arm": arm, "paired": paired}
    given |= {"simulated": simulated, "unit": unit, "by": by, "test": test, "alpha": alpha}
    usual = {name: parameter.default for name, parameter in signature(compare).parameters.items()}
    told = [f"{name}={one!r}" for name, one in given.items() if one != usual[name]]
    command = command or f"swaplib.compare(runs, {', '.join([f'{base=}', *told])})"
    one_of("test", test, TESTS)
    if not 0 < alpha < 1:
        raise ValueError(f"alpha is {alpha}; expected a probability between 0 and 1")
    arm = arm or ("policy" if "arm" not in frame and "policy" in frame else "arm")
    keys = ["metric"] * ("metric" in frame) + ([by] if isinstance(by, str) else list(by))
    tidy = checked(frame, value, arm, keys, base)
    if simulated is None:
        is_sweep = arm == "policy" and "replication" in frame
        simulated, *others = set(frame["simulated"].astype(bool)) if "simulated" in frame else [is_sweep]
        if others:
            raise ValueError("column 'simulated' mixes simulated and measured runs; compare them apart")
    in_pairs = paired or simulated
    suffix = value.rpartition("_")[2] if "_" in value else ""
    plain = value.removesuffix(f"_{suffix}") if suffix in _UNITS else value
    rows, values = [], {}
    for key, group in tidy.groupby(keys, sort=False, observed=True) if keys else [((), tidy)]:
        metric = ", ".join(map(str, key if "metric" in keys else (plain, *key)))
        towards = better if isinstance(better, str) else better.get(metric, "")
        towards = only(group, "better", metric) or towards
        if towards not in ("lower", "higher"):
            raise ValueError(f"better is {towards!r} for metric '{metric}'; expected 'lower' or 'higher'")
        of_unit = only(group, "unit", metric) or unit or _UNITS.get(suffix, "")
        of_base = group[group[arm] == base]
        if of_base.empty:
            raise ValueError(f"metric '{metric}' has no run of arm '{base}', which is the base")
        for name, of_arm in group[group[arm] != base].groupby(arm, sort=False, observed=True):
            drift = "" if in_pairs else blocks(of_base, of_arm)
            partner = partners(of_base, of_arm, arm, metric) if in_pairs else of_arm
            b, a = of_base[value].to_numpy(), partner[value].to_numpy()
            row = sig.measures(b, a, in_pairs, "" if simulated else test, alpha, limit, seed)
            told_of = {"metric": metric, "unit": of_unit, "better": towards, "arm": name, "blocks": drift}
            rows.append(told_of | row)
            values[metric, str(name)] = _kept(b), _kept(a)
    table = sig.judged(pd.DataFrame(rows), test, alpha, simulated)
    cautions: list[tuple[str, str, str]] = []
    for r in _lines(table):
        notes = cautions_of_line(r, base, values[r.metric, r.arm], test, alpha, in_pairs)
        cautions += [(r.metric, r.arm, note) for note in notes]
    cautions += [("", "", note) for note in cautions_of_all(table.p_holm.dropna(), simulated)]
    setting = {"kernel": kernel, "machine": machine, "swap_device": swap_device}
    heading = _heading(table, base, test, alpha, paired, simulated)
    for name, text in setting.items():
        of_frame = list(frame[name].dropna().unique()) if name in frame and name != arm else []
        text = text or ", ".join(map(str, of_frame)) * (len(of_frame) <= 3)
        heading[-1:-1] = [f"{name.removesuffix('_device')}: {text}"] if text else []
    heading.append(f"$ {command}")
    return Comparison(table, values, base, test, alpha, paired, simulated, heading, cautions)


def _lines(table: pd.DataFrame) -> list[Any]:
    return list(table.itertuples())


def _kept(values: sig.Floats) -> sig.Floats:
    return values[np.linspace(0, len(values) - 1, min(len(values), _KEPT)).round().astype(int)]


def _heading(
    table: pd.DataFrame, base: str, test: str, alpha: float, paired: bool, simulated: bool
) -> list[str]:
    """Return what was compared and how."""
    runs = sorted({*table.n_base, *table.n_arm})
    count = f"{runs[0]} to {runs[-1]}" if len(runs) > 1 else runs[0]
    kind = "pairs on common random numbers" if simulated else "pairs of runs" if paired else "runs an arm"
    lines = [f"{base} (base) against {', '.join(table.arm.unique())}: {count} {kind}"]
    for better, rows in table.groupby("better", sort=False):
        names = dict.fromkeys(map(in_unit, rows.metric, rows.unit))
        lines.append(f"{better} is better: {', '.join(names)}")
    decides = (
        "" if simulated else f"; p by {(_OF_PAIRS if paired else TESTS)[test]}; ~ if Holm's p > {alpha:g}"
    )
    return [*lines, f"change of means [{100 * (1 - alpha):g} % interval]{decides}"]


def signed(number: float) -> str:
    """Return a number with its sign and three significant figures."""
    return f"{number:+.0f}" if abs(number) >= 99.95 else f"{number:+.3g}"


def in_unit(name: str, unit: str) -> str:
    """Return a name with the unit that its numbers have, as an axis and a table say it."""
    return f"{name} / {unit}" if unit else name


def _means(r: Any) -> list[str]:
    """Return both means with their standard deviations, to the same decimals."""
    size = max(abs(r.mean_base), abs(r.mean_arm))
    form = f".{max(0, 2 - math.floor(math.log10(size)))}f" if 1e-4 <= size < 1e9 else ".3g"
    both = ((r.mean_base, r.sd_base), (r.mean_arm, r.sd_arm))
    return [f"{mean:{form}}" + ("" if math.isnan(sd) else f" ({sd:{form}})") for mean, sd in both]


def _whole(change: float, *limits: float) -> str:
    """Return an interval in whole percent; finer where that would hide it, or falsely hold 0."""
    for decimals in range(5):
        low, high = (f"{limit:+.{decimals}f}" for limit in limits)
        is_told = float(low) < change < float(high) and float(low) != 0 != float(high)
        if is_told or limits[0] == limits[1]:
            break
    return f"{low}, {high}"


def _escaped(text: str) -> str:
    """Return a text as Markdown that shows it: no markup, no HTML, no new column or line."""
    shown = printable(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_\[\]#|~$])", r"\\\1", shown)


def _wrapped(texts: Sequence[str], indent: str = "  ") -> list[str]:
    wrap = textwrap.TextWrapper(_COLUMNS, subsequent_indent=indent, break_on_hyphens=False).wrap
    return [line for text in texts for line in wrap(printable(text))]
