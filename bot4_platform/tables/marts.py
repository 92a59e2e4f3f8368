"""The marts that dbt makes: candles, trade flow, books, statements, basis. dbt/models has what each column means."""

from bot4_platform.tables.table import Table

_PRICES = dict.fromkeys(("open", "high", "low", "close", "volume", "vwap_num", "vwap_den", "trades"), "Int64")


def _candles(title: str, time: str) -> Table:
    return Table(f"{title} candles; VWAP = vwap_num / vwap_den in ticks", {time: "Int64", **_PRICES}, (time,), (time,))


MARTS = {
    "candles_1m": _candles("one-minute", "minute_ns"),
    "candles_5m": _candles("five-minute", "bucket_ns"),
    "candles_15m": _candles("fifteen-minute", "bucket_ns"),
    "candles_1h": _candles("one-hour", "bucket_ns"),
    "candles_4h": _candles("four-hour", "bucket_ns"),
    "candles_1d": _candles("one-day", "bucket_ns"),
    "trade_flow_1m": Table(
        "aggressor buys and sells by the minute; imbalance = imbalance_num / imbalance_den",
        {
            "minute_ns": "Int64", "trades": "Int64", "buys": "Int64", "sells": "Int64", "buy_lots": "Int64",
            "sell_lots": "Int64", "imbalance_num": "Int64", "imbalance_den": "Int64", "buy_value": "Int64",
            "sell_value": "Int64", "largest": "Int64", "large_qty": "Int64", "large_prints": "Int64",
            "large_lots": "Int64",
        },
        ("minute_ns",), ("minute_ns",),
    ),
    "funding_1h": Table(
        "funding by the hour, numbers as digits and decimals",
        {
            "hour_ns": "Int64", "statements": "Int64", "next_ns": "Int64", "rate_open": "Int64",
            "rate_open_decimals": "Int64", "rate": "Int64", "rate_decimals": "Int64", "mark_price": "Int64",
            "mark_price_decimals": "Int64", "index_price": "Int64", "index_price_decimals": "Int64",
        },
        ("hour_ns",), ("hour_ns",),
    ),
    "liquidations_1m": Table(
        "liquidations by the minute",
        {
            "minute_ns": "Int64", "liquidations": "Int64", "longs": "Int64", "shorts": "Int64", "long_lots": "Int64",
            "short_lots": "Int64", "value_num": "Int64", "largest": "Int64", "large": "Int64",
        },
        ("minute_ns",), ("minute_ns",),
    ),
    "spread_1m": Table(
        "spread and mid of the best quotes by the minute, ticks; `mid2` is twice the mid",
        {
            "minute_ns": "Int64", "quotes": "Int64", "spread_min": "Int64", "spread_median": "Int64",
            "spread_max": "Int64", "spread_sum": "Int64", "spread_ns": "Int64", "held_ns": "Int64",
            "mid2_open": "Int64", "mid2_high": "Int64", "mid2_low": "Int64", "mid2_close": "Int64",
            "bid_lots_sum": "Int64", "ask_lots_sum": "Int64",
        },
        ("minute_ns",), ("minute_ns",),
    ),
    "depth_1m": Table(
        "the book's diffs by the minute",
        {
            "minute_ns": "Int64", "messages": "Int64", "updates": "Int64", "bid_levels": "Int64",
            "ask_levels": "Int64", "breaks": "Int64",
        },
        ("minute_ns",), ("minute_ns",),
    ),
    "liquidity_1m": Table(
        "depth and imbalance of the book by the minute, over the features' grid",
        {
            "minute_ns": "Int64", "samples": "Int64", "spread_bp_mean": "Float64", "spread_bp_max": "Float64",
            "depth_5_mean": "Float64", "depth_5_min": "Float64", "imbalance_5_mean": "Float64",
            "depth_slope_bid_mean": "Float64", "depth_slope_ask_mean": "Float64",
        },
        ("minute_ns",), ("minute_ns",),
    ),
    "basis_pairs": Table(
        "pairs of markets whose mids are compared on a day, and the ticks of both in 1e-8 of the quote currency",
        {"base": "String", "quote": "String", "base_tick_e8": "Int64", "quote_tick_e8": "Int64"},
        ("base", "quote"), ("base", "quote"),
    ),
    "basis_1m": Table(
        "basis between two markets by the minute of the receive clock, twice that of their mids in 1e-8",
        {
            "base": "String", "quote": "String", "minute_ns": "Int64", "samples": "Int64", "basis2_open": "Int64",
            "basis2_high": "Int64", "basis2_low": "Int64", "basis2_close": "Int64", "basis2_sum": "Int64",
            "mid2_sum": "Int64",
        },
        ("base", "quote", "minute_ns"), ("base", "quote", "minute_ns"),
    ),
}  # fmt: skip
