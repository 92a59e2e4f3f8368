"""Suites of what the journal holds: the ledger, ticks by minute or sample, statements, the quarantine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bot4_platform.quality.suites.suite import Suite, at_least, between, like, minute, one_of, sample

if TYPE_CHECKING:
    import polars as pl


def _trades(rows: pl.DataFrame) -> pl.DataFrame:
    import polars as pl

    price = pl.col("price")
    return (
        rows.sort("exch_ns", "trade_id")
        .group_by(minute(), maintain_order=True)
        .agg(
            trades=pl.len(),
            range_bp=(price.max() / price.min() - 1) * 1e4,
            jump_bp=((price / price.shift(1) - 1).abs().max() * 1e4).fill_null(0.0),
            ids_per_trade=(pl.col("trade_id").max() - pl.col("trade_id").min() + 1) / pl.len(),
            largest_share=pl.col("qty").max() / pl.col("qty").sum(),
        )
    )


def _quotes(rows: pl.DataFrame) -> pl.DataFrame:
    import polars as pl

    return sample(rows).with_columns(
        spread_ticks=pl.col("ask_px") - pl.col("bid_px"),
        skew=(pl.col("bid_qty") / (pl.col("bid_qty") + pl.col("ask_qty"))),
    )


def _depth(rows: pl.DataFrame) -> pl.DataFrame:
    import polars as pl

    levels = pl.col("n_bids") + pl.col("n_asks")
    linked = (pl.col("prev_id") == pl.col("last_id").shift(1)) | (pl.col("prev_id") <= 0)
    return (
        rows.sort("seq")
        .with_columns(linked=linked.fill_null(True))
        .group_by(minute(), maintain_order=True)
        .agg(
            diffs=pl.len(),
            levels_max=levels.max(),
            linked_share=pl.col("linked").mean(),
            bid_share=pl.col("n_bids").sum() / levels.sum(),
        )
        .with_columns(pl.col("bid_share").fill_nan(None))
    )


def _funding(rows: pl.DataFrame) -> pl.DataFrame:
    import polars as pl

    def number(name: str) -> pl.Expr:
        return pl.col(name) / pl.lit(10.0).pow(pl.col(f"{name}_decimals"))

    return sample(rows).select(
        "seq", "exch_ns", "next_ns",
        rate=number("rate"), premium=number("mark_price") / number("index_price") - 1,
        hours_ahead=pl.when(pl.col("next_ns") > 0).then((pl.col("next_ns") - pl.col("exch_ns")) / 3.6e12),
    )  # fmt: skip


def _quarantine(rows: pl.DataFrame) -> pl.DataFrame:
    import polars as pl

    return rows.select("seq", "rule", "stream", "first_seen", raw_bytes=pl.col("raw").bin.size())


def _rules() -> str:
    from bot4_live.events import Reason

    return rf"^(?:{'|'.join(reason.name for reason in Reason)}|REASON_\d+)$"


def _stated() -> list[str]:
    from bot4_live.events import Field

    return sorted({field.name.lower() for field in Field} | {field.name for field in Field})


def _most_bytes() -> float:
    from bot4_live.market.parser import MAX_FRAME

    return 2 * MAX_FRAME


MARKET = (
    Suite(
        "raw_segments", "raw_segments", "The ledger: one row a sealed segment.",
        (
            between("records", 1, None, "A segment without a record is never sealed."),
            at_least("last_seq", "first_seq", "Seqs go up within a segment."),
            at_least("last_recv_ns", "first_recv_ns", "The engine's clock never goes back."),
            like("sha256", "^[0-9a-f]{64}$", "The digest that the segment is checked by."),
            like("file", r"^seg-\d{20}\.b4j$", "The name says the first seq."),
            between("bytes", 4096, 1 << 30, "A header block at least; far less than a gigabyte."),
        ),
        days=0,
    ),
    Suite(
        "trade_minutes", "trades", "Trades by the minute.",
        (
            between("range_bp", 0, 1_000, "More than 10 % within a minute is a wrong symbol before it is a market."),
            between("jump_bp", 0, 500, "Two trades in a row 5 % apart: a wrong scale, or a hole in the feed."),
            between("trades", 1, 1_000_000, "More than a million trades a minute is a feed that repeats itself."),
            between("ids_per_trade", 0.99, 50, "Few of the venue's trade ids are missing within a minute.", mostly=0.8),
            between("largest_share", 0, 1, "A minute's volume is the sum of its trades."),
        ),
        _trades, ("seq", "exch_ns", "trade_id", "price", "qty"),
    ),
    Suite(
        "quote_sample", "quotes", "A sample of the best quotes.",
        (
            between("spread_ticks", 1, 5_000, "Few are very wide.", mostly=0.99),
            between("skew", 0.0, 1.0, "Sizes are positive on both sides.", strict_min=True, strict_max=True),
            between("update_id", 0, None, "Ids of the venue count up from 0."),
            between("bid_px", 1, 10**12, "A price in ticks, far from what an int64 holds."),
        ),
        _quotes,
    ),
    Suite(
        "depth_minutes", "depth", "Depth diffs by the minute.",
        (
            between("levels_max", 0, 4_000, "No diff is larger than two snapshots."),
            between("linked_share", 0.9, 1, "A diff follows the one before; only a reconnect breaks the chain.",
                    mostly=0.8),
            between("bid_share", 0.05, 0.95, "Both sides of the book change.", mostly=0.9),
        ),
        _depth,
    ),
    Suite(
        "quarantine", "quarantine", "Refused frames: that each says why.",
        (
            like("rule", _rules, "A frame is refused for a reason of the feed's list."),
            like("stream", r"^\d+$", "The stream it came on, 0 where it is not known."),
            between("raw_bytes", 0, _most_bytes, "The bytes as they came; larger frames are cut by the transport."),
            between("first_seen", 1, None, "When it came, in original time."),
        ),
        _quarantine, days=7,
    ),
    Suite(
        "funding", "funding", "A sample of the funding statements.",
        (
            between("rate", -0.04, 0.04, "Venues cap a funding rate at a few percent; Binance's widest cap is 3 %.",
                    mostly=0.999),
            between("premium", -0.05, 0.05, "Mark and index prices are within 5 % of each other.", mostly=0.999),
            between("hours_ahead", -0.1, 25, "The next funding lies ahead, within a day.", mostly=0.99),
        ),
        _funding, days=7,
    ),
    Suite(
        "liquidations", "liquidations", "Liquidations.",
        (
            between("price", 1, 10**12, "A price in ticks, far from what an int64 holds."),
            between("qty", 1, 10**12, "A quantity in lots, far from what an int64 holds."),
        ),
        sample, days=7,
    ),
    Suite(
        "tickers", "tickers", "A sample of what tickers stated.",
        (
            one_of("field", _stated, "A value that is known by name."),
            between("decimals", 0, 20, "Digits that a venue would write.", mostly=0.99),
        ),
        sample,
    ),
)  # fmt: skip
