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
from numba.core.errors import TypingError
from numba.extending import intrinsic

LENGTH = 4
"""Numbers in a vector."""

LINE = 64
"""Bytes that come from memory together."""

_Signature = tuple[Any, Callable[..., Any]]


class _Vector(types.Type):
    """Four float32 or four float64 numbers; a local variable of a kernel."""

    def __init__(self, of: types.Float) -> None:
        super().__init__(name=f"Vector({of})")
        number = ir.FloatType() if of == types.float32 else ir.DoubleType()
        self.bits = of.bitwidth
        self.in_llvm = ir.VectorType(number, LENGTH)


@register_default(_Vector)
class _VectorModel(PrimitiveModel):
    def __init__(self, manager: Any, kind: _Vector):
        super().__init__(manager, kind, kind.in_llvm)


@intrinsic
@no_type_check
def number(_, array, index) -> _Signature:
    """``array[index]``, of any type."""
    _check_rows_follow(array)

    def generate(context, builder, signature, arguments):
        return builder.load(_address(context, builder, signature, arguments))

    return array.dtype(array, types.int64), generate


@intrinsic
@no_type_check
def loaded(_, array, index) -> _Signature:
    """The vector ``array[index : index + 4]`` of an array whose rows follow each other, its numbers
    counted through all of them."""
    _check_rows_follow(array)
    vector = _Vector(array.dtype)

    def generate(context, builder, signature, arguments):
        address = _address(context, builder, signature, arguments)
        address = builder.bitcast(address, vector.in_llvm.as_pointer())
        return builder.load(address, align=vector.bits // 8)

    return vector(array, types.int64), generate


@intrinsic
@no_type_check
def store(_, array, index, vector) -> _Signature:
    """``array[index : index + 4] = vector``, into an array as in :func:`loaded`."""
    _check_rows_follow(array)

    def generate(context, builder, signature, arguments):
        address = _address(context, builder, signature, arguments[:2])
        address = builder.bitcast(address, vector.in_llvm.as_pointer())
        builder.store(arguments[2], address, align=vector.bits // 8)
        return context.get_dummy_value()

    return types.void(array, types.int64, vector), generate


@intrinsic
@no_type_check
def fetch(_, array, index) -> _Signature:
    """Has the memory around ``array[index]`` brought nearer, without waiting for it."""
    _check_rows_follow(array)

    def generate(context, builder, signature, arguments):
        _prefetch(builder, _address(context, builder, signature, arguments))
        return context.get_dummy_value()

    return types.void(array, types.int64), generate


@intrinsic
@no_type_check
def fetch_row(_, array, row) -> _Signature:
    """Has all memory of ``array[row]`` brought nearer, without waiting for it."""
    _check_rows_follow(array)

    def generate(context, builder, signature, arguments):
        there = context.make_array(signature.args[0])(context, builder, arguments[0])
        size = builder.extract_value(there.strides, 0)
        byte = ir.IntType(8).as_pointer()
        start = builder.gep(builder.bitcast(there.data, byte), [builder.mul(arguments[1], size)])
        zero, line = (ir.Constant(size.type, number) for number in (0, LINE))
        with cgutils.for_range_slice(builder, zero, size, line) as (at, _):
            _prefetch(builder, builder.gep(start, [at]))
        # The row need not start where a line does, and so may reach into one more.
        last = builder.gep(start, [builder.sub(size, ir.Constant(size.type, 1))])
        _prefetch(builder, last)
        return context.get_dummy_value()

    return types.void(array, types.int64), generate


@intrinsic
@no_type_check
def repeated(_, value) -> _Signature:
    """A number four times; float64 if it is an integer."""
    value = value if value == types.float32 else types.float64
    vector = _Vector(value)

    def generate(context, builder, signature, arguments):
        nothing, zero = ir.Constant(vector.in_llvm, ir.Undefined), ir.Constant(ir.IntType(32), 0)
        first = builder.insert_element(nothing, arguments[0], zero)
        all_first = ir.Constant(ir.VectorType(ir.IntType(32), LENGTH), [0] * LENGTH)
        return builder.shuffle_vector(first, nothing, all_first)

    return vector(value), generate


@intrinsic
@no_type_check
def multiply_add(_, one, two, summand) -> _Signature:
    """``one * two + summand`` of vectors, rounded once where the CPU has an instruction for it."""

    def generate(context, builder, signature, arguments):
        function = ir.FunctionType(one.in_llvm, [one.in_llvm] * 3)
        name = f"llvm.fmuladd.v{LENGTH}f{one.bits}"
        called = cgutils.get_or_insert_function(builder.module, function, name)
        return builder.call(called, arguments)

    return one(one, one, one), generate


@intrinsic
@no_type_check
def plus(_, one, two) -> _Signature:
    """``one + two`` of vectors."""
    return one(one, one), _by_instruction("fadd")


@intrinsic
@no_type_check
def minus(_, one, two) -> _Signature:
    """``one - two`` of vectors."""
    return one(one, one), _by_instruction("fsub")


@intrinsic
@no_type_check
def times(_, one, two) -> _Signature:
    """``one * two`` of vectors."""
    return one(one, one), _by_instruction("fmul")


@intrinsic
@no_type_check
def over(_, one, two) -> _Signature:
    """``one / two`` of vectors."""
    return one(one, one), _by_instruction("fdiv")


@intrinsic
@no_type_check
def total(_, vector) -> _Signature:
    """The sum of the four numbers of a vector, as (a + c) + (b + d)."""
    result = types.float32 if vector.bits == 32 else types.float64

    def generate(context, builder, signature, arguments):
        a, b, c, d = (
            builder.extract_element(arguments[0], ir.Constant(ir.IntType(32), i))
            for i in range(LENGTH)
        )
        return builder.fadd(builder.fadd(a, c), builder.fadd(b, d))

    return result(vector), generate


@intrinsic
@no_type_check
def larger(_, one, two) -> _Signature:
    """The larger ones of the numbers of two vectors; a NaN of the first stays."""

    def generate(context, builder, signature, arguments):
        first, second = arguments
        return builder.select(builder.fcmp_ordered("<", first, second), second, first)

    return one(one, one), generate


@intrinsic
@no_type_check
def smaller(_, one, two) -> _Signature:
    """The smaller ones of the numbers of two vectors; a NaN of the first stays."""

    def generate(context, builder, signature, arguments):
        first, second = arguments
        return builder.select(builder.fcmp_ordered(">", first, second), second, first)

    return one(one, one), generate


@intrinsic
@no_type_check
def absolute(_, vector) -> _Signature:
    """The sizes of the numbers of a vector."""

    def generate(context, builder, signature, arguments):
        function = ir.FunctionType(vector.in_llvm, [vector.in_llvm])
        name = f"llvm.fabs.v{LENGTH}f{vector.bits}"
        called = cgutils.get_or_insert_function(builder.module, function, name)
        return builder.call(called, arguments)

    return vector(vector), generate


@no_type_check
def _prefetch(builder, address):
    """Adds the instruction for one line of memory."""
    byte, number = ir.IntType(8).as_pointer(), ir.IntType(32)
    function = ir.FunctionType(ir.VoidType(), [byte, number, number, number])
    called = cgutils.get_or_insert_function(builder.module, function, "llvm.prefetch.p0i8")
    # To read, to be kept in all caches, and data.
    how = (ir.Constant(number, value) for value in (0, 3, 1))
    builder.call(called, [builder.bitcast(address, byte), *how])


@no_type_check
def _by_instruction(name):
    """Makes the code of arithmetic that LLVM has an instruction for."""

    def generate(context, builder, signature, arguments):
        return getattr(builder, name)(*arguments)

    return generate


@no_type_check
def _check_rows_follow(array):
    if array.layout != "C":
        raise TypingError(f"vectors are of arrays whose rows follow each other, not of {array}")


@no_type_check
def _address(context, builder, signature, arguments):
    array, index = arguments
    data = context.make_array(signature.args[0])(context, builder, array).data
    return builder.gep(data, [index])
