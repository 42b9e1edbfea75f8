"""Check a notebook's parameters before anything runs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple


class Each(NamedTuple):
    """A non-empty list whose items each satisfy ``spec``; made by `each`."""

    spec: Any


def each(spec: Any) -> Each:
    """Expect a non-empty list whose items each satisfy `spec`, which is as in `check_parameters`."""
    _judge(None, spec)
    return Each(spec)


def check_parameters(namespace: Mapping[str, Any], **specs: Any) -> None:
    """Refuse a notebook's parameters unless every one is what the notebook expects.

    Parameters
    ----------
    namespace : mapping
        The notebook's ``globals()``.
    **specs
        What each parameter must be, by its name: one of a list's items; a whole number in a range; a finite
        number within a tuple ``(low, high)``, ends included, None leaving an end open; of the type ``str``,
        ``bool``, ``int`` or ``float`` (a whole number is a float too); or `each` of these.

    Raises
    ------
    ValueError
        One message with a line for every parameter that is wrong.
    NameError
        If a specification names a parameter that the notebook does not define.
    TypeError
        If a specification is none of the above.
    """
    problems = []
    for name, spec in specs.items():
        if name not in namespace:
            raise NameError(
                f"check_parameters has a specification for {name!r}, which the notebook lacks; "
                "define it in the cell tagged 'parameters'"
            )
        values = {"": namespace[name]}
        if isinstance(spec, Each) and isinstance(namespace[name], list) and namespace[name]:
            values = {f", item {place}": item for place, item in enumerate(namespace[name], 1)}
            spec = spec.spec
        for place, value in values.items():
            fits, expected = _judge(value, spec)
            if not fits:
                problems.append(f"parameter {name!r}{place} is {value!r}; expected {expected}")
    if problems:
        raise ValueError("\n".join(problems))


def _judge(value: Any, spec: Any) -> tuple[bool, str]:
    """Tell whether a value satisfies a specification, and in words what that expects; refuse what is none."""
    is_whole = _is_number(value) and isinstance(value, int)
    if isinstance(spec, Each):
        return False, f"a list of one or more items, each {_judge(None, spec.spec)[1]}"
    if isinstance(spec, list) and spec:
        fits = any(
            item == value and type(item) in (type(value), float if is_whole else None) for item in spec
        )
        hint = " (it was read as a number: quote it; for papermill take -r instead of -p)"
        return fits, f"one of {', '.join(map(repr, spec))}{hint if str(value) in spec else ''}"
    if isinstance(spec, range) and spec:
        step = "" if abs(spec.step) == 1 else f" in steps of {abs(spec.step)}"
        return is_whole and value in spec, f"a whole number from {spec[0]} to {spec[-1]}{step}"
    if type(spec) is tuple and len(spec) == 2 and all(end is None or _is_number(end) for end in spec):
        low, high = spec
        fits = _is_number(value) and (low is None or value >= low) and (high is None or value <= high)
        if low is None:
            return fits, "a finite number" if high is None else f"a number of at most {high!r}"
        return fits, f"a number of at least {low!r}" if high is None else f"a number from {low!r} to {high!r}"
    if spec in (str, bool):
        return isinstance(value, spec), "text" if spec is str else "True or False"
    if spec in (int, float):
        return (is_whole, "a whole number") if spec is int else (_is_number(value), "a number")
    raise TypeError(
        f"{spec!r} is not a specification; expected a list, a range, a tuple (low, high), "
        "one of str, bool, int, float, or swaplib.each(...)"
    )


def _is_number(value: Any) -> bool:
    """Tell whether a value is a finite number; True is none."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
