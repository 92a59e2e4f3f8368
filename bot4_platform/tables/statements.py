"""What venues state beside trades and books: funding, liquidations, tickers.

A number without a tick is its digits and, in `<name>_decimals`, how many of them are decimals: the number is
`digits / 10 ** decimals`, exactly as the venue wrote it. Both are null where it was not stated.
"""

from bot4_platform.tables.table import EVENT, Table

# Names of bot4_live.events.Field; importing that takes numpy, which the definitions do without.
FUNDING_VALUES = {
    "rate": "FUNDING_RATE",
    "rate_8h": "FUNDING_RATE_8H",
    "mark_price": "MARK_PRICE",
    "index_price": "INDEX_PRICE",
    "settlement_price": "SETTLEMENT_PRICE",
    "interest_rate": "INTEREST_RATE",
}
LIQUIDATION_VALUES = {"average_price": "AVERAGE_PRICE", "filled_qty": "FILLED_QTY"}


def _pairs(fields: dict[str, str]) -> dict[str, str]:
    return {name + suffix: "Int64" for name in fields for suffix in ("", "_decimals")}


STATEMENTS = {
    "funding": Table(
        "funding statements; `next_ns`: the next funding time, 0 where the venue pays all the time or does not say",
        {**EVENT, "next_ns": "Int64", **_pairs(FUNDING_VALUES)},
        ("seq",), ("seq",),
    ),
    "liquidations": Table(
        "liquidations; `sell`: a long was sold out; `trade_id` 0 for an order; `large`: worth the feed's threshold",
        {**EVENT, "trade_id": "Int64", "price": "Int64", "qty": "Int64", "sell": "Boolean", "large": "Boolean",
         **_pairs(LIQUIDATION_VALUES)},
        ("seq",), ("seq",),
    ),
    "tickers": Table(
        "what tickers stated, one row a value; `trade_id` of the last trade, 0 where it is not said",
        {**EVENT, "trade_id": "Int64", "field": "String", "digits": "Int64", "decimals": "Int64"},
        ("seq", "field"), ("seq", "field"),
    ),
}  # fmt: skip
