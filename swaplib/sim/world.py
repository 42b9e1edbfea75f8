"""The arrays of one run as one object, which compiled functions pass among them as a single address.

numba passes a tuple of arrays by value, some 200 words at every call; that is most of the time of an event. So a world
also writes down where its arrays lie, and compiled code reads ``w.cpu`` through that table. Plain Python reads the
arrays themselves.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any

import numba
import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba.core import types
from numba.extending import (
    NativeValue,
    intrinsic,
    models,
    overload_attribute,
    register_model,
    typeof_impl,
    unbox,
)

from swaplib.sim import state

Table = npt.NDArray[np.int64]
Records = Any  # an np.recarray; its fields are known to numpy alone

_WORDS = 3  # address, rows, columns


@dataclass(frozen=True, eq=False)
class World:
    """The arrays of one run. The engine changes them in place; `with_arrays` replaces those that grow."""

    system: Records  # one record
    cpu: Records
    task: Records
    process: Records
    lock: Records
    operation: Records
    work: Records
    part: Records
    bag: Records  # the list, then a slot cache and an object page for each CPU
    queue: Records
    program: Table  # (PROGRAMS, 2): first operation, and one past the last
    lock_base: Table  # by kind of lock: index of the first instance, or -1 where nobody can contend
    heap: Table  # (events, 4): time, sequence, kind and argument, generation
    held: Table  # (tasks, MOST_HELD): locks held, innermost last; -1 for one that nobody else wants
    gather: Table  # (processes, GATHER_FIELDS): the patch's gathers
    shared: Table  # (SHARED_FIELDS,): the patch's counters
    limits: Table  # the patch's limits
    phases: Table  # (phases, 4): CPU time, pages and threads of the foreground, and when it ended
    time: Table  # (CPUs, categories)
    trace: Table  # (rows, 5): CPU, start, end, category, task
    sample: Table  # (rows, SAMPLE_COLUMNS)
    never: Table  # empty: no allocation fails
    always: Table  # [-1]: every allocation fails

    def with_arrays(self, **arrays: np.ndarray) -> World:
        """Return a world with some arrays replaced."""
        return replace(self, **arrays)

    @cached_property
    def directory(self) -> Table:
        """Address, rows and columns of every array, in the order of the fields."""
        rows = []
        for field in fields(self):
            array = np.asarray(getattr(self, field.name))
            if not array.flags.c_contiguous:
                raise ValueError(f"world: {field.name} is not contiguous")
            rows.append((array.ctypes.data, array.shape[0], array.shape[1] if array.ndim == 2 else 1))
        return np.array(rows, dtype=np.int64)

    @property
    def address(self) -> int:
        """Where the directory lies."""
        return int(self.directory.ctypes.data)


class _WorldType(types.Type):
    def __init__(self) -> None:
        super().__init__(name="swaplib.World")


world_type = _WorldType()


@typeof_impl.register(World)
def _typeof_world(value: World, context: Any) -> _WorldType:
    return world_type


@register_model(_WorldType)
class _WorldModel(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: _WorldType) -> None:
        super().__init__(manager, kind, ir.IntType(64))


@unbox(_WorldType)
def _unbox_world(kind: _WorldType, value: Any, c: Any) -> NativeValue:
    address = c.pyapi.object_getattr_string(value, "address")
    native = c.pyapi.long_as_longlong(address)
    c.pyapi.decref(address)
    return NativeValue(native)


def _reader(index: int, word: int, element: types.Type | None) -> Callable[..., Any]:
    """Return a compiled function that reads one word of the directory: a number, or a pointer to `element`."""

    @intrinsic
    def read(typing_context: Any, w: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            words = builder.inttoptr(arguments[0], ir.IntType(64).as_pointer())
            value = builder.load(builder.gep(words, [ir.Constant(ir.IntType(64), index * _WORDS + word)]))
            if element is None:
                return value
            return builder.inttoptr(value, context.get_value_type(types.CPointer(element)))

        return (types.int64 if element is None else types.CPointer(element))(w), generate

    return read


def _register(index: int, name: str, dtype: np.dtype, dimensions: int) -> None:
    """Let compiled code read one array of a world by its name."""
    pointer = _reader(index, 0, numba.from_dtype(dtype))
    rows, columns = _reader(index, 1, None), _reader(index, 2, None)

    @overload_attribute(_WorldType, name)
    def _attribute(w):  # type: ignore[no-untyped-def]  # numba compares the signatures
        if dimensions == 1:
            return lambda w: numba.carray(pointer(w), (rows(w),))
        return lambda w: numba.carray(pointer(w), (rows(w), columns(w)))


_RECORDS = {
    "system": state.SYSTEM,
    "cpu": state.CPU,
    "task": state.TASK,
    "process": state.PROCESS,
    "lock": state.LOCK,
    "operation": state.OPERATION,
    "work": state.WORK,
    "part": state.PART,
    "bag": state.BAG,
    "queue": state.QUEUE,
}
_VECTORS = ("lock_base", "shared", "limits", "never", "always")

for _index, _field in enumerate(fields(World)):
    _dtype = _RECORDS.get(_field.name, np.dtype(np.int64))
    _register(_index, _field.name, _dtype, 1 if _field.name in _RECORDS or _field.name in _VECTORS else 2)


def records(dtype: np.dtype, count: int, **fill: int) -> Records:
    """Return `count` records of zeros, with some fields set."""
    array = np.zeros(count, dtype=dtype).view(np.recarray)
    for name, value in fill.items():
        array[name] = value
    return array
