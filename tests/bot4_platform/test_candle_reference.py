"""The reference itself: against candles counted by hand, at boundaries, and where 64 bits do not suffice."""

from __future__ import annotations

import polars as pl
import pytest

from bot4_platform.candle_reference import COLUMNS, INTERVALS, differences, normal_form, reference_candles

MINUTE = 60 * 10**9
START = 1_723_075_200 * 10**9
SCHEMA = {"exch_ns": pl.Int64, "trade_id": pl.Int64, "price": pl.Int64, "qty": pl.Int64}


def trades(*rows: tuple[int, int, int, int]) -> pl.DataFrame:
    return pl.DataFrame([(START + at, *rest) for at, *rest in rows], schema=SCHEMA, orient="row")


def test_by_hand_and_on_the_boundary() -> None:
    frame = trades((MINUTE, 3, 90, 4), (MINUTE - 1, 2, 110, 1), (0, 1, 100, 2), (MINUTE - 1, 1, 105, 1))
    assert reference_candles(frame, "1m").rows() == [
        (START, 100, 110, 100, 110, 4, 200 + 105 + 110, 4, 3),
        (START + MINUTE, 90, 90, 90, 90, 4, 360, 4, 1),
    ]
    for interval in list(INTERVALS)[1:]:
        assert reference_candles(frame, interval).rows() == [(START, 100, 110, 90, 90, 8, 775, 8, 4)]


def test_sums_that_64_bits_do_not_hold_are_an_error() -> None:
    with pytest.raises(OverflowError, match="1m candle's sum of price x quantity"):
        reference_candles(trades((0, 1, 2**62, 2)), "1m")
    with pytest.raises(OverflowError):
        reference_candles(trades((0, 1, 1, 2**62), (1, 2, 1, 2**62)), "1m")
    assert reference_candles(trades((0, 1, -(2**62), 2)), "1m")["vwap_num"].to_list() == [-(2**63)]


def test_differences_name_the_cell_and_refuse_doubles() -> None:
    wanted = reference_candles(trades((0, 1, 100, 2), (MINUTE, 2, 100, 2)), "1m")
    assert differences(wanted.rename({"start_ns": "minute_ns"}).reverse(), wanted) == []
    other = wanted.with_columns(high=pl.Series([100, 101]))
    assert differences(other, wanted) == [f"{START + MINUTE} high: 101, expected 100"]
    assert len(differences(wanted.head(1), wanted)) == len(COLUMNS) - 1
    assert differences(pl.concat([wanted, wanted]), wanted)[0] == "a candle is there more than once"
    with pytest.raises(ValueError, match="vwap_num is Float64"):
        normal_form(wanted.with_columns(pl.col("vwap_num").cast(pl.Float64)))
    with pytest.raises(ValueError, match="volume is missing"):
        normal_form(wanted.drop("volume"))
