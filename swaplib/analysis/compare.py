"""Compare arms of runs with a base arm: is a change significant, how great is it, what speaks against it."""

from __future__ import annotations

import json
import math
import re
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from statsmodels.stats.multitest import multipletests

from swaplib.analysis import cautions as warn
from swaplib.analysis import significance as sig
from swaplib.evidence.runs import UNITS, few
from swaplib.model.checks import one_of, printable

__all__ = ["Comparison", "compare"]

_TESTS = {"permutation": "studentized permutation", "welch": "Welch's t", "rank": "ranks (Mann-Whitney)"}
_OF_PAIRS = {"permutation": "sign flips", "welch": "Student's t of pairs", "rank": "signed ranks"}
_COLUMNS = 80  # of a mail
_MOST_LINES = 2_000  # some seconds
_MOST_SPLITS = 50_000_000  # of all lines together, some seconds; where there are more, random ones


@dataclass(frozen=True)
class Comparison:
    """Arms compared with a base arm; made by `swaplib.compare`.

    table: what `df` returns. samples: of base and arm by (metric, arm). heading: what was compared and how.
    cautions: what to consider before believing lines, with their (metric, arm); none if it is about all.
    """

    table: pd.DataFrame
    samples: Mapping[tuple[str, str], tuple[sig.Floats, sig.Floats]]
    base: str
    test: str
    in_pairs: bool
    many: bool  # arms beside the base
    heading: Sequence[str]
    cautions: Mapping[str, Sequence[tuple[str, str]]]

    def df(self) -> pd.DataFrame:
        """Return one row for each metric and arm; intervals are of 1 - alpha, NaN is what cannot be had.

        Returns
        -------
        DataFrame
            metric, unit, better, arm; n, mean and sd of both (``n_base``, ``n_arm`` ...); difference (arm
            less base), ratio (arm over base), change_percent, with _low and _high; p of the test named before
            looking (of permutation, if arms differ in size, the greater of p_permutation and p_welch) and
            p_holm, adjusted for all rows, which decides; p_permutation, permutation_kind ("exact", "Monte
            Carlo", "Student's t"), splits, p_error (standard error, if drawn); p_welch, t, df; p_rank;
            hedges_g, g_low, g_high; p_smallest that so many runs can give; detectable (true difference seen
            with 80 % power); verdict (better, worse, ~, too few runs, not tested, simulated); tests_disagree.
        """
        return self.table.copy()

    def text(self) -> str:
        """Return plain text of at most 80 columns, ready for a mail, in the grammar of benchstat."""
        rows = [[printable(cell) for cell in row] for row in self._cells()]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        if sum(widths) + 2 * 3 <= _COLUMNS:
            lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
        else:  # three lines for each
            blocks = [[name, f"  {before} -> {after}", f"  {change}"] for name, before, after, change in rows]
            lines = [line for block in blocks for line in _wrapped(block)]
        notes = [f"[{number}] {note}" for number, note in enumerate(self.notes(), 1)]
        return "\n".join([*_wrapped(self.heading), "", *lines, "", *_wrapped(notes, "    ")]).rstrip() + "\n"

    def markdown(self) -> str:
        """Return the same as `text` as Markdown; nothing in a name acts as markup."""
        heading = [f"- {_escaped(told)}" for told in self.heading]
        rows = [f"| {' | '.join(map(_escaped, row))} |" for row in self._cells()]
        notes = [f"{number}. {_escaped(note)}" for number, note in enumerate(self.notes(), 1)]
        return "\n".join([*heading, "", rows[0], "|---|---|---|---|", *rows[1:], "", *notes]).rstrip() + "\n"

    def json(self) -> str:
        """Return everything but the values as JSON; null is what cannot be had."""
        told = {"base": self.base, "test": self.test, "heading": list(self.heading), "notes": self.notes()}
        told["results"] = json.loads(self.table.to_json(orient="records", double_precision=15))
        return json.dumps(told, allow_nan=False, indent=1)

    def notes(self) -> list[str]:
        """Return every caution, behind the lines that it is about if it is not about all."""
        notes = []
        for note, about in self.cautions.items():
            names = _first(", ".join(line[: 1 + self.many]) for line in about)
            notes.append(f"{names}: {note}" if 0 < len(about) < len(self.table) else note)
        return notes

    def change(self, r: Any) -> str:
        """Return a line's change: ``-20.4 % [-33, -8.1] (p=0.011 n=6+6)``, after ``~`` if not significant.

        In the metric's unit where a ratio has no meaning or bounds; without p where nothing is tested.
        """
        n = f"n={r.n_arm} pairs" if self.in_pairs else f"n={r.n_base}+{r.n_arm}"
        size, limits = f"{_signed(r.change_percent)} %", [r.change_low_percent, r.change_high_percent]
        if math.isnan(r.change_percent) or math.isinf(limits[0]):
            size, limits = f"{_signed(r.difference)} {r.unit}".rstrip(), [r.difference_low, r.difference_high]
        if not math.isnan(limits[0]):
            size += f" [{', '.join(map(_signed, limits))}]"
        p = "" if math.isnan(r.p_holm) else f"p{warn.told_p(r.p_holm, '=')} "
        if r.p_error > 0 and self.test == "permutation":
            p = f"{p[:-1]}±{r.p_error * r.p_holm / r.p:.1g} "
        p = "too few runs to say, " if r.verdict == "too few runs" else p
        return f"{'~ ' if r.verdict in ('~', 'too few runs') else ''}{size} ({p}{n})"

    def _cells(self) -> list[list[str]]:
        """Return what people read: metric, both means with their spread, and change."""
        units = set(self.table.unit)
        unit = units.pop() if len(units) == 1 else ""
        arm = "arm" if self.many else self.table.arm[0]
        cells = [[_in_unit("metric", unit), f"{self.base} (sd)", f"{arm} (sd)", "change"]]
        rows: Any = self.table.itertuples()
        for r in rows:
            name = (r.metric if unit else _in_unit(r.metric, r.unit)) + f", {r.arm}" * self.many
            both = ((r.mean_base, r.sd_base), (r.mean_arm, r.sd_arm))
            least = min([abs(mean) for mean, _ in both] + [sd for _, sd in both if sd > 0]) or 1.0
            size = max(abs(r.mean_base), abs(r.mean_arm), least)
            shown = max(4, 2 + math.log10(size / least), (size < 1e9) * math.log10(size) + 1)  # digits
            means = [f"{mean:.{min(17, int(shown))}g}" for mean, _ in both]
            sds = ["" if math.isnan(sd) else f" ({_signed(sd)[1:]})" for _, sd in both]
            cells.append([name, means[0] + sds[0], means[1] + sds[1], self.change(r)])
        return cells

    __str__ = text
    _repr_markdown_ = markdown


