"""Bit searches that compile to one machine instruction each."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic


def _lowest_bit(typingctx: Any, word: Any) -> Any:
    """Return the index (0..63) of the lowest set bit of a non-zero uint64; undefined for 0."""
    if word != types.uint64:
        return None

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.cttz(args[0], ir.Constant(ir.IntType(1), 1))

    return types.int64(types.uint64), codegen


def _first_bit(typingctx: Any, word: Any) -> Any:
    """Return the index (0..63) of the lowest set bit of a uint64, 64 for 0."""
    if word != types.uint64:
        return None

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.cttz(args[0], ir.Constant(ir.IntType(1), 0))

    return types.int64(types.uint64), codegen


def _highest_bit(typingctx: Any, word: Any) -> Any:
    """Return the index (0..63) of the highest set bit of a non-zero uint64; undefined for 0."""
    if word != types.uint64:
        return None

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        zeros = builder.ctlz(args[0], ir.Constant(ir.IntType(1), 1))
        return builder.sub(ir.Constant(ir.IntType(64), 63), zeros)

    return types.int64(types.uint64), codegen


first_bit: Any = intrinsic(_first_bit)
lowest_bit: Any = intrinsic(_lowest_bit)
highest_bit: Any = intrinsic(_highest_bit)
