"""The refusals that values of the model share: what was wrong, where, and what would be right."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from numbers import Integral


def at_least(what: str, value: object, low: int, high: int | None = None) -> int:
    """Return `value` when it is a whole number from `low` to `high`; else raise a ValueError that names `what`."""
    bounds = f"of at least {low}" if high is None else f"from {low} to {high}"
    if isinstance(value, bool) or not isinstance(value, (int, Integral)):
        raise ValueError(f"{what} is {value!r}; expected a whole number {bounds}")
    number = int(value)
    if number < low or (high is not None and number > high):
        raise ValueError(f"{what} is {number}; expected a whole number {bounds}")
    return number


def one_of(what: str, value: object, choices: Iterable[object]) -> None:
    """Raise a ValueError that names `what` and the choices unless `value` is one of them."""
    choices = list(choices)
    if value not in choices:
        raise ValueError(f"{what} is {value!r}; expected one of {', '.join(map(str, choices))}")


def printable(text: str) -> str:
    """Escape what would move a cursor, reverse the reading direction or break a line; the rest stays.

    Parameters
    ----------
    text : str
        A name that somebody else chose.

    Returns
    -------
    str
        One line.
    """
    unsafe = ("Cc", "Cf", "Cs", "Co", "Zl", "Zp")
    return "".join(ascii(c)[1:-1] if unicodedata.category(c) in unsafe else c for c in text)
