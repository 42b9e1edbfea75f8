"""A notebook's parameters, refused before anything runs unless they are what it expects."""

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
    """Refuse a notebook's parameters by a ValueError with a line for each that is not what it must be.

    `namespace` is the notebook's ``globals()``; `specs` say by name what each must be: one of a list's items;
    a whole number in a range; a finite number within a tuple ``(low, high)``, ends included, None leaving an
    end open; of the type ``str``, ``bool``, ``int`` or ``float`` (a whole number is a float too); or `each`
    of these. Another specification is a TypeError, one for a parameter that is not there a NameError.
    """
    problems = []
    for name, spec in specs.items():
        if name not in namespace:
            raise NameError(f"check_parameters has a specification for {name!r}, which the notebook lacks")
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
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    is_whole = is_number and isinstance(value, int)
    if isinstance(spec, Each):
        return False, f"a list of one or more items, each {_judge(None, spec.spec)[1]}"
    if isinstance(spec, list) and spec:
        fits = any(one == value and type(one) in (type(value), float if is_whole else None) for one in spec)
        hint = " (it was read as a number: quote it; for papermill take -r instead of -p)"
        return fits, f"one of {', '.join(map(repr, spec))}{hint if str(value) in spec else ''}"
    if isinstance(spec, range) and spec:
        step = "" if spec.step == 1 else f" in steps of {spec.step}"
        return is_whole and value in spec, f"a whole number from {spec[0]} to {spec[-1]}{step}"
    if type(spec) is tuple and len(spec) == 2 and all(isinstance(end, int | float | None) for end in spec):
        low, high = (math.inf * sign if end is None else end for sign, end in zip((-1, 1), spec, strict=True))
        return is_number and low <= value <= high, f"a number from {low} to {high}"
    named = {str: "text", bool: "True or False", int: "a whole number", float: "a number"}
    if isinstance(spec, type) and spec in named:
        fits = {int: is_whole, float: is_number}.get(spec, isinstance(value, spec))
        return fits, named[spec]
    raise TypeError(
        f"{spec!r} is not a specification; expected a list, a range, a tuple (low, high), "
        "one of str, bool, int, float, or swaplib.each(...)"
    )
