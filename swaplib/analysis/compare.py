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

from swaplib.analysis import significance as sig
from swaplib.evidence.csv_file import few
from swaplib.evidence.runs import UNITS
from swaplib.model.checks import one_of, printable

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
    paired: bool
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
            with 80 % power); verdict (better, worse, ~, too few runs, not tested); tests_disagree.
        """
        return self.table.copy()

    def text(self) -> str:
        """Return plain text of at most 80 columns, ready for a mail, in the grammar of benchstat."""
        rows = [[printable(cell) for cell in row] for row in self._cells()]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        if sum(widths) + 2 * 3 <= _COLUMNS:
            lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
        else:  # three lines for each
            told = [part for row in rows for part in (row[0], f"  {row[1]} -> {row[2]}", f"  {row[3]}")]
            lines = _wrapped(told)
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
        notes, many = [], len(set(self.table.arm)) > 1
        for note, about in self.cautions.items():
            names = _first(", ".join(line[: 1 + many]) for line in about)
            notes.append(f"{names}: {note}" if 0 < len(about) < len(self.table) else note)
        return notes

    def change(self, r: Any) -> str:
        """Return a line's change: ``-20.4 % [-33, -8.1] (p=0.011 n=6+6)``, after ``~`` if not significant.

        In the metric's unit where a ratio has no meaning or bounds; without p where nothing is tested.
        """
        n = f"n={r.n_arm} pairs" if self.paired else f"n={r.n_base}+{r.n_arm}"
        size, limits = f"{_signed(r.change_percent)} %", [r.change_low_percent, r.change_high_percent]
        if math.isnan(r.change_percent) or math.isinf(limits[0]):
            size, limits = f"{_signed(r.difference)} {r.unit}".rstrip(), [r.difference_low, r.difference_high]
        if not math.isnan(limits[0]):
            size += f" [{', '.join(map(_signed, limits))}]"
        p = "" if math.isnan(r.p_holm) else f"p{sig.told_p(r.p_holm, '=')} "
        if r.p_error > 0 and self.test == "permutation":
            p = f"{p[:-1]}±{r.p_error * r.p_holm / r.p:.1g} "
        p = "too few runs to say, " if r.verdict == "too few runs" else p
        return f"{'~ ' if r.verdict in ('~', 'too few runs') else ''}{size} ({p}{n})"

    def _cells(self) -> list[list[str]]:
        """Return what people read: metric, both means with their spread, and change."""
        units, arms = set(self.table.unit), set(self.table.arm)
        unit = units.pop() if len(units) == 1 else ""
        arm = arms.pop() if len(arms) == 1 else ""
        cells = [[_in_unit("metric", unit), f"{self.base} (sd)", f"{arm or 'arm'} (sd)", "change"]]
        rows: Any = self.table.itertuples()
        for r in rows:
            name = (r.metric if unit else _in_unit(r.metric, r.unit)) + ("" if arm else f", {r.arm}")
            cells.append([name, _mean(r.mean_base, r.sd_base), _mean(r.mean_arm, r.sd_arm), self.change(r)])
        return cells

    __str__ = text
    _repr_markdown_ = markdown


def compare(
    frame: pd.DataFrame,
    base: str = "",
    *,
    value: str = "value",
    better: str = "lower",
    paired: bool = False,
    unit: str = "",
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
        One row a measured run and metric: `value`, arm, and where there are some run, metric, unit, better,
        order (when the run was made, among all arms). For simulated draws there is `swaplib.paired_change`.
    base
        The arm that others are compared with (empty: what `read_runs` found, else before).
    value, unit, better
        The column of numbers, whose ending may be the unit (value_ms); both where the frame does not say.
    paired
        Whether run i of every arm belongs together, such as the same boot.
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
    base = base or frame.attrs.get("base", "before")
    tidy = _checked(frame, value, unit, better)
    lines, cautions = _lines(tidy, base)
    limit = min(limit, max(sig.DRAWS, _MOST_SPLITS // len(lines)))
    run, number, order = (tidy[name].to_numpy() for name in ("run", "number", "order"))
    of_metric = tidy.drop_duplicates("metric").set_index("metric")[["unit", "better"]].to_dict("index")
    rows, samples = [], {}
    for (metric, name), (of_base, of_arm) in lines.items():
        if paired:
            of_base, of_arm = (one[np.argsort(run[one], kind="stable")] for one in (of_base, of_arm))
            both = tidy.iloc[[*of_base, *of_arm]]
            expected = f"pairs, and it is not in both '{base}' and '{name}'"
            _refuse(both, ~both.run.duplicated(keep=False), "run", expected)
        b, a = samples[metric, name] = number[of_base], number[of_arm]
        is_tested = min(len(b), len(a)) > 1
        tested = sig.p_values(b, a, paired, limit, seed) if is_tested else sig.UNTESTED
        row = {"metric": metric, **of_metric[metric], "arm": name}
        rows.append(row | sig.measures(b, a, paired, alpha) | tested)
        for note in sig.of_order((order[of_base], order[of_arm]), (b, a)) if is_tested else []:
            cautions.setdefault(note, []).append((metric, name))
    table = _judged(pd.DataFrame(rows), test, alpha)
    for r in table.itertuples():
        for note in sig.of_line(r, base, samples[r.metric, r.arm], alpha, paired):
            cautions.setdefault(note, []).append((r.metric, r.arm))
    heading = [f"{base} (base) against {_first(table.arm)}" + " in pairs" * paired]
    for direction, of_it in table.groupby("better", sort=False):
        heading.append(f"{direction} is better: {_first(map(_in_unit, of_it.metric, of_it.unit))}")
    decides = f"; p by {(_OF_PAIRS if paired else _TESTS)[test]}"
    if test == "permutation" and (table.n_base != table.n_arm).any():
        decides += ", or Welch's t if greater"
    decides += f", adjusted for {len(table)} tests (Holm)" * (len(table) > 1) + f"; ~ if p > {alpha:g}"
    heading.append(f"change of means [{100 * (1 - alpha):g} % interval]{decides}")
    heading += [f"{name.replace('_', ' ')}: {text}" for name, text in about.items() if text]
    return Comparison(table, samples, base, test, paired, heading, cautions)


def _checked(frame: pd.DataFrame, value: str, unit: str, better: str) -> pd.DataFrame:
    """Return the frame with number, arm, metric, unit, better, run and order, or say which cell is wrong."""
    name, _, suffix = value.rpartition("_")
    name, suffix = (name, suffix) if name and suffix in UNITS else (value, "")
    for column in (value, "arm"):
        if column not in frame:
            raise ValueError(f"column '{column}' is missing; there are {few(list(frame))}")
    usual = {"unit": unit or UNITS.get(suffix, ""), "better": better}
    others: dict[str, Any] = {"metric": name, "order": math.nan, "file": "", **usual}
    others["row"] = range(1, len(frame) + 1)
    tidy = frame.assign(**{one: others[one] for one in others if one not in frame})
    for column in ("arm", "metric"):
        _refuse(tidy, tidy[column].isna(), column, "a name or number")
        tidy[column] = tidy[column].astype(str)
    tidy["number"] = pd.to_numeric(tidy[value], errors="coerce").astype(float)
    size = tidy.number.abs()
    is_fine = ((size < 1e150) & (size > 1e-150)) | (size == 0)  # so that squares are numbers, too
    _refuse(tidy, ~is_fine, value, "a finite number, 1e-150 to 1e150 in size")
    for column, text in usual.items():
        tidy[column] = tidy[column].astype(object).mask(tidy[column].isna() | (tidy[column] == ""), text)
        other = tidy[column] != tidy.groupby("metric")[column].transform("first")
        _refuse(tidy, other, column, "one for all runs of a metric")
    _refuse(tidy, ~tidy.better.isin(["lower", "higher"]), "better", "lower or higher")
    if "run" not in tidy:
        tidy["run"] = tidy.groupby(["metric", "arm"]).cumcount() + 1
    again = tidy.duplicated(["metric", "arm", "run"])
    _refuse(tidy, again, "run", "one value a run, metric and arm (tell settings apart by metric)")
    again = tidy.duplicated(["metric", "order"]) & tidy.order.notna()
    _refuse(tidy, again, "order", "one run at a time: order counts the runs of all arms")
    return tidy.astype({"order": float})


def _refuse(tidy: pd.DataFrame, wrong: Any, column: str, expected: str) -> None:
    """Raise a ValueError for the first wrong cell, with its row: that of the file, or counted from 1."""
    for place in np.flatnonzero(wrong)[:1]:
        cell, file = tidy[column].iloc[place], tidy["file"].iloc[place]
        where = f"{file}, row {tidy['row'].iloc[place]}".removeprefix(", ")
        told = repr(cell) if isinstance(cell, str) else cell
        raise ValueError(f"{where}: column '{column}' is {told}; expected {expected}")


def _lines(tidy: pd.DataFrame, base: str) -> tuple[dict[Any, tuple[Any, Any]], dict[str, list[Any]]]:
    """Return the places of base and arm by metric and arm, and a note of what has no partner."""
    places = tidy.groupby(["metric", "arm"]).indices
    named = list(tidy[["metric", "arm"]].drop_duplicates().itertuples(index=False, name=None))
    own = [line for line in named if line[1] != base and (line[0], base) in places]
    if not own:
        told = f"no metric has runs of the base '{base}' and of another arm"
        raise ValueError(f"{told}; there are the arms {few(list(tidy.arm.unique()))}; say which with --base")
    if len(own) > _MOST_LINES:
        raise ValueError(f"{len(own):,} arms x metrics to compare; expected at most {_MOST_LINES:,}")
    compared = {metric for metric, _ in own}
    alone = [f"{metric[:40]} (of {arm} alone)" for metric, arm in named if metric not in compared]
    left_out = {f"left out, for want of a partner: {_first(alone)}": list[Any]()} if alone else {}
    return {line: (places[line[0], base], places[line]) for line in own}, left_out


def _judged(table: pd.DataFrame, test: str, alpha: float) -> pd.DataFrame:
    """Add changes in percent, adjusted p and verdicts."""
    for end in ("", "_low", "_high"):
        table[f"change{end}_percent"] = 100 * (table[f"ratio{end}"] - 1)
    table["p"] = table["p_decides" if test == "permutation" else f"p_{test}"]
    tested = table.p.notna()
    adjusted = table[["p", "p_permutation", "p_welch", "p_rank"]].copy()
    for column in adjusted:
        adjusted[column] = holm(adjusted[column])
    table["p_holm"] = adjusted.pop("p")
    least = table.p_smallest if test != "welch" else 0 * table.p_smallest
    too_few = (least > alpha) | (least.min() * table.p.count() > alpha)
    is_better = (table.difference < 0) == (table.better == "lower")
    table["verdict"] = np.where(table.p_holm > alpha, "~", np.where(is_better, "better", "worse"))
    table.loc[too_few, "verdict"] = "too few runs"
    table.loc[~tested, "verdict"] = "not tested"
    table["tests_disagree"] = (adjusted <= alpha).any(axis=1) & (adjusted > alpha).any(axis=1) & ~too_few
    return table.drop(columns="p_decides")


def holm(p: pd.Series) -> pd.Series:
    """Return the known p adjusted for all of them: the least times their number and so on (S. Holm 1979)."""
    rising = p.dropna().sort_values()
    return (rising * np.arange(len(rising), 0, -1)).cummax().clip(upper=1.0)


def _signed(number: float) -> str:
    return f"{number:+.0f}" if 99.95 <= abs(number) < 1e9 else f"{number:+.3g}"


def _mean(mean: float, sd: float) -> str:
    """Return a mean with the digits that its standard deviation leaves, and this in brackets."""
    digits, size = 6, math.floor(math.log10(abs(mean) or 1.0))
    if sd > 0:
        digits = max(4, size + 1 if size < 9 else 4, size + 2 - math.floor(math.log10(sd)))
    return f"{mean:.{min(digits, 17)}g}" + ("" if math.isnan(sd) else f" ({_signed(sd)[1:]})")


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
