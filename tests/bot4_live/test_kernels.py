"""Our exp and log against libm, special values, and raw-address views."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import njit

from bot4_live.events import Kind, bits_float, float_bits, header_of, new_record, slots_of
from bot4_live.kernels import SMALLEST_NORMAL, address, exp, flush, from_bits, header_at, log, log1p, slots_at, to_bits


@settings(deadline=None)
@given(st.floats(-708.0, 709.7))
def test_exp_is_within_an_ulp_of_libm(x: float) -> None:
    assert exp(x) == pytest.approx(math.exp(x), rel=3e-16, abs=0.0)


@settings(deadline=None)
@given(st.floats(5e-324, 1.7e308))
def test_log_is_within_an_ulp_of_libm(x: float) -> None:
    assert abs(log(x) - math.log(x)) <= 1.01 * math.ulp(math.log(x))


@settings(deadline=None)
@given(st.floats(-0.9, 1e6))
def test_log1p_keeps_small_arguments(x: float) -> None:
    assert log1p(x) == pytest.approx(math.log1p(x), rel=4e-16, abs=0.0)


def test_special_values() -> None:
    assert exp(0.0) == 1.0
    assert exp(-np.inf) == 0.0
    assert exp(np.inf) == np.inf
    assert exp(-745.0) == 0.0  # libm gives a denormal here
    assert math.isnan(exp(np.nan))
    assert log(1.0) == 0.0
    assert log(0.0) == -np.inf
    assert log(np.inf) == np.inf
    assert math.isnan(log(-1.0))
    assert math.isnan(log1p(-1.5))
    assert log1p(-1.0) == -np.inf


def test_flush_drops_denormals_only() -> None:
    assert flush(5e-324) == 0.0
    assert flush(-5e-324) == 0.0
    assert flush(SMALLEST_NORMAL) == SMALLEST_NORMAL
    assert flush(-1e-3) == -1e-3


@settings(deadline=None)
@given(st.floats(allow_nan=False))
def test_float_bits_agree_with_the_slots_codec(x: float) -> None:
    assert _bits(x) == float_bits(x)
    assert _value(float_bits(x)) == bits_float(float_bits(x))


@njit
def _bits(x: float) -> int:
    return to_bits(x)


@njit
def _value(bits: int) -> float:
    return from_bits(bits)


@njit
def _sum_at(addr: int) -> int:
    header = header_at(addr)
    slots = slots_at(addr)
    total = header.a + header.seq
    for i in range(slots.shape[0]):
        total += slots[i, 0] * slots[i, 1]
    header.b = slots.shape[0]
    return total


def test_record_views_read_and_write_in_place() -> None:
    record = new_record(Kind.TRADE, 3)
    header_of(record)["a"], header_of(record)["seq"] = 5, 7
    slots_of(record)[:] = [(2, 3), (4, 5), (6, 7)]
    assert _sum_at(address(record)) == 5 + 7 + 6 + 20 + 42
    assert header_of(record)["b"] == 3
    assert _sum_at(address(new_record(Kind.TICK))) == 0
