"""Compare arms of runs with a base arm, metric by metric: is a change real, how great, what could have been seen."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from swaplib.analysis import power as pw
from swaplib.analysis import significance as sig
from swaplib.analysis.cautions import cautions
from swaplib.analysis.comparison import ALPHA, SHOWN, Comparison, Result
from swaplib.analysis.samples import (
    check_runs,
    direction,
    in_blocks,
    is_simulated,
    listed,
    names_of,
    numbers_of,
    only,
    pairs,
    rows_by_metric,
    single,
    unit_of,
)

__all__ = ["TESTS", "Comparison", "Result", "compare"]

TESTS = ("permutation", "welch", "rank")
_SETTING = ("kernel", "machine", "swap_device")


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
    alpha: float = ALPHA,
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
        One row a run and metric: the column `value`; `arm`; and where there are some, run (or replication), metric,
        unit, better, simulated, order (when the run was made, among all arms), kernel, machine, swap_device. A frame
        of `swaplib.sweep` is one: its arms are policies.
    base
        The arm that others are compared with.
    value
        The column of numbers. Without a column metric, its name less the unit is the metric's; without a column unit,
        its ending is the unit (value_ms, foreground_ms).
    better
        "lower" or "higher", or a mapping from metric to one of them; a column better has precedence.
    arm
        The column of arms; None is "arm", or "policy" where there is none.
    paired
        Whether run i of every arm belongs together, such as the same boot or the same recorded input.
    simulated
        Whether the runs are replications of a simulator on common random numbers. They are compared in pairs and get
        no p, because more replications can make anything significant. None is what a column simulated says, and
        True for a sweep's frame.
    unit
        The unit where the frame tells none.
    by
        Further columns: every combination of their values is a metric of its own.
    test
        The test that decides, named before looking: "permutation", "welch" or "rank".
    alpha
        p above it is not significant.
    limit
        The most splits for an exact permutation p (see `swaplib.analysis.significance.permutation_test`).
    seed
        Of random splits beyond that.
    kernel, machine, swap_device, command
        What the report says of the setting, and the command that makes it again; the frame's columns of these names,
        and this call, where nothing is given.

    Returns
    -------
    Comparison

    Raises
    ------
    ValueError
        If a column is missing, a number is none (the row is counted from 1, after the header), the base is not there or
        alone, units are mixed within a metric, a run appears twice, or pairs are incomplete.
    """
    if test not in TESTS:
        raise ValueError(f"test is {test!r}; expected one of {', '.join(TESTS)}")
    if not 0 < alpha < 1:
        raise ValueError(f"alpha is {alpha}; expected a probability between 0 and 1")
    by = [by] if isinstance(by, str) else list(by)
    arm = arm or ("policy" if "arm" not in frame and "policy" in frame else "arm")
    for column in (value, arm, *by):
        if column not in frame:
            raise ValueError(f"column '{column}' is missing; there are {listed(frame.columns)}")
    if frame.empty:
        raise ValueError("the frame has no rows; expected at least one run of two arms")
    numbers = numbers_of(frame[value], value)
    arms = names_of(frame[arm], arm)
    others = [name for name in arms.categories if name != base]
    if base not in arms.categories:
        raise ValueError(f"no run has arm '{base}', which is the base; there are {listed(arms.categories)}")
    if not others:
        raise ValueError(f"all runs have arm '{base}'; expected at least one other arm to compare with it")
    replicated = is_simulated(frame, simulated, arm)
    groups = rows_by_metric(frame, by, value)
    results: list[Result] = []
    order = np.asarray(frame["order"]) if "order" in frame else None
    runs = next((frame[name] for name in ("run", "replication") if name in frame), None)
    for metric, rows in groups:
        told = {
            "metric": metric,
            "unit": only(frame, "unit", rows, metric) or unit or unit_of(value),
            "better": direction(only(frame, "better", rows, metric), better, metric),
            "base": base,
        }
        if runs is not None:
            check_runs(arms.codes[rows], runs, rows, arms.categories, metric)
        of_base = rows[arms.codes[rows] == arms.categories.get_loc(base)]
        if not len(of_base):
            raise ValueError(f"metric '{metric}' has no run of arm '{base}', which is the base")
        for name in others:
            of_arm = rows[arms.codes[rows] == arms.categories.get_loc(name)]
            if not len(of_arm):
                continue  # an arm need not have every metric
            first, second = of_base, of_arm
            if paired or replicated:
                first, second = pairs(first, second, runs, told["metric"], base, name)
            blocks = None if paired or replicated else in_blocks(first, second, order)
            results.append(
                _result(
                    numbers[first],
                    numbers[second],
                    arm=str(name),
                    paired=paired or replicated,
                    replicated=replicated,
                    test=test,
                    limit=limit,
                    seed=seed,
                    alpha=alpha,
                    blocks=blocks,
                    **told,
                )
            )
    adjusted = sig.holm([math.nan if one.p is None else one.p for one in results])
    results = [replace(one, p_holm=_none(p)) for one, p in zip(results, adjusted, strict=True)]
    given = {"kernel": kernel, "machine": machine, "swap_device": swap_device}
    setting = {name: given[name] or single(frame, name) for name in _SETTING if name != arm}
    return Comparison(
        results=tuple(results),
        base=base,
        paired=paired,
        simulated=replicated,
        test=test,
        alpha=alpha,
        setting={name: text for name, text in setting.items() if text},
        command=command or _call(base, value, better, paired, simulated, test, by, arm, alpha),
        cautions=tuple(cautions(results, test=test, alpha=alpha, simulated=replicated)),
    )


