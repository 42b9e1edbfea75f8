"""Published numbers beside computed ones, with the difference and a verdict that names the rounding."""

from __future__ import annotations

import math
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from numbers import Real
from typing import Any

import pandas as pd

EQUAL = "equal"
ROUNDED = "equal when rounded"
TRUNCATED = "equal when truncated"
DIFFERS = "differs"
Numbers = pd.Series | Mapping[Any, Any]  # by key; a Series by its index, of one or several levels
_COLUMNS = ["unit", "published", "computed", "difference", "difference_percent", "verdict"]


def reproduce(
    published: Numbers, computed: Numbers, *, unit: str = "", tolerance_percent: float = 0
) -> pd.DataFrame:
    """Set published numbers beside computed ones and judge each.

    How exactly a number must be met follows from how it was printed, so published numbers are texts
    (``load(name, printed=True)``), whole numbers or Decimals: "0.30" claims two decimals, a float cannot.

    Parameters
    ----------
    published, computed
        Numbers under the same keys, in any order.
    unit, tolerance_percent
        Of all: the unit, and up to which percentage of the published number a difference is "within x %".

    Returns
    -------
    DataFrame
        One row a number, as `published` has them: the keys (item where they have no name), unit, published,
        computed, difference (computed - published), difference_percent (of the published number; NaN if that
        is zero), verdict.

    Raises
    ------
    ValueError, TypeError
        Keys differ or repeat, or a number cannot be compared; the message names the key.
    """
    left, right = _series("published", published), _series("computed", computed)
    said, ours = dict(left.items()), dict(right.items())
    for key in [*said, *ours]:
        if key not in said or key not in ours:
            here, there = ("published", "computed") if key in said else ("computed", "published")
            raise ValueError(f"{key} is in {here} but not in {there}; expected the same keys")
    rows = []
    for key, number in left.items():
        try:
            judged = verdict(number, ours[key], tolerance_percent=tolerance_percent)
        except (TypeError, ValueError) as error:
            raise type(error)(f"{key}: {error}") from None
        printed, exact = Fraction(_printed(number)), _exact(ours[key])
        percent = float(100 * (exact - printed) / abs(printed)) if printed else math.nan
        rows.append((unit, _bare(number), float(exact), float(exact - printed), percent, judged))
    return pd.concat([left.index.to_frame(index=False), pd.DataFrame(rows, columns=_COLUMNS)], axis=1)


def verdict(published: object, computed: object, *, tolerance_percent: float = 0) -> str:
    """Judge one computed number by how the published one was printed.

    Returns the first that holds of

    - "equal": the same number, where a float counts with 14 digits, so that 0.1 + 0.2 equals "0.3";
    - "equal when rounded": to the printed decimals, halves away from zero (1204.6 printed as 1205);
    - "equal when truncated": the further digits were cut off (1204.6 printed as 1204), or a half was rounded
      towards zero or to even (1204.5 printed as 1204): the printed number cannot tell them apart;
    - "within x %": the difference is at most `tolerance_percent` of the published number;
    - "differs".
    """
    if not 0 <= tolerance_percent < math.inf:
        raise ValueError(f"tolerance_percent is {tolerance_percent}; expected at least 0")
    printed, exact = _printed(published), _exact(computed)
    said = Fraction(printed)
    if exact == said:
        return EQUAL
    last_digit = Fraction(10) ** int(printed.as_tuple().exponent)
    sign, size = (1 if exact >= 0 else -1), abs(exact) / last_digit
    if sign * math.floor(size + Fraction(1, 2)) * last_digit == said:
        return ROUNDED
    if sign * math.floor(size) * last_digit == said:
        return TRUNCATED
    is_near = abs(exact - said) <= abs(said) * Fraction(tolerance_percent) / 100
    return f"within {tolerance_percent:g} %" if is_near else DIFFERS


def _printed(number: object) -> Decimal:
    """Read a published number with the decimals it was printed with."""
    if isinstance(number, float):
        lost = "is a float, which has lost its printed decimals; expected text"
        raise TypeError(f"the published number {number!r} {lost}, as load(name, printed=True) gives")
    try:
        value = Decimal(_bare(number).replace("−", "-"))
    except InvalidOperation:
        value = Decimal("nan")
    if not value.is_finite():
        raise ValueError(f"the published number is {number!r}; expected a finite number")
    return value


def _bare(number: object) -> str:
    """Return a published number's text without its percent sign."""
    return str(number).strip().removesuffix("%").strip()


def _exact(number: object) -> Fraction:
    """Return a computed number as the fraction it is, a float without the noise of its last digits."""
    if isinstance(number, bool) or not isinstance(number, (Decimal, Real)) or not math.isfinite(number):
        raise ValueError(f"the computed number is {number!r}; expected a finite number")
    return Fraction(f"{number:.14g}" if isinstance(number, float) else str(number))


def _series(side: str, numbers: Numbers) -> pd.Series:
    """Return numbers by key, each key once and the index named."""
    if not isinstance(numbers, (pd.Series, Mapping)):
        raise TypeError(f"{side}: expected a Series or a mapping, got {type(numbers).__name__}")
    series = pd.Series(numbers, dtype=object)
    if series.index.has_duplicates:
        repeated = series.index[series.index.duplicated()][0]
        raise ValueError(f"{repeated} stands twice in {side}; expected each key once")
    return series.rename_axis("item") if series.index.names == [None] else series
