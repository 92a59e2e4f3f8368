"""Small compiled helpers that every kernel shares: raw addresses, float bits, and our own exp and log.

libm's exp and log differ between CPUs and glibc versions, so kernels use the ones below: plain IEEE additions,
multiplications and divisions in a fixed order (no fastmath, so nothing is fused), the same bits everywhere.
Algorithms and constants are those of fdlibm (Sun Microsystems, 1993: e_exp.c, e_log.c), error below 1 ulp.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic
from numba.np.numpy_support import carray

from bot4_live.events import HEADER, HEADER_SIZE

_LN2_HI = 6.93147180369123816490e-01
_LN2_LO = 1.90821492927058770002e-10
_INV_LN2 = 1.44269504088896338700e00
_EXP_MAX = 7.09782712893383973096e02
_EXP_MIN = -7.08396418532264106224e02  # below, the result would be denormal: it is flushed to 0
SMALLEST_NORMAL = 2.2250738585072014e-308


def _pointer(typingctx: Any, addr: Any) -> Any:
    """Return the int64 address as a void pointer, for `numba.carray(pointer(addr), shape, dtype)`."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.inttoptr(args[0], cgutils.voidptr_t)

    return types.voidptr(types.int64), codegen


def _to_bits(typingctx: Any, value: Any) -> Any:
    """Return the int64 with the bits of a float64 (how slots carry floats)."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.bitcast(args[0], context.get_value_type(types.int64))

    return types.int64(types.float64), codegen


def _from_bits(typingctx: Any, bits: Any) -> Any:
    """Return the float64 whose bits an int64 holds."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.bitcast(args[0], context.get_value_type(types.float64))

    return types.float64(types.int64), codegen


pointer: Any = intrinsic(_pointer)
to_bits: Any = intrinsic(_to_bits)
from_bits: Any = intrinsic(_from_bits)


def address(array: np.ndarray) -> int:
    """Return the address of an array's first byte; the caller keeps the array alive."""
    return int(array.ctypes.data)


def offset(layout: np.dtype, name: str) -> int:
    """Return where a field of a structured dtype begins, in bytes."""
    assert layout.fields is not None
    return int(layout.fields[name][1])


def entry_point(kernel: Any) -> Any:
    """Return what Python may call instead of a kernel with one signature: 100 ns a call sooner, no choice by types."""
    (compiled,) = kernel.overloads.values()
    return compiled.entry_point


@njit(cache=True)
def header_at(addr: int) -> Any:
    """Return the header (numba Record of HEADER) of the record at `addr`."""
    return carray(pointer(addr), 1, HEADER)[0]


@njit(cache=True)
def slots_at(addr: int) -> np.ndarray:
    """Return the slots of the record at `addr` as an int64 view of shape (n, 2); n follows from its length."""
    n = (np.int64(carray(pointer(addr), 1, np.uint32)[0]) - HEADER_SIZE) >> 4
    return carray(pointer(addr + HEADER_SIZE), (max(n, 0), 2), np.int64)


@njit(cache=True)
def flush(x: float) -> float:
    """Return x, or 0.0 where it is denormal: decaying averages would otherwise crawl through slow arithmetic."""
    if -SMALLEST_NORMAL < x < SMALLEST_NORMAL:
        return 0.0
    return x


@njit(cache=True)
def exp(x: float) -> float:
    """Return e**x, identical on every CPU. Denormal results are 0.0, overflow is inf, NaN stays NaN."""
    if x != x:
        return x
    if x > _EXP_MAX:
        return np.inf
    if x < _EXP_MIN:
        return 0.0
    k = np.int64(_INV_LN2 * x + (0.5 if x >= 0.0 else -0.5))
    hi = x - k * _LN2_HI
    lo = k * _LN2_LO
    r = hi - lo
    t = r * r
    p = 4.13813679705723846039e-08
    p = -1.65339022054652515390e-06 + t * p
    p = 6.61375632143793436117e-05 + t * p
    p = -2.77777777770155933842e-03 + t * p
    p = 1.66666666666666019037e-01 + t * p
    c = r - t * p
    y = 1.0 - ((lo - (r * c) / (2.0 - c)) - hi)
    if k == 1024:
        return y * 2.0 * from_bits(np.int64(2046) << 52)
    return y * from_bits(np.int64(k + 1023) << 52)


@njit(cache=True)
def log(x: float) -> float:
    """Return ln x, identical on every CPU; -inf at 0, NaN below, inf at inf."""
    if x != x or x < 0.0:
        return np.nan
    if x == 0.0:
        return -np.inf
    if x == np.inf:
        return x
    k = np.int64(0)
    if x < SMALLEST_NORMAL:
        x *= 18014398509481984.0  # 2**54
        k = np.int64(-54)
    bits = to_bits(x)
    high = (bits >> 32) + np.int64(0x3FF00000 - 0x3FE6A09E)
    k += (high >> 20) - 0x3FF
    high = (high & 0x000FFFFF) + 0x3FE6A09E
    f = from_bits((high << 32) | (bits & np.int64(0xFFFFFFFF))) - 1.0
    half_square = 0.5 * f * f
    s = f / (2.0 + f)
    z = s * s
    w = z * z
    t1 = w * (3.999999999940941908e-01 + w * (2.222219843214978396e-01 + w * 1.531383769920937332e-01))
    t2 = z * (
        6.666666666666735130e-01
        + w * (2.857142874366239149e-01 + w * (1.818357216161805012e-01 + w * 1.479819860511658591e-01))
    )
    return s * (half_square + (t2 + t1)) + k * _LN2_LO - half_square + f + k * _LN2_HI


@njit(cache=True)
def log1p(x: float) -> float:
    """Return ln(1 + x) without losing the digits of a small x (correction term of Higham 2002, section 1.14.1)."""
    u = 1.0 + x
    if u == 1.0:
        return x
    if u == np.inf or not u > 0.0:
        return log(u)
    return log(u) - ((u - 1.0) - x) / u
