"""Decimal text to integers: exact or refused."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot4_live.events import Reason
from bot4_live.market.numbers import BrokenNumber, Scale, decimals

TICK = Scale(10_000_000)  # 0.1


@pytest.mark.parametrize(
    ("text", "ticks"),
    [("61800.20", 618_002), ("0.1", 1), ("0", 0), ("0.000000000", 0), ("1000", 10_000), ("007.10", 71)],
)
def test_exact(text, ticks):
    assert TICK.units(text) == ticks


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("61800.25", Reason.LOST_DIGITS),
        ("0.05", Reason.LOST_DIGITS),
        ("0.1000000001", Reason.LOST_DIGITS),
        ("-0.1", Reason.NEGATIVE),
        ("-1.55", Reason.NEGATIVE),
        ("-", Reason.BAD_NUMBER),
        ("--1", Reason.BAD_NUMBER),
        ("+1", Reason.BAD_NUMBER),
        ("", Reason.BAD_NUMBER),
        (".5", Reason.BAD_NUMBER),
        ("5.", Reason.BAD_NUMBER),
        ("1.2.3", Reason.BAD_NUMBER),
        ("1e5", Reason.BAD_NUMBER),
        ("1_000", Reason.BAD_NUMBER),
        (" 1", Reason.BAD_NUMBER),
        ("1\n", Reason.BAD_NUMBER),
        ("NaN", Reason.BAD_NUMBER),
        ("Infinity", Reason.BAD_NUMBER),
        ("0x10", Reason.BAD_NUMBER),
        ("٣", Reason.BAD_NUMBER),
        ("1²", Reason.BAD_NUMBER),
        ("9" * 20, Reason.TOO_LARGE),
        ("9" * 41, Reason.BAD_NUMBER),
    ],
)
def test_refused(text, reason):
    with pytest.raises(BrokenNumber) as broken:
        TICK.units(text)
    assert broken.value.reason is reason


@given(st.integers(0, 10**15), st.sampled_from([1, 10, 1000, 100_000, 10_000_000, 10**8, 25_000_000]))
def test_every_multiple_round_trips_and_no_other_number_passes(n, unit):
    value = n % 10**9 * unit
    text = str(Decimal(value) / 10**8)
    if "E" in text:
        text = f"{Decimal(value) / 10**8:f}"
    assert Scale(unit).units(text) == value // unit
    if unit > 1:
        off = f"{Decimal(value + 1) / 10**8:f}"
        with pytest.raises(BrokenNumber):
            Scale(unit).units(off)


@given(st.text(alphabet="0123456789.-+eE _", max_size=14))
def test_accepted_means_exactly_what_decimal_reads(text):
    try:
        units = TICK.units(text)
    except BrokenNumber:
        return
    assert Decimal(units) / 10 == Decimal(text)


def test_decimals():
    assert [decimals(text) for text in ("100", "100.00", "61800.20", "0.001")] == [0, 0, 1, 3]
