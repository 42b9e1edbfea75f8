"""Published numbers beside computed ones, with the difference and a verdict that names the rounding."""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import suppress
from decimal import ROUND_DOWN, ROUND_HALF_UP, Decimal, InvalidOperation
from typing import Any

import pandas as pd

EQUAL, ROUNDED, TRUNCATED, DIFFERS = "equal", "equal when rounded", "equal when truncated", "differs"
Numbers = pd.Series | Mapping[Any, Any]  # by key; a Series by its index, of one or several levels
_COLUMNS = ["unit", "published", "computed", "difference", "difference_percent", "verdict"]


def reproduce(
    published: Numbers, computed: Numbers, *, unit: str = "", tolerance_percent: float = 0
) -> pd.DataFrame:
    """Set published numbers beside computed ones of the same keys, in any order, and judge each.

    Published numbers are texts (``load(name, printed=True)``), whole numbers or Decimals: how exactly one
    must be met follows from how it was printed, "0.30" claims two decimals. One row a number, as `published`
    has them: the keys (item where they have no name), unit, published, computed, difference (computed -
    published), difference_percent (of the published number; NaN if that is zero), verdict. Other keys, or a
    number that cannot be compared, are a ValueError or TypeError.
    """
    said, ours = pd.Series(published, dtype=object), pd.Series(computed, dtype=object)
    for key in [*said.index, *ours.index]:
        if (list(said.index).count(key), list(ours.index).count(key)) != (1, 1):
            raise ValueError(f"{key} is not once in published and once in computed; expected the same keys")
    rows, pairs = [], zip(said.index.tolist(), said, strict=True)
    for key, number in pairs:
        try:
            judged = verdict(number, ours[key], tolerance_percent)
        except (TypeError, ValueError) as error:
            raise type(error)(f"{key}: {error}") from None
        text = str(number).strip().removesuffix("%").strip()
        exact, printed = _decimal("computed", ours[key]), _decimal("published", text)
        percent = float(100 * (exact - printed) / abs(printed)) if printed else math.nan
        rows.append((unit, text, float(exact), float(exact - printed), percent, judged))
    index = said.rename_axis("item").index if said.index.names == [None] else said.index
    return pd.concat([index.to_frame(index=False), pd.DataFrame(rows, columns=_COLUMNS)], axis=1)


def verdict(published: object, computed: object, tolerance_percent: float = 0) -> str:
    """Judge one computed number by how the published one was printed: the first that holds.

    "equal", where a float counts with 14 digits; "equal when rounded" to the printed decimals, halves away
    from zero; "equal when truncated": digits were cut off, or a half was rounded otherwise, which the printed
    number cannot tell apart; "within x %" of the published number, x being the tolerance; "differs".
    """
    if isinstance(published, float):
        lost = "is a float, which has lost its printed decimals; expected text"
        raise TypeError(f"the published number {published!r} {lost}, as load(name, printed=True) gives")
    exact, printed = _decimal("computed", computed), _decimal("published", published)
    if exact == printed:
        return EQUAL
    last_digit = Decimal(1).scaleb(int(printed.as_tuple().exponent))
    for rounding, words in ((ROUND_HALF_UP, ROUNDED), (ROUND_DOWN, TRUNCATED)):
        if (exact / last_digit).to_integral_value(rounding) * last_digit == printed:
            return words
    is_near = abs(exact - printed) <= abs(printed) * Decimal(tolerance_percent) / 100
    return f"within {tolerance_percent:g} %" if is_near else DIFFERS


def _decimal(which: str, number: object) -> Decimal:
    """Return a number exactly, a float without the noise of its last digits; percent signs are left out."""
    text = f"{number:.14g}" if isinstance(number, float) else str(number).replace("−", "-")
    with suppress(InvalidOperation):
        value = Decimal(text.strip().removesuffix("%").strip())
        if value.is_finite():
            return value
    raise ValueError(f"the {which} number is {number!r}; expected a finite number")
