"""The lake's trades as rows of market.market_ticks, and the digest that says which rows they are."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import polars as pl
    import pyarrow as pa

KEY = ("symbol", "exchange", "exch_ns", "trade_id")
VALUES = ("recv_ns", "seq", "price", "qty", "sell")
COLUMNS = ("exchange", "symbol", "exch_ns", "trade_id", *VALUES)


def of_trades(trades: pl.DataFrame, market: str) -> pa.Table:
    """Return trades of a market (`venue:SYMBOL`) as rows of market_ticks, sorted by their key.

    Raises ValueError when a key is there twice: the table would refuse one of them.
    """
    import polars as pl

    exchange, _, symbol = market.partition(":")
    named = trades.with_columns(exchange=pl.lit(exchange), symbol=pl.lit(symbol))
    rows = named.select(COLUMNS).sort("exch_ns", "trade_id")
    twice = rows.height - rows.select(KEY).n_unique()
    if twice:
        raise ValueError(f"{market}: {twice} trades have the time and id of another; materialize trades anew")
    return rows.to_arrow(compat_level=pl.CompatLevel.oldest())


def digest(rows: pa.Table) -> str:
    """Return the sha256 of the rows' values: the same rows in another file, or sorted otherwise there, are the same."""
    found = hashlib.sha256(f"{rows.num_rows}".encode())
    for name in COLUMNS[2:]:
        found.update(rows[name].combine_chunks().cast("int64").to_numpy(zero_copy_only=False).tobytes())
    return found.hexdigest()
