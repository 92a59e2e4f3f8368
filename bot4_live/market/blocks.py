"""Memory at any address, and 32 bytes of it compared at once: what numba has no word for, as LLVM's own vectors.

Which instructions do it is LLVM's choice by the processor (AVX2, AVX-512, NEON); the results are the same everywhere.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

QUOTE, POINT, ZERO = ord('"'), ord("."), ord("0")
_BACKSLASH, _BLANK, _ASCII_END = ord("\\"), ord(" "), 0x7F


def _load(typingctx: Any, addr: Any, of: Any) -> Any:
    """Return the unsigned integer at an address of any alignment, as wide as the type of `of`."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kind = context.get_value_type(of)
        return builder.load(builder.inttoptr(args[0], kind.as_pointer()), align=1)

    return of(types.int64, of), codegen


def _store(typingctx: Any, addr: Any, value: Any) -> Any:
    """Write an int64 at an address of any alignment."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kind = context.get_value_type(types.int64)
        builder.store(args[1], builder.inttoptr(args[0], kind.as_pointer()), align=1)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64), codegen


def _store_byte(typingctx: Any, addr: Any, value: Any) -> Any:
    """Write the lowest byte of an int64."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        byte = ir.IntType(8)
        builder.store(builder.trunc(args[1], byte), builder.inttoptr(args[0], byte.as_pointer()))
        return context.get_dummy_value()

    return types.void(types.int64, types.int64), codegen


def _fetch(typingctx: Any, addr: Any) -> Any:
    """Ask for the cache line at an address, which need not be readable, before it is needed."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        place, number = ir.IntType(8).as_pointer(), ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [place, number, number, number])
        ask = builder.module.declare_intrinsic("llvm.prefetch", (place,), kind)
        builder.call(ask, [builder.inttoptr(args[0], place), *(ir.Constant(number, n) for n in (0, 3, 1))])
        return context.get_dummy_value()

    return types.void(types.int64), codegen


def _block_mask(builder: Any, bits: Any) -> Any:
    """Return 32 bits, one a byte, as an i64."""
    return builder.zext(builder.bitcast(bits, ir.IntType(BLOCK)), ir.IntType(64))


def _same(n: int) -> Any:
    return ir.Constant(_BLOCK_TYPE, [n] * BLOCK)


def _find_marks(typingctx: Any, addr: Any) -> Any:
    """Return two uint64 for the BLOCK bytes at an address: a bit for each quote, and one for each point."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        block = builder.load(builder.inttoptr(args[0], _BLOCK_TYPE.as_pointer()), align=1)
        masks = [_block_mask(builder, builder.icmp_unsigned("==", block, _same(c))) for c in (QUOTE, POINT)]
        return context.make_tuple(builder, signature.return_type, masks)

    return _TWO_WORDS(types.int64), codegen


def _find_text(typingctx: Any, addr: Any) -> Any:
    """Return two uint64 for the BLOCK bytes at an address: a bit for each @, and one for each that ends plain text.

    Plain text is ended by a quote, and by what it may not hold: control characters, backslashes, bytes from 0x80 on.
    """

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        block = builder.load(builder.inttoptr(args[0], _BLOCK_TYPE.as_pointer()), align=1)
        ends = builder.icmp_unsigned(">", builder.sub(block, _same(_BLANK)), _same(_ASCII_END - _BLANK))
        for c in (QUOTE, _BACKSLASH):
            ends = builder.or_(ends, builder.icmp_unsigned("==", block, _same(c)))
        ats = builder.icmp_unsigned("==", block, _same(ord("@")))
        return context.make_tuple(builder, signature.return_type, [_block_mask(builder, m) for m in (ats, ends)])

    return _TWO_WORDS(types.int64), codegen


def _odd_bytes(typingctx: Any, addr: Any) -> Any:
    """Return a uint64 with a bit for each of the BLOCK bytes at an address that is no digit."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        block = builder.load(builder.inttoptr(args[0], _BLOCK_TYPE.as_pointer()), align=1)
        return _block_mask(builder, builder.icmp_unsigned(">", builder.sub(block, _same(ZERO)), _same(9)))

    return types.uint64(types.int64), codegen


def _find_odd(typingctx: Any, addr: Any, template: Any) -> Any:
    """Return two uint64 for the BLOCK bytes at an address: a bit for each that is no digit, and that the template has.

    `template` is the address of BLOCK bytes.
    """

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        block, other = (builder.load(builder.inttoptr(at, _BLOCK_TYPE.as_pointer()), align=1) for at in args)
        odd = builder.icmp_unsigned(">", builder.sub(block, _same(ZERO)), _same(9))
        same = builder.icmp_unsigned("==", block, other)
        return context.make_tuple(builder, signature.return_type, [_block_mask(builder, m) for m in (odd, same)])

    return _TWO_WORDS(types.int64, types.int64), codegen


def _same_bytes(typingctx: Any, addr: Any, other: Any) -> Any:
    """Return a uint64 with a bit for each of BLOCK bytes that is the same at both addresses."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        one, two = (builder.load(builder.inttoptr(at, _BLOCK_TYPE.as_pointer()), align=1) for at in args)
        return _block_mask(builder, builder.icmp_unsigned("==", one, two))

    return types.uint64(types.int64, types.int64), codegen


def _store_numbers(typingctx: Any, addr: Any, first: Any, second: Any) -> Any:
    """Write what `number_of` makes of two words, side by side, as two int64 at an address of any alignment."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        word = ir.IntType(64)
        digits = ir.Constant(ir.VectorType(word, 2), [0, 0])
        for k, value in enumerate(args[1:]):
            digits = builder.insert_element(digits, value, ir.Constant(ir.IntType(32), k))
        for bits, factor in ((16, 10), (32, 100), (64, 10_000)):  # pairs, fours, eights
            kind = ir.VectorType(ir.IntType(bits), 128 // bits)

            def all_of(n: int, kind: Any = kind) -> Any:
                return ir.Constant(kind, [n] * kind.count)

            digits = builder.bitcast(digits, kind)
            high = builder.mul(builder.and_(digits, all_of((1 << bits // 2) - 1)), all_of(factor))
            digits = builder.add(high, builder.lshr(digits, all_of(bits // 2)))
        builder.store(digits, builder.inttoptr(args[0], digits.type.as_pointer()), align=1)
        return context.get_dummy_value()

    return types.void(types.int64, types.uint64, types.uint64), codegen


BLOCK = 32
_numba_types: Any = types
_TWO_WORDS = _numba_types.UniTuple(types.uint64, 2)
_BLOCK_TYPE = ir.VectorType(ir.IntType(8), BLOCK)
load_as: Any = intrinsic(_load)
store64: Any = intrinsic(_store)
fetch: Any = intrinsic(_fetch)
store8: Any = intrinsic(_store_byte)
find_marks: Any = intrinsic(_find_marks)
find_text: Any = intrinsic(_find_text)
odd_bytes: Any = intrinsic(_odd_bytes)
find_odd: Any = intrinsic(_find_odd)
same_bytes: Any = intrinsic(_same_bytes)
store_numbers: Any = intrinsic(_store_numbers)
