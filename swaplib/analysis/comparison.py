"""What came of comparing arms: one object that is a frame, a text for a mail, Markdown, JSON and pictures."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import TYPE_CHECKING, Any

import pandas as pd

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ALPHA = 0.05
SHOWN = 1_000  # values of an arm that are kept to be shown
FORMAT = 1  # of the JSON


@dataclass(frozen=True)
class Result:
    """One arm against the base in one metric; None where a number cannot be had. Intervals are those of 1 - alpha.

    metric, unit, better ("lower" or "higher"), base, arm: what is compared.
    n, mean, sd, median: of the base and of the arm.
    difference: arm minus base; ratio: arm over base, both of means, with low and high.
    p: of the test named before looking; p_holm: adjusted for all lines of the table.
    p_permutation, permutation_kind ("exact", "Monte Carlo", "normal"), splits; p_welch, t, df; p_rank, rank_kind.
    hedges_g, g_low, g_high: the difference in standard deviations.
    shift: Hodges and Lehmann's, in the metric's unit.
    p_smallest: the least p that so many runs can give.
    detectable: the least true difference that so many runs see with 80 % power; runs_needed: runs an arm that see the
    observed difference with 80 % power.
    blocks: "order" if all runs of one arm were made before the other's, "rows" if only the rows say so, else "".
    values_base, values_arm: in order of rows; of more than 1,000, so many evenly spaced ones.
    """

    metric: str
    unit: str
    better: str
    base: str
    arm: str
    n_base: int
    n_arm: int
    mean_base: float
    mean_arm: float
    sd_base: float | None
    sd_arm: float | None
    median_base: float
    median_arm: float
    difference: float
    difference_low: float | None
    difference_high: float | None
    ratio: float | None
    ratio_low: float | None
    ratio_high: float | None
    p: float | None
    p_holm: float | None
    p_permutation: float | None
    permutation_kind: str
    splits: int
    p_welch: float | None
    t: float | None
    df: float | None
    p_rank: float | None
    rank_kind: str
    hedges_g: float | None
    g_low: float | None
    g_high: float | None
    shift: float
    p_smallest: float | None
    detectable: float | None
    runs_needed: float | None
    blocks: str
    values_base: tuple[float, ...] = field(repr=False)
    values_arm: tuple[float, ...] = field(repr=False)

    @property
    def change_percent(self) -> tuple[float, float, float]:
        """The change of the mean in percent of the base's, with its interval; NaN where there is none."""
        change, low, high = (
            math.nan if one is None else 100 * (one - 1)
            for one in (self.ratio, self.ratio_low, self.ratio_high)
        )
        return change, low, high


@dataclass(frozen=True)
class Caution:
    """What a statistician would say of a line of the table, or of the whole (no metric, no arm).

    code: one word for programs, such as "too-few"; text: a sentence for people.
    """

    code: str
    metric: str
    arm: str
    text: str


@dataclass(frozen=True)
class Comparison:
    """Arms compared with a base arm; made by `swaplib.compare`.

    results: one for each metric and arm.
    base, paired, simulated, test, alpha: as they were compared.
    setting: kernel, machine and swap_device where given. command: what makes this again.
    cautions: what to consider before believing it.
    """

    results: tuple[Result, ...]
    base: str
    paired: bool
    simulated: bool
    test: str
    alpha: float
    setting: Mapping[str, str]
    command: str
    cautions: tuple[Caution, ...]

    def __getitem__(self, key: str | tuple[str, str]) -> Result:
        """Return the result of a metric, or of (metric, arm) where there are several arms."""
        metric, arm = key if isinstance(key, tuple) else (key, None)
        found = [one for one in self.results if one.metric == metric and arm in (None, one.arm)]
        if len(found) != 1:
            known = ", ".join(f"({one.metric!r}, {one.arm!r})" for one in self.results[:8])
            raise KeyError(f"{key!r} is {'no' if not found else 'more than one'} result; there are {known}")
        return found[0]

    def verdict(self, result: Result) -> str:
        """Return "better" or "worse", "~" if not significant, "not tested", or "simulated"."""
        if self.simulated:
            return "simulated"
        if result.p_holm is None:
            return "not tested"
        if result.p_holm > self.alpha:
            return "~"
        return "better" if (result.difference < 0) == (result.better == "lower") else "worse"

    def is_fragile(self, result: Result) -> bool:
        """Return whether permutation, Welch and rank test disagree about significance."""
        p = [one for one in (result.p_permutation, result.p_welch, result.p_rank) if one is not None]
        return len({one <= self.alpha for one in p}) > 1

    def df(self) -> pd.DataFrame:
        """Return one row a result.

        Returns
        -------
        DataFrame
            The fields of `Result` but for the values (NaN for None), change_percent, change_low_percent and
            change_high_percent, verdict and fragile.
        """
        rows = []
        for one in self.results:
            row = {f.name: getattr(one, f.name) for f in fields(one) if not f.name.startswith("values_")}
            row |= dict(
                zip(
                    ("change_percent", "change_low_percent", "change_high_percent"),
                    one.change_percent,
                    strict=True,
                )
            )
            rows.append(row | {"verdict": self.verdict(one), "fragile": self.is_fragile(one)})
        frame = pd.DataFrame(rows)
        for f in fields(Result):
            if "float" in str(f.type) and f.name in frame:
                frame[f.name] = frame[f.name].astype(float)
        return frame

    def text(self) -> str:
        """Return plain text of at most 80 columns, ready for a mail, in the grammar of benchstat."""
        from swaplib.analysis.mail import as_text

        return as_text(self)

    def markdown(self) -> str:
        """Return the same as `text` as Markdown, names escaped."""
        from swaplib.analysis.mail import as_markdown

        return as_markdown(self)

    def json(self) -> str:
        """Return JSON that `from_json` reads back as an equal comparison."""
        return json.dumps({"format": FORMAT, **asdict(self)}, ensure_ascii=True, allow_nan=False, indent=1)

    @classmethod
    def from_json(cls, text: str) -> Comparison:
        """Return the comparison that `json` wrote."""
        told: dict[str, Any] = json.loads(text)
        if not isinstance(told, dict) or told.pop("format", None) != FORMAT:
            raise ValueError(f"this JSON is no comparison of format {FORMAT}")
        results = [
            Result(
                **{**one, "values_base": tuple(one["values_base"]), "values_arm": tuple(one["values_arm"])}
            )
            for one in told.pop("results")
        ]
        noted = tuple(Caution(**one) for one in told.pop("cautions"))
        return cls(results=tuple(results), cautions=noted, **told)

    def plot(self, metric: str | tuple[str, str] | None = None, kind: str = "estimation") -> Figure:
        """Draw one result: the first, or that of a metric or (metric, arm).

        Parameters
        ----------
        metric
            See `__getitem__`.
        kind
            "estimation" (all values, and the difference with its interval before what chance alone gives), "order"
            (values in order of runs: drift) or "power" (the chance of seeing a difference, by runs).
        """
        from swaplib.analysis.estimation import plot_estimation, plot_order, plot_power

        kinds = {"estimation": plot_estimation, "order": plot_order, "power": plot_power}
        if kind not in kinds:
            raise ValueError(f"kind is {kind!r}; expected one of {', '.join(kinds)}")
        return kinds[kind](self, self.results[0] if metric is None else self[metric])

    def __str__(self) -> str:
        return self.text()

    def _repr_markdown_(self) -> str:
        return self.markdown()
