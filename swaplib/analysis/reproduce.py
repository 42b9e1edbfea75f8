"""Published numbers beside computed ones, with the difference and a verdict that names the rounding."""

from __future__ import annotations

import math
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from numbers import Integral, Real

import pandas as pd

__all__ = ["DIFFERS", "EQUAL", "ROUNDED", "TRUNCATED", "reproduce", "verdict"]

EQUAL = "equal"
ROUNDED = "equal when rounded"
TRUNCATED = "equal when truncated"
DIFFERS = "differs"

_COLUMNS = ["unit", "published", "computed", "difference", "difference_percent", "verdict"]

Table = pd.Series | pd.DataFrame | Mapping[str, object]


def reproduce(
    published: Table, computed: Table, *, unit: str | Mapping[str, str] = "", tolerance_percent: float = 0.0
) -> pd.DataFrame:
    """Set published numbers beside computed ones and judge each.

    How exactly a number must be met follows from how it was printed, so published numbers are texts
    (``load(name, printed=True)``), whole numbers or Decimals: the text "0.30" claims two decimals, a float cannot.

    Parameters
    ----------
    published, computed : Series, DataFrame or mapping
        Both with the same keys, in any order. A Series has its index as keys (several levels become several columns,
        an unnamed one is called "item"); a DataFrame's index and column names together are the keys; a mapping goes
        from item to number.
    unit : str or mapping of str to str
        The unit of all, or one for each value of the last key (a DataFrame's column names).
    tolerance_percent : float
        Numbers that no rounding explains are "within x %" up to this difference in percent of the published number.

    Returns
    -------
    DataFrame
        One row per number, in the order of `published`: the keys, then unit, published (text, as printed), computed
        (float), difference (computed - published), difference_percent (of the published number; NaN where that is
        zero) and verdict, as `verdict` gives it.

    Raises
    ------
    ValueError
        If keys do not agree or repeat, or a number is none; the message names the key.
    TypeError
        If a published number is a float.
    """
    left, right = _as_series(published), _as_series(computed)
    _check_keys(left.index, right.index)
    ours = dict(zip(right.index, right, strict=True))
    rows = [_row(key, said, ours[key], unit, tolerance_percent) for key, said in left.items()]
    return pd.concat([left.index.to_frame(index=False), pd.DataFrame(rows, columns=_COLUMNS)], axis=1)


def verdict(published: object, computed: object, *, tolerance_percent: float = 0.0) -> str:
    """Judge one computed number by how the published one was printed.

    Parameters
    ----------
    published : str, int or Decimal
        The number as printed; a percent sign at its end is ignored.
    computed : float, int, Decimal or Fraction
        The number as computed.
    tolerance_percent : float
        See `reproduce`.

    Returns
    -------
    str
        The first that holds of

        - "equal": the same number;
        - "equal when rounded": to the printed decimals, halves away from zero (1204.6 printed as 1205);
        - "equal when truncated": the further digits were cut off (1204.6 printed as 1204). A half that was rounded
          towards zero or to even falls here too (1204.5 printed as 1204): the printed number cannot tell them apart;
        - "within x %": the difference is at most `tolerance_percent` of the published number;
        - "differs".

        A computed float counts with 14 significant digits, so that 0.1 + 0.2 equals "0.3"; other numbers are exact.

    Raises
    ------
    ValueError
        If either is no finite number or the tolerance is negative.
    TypeError
        If the published number is a float, whose printed decimals are lost.
    """
    return _judge(_printed(published), _exact(computed), tolerance_percent)


def _row(
    key: object, said: object, ours: object, unit: str | Mapping[str, str], tolerance_percent: float
) -> dict:
    """Compare one pair of numbers."""
    last = str(key[-1] if isinstance(key, tuple) else key)
    if not isinstance(unit, str) and last not in unit:
        raise ValueError(
            f"{_called(key)}: unit has no entry for {last!r}; it has {', '.join(map(str, unit))}"
        )
    try:
        printed, computed = _printed(said), _exact(ours)
        judged = _judge(printed, computed, tolerance_percent)
    except (TypeError, ValueError) as error:
        raise type(error)(f"{_called(key)}: {error}") from None
    difference = computed - Fraction(printed)
    return {
        "unit": unit if isinstance(unit, str) else unit[last],
        "published": _bare(said),
        "computed": float(computed),
        "difference": float(difference),
        "difference_percent": float(100 * difference / abs(Fraction(printed))) if printed else math.nan,
        "verdict": judged,
    }


