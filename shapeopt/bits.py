"""Bits of words in kernels."""

from typing import Any, no_type_check

from llvmlite import ir
from numba import types
from numba.core.errors import TypingError
from numba.extending import intrinsic


@intrinsic
@no_type_check
def lowest_bit(_, word) -> tuple[Any, Any]:
    """The place of the lowest bit that is set, in one instruction; of 0 there is none, and what
    comes out is anything."""
    if not isinstance(word, types.Integer):
        raise TypingError(f"lowest_bit takes an integer, not {word}")

    def generate(context, builder, signature, arguments):
        is_anything_for_0 = ir.Constant(ir.IntType(1), 1)
        place = builder.cttz(arguments[0], is_anything_for_0)
        return context.cast(builder, place, word, types.int64)

    return types.int64(word), generate