def _result(
    b: sig.Floats,
    a: sig.Floats,
    *,
    paired: bool,
    replicated: bool,
    test: str,
    limit: int,
    seed: int,
    alpha: float,
    blocks: str | None,
    **told: str,
) -> Result:
    """Compute one line of the table."""
    n_b, n_a = len(b), len(a)
    several = min(n_b, n_a) > 1
    sd_b, sd_a = (float(x.std(ddof=1)) if len(x) > 1 else math.nan for x in (b, a))
    confidence = 1 - alpha
    mean = sig.welch(b, a, paired=paired, confidence=confidence)
    ratio = sig.ratio_interval(b, a, paired=paired, confidence=confidence)
    g = pw.hedges_g(b, a, paired=paired, confidence=confidence)
    tests: dict[str, float] = dict.fromkeys(TESTS, math.nan)
    kind, splits, rank_kind, least, detectable, needed = "", 0, "", math.nan, math.nan, math.nan
    if several and not replicated:
        permutation = sig.permutation_test(b, a, paired=paired, limit=limit, seed=seed)
        ranks = sig.rank_test(b, a, paired=paired, limit=limit)
        tests = {"permutation": permutation.p, "welch": mean.p, "rank": ranks.p}
        kind, splits, rank_kind = permutation.kind, permutation.splits, ranks.kind
        least = sig.smallest_p(n_b, n_a, paired=paired, limit=limit)
        if paired:
            spread = float((a - b).std(ddof=1))
            detectable = pw.paired_detectable(spread, n_a, alpha=alpha)
            needed = pw.paired_runs_needed(mean.difference, spread, alpha=alpha)
        else:
            detectable = pw.detectable_difference(sd_b, sd_a, n_b, n_a, alpha=alpha)
            needed = pw.runs_needed(mean.difference, sd_b, sd_a, alpha=alpha)
        while (
            test != "welch"
            and not math.isnan(needed)
            and needed < 40
            and _least(needed, paired, limit) > alpha
        ):
            needed += 1
    return Result(
        **told,
        n_base=n_b,
        n_arm=n_a,
        mean_base=float(b.mean()),
        mean_arm=float(a.mean()),
        sd_base=_none(sd_b),
        sd_arm=_none(sd_a),
        median_base=float(np.median(b)),
        median_arm=float(np.median(a)),
        difference=mean.difference,
        difference_low=_none(mean.low),
        difference_high=_none(mean.high),
        ratio=_none(ratio[0]),
        ratio_low=_none(ratio[1]),
        ratio_high=_none(ratio[2]),
        p=_none(tests[test]),
        p_holm=None,
        p_permutation=_none(tests["permutation"]),
        permutation_kind=kind,
        splits=splits,
        p_welch=_none(tests["welch"]),
        t=_none(math.nan if replicated else mean.t),
        df=_none(mean.df),
        p_rank=_none(tests["rank"]),
        rank_kind=rank_kind,
        hedges_g=_none(g[0]),
        g_low=_none(g[1]),
        g_high=_none(g[2]),
        shift=pw.hodges_lehmann(b, a, paired=paired),
        p_smallest=_none(least),
        detectable=_none(detectable),
        runs_needed=_none(needed),
        blocks=blocks or "",
        values_base=_kept(b),
        values_arm=_kept(a),
    )


def _least(runs: float, paired: bool, limit: int) -> float:
    return sig.smallest_p(int(runs), int(runs), paired=paired, limit=limit)


def _kept(values: sig.Floats) -> tuple[float, ...]:
    """Return the values to show, in order of rows: all, or `SHOWN` of them evenly spaced."""
    if len(values) > SHOWN:
        values = values[np.linspace(0, len(values) - 1, SHOWN).round().astype(int)]
    return tuple(float(one) for one in values)


def _call(
    base: str,
    value: str,
    better: str | Mapping[str, str],
    paired: bool,
    simulated: bool | None,
    test: str,
    by: Sequence[str],
    arm: str,
    alpha: float,
) -> str:
    """Return the call that makes the comparison again, without what is as usual."""
    told = [f"base={base!r}"]
    told += [f"value={value!r}"] * (value != "value")
    told += [f"better={better!r}"] * (better != "lower")
    told += [f"arm={arm!r}"] * (arm not in ("arm", "policy"))
    told += ["paired=True"] * paired
    told += [f"simulated={simulated!r}"] * (simulated is not None)
    told += [f"alpha={alpha!r}"] * (alpha != ALPHA)
    told += [f"by={list(by)!r}"] * bool(by)
    told += [f"test={test!r}"] * (test != "permutation")
    return f"swaplib.compare(runs, {', '.join(told)})"


def _none(number: float) -> float | None:
    """Return a number that JSON can hold."""
    return float(number) if math.isfinite(number) else None
