"""The records of one run as one object, which compiled functions pass among them as a single address.

numba passes an array as seven words and counts its references; with twenty arrays that would be most of the
time of an event, and of compiling. So a world also writes down where its arrays lie, and compiled code makes
``w.cpu[i]`` the address of one record. Plain Python, without the compiler, reads the arrays themselves.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

import numba
import numba.extending as extend
import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.core.typing import templates

from swaplib.sim import state

Records = Any  # a one-dimensional np.recarray; its fields are known to numpy alone


@dataclass(frozen=True, eq=False)
class World:
    """The records of one run, see `swaplib.sim.state`; the engine changes them in place."""

    system: Records  # one, as the next seven
    counter: Records
    policy: Records
    kernel: Records
    machine: Records
    storm: Records
    shared: Records
    limits: Records
    cpu: Records
    task: Records
    process: Records
    gather: Records  # one a process
    lock: Records
    operation: Records
    program: Records
    cost: Records
    work: Records
    portion: Records
    store: Records  # the list, then a slot cache and a page of zram objects for each CPU
    queue: Records
    event: Records
    phase: Records
    power: Records  # one for each 65,536th
    stretch: Records
    sample: Records

    @cached_property
    def directory(self) -> np.ndarray:
        """Address and length of every array, in the order of the fields."""
        arrays = [getattr(self, field.name) for field in fields(self)]
        return np.array([(array.ctypes.data, len(array)) for array in arrays], dtype=np.int64)

    @property
    def address(self) -> int:
        """Where the directory lies."""
        return int(self.directory.ctypes.data)


def records(dtype: np.dtype, count: int, none: str = "", **fill: Any) -> Records:
    """Return `count` records of zeros, with some fields at -1 and others set."""
    array = np.zeros(count, dtype=dtype)
    for name, value in (dict.fromkeys(none.split(), -1) | fill).items():
        array[name] = value  # of a recarray this takes ten times as long
    return array.view(np.recarray)


# What numba must know: the type of a world, of its arrays, and how a record is found.


class _WorldType(types.Type):
    pass


class _ArrayType(types.Type):
    def __init__(self, index: int, name: str) -> None:
        super().__init__(name=f"swaplib.World.{name}")
        self.index = index
        self.record = numba.from_dtype(getattr(state, name.upper()))


world_type = _WorldType("swaplib.World")
_ARRAYS = {field.name: _ArrayType(index, field.name) for index, field in enumerate(fields(World))}

extend.typeof_impl.register(World)(lambda world, context: world_type)


@extend.register_model(_WorldType)
@extend.register_model(_ArrayType)
class _AddressModel(extend.models.PrimitiveModel):  # of the directory, for a world and each of its arrays
    def __init__(self, manager: Any, kind: types.Type) -> None:
        super().__init__(manager, kind, ir.IntType(64))


@extend.unbox(_WorldType)
def _unbox_world(kind: _WorldType, value: Any, c: Any) -> extend.NativeValue:
    address = c.pyapi.object_getattr_string(value, "address")
    native = c.pyapi.long_as_longlong(address)
    c.pyapi.decref(address)
    return extend.NativeValue(native)


@extend.infer_getattr
class _Attributes(templates.AttributeTemplate):
    key = _WorldType

    def generic_resolve(self, world: Any, name: str) -> Any:
        return _ARRAYS.get(name)


@extend.lower_getattr_generic(_WorldType)
def _array(context: Any, builder: Any, kind: _WorldType, address: Any, name: str) -> Any:
    return address


@extend.type_callable(operator.getitem)
def _type_record(context: Any) -> Callable[..., Any]:
    return lambda array, index: array.record if isinstance(array, _ArrayType) else None


@extend.lower_builtin(operator.getitem, _ArrayType, types.Integer)
def _record(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    """Find a record; with NUMBA_BOUNDSCHECK=1 an index outside of the array, or below 0, is an IndexError."""
    array, integer = signature.args
    index = context.cast(builder, arguments[1], integer, types.int64)
    if context.enable_boundscheck:
        outside = builder.icmp_unsigned(">=", index, _word(builder, arguments[0], 2 * array.index + 1))
        with cgutils.if_unlikely(builder, outside):
            context.call_conv.return_user_exc(builder, IndexError, (f"{array.name}: index is out of bounds",))
    first = _word(builder, arguments[0], 2 * array.index)
    place = builder.add(first, builder.mul(index, ir.Constant(ir.IntType(64), array.record.size)))
    return builder.inttoptr(place, context.get_value_type(array.record))


@extend.type_callable(operator.setitem)
def _type_copy(context: Any) -> Callable[..., Any]:
    return lambda array, index, record: types.void if isinstance(array, _ArrayType) else None


@extend.lower_builtin(operator.setitem, _ArrayType, types.Integer, types.Record)
def _copy(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    array, index, _ = signature.args
    target = _record(context, builder, array.record(array, index), arguments[:2])
    cgutils.raw_memcpy(builder, target, arguments[2], ir.Constant(ir.IntType(64), array.record.size), 1)
    return context.get_dummy_value()


@extend.type_callable(len)
def _type_length(context: Any) -> Callable[..., Any]:
    return lambda array: types.int64 if isinstance(array, _ArrayType) else None


@extend.lower_builtin(len, _ArrayType)
def _length(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    return _word(builder, arguments[0], 2 * signature.args[0].index + 1)


def _word(builder: Any, directory: Any, word: int) -> Any:
    words = builder.inttoptr(directory, ir.IntType(64).as_pointer())
    loaded = builder.load(builder.gep(words, [ir.Constant(ir.IntType(64), word)]))
    loaded.set_metadata("invariant.load", builder.module.add_metadata([]))  # no run changes it
    return loaded