def compare(
    frame: pd.DataFrame,
    base: str = "",
    *,
    value: str = "value",
    better: str = "lower",
    arm: str | None = None,
    paired: bool = False,
    simulated: bool | None = None,
    unit: str = "",
    by: str | Sequence[str] = (),
    test: str = "permutation",
    alpha: float = 0.05,
    limit: int = sig.EXACT_SPLITS,
    seed: int = 0,
    **about: str,
) -> Comparison:
    """Compare every other arm of a tidy frame with the base, for each metric.

    Parameters
    ----------
    frame
        One row a run and metric: `value`, `arm`, and where there are some run (or replication), metric, unit,
        better, simulated, order (when the run was made, among all arms). That of `swaplib.sweep` is one.
    base, arm, by
        The arm that others are compared with (empty: what `read_runs` found, else before); the column of arms
        (None: arm, else policy); further columns, each combination of whose values is a metric of its own.
    value, unit, better
        The column of numbers, whose ending may be the unit (value_ms); both where the frame does not say.
    paired, simulated
        Whether run i of every arm belongs together, such as the same boot; whether runs are a simulator's:
        pairs on common random numbers, without p (None: what a column simulated says, else if a sweep's).
    test, alpha, limit, seed, about
        The test that decides, named before looking: permutation, welch or rank; p above alpha is not
        significant; the most splits for an exact p; the seed of random splits beyond; what the heading says
        besides (kernel, machine, swap_device, command).

    Raises
    ------
    ValueError
        What is missing, wrong, twice or without a partner, with its row; more than 2,000 lines.
    """
    one_of("test", test, _TESTS)
    if not 0 < alpha < 1:
        raise ValueError(f"alpha is {alpha}; expected a probability between 0 and 1")
    arm = arm or ("policy" if "arm" not in frame and "policy" in frame else "arm")
    base = base or frame.attrs.get("base", "before")
    tidy = _checked(frame, value, arm, [by] if isinstance(by, str) else list(by), unit, better)
    if simulated is None:
        is_sweep = arm == "policy" and "replication" in frame
        simulated = bool(frame["simulated"].all()) if "simulated" in frame else is_sweep
    in_pairs, number = paired or simulated, tidy.number.to_numpy()
    run, order = tidy.run.to_numpy(), tidy.order.to_numpy(float)
    lines, cautions = _lines(tidy, base)
    limit = min(limit, max(sig.DRAWS, _MOST_SPLITS // len(lines)))
    units, directions = tidy.unit.to_numpy(), tidy.better.to_numpy()
    rows, values = [], {}
    for (metric, name), (of_base, of_arm) in lines.items():
        if in_pairs:
            of_base, of_arm = (one[np.argsort(run[one], kind="stable")] for one in (of_base, of_arm))
            alone = set(run[of_base]) ^ set(run[of_arm])
            wrong: Any = tidy.run.isin(alone) & tidy.index.isin([*of_base, *of_arm]) if alone else []
            _refuse(tidy, wrong, "run", f"pairs, and it is not in both '{base}' and '{name}'", frame)
        b, a = values[metric, name] = number[of_base], number[of_arm]
        row = {"metric": metric, "unit": units[of_base[0]], "better": directions[of_base[0]], "arm": name}
        is_tested = not simulated and min(len(b), len(a)) > 1
        row |= sig.measures(b, a, in_pairs, alpha)
        row |= sig.p_values(b, a, in_pairs, limit, seed) if is_tested else sig.UNTESTED
        rows.append(row)
        for note in warn.of_order((order[of_base], order[of_arm]), (b, a)) if is_tested else []:
            cautions.setdefault(note, []).append((metric, name))
    table = _judged(pd.DataFrame(rows), test, alpha, simulated)
    for r in table.itertuples():
        for note in warn.of_line(r, base, values[r.metric, r.arm], alpha, in_pairs):
            cautions.setdefault(note, []).append((r.metric, r.arm))
    kind = "in pairs on common random numbers" if simulated else "in pairs" if paired else ""
    heading = [f"{base} (base) against {_first(table.arm)} {kind}".rstrip()]
    for direction, of_it in table.groupby("better", sort=False):
        heading.append(f"{direction} is better: {_first(map(_in_unit, of_it.metric, of_it.unit))}")
    decides = f"; p by {(_OF_PAIRS if in_pairs else _TESTS)[test]}"
    if test == "permutation" and (table.n_base != table.n_arm).any():
        decides += ", or Welch's t if greater"
    decides += f", adjusted for {len(table)} tests (Holm)" * (len(table) > 1) + f"; ~ if p > {alpha:g}"
    if simulated:
        decides = " of simulated runs: Monte Carlo error alone, without p, as more make anything significant"
    heading.append(f"change of means [{100 * (1 - alpha):g} % interval]{decides}")
    heading += [f"{name.replace('_', ' ')}: {text}" for name, text in about.items() if text]
    return Comparison(table, values, base, test, in_pairs, len(set(table.arm)) > 1, heading, cautions)


def _checked(frame: Any, value: str, arm: str, by: list[str], unit: str, better: str) -> pd.DataFrame:
    """Return number, arm, metric, unit, better, run and order of each row, or say which cell is wrong."""
    keys = ["metric"] * ("metric" in frame) + by
    for column in (value, arm, *keys):
        if column not in frame:
            raise ValueError(f"column '{column}' is missing; there are {few(list(frame))}")
        _refuse(frame, frame[column].isna(), column, "a name or number")
    numbers = pd.to_numeric(frame[value], errors="coerce").to_numpy(float, na_value=math.nan)
    size = np.abs(numbers)
    fine = ((size < 1e150) & (size > 1e-150)) | (size == 0)  # so that squares are numbers, too
    _refuse(frame, ~fine, value, "a finite number, 1e-150 to 1e150 in size")
    suffix = value.rpartition("_")[2] if "_" in value else ""
    plain = value.removesuffix(f"_{suffix}") if suffix in UNITS else value
    names: list[Any] = [frame[name].astype(str) for name in keys]
    if "metric" not in frame:
        names.insert(0, pd.Series(plain, frame.index))
    metric = names[0].str.cat(names[1:], sep=", ") if names[1:] else names[0]
    tidy = pd.DataFrame({"number": numbers, "metric": metric.to_numpy()})
    tidy["arm"] = frame[arm].astype(str).to_numpy()
    for column, usual in {"unit": unit or UNITS.get(suffix, ""), "better": better}.items():
        given = frame[column].astype(object).to_numpy() if column in frame else np.full(len(frame), None)
        tidy[column] = np.where(pd.isna(given) | (given == ""), usual, given).astype(str)
        other = tidy[column] != tidy.groupby("metric")[column].transform("first")
        _refuse(tidy, other, column, "one for all runs of a metric", frame)
    _refuse(tidy, ~tidy.better.isin(["lower", "higher"]), "better", "lower or higher", frame)
    run = next((name for name in ("run", "replication") if name in frame), "")
    tidy["run"] = frame[run].to_numpy() if run else tidy.groupby(["metric", "arm"]).cumcount() + 1
    tidy["order"] = frame["order"].to_numpy() if "order" in frame else math.nan
    again = tidy.duplicated(["metric", "arm", "run"])
    _refuse(tidy, again, "run", "one value a run, metric and arm (tell settings apart with by=...)", frame)
    again = tidy.duplicated(["metric", "order"]) & tidy.order.notna()
    _refuse(tidy, again, "order", "one run at a time: order counts the runs of all arms", frame)
    return tidy


def _refuse(table: pd.DataFrame, wrong: Any, column: str, expected: str, frame: Any = None) -> None:
    """Raise a ValueError for the first wrong cell, with its row: that of the file, or counted from 1."""
    frame = table if frame is None else frame
    for place in np.flatnonzero(wrong)[:1]:
        file, cell = frame.attrs.get("file"), table[column].iloc[place]
        where = f"{file}, row {frame['row'].iloc[place]}" if file else f"row {place + 1}"
        told = repr(cell) if isinstance(cell, str) else cell
        raise ValueError(f"{where}: column '{column}' is {told}; expected {expected}")


def _lines(tidy: pd.DataFrame, base: str) -> tuple[dict[Any, tuple[Any, Any]], dict[str, list[Any]]]:
    """Return the rows of base and arm by metric and arm, and a note of what has no partner."""
    places = tidy.groupby(["metric", "arm"]).indices
    named = list(tidy[["metric", "arm"]].drop_duplicates().itertuples(index=False, name=None))
    own = [line for line in named if line[1] != base and (line[0], base) in places]
    lines = {line: (places[line[0], base], places[line]) for line in own}
    if not lines:
        told = f"no metric has runs of the base '{base}' and of another arm"
        raise ValueError(f"{told}; there are the arms {few(list(tidy.arm.unique()))}")
    if len(lines) > _MOST_LINES:
        raise ValueError(f"{len(lines):,} arms x metrics to compare; expected at most {_MOST_LINES:,}")
    compared = {metric for metric, _ in lines}
    alone = [f"{metric[:40]} (of {arm} alone)" for metric, arm in named if metric not in compared]
    return lines, {f"left out, for want of a partner: {_first(alone)}": []} if alone else {}


def _judged(table: pd.DataFrame, test: str, alpha: float, simulated: bool) -> pd.DataFrame:
    """Add changes in percent, p after Holm (S. Holm 1979) and verdicts."""
    for end in ("", "_low", "_high"):
        table[f"change{end}_percent"] = 100 * (table[f"ratio{end}"] - 1)
    table["p"] = table["p_decides" if test == "permutation" else f"p_{test}"]
    tests = ["p", "p_permutation", "p_welch", "p_rank"]
    adjusted = table[tests].copy()
    for column in tests:
        tested = table[column].notna()
        if tested.any():
            adjusted.loc[tested, column] = multipletests(table.loc[tested, column], method="holm")[1]
    table["p_holm"] = adjusted.pop("p")
    least = table.p_smallest if test != "welch" else 0 * table.p_smallest
    too_few = (least > alpha) | (least.min() * table.p.count() > alpha)
    is_better = (table.difference < 0) == (table.better == "lower")
    table["verdict"] = np.where(table.p_holm > alpha, "~", np.where(is_better, "better", "worse"))
    table.loc[too_few, "verdict"] = "too few runs"
    table.loc[table.p.isna(), "verdict"] = "simulated" if simulated else "not tested"
    table["tests_disagree"] = (adjusted <= alpha).any(axis=1) & (adjusted > alpha).any(axis=1) & ~too_few
    return table.drop(columns="p_decides")


def _signed(number: float) -> str:
    return f"{number:+.0f}" if 99.95 <= abs(number) < 1e9 else f"{number:+.3g}"


def _in_unit(name: str, unit: str) -> str:
    return f"{name} / {unit}" if unit else name


def _first(names: Any) -> str:
    told = list(dict.fromkeys(names))
    return ", ".join(told[:8]) + (f" and {len(told) - 8} more" if len(told) > 8 else "")


def _escaped(text: str) -> str:
    """Return a text as Markdown that shows it: no markup, no HTML, no new column or line."""
    shown = printable(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_\[\]#|~$])", r"\\\1", shown)


def _wrapped(texts: Sequence[str], indent: str = "  ") -> list[str]:
    wrap = textwrap.TextWrapper(_COLUMNS, subsequent_indent=indent, break_on_hyphens=False).wrap
    return [line for text in texts for line in wrap(printable(text))]
