"""The refusals that all values of the model share: what was wrong, where, and what would be right."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from numbers import Integral
from typing import Any

import numpy as np
import numpy.typing as npt


def at_least(what: str, value: object, low: int, high: int | None = None) -> int:
    """Return a whole number from `low` to `high`; another value is a ValueError that names `what`."""
    bounds = f"of at least {low}" if high is None else f"from {low} to {high}"
    if isinstance(value, bool | np.bool_) or not isinstance(value, Integral):
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


def check_fields(where: str, record: object, **bounds: Any) -> None:
    """Check fields of a frozen dataclass; one that is wrong is a ValueError that names it.

    ``(low, high)`` asks for a whole number, a type for a value of it, a list of one of these for a tuple of
    them. Numbers of numpy become Python's, whose products do not overflow; lists become tuples.
    """
    for name, bound in bounds.items():
        what, value = where + name, getattr(record, name)
        if isinstance(bound, list):
            _checked(what, value, tuple | list)
            value = tuple(_checked(f"{what}[{i}]", one, bound[0]) for i, one in enumerate(value))
        object.__setattr__(record, name, value if isinstance(bound, list) else _checked(what, value, bound))


def _checked(what: str, value: Any, bound: Any) -> Any:
    if isinstance(bound, tuple):
        return at_least(what, value, *bound)
    if not isinstance(value, bound):
        raise ValueError(f"{what} is {value!r}; expected a {getattr(bound, '__name__', 'tuple')}")
    return value


def whole_numbers(what: str, values: npt.ArrayLike, low: int, high: int) -> npt.NDArray[Any]:
    """Return `values` as an array of whole numbers, of any integer dtype or object.

    A float, bool or text is a TypeError; a number outside `low` to `high` is a ValueError with its index.
    """
    array = np.asarray(values)
    if array.size == 0:
        return array.astype(np.int64)
    if array.dtype.kind == "f" and not isinstance(
        values, np.ndarray
    ):  # numpy's for signed and unsigned together
        array = np.asarray(values, dtype=object)
    kinds = {type(value) for value in array.flat} if array.dtype.kind == "O" else {array.dtype.type}
    if not all(issubclass(kind, Integral) and not issubclass(kind, bool) for kind in kinds):
        raise TypeError(
            f"{what} is of type {np.asarray(values).dtype}; expected whole numbers of {low} to {high}"
        )
    for place in np.argwhere((array < low) | (array > high)):
        at = f"[{', '.join(map(str, place))}]" if array.ndim else ""
        raise ValueError(f"{what}{at} is {array[tuple(place)]}; expected {low} to {high}")
    return array


def printable(text: str) -> str:
    """Escape what would move a cursor, reverse the reading direction or break a line."""
    unsafe = ("Cc", "Cf", "Cs", "Co", "Zl", "Zp")
    return "".join(ascii(c)[1:-1] if unicodedata.category(c) in unsafe else c for c in text)
