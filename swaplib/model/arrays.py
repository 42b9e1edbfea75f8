"""Arrays of whole numbers, checked once where they enter the model."""

from __future__ import annotations

from numbers import Integral
from typing import Any

import numpy as np
import numpy.typing as npt


def whole_numbers(what: str, values: npt.ArrayLike, low: int, high: int) -> npt.NDArray[Any]:
    """Return `values` as an array of whole numbers from `low` to `high`.

    Parameters
    ----------
    what : str
        What an error calls the values.
    values : number or array
        Whole numbers of any integer type; lists may mix them.
    low, high : int
        The smallest and the largest value allowed.

    Returns
    -------
    array
        Of the shape of `values`, with an integer or object dtype: convert it to the dtype that the range needs.

    Raises
    ------
    TypeError
        If a value is a float, bool or text.
    ValueError
        If a value is out of range; the message gives its index.
    """
    array = np.asarray(values)
    if array.size == 0:
        return array.astype(np.int64)
    if array.dtype.kind == "f" and not isinstance(
        values, np.ndarray
    ):  # how numpy mixes signed and unsigned numbers
        array = np.asarray(values, dtype=object)
    if array.dtype.kind == "O" and all(
        isinstance(value, Integral) and not isinstance(value, bool) for value in array.flat
    ):
        kept = np.array([low <= value <= high for value in array.flat], dtype=np.bool_).reshape(array.shape)
    elif array.dtype.kind in "iu":
        kept = (array >= low) & (array <= high)
    else:
        raise TypeError(
            f"{what} is of type {np.asarray(values).dtype}; expected whole numbers of {low} to {high}"
        )
    if not kept.all():
        where = tuple(int(i) for i in np.argwhere(~kept)[0])
        at = f"[{', '.join(map(str, where))}]" if where else ""
        raise ValueError(f"{what}{at} is {array[where]}; expected {low} to {high}")
    return array
