"""The refusals that all values of the model share: what was wrong, where, and what would be right."""

import math
import unicodedata
from collections.abc import Iterable
from enum import IntEnum
from functools import cache
from numbers import Integral
from types import UnionType
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import numpy as np
import numpy.typing as npt


def at_least(what: str, value: object, low: int, high: int | None = None) -> int:
    """Return a whole number from `low` to `high`; another value is a ValueError that names `what`."""
    bounds = f"of at least {low}" if high is None else f"from {low} to {high}"
    if isinstance(value, bool | np.bool_) or not isinstance(value, Integral):
        raise ValueError(f"{what} is {value!r}; expected a whole number {bounds}")
    number = int(value)  # numpy's may overflow in a product
    if number < low or (high is not None and number > high):
        raise ValueError(f"{what} is {number}; expected a whole number {bounds}")
    return number


def one_of(what: str, value: object, choices: Iterable[object]) -> None:
    """Raise a ValueError that names `what` and the choices unless `value` is one of them."""
    choices = list(choices)
    if value not in choices:
        raise ValueError(f"{what} is {value!r}; expected one of {', '.join(map(str, choices))}")


@cache
def _fields(record: Any) -> list[tuple[str, Any, float, float]]:
    """Return each field of a dataclass: name, annotation, and the bounds of a right whole number."""
    found = []
    for name, kind in get_type_hints(record, include_extras=True).items():
        parts = get_args(kind)
        is_bounded = get_origin(kind) is Annotated and parts[0] is int
        low, high = (parts[1], (*parts, math.inf)[2]) if is_bounded else (1, 0)
        found.append((name, kind, low, high))
    return found


def check_fields(where: str, record: Any) -> None:
    """Check a frozen dataclass by its annotations; a field that is wrong is a ValueError that names it.

    ``Annotated[int, low, high]`` asks for a whole number, ``Annotated[str, ...]`` for one of these words, a
    type for a value of it, an IntEnum also for a name in lower case. Lists become tuples.
    """
    for name, kind, low, high in _fields(record.__class__):
        value = getattr(record, name)
        if type(value) is not int or not low <= value <= high:  # most are right, and need no closer look
            object.__setattr__(record, name, _checked(where + name, value, kind))


def _checked(what: str, value: Any, kind: Any) -> Any:
    origin, parts = get_origin(kind), get_args(kind)
    if origin is Annotated and parts[0] is int:
        return at_least(what, value, *parts[1:])
    if origin is Annotated:
        one_of(what, value, parts[1:])
    elif type(None) in parts:
        return value if value is None else _checked(what, value, parts[0])
    elif isinstance(kind, UnionType):  # its dataclass checks it
        return value
    elif isinstance(kind, type) and issubclass(kind, IntEnum) and isinstance(value, str):
        one_of(what, value, [member.name.lower() for member in kind])
        return kind[value.upper()]
    elif not isinstance(value, tuple | list if origin is tuple else origin or kind):
        raise ValueError(f"{what} is {value!r}; expected a {(origin or kind).__name__}")
    if origin is tuple:
        return tuple(_checked(f"{what}[{i}]", one, parts[0]) for i, one in enumerate(value))
    return value


def whole_numbers(what: str, values: npt.ArrayLike, low: int, high: int) -> npt.NDArray[np.int64]:
    """Return an array of whole numbers; another type is a TypeError, a number out of range a ValueError."""
    array = np.asarray(values)
    if array.size and array.dtype.kind not in "iu":
        raise TypeError(f"{what} is of type {array.dtype}; expected whole numbers of {low} to {high}")
    for place in np.argwhere((array < low) | (array > high)):
        at = f"[{', '.join(map(str, place))}]" if array.ndim else ""
        raise ValueError(f"{what}{at} is {array[tuple(place)]}; expected {low} to {high}")
    return array.astype(np.int64)


def printable(text: str) -> str:
    """Escape what would move a cursor, reverse the reading direction or break a line."""
    unsafe = ("Cc", "Cf", "Cs", "Co", "Zl", "Zp")
    return "".join(ascii(c)[1:-1] if unicodedata.category(c) in unsafe else c for c in text)