def _judge(printed: Decimal, computed: Fraction, tolerance_percent: float) -> str:
    """Give the first verdict that holds."""
    if not 0 <= tolerance_percent < math.inf:
        raise ValueError(
            f"tolerance_percent is {tolerance_percent}; expected a number of percent, at least 0"
        )
    said = Fraction(printed)
    if computed == said:
        return EQUAL
    last_digit = Fraction(10) ** int(printed.as_tuple().exponent)
    sign, size = (1 if computed >= 0 else -1), abs(computed) / last_digit
    if sign * math.floor(size + Fraction(1, 2)) * last_digit == said:
        return ROUNDED
    if sign * math.floor(size) * last_digit == said:
        return TRUNCATED
    if abs(computed - said) <= abs(said) * Fraction(tolerance_percent) / 100:
        return f"within {tolerance_percent:g} %"
    return DIFFERS


def _printed(number: object) -> Decimal:
    """Read a published number with the decimals it was printed with."""
    if isinstance(number, float):
        raise TypeError(
            f"the published number {number!r} is a float, which has lost its printed decimals; expected text, a whole "
            "number or a Decimal, as load(name, printed=True) gives"
        )
    try:
        value = Decimal(_bare(number).replace("−", "-"))
    except InvalidOperation:
        raise ValueError(f"the published number is {number!r}; expected a number") from None
    if not value.is_finite():
        raise ValueError(f"the published number is {number!r}; expected a finite number")
    return value


def _bare(number: object) -> str:
    """Give a published number's text without its percent sign."""
    return str(number).strip().removesuffix("%").strip()


def _exact(number: object) -> Fraction:
    """Take a computed number as the fraction it is, a float without the noise of its last digits."""
    if isinstance(number, bool) or not isinstance(number, (Decimal, Fraction, Integral, Real)):
        raise ValueError(f"the computed number is {number!r}; expected a number")
    if not math.isfinite(number):
        raise ValueError(f"the computed number is {number!r}; expected a finite number")
    if isinstance(number, Integral):
        return Fraction(int(number))
    return Fraction(number) if isinstance(number, (Decimal, Fraction)) else Fraction(f"{float(number):.14g}")


def _as_series(table: Table) -> pd.Series:
    """Bring a table into one column whose index is the keys, all of them named."""
    if isinstance(table, pd.DataFrame):
        if table.columns.nlevels > 1:
            raise ValueError("a DataFrame's columns have several levels; expected one")
        series = pd.Series(table.stack())  # noqa: PD013 - a row per cell, keyed by index and column
    elif isinstance(table, pd.Series):
        series = table.copy()
    elif isinstance(table, Mapping):
        series = pd.Series(list(table.values()), index=pd.Index(list(table), name="item"), dtype="object")
    else:
        raise TypeError(f"expected a Series, a DataFrame or a mapping, got {type(table).__name__}")
    names = [name if name is not None else "item" for name in series.index.names]
    if len(set(names)) < len(names):
        names = [*[f"item{place}" for place in range(1, len(names))], "item"]
    series.index = series.index.set_names(names)
    return series


def _check_keys(published: pd.Index, computed: pd.Index) -> None:
    """Refuse keys that repeat or that only one side has."""
    for side, index in (("published", published), ("computed", computed)):
        if index.has_duplicates:
            raise ValueError(
                f"{_called(index[index.duplicated()][0])} stands twice in {side}; expected each key once"
            )
    if published.nlevels != computed.nlevels:
        raise ValueError(f"published has {published.nlevels} keys a number, computed {computed.nlevels}")
    for one, other, here, there in (
        (published, computed, "published", "computed"),
        (computed, published, "computed", "published"),
    ):
        lonely = one[~one.isin(other)]
        if len(lonely):
            raise ValueError(f"{_called(lonely[0])} is in {here} but not in {there}; expected the same keys")


def _called(key: object) -> str:
    return ", ".join(str(part) for part in key) if isinstance(key, tuple) else str(key)
