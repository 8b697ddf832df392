"""Vectors of four numbers for kernels: loops over rows that are too short for the compiler.

The compiler makes vectors of a loop by itself, but starts every loop anew: it asks whether arrays
overlap, and whether an index is negative. Where a row has a few tens of numbers that takes as long
as the sums. These functions do what they say and ask nothing: **an index outside of the array is
not noticed**.

On CPUs without vectors of this length the compiler takes several shorter ones. Kernels that use
these functions are kept on disk as all others, and not compiled anew when this file changes.
"""

from collections.abc import Callable
from typing import Any, no_type_check

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.datamodel import PrimitiveModel, register_default
from numba.extending import intrinsic

LENGTH = 4
"""Numbers in a vector."""

_DOUBLE = ir.DoubleType()
_VECTOR = ir.VectorType(_DOUBLE, LENGTH)
_EIGHT_BYTES = 8


class _Vector(types.Type):
    """Four float64 numbers; a local variable of a kernel."""

    def __init__(self) -> None:
        super().__init__(name="Vector")


@register_default(_Vector)
class _VectorModel(PrimitiveModel):
    def __init__(self, manager: Any, kind: _Vector):
        super().__init__(manager, kind, _VECTOR)


_vector = _Vector()
_Signature = tuple[Any, Callable[..., Any]]


@intrinsic
@no_type_check
def number(_, array, index) -> _Signature:
    """``array[index]``, of any type."""

    def generate(context, builder, signature, arguments):
        return builder.load(_address(context, builder, signature, arguments))

    return array.dtype(array, types.int64), generate


@intrinsic
@no_type_check
def loaded(_, array, index) -> _Signature:
    """The vector ``array[index : index + 4]`` of a float64 array without strides."""

    def generate(context, builder, signature, arguments):
        address = _address(context, builder, signature, arguments)
        return builder.load(builder.bitcast(address, _VECTOR.as_pointer()), align=_EIGHT_BYTES)

    return _vector(array, types.int64), generate


@intrinsic
@no_type_check
def store(_, array, index, vector) -> _Signature:
    """``array[index : index + 4] = vector``, into a float64 array without strides."""

    def generate(context, builder, signature, arguments):
        address = _address(context, builder, signature, arguments[:2])
        address = builder.bitcast(address, _VECTOR.as_pointer())
        builder.store(arguments[2], address, align=_EIGHT_BYTES)
        return context.get_dummy_value()

    return types.void(array, types.int64, _vector), generate


@intrinsic
@no_type_check
def repeated(_, value) -> _Signature:
    """A number four times."""

    def generate(context, builder, signature, arguments):
        nothing, zero = ir.Constant(_VECTOR, ir.Undefined), ir.Constant(ir.IntType(32), 0)
        first = builder.insert_element(nothing, arguments[0], zero)
        all_first = ir.Constant(ir.VectorType(ir.IntType(32), LENGTH), [0] * LENGTH)
        return builder.shuffle_vector(first, nothing, all_first)

    return _vector(types.float64), generate


@intrinsic
@no_type_check
def multiply_add(_, one, two, summand) -> _Signature:
    """``one * two + summand`` of vectors, rounded once where the CPU has an instruction for it."""

    def generate(context, builder, signature, arguments):
        function = ir.FunctionType(_VECTOR, [_VECTOR] * 3)
        name = f"llvm.fmuladd.v{LENGTH}f64"
        called = cgutils.get_or_insert_function(builder.module, function, name)
        return builder.call(called, arguments)

    return _vector(_vector, _vector, _vector), generate


@intrinsic
@no_type_check
def larger(_, one, two) -> _Signature:
    """The larger ones of the numbers of two vectors; a NaN of the first stays."""

    def generate(context, builder, signature, arguments):
        first, second = arguments
        return builder.select(builder.fcmp_ordered("<", first, second), second, first)

    return _vector(_vector, _vector), generate


@no_type_check
def _address(context, builder, signature, arguments):
    array, index = arguments
    data = context.make_array(signature.args[0])(context, builder, array).data
    return builder.gep(data, [index])
