"""Check a notebook's parameters before anything runs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["Each", "check_parameters", "each"]


@dataclass(frozen=True)
class Each:
    """A non-empty list whose items each satisfy ``spec``; made by `each`."""

    spec: Any


def each(spec: Any) -> Each:
    """Expect a non-empty list whose items each satisfy a specification.

    Parameters
    ----------
    spec : list, range, tuple or type
        What every item must be, as in `check_parameters`.

    Returns
    -------
    Each
        A specification for `check_parameters`.

    Examples
    --------
    >>> check_parameters({"sizes_kib": [4, 64]}, sizes_kib=each([4, 16, 64]))
    """
    _expectation(spec)
    return Each(spec)


def check_parameters(namespace: Mapping[str, Any], **specs: Any) -> None:
    """Refuse a notebook's parameters unless every one is what the notebook expects.

    Parameters
    ----------
    namespace : mapping
        The notebook's ``globals()``.
    **specs
        What each parameter must be, by its name:

        - a list: one of its items,
        - a range: a whole number in it (no bool, no float),
        - a tuple ``(low, high)``: a finite number between them, ends included; None leaves an end open,
        - ``str``, ``bool``, ``int`` or ``float``: of that type (a whole number is a float too; floats are finite),
        - ``each(spec)``: a non-empty list whose items each satisfy ``spec``.

    Raises
    ------
    ValueError
        One message with a line for every parameter that is wrong.
    NameError
        If a specification names a parameter that the notebook does not define.
    TypeError
        If a specification is none of the above.

    Examples
    --------
    >>> check_parameters({"page_kib": 5}, page_kib=[4, 16, 64])
    Traceback (most recent call last):
    ValueError: parameter 'page_kib' is 5; expected one of 4, 16, 64
    """
    undefined = [name for name in specs if name not in namespace]
    if undefined:
        raise NameError(
            f"check_parameters has a specification for {', '.join(map(repr, undefined))}, which the notebook lacks; "
            "define it in the cell tagged 'parameters'"
        )
    problems = [problem for name, spec in specs.items() for problem in _problems(name, namespace[name], spec)]
    if problems:
        raise ValueError("\n".join(problems))


def _problems(name: str, value: Any, spec: Any) -> list[str]:
    """List what is wrong with one parameter, as sentences."""
    expected = _expectation(spec)
    if not isinstance(spec, Each):
        if _fits(value, spec):
            return []
        return [f"parameter {name!r} is {value!r}; expected {expected}{_hint(value, spec)}"]
    if not isinstance(value, list) or not value:
        return [f"parameter {name!r} is {value!r}; expected {expected}"]
    return [
        f"parameter {name!r}, item {position} is {item!r}; expected {_expectation(spec.spec)}{_hint(item, spec.spec)}"
        for position, item in enumerate(value, start=1)
        if not _fits(item, spec.spec)
    ]


def _hint(value: Any, spec: Any) -> str:
    """Help where a text such as 6.18 arrived as a number."""
    wanted = isinstance(spec, list) and str(value) in spec
    return " (it was read as a number: quote it; for papermill take -r instead of -p)" if wanted else ""


def _fits(value: Any, spec: Any) -> bool:
    """Tell whether a value satisfies a specification."""
    if isinstance(spec, list):
        return any(_same(value, item) for item in spec)
    if isinstance(spec, range):
        return _is_whole(value) and value in spec
    if isinstance(spec, tuple):
        low, high = spec
        return _is_number(value) and (low is None or value >= low) and (high is None or value <= high)
    if isinstance(spec, Each):
        return isinstance(value, list) and bool(value) and all(_fits(item, spec.spec) for item in value)
    if spec is int:
        return _is_whole(value)
    if spec is float:
        return _is_number(value)
    return isinstance(value, spec)


def _expectation(spec: Any) -> str:
    """Say in words what a specification expects, refusing what is none."""
    words = {str: "text", bool: "True or False", int: "a whole number", float: "a number"}
    if isinstance(spec, type) and spec in words:
        return words[spec]
    if isinstance(spec, list) and spec:
        return f"one of {', '.join(map(repr, spec))}"
    if isinstance(spec, range) and len(spec):
        step = "" if abs(spec.step) == 1 else f" in steps of {abs(spec.step)}"
        return f"a whole number from {spec[0]} to {spec[-1]}{step}"
    if isinstance(spec, tuple) and len(spec) == 2 and all(end is None or _is_number(end) for end in spec):
        low, high = spec
        if low is None and high is None:
            return "a finite number"
        if low is None:
            return f"a number of at most {high!r}"
        return f"a number of at least {low!r}" if high is None else f"a number from {low!r} to {high!r}"
    if isinstance(spec, Each):
        return f"a list of one or more items, each {_expectation(spec.spec)}"
    raise TypeError(
        f"{spec!r} is not a specification; expected a list, a range, a tuple (low, high), "
        "one of str, bool, int, float, or swaplib.each(...)"
    )


def _same(value: Any, item: Any) -> bool:
    """Compare as a reader would: 4 is 4.0's whole number, but True is not 1."""
    if type(value) is not type(item) and not (isinstance(item, float) and _is_whole(value)):
        return False
    return bool(value == item)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return _is_whole(value) or (isinstance(value, float) and math.isfinite(value))
