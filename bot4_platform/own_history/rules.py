"""What is wrong with a row of a history file: the first rule that catches it, and why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bot4_live.instrument import Instrument
from bot4_platform.own_history.exact import counts, times
from bot4_platform.own_history.layout import Kind, decimals
from bot4_platform.own_history.reading import LINE, RAW
from bot4_platform.sources.validation import EARLIEST_NS

if TYPE_CHECKING:
    import polars as pl

RULE, REASON = "_rule", "_reason"
SIDES = {"buy": False, "b": False, "bid": False, "sell": True, "s": True, "ask": True}


@dataclass(frozen=True)
class Verdict:
    """The good rows as integers (with `_line`), and the bad ones: `_line`, `_raw`, `_rule`, `_reason`."""

    good: pl.DataFrame
    bad: pl.DataFrame


def judge(
    rows: pl.DataFrame, kind: Kind, held: Instrument, *, now_ns: int, interval_ns: int, pattern: str | None
) -> Verdict:  # fmt: skip
    """Return which rows of a chunk are good. `interval_ns` is 0 but for candles.

    Rules, in this order: `schema` (another number of fields than the header), `time`, `number`, `lost_digits`,
    `negative`, `future`, `off_grid`, `side`, and what the kind asks for: `candle` or `crossed`.
    """
    import polars as pl

    found = rows.select(LINE, RAW, pl.lit("").alias(RULE), pl.lit("").alias(REASON))
    first = next(iter(kind.prices))
    found = _mark(found, rows[first].is_null(), "schema", pl.lit("another number of fields than the header, or none"))
    at = times(rows["time"], pattern)
    found = _mark(found, at.is_null(), "time", _said("time", rows["time"], "is no time that is understood"))
    values = {"time_ns": at}
    for columns, step, word in (
        (kind.prices, held.tick_e8, "tick"), (kind.quantities, held.lot_e8, "lot"),
    ):  # fmt: skip
        for name, ours in columns.items():
            count = counts(rows[name], step)
            step_text = f"{step / 1e8:.{decimals(step)}f}"
            what = _said(name, rows[name], f"is not a whole number of the {word} {step_text} of {held.market}")
            found = _mark(found, ~count["number"], "number", _said(name, rows[name], "is no number"))
            found = _mark(found, count["number"] & ~count["fits"], "lost_digits", what)
            least = 0 if ours == "volume" else 1
            low = (count["value"] < least).fill_null(value=False)
            found = _mark(found, low, "negative", _said(name, rows[name], "is not positive"))
            values[ours] = count["value"]
    # What a candle is that is not over, nobody knows yet.
    wrong = ((at < EARLIEST_NS) | (at > now_ns - interval_ns)).fill_null(value=False)
    found = _mark(found, wrong, "future", _said("time", rows["time"], f"is before 2009 or {_too_late(interval_ns)}"))
    if interval_ns:
        off = (at % interval_ns != 0).fill_null(value=False)
        found = _mark(found, off, "off_grid", _said("time", rows["time"], "is no beginning of such a candle"))
    data = pl.DataFrame(values)
    if "trades" in kind.columns:
        given = rows["trades"] if "trades" in rows.columns else pl.Series([None] * rows.height, dtype=pl.String)
        number = given.str.replace(r"\.0$", "").cast(pl.Int64, strict=False)
        bad = (given.fill_null("") != "") & (number.is_null() | (number < 0))
        found = _mark(found, bad, "number", _said("trades", given, "is no count"))
        data = data.with_columns(number.alias("trades"))
        body = (data["low"] <= data["open"]) & (data["low"] <= data["close"]) & (data["open"] <= data["high"])
        whole = (body & (data["close"] <= data["high"])).fill_null(value=True)
        found = _mark(found, ~whole, "candle", pl.lit("low <= open, close <= high does not hold"))
    if "side" in kind.columns:
        sell = rows["side"].str.to_lowercase().replace_strict(SIDES, default=None, return_dtype=pl.Boolean)
        found = _mark(found, sell.is_null(), "side", _said("side", rows["side"], "is neither buy nor sell"))
        data = data.with_columns(sell.alias("sell"))
        if "id" in rows.columns:
            data = data.with_columns(rows["id"].alias("id"))
    if "ask_px" in data.columns:
        crossed = (data["bid_px"] >= data["ask_px"]).fill_null(value=False)
        found = _mark(found, crossed, "crossed", pl.lit("the bid is not below the ask"))
    good = found[RULE] == ""
    return Verdict(data.filter(good).with_columns(rows.filter(good).select(LINE, RAW)), found.filter(~good))


def _too_late(interval_ns: int) -> str:
    return "of a candle that is not over" if interval_ns else "later than now"


def _mark(found: pl.DataFrame, bad: pl.Series, rule: str, reason: pl.Expr) -> pl.DataFrame:
    """Set rule and reason where `bad` and nothing was wrong before."""
    import polars as pl

    if not bad.any():
        return found
    fresh = pl.lit(bad) & (pl.col(RULE) == "")
    return found.with_columns(
        pl.when(fresh).then(reason).otherwise(REASON).alias(REASON),
        pl.when(fresh).then(pl.lit(rule)).otherwise(RULE).alias(RULE),
    )


def _said(name: str, texts: pl.Series, what: str) -> pl.Expr:
    import polars as pl

    return pl.format("{} {} {}", pl.lit(name), pl.lit(texts).fill_null("").str.slice(0, 40), pl.lit(what))
