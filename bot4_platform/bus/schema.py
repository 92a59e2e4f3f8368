"""Topics, and what the records on them are: one entry for each kind of the journal. Kinds and topics only grow."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal, NamedTuple

from bot4_live.events import Kind


class Topic(StrEnum):
    """The bus's topics (D19)."""

    MARKET_DATA = "MarketData"
    SIGNALS = "Signals"
    ORDERS = "Orders"
    FILLS = "Fills"
    RISK = "Risk"
    SYSTEM = "System"


TITLES = {
    Topic.MARKET_DATA: "books, quotes, trades, funding, liquidations and instruments of every followed market",
    Topic.SIGNALS: "what steers the quotes from outside the market: slow features, model swaps, intents",
    Topic.ORDERS: "the engine's commands, their way out, and what the venue says of orders but fills",
    Topic.FILLS: "fills, each with its fee and the cumulative fill of its order",
    Topic.RISK: "modes, holds, budgets, parameters, what the gate stopped, position and balance",
    Topic.SYSTEM: "sessions, clocks, backlog, broken frames, notes",
}


class Shape(NamedTuple):
    """Where records of a kind go and what their a, b, c and slots are; an empty name is a field without meaning.

    `pairs` names the leading slots; `rest` says how those after them are read: as book levels (the first slot is
    (previous id, number of bids), prices in ticks and quantities in lots), as `Field` values, as parameters, or text.
    """

    topic: Topic
    a: str = ""
    b: str = ""
    c: str = ""
    pairs: tuple[tuple[str, str], ...] = ()
    rest: Literal["", "levels", "values", "params", "text", "digest"] = ""


MARKET, SIGNALS, ORDERS, FILLS, RISK, SYSTEM = Topic
ORDER = (("price", "qty"),)

KINDS: dict[int, Shape] = {
    Kind.DEPTH_SNAPSHOT: Shape(MARKET, "first_id", "last_id", "raw_ref", rest="levels"),
    Kind.DEPTH_DIFF: Shape(MARKET, "first_id", "last_id", "raw_ref", rest="levels"),
    Kind.BOOK_TICKER: Shape(
        MARKET, "update_id", "", "raw_ref", (("bid_price", "bid_qty"), ("ask_price", "ask_qty"))
    ),
    Kind.TRADE: Shape(MARKET, "trade_id", "", "raw_ref", ORDER),
    Kind.BOOK_STALE: Shape(MARKET, "stale_cause", "expected_id", "got_id"),
    Kind.FUNDING: Shape(MARKET, "next_funding_ns", "", "raw_ref", rest="values"),
    Kind.LIQUIDATION: Shape(MARKET, "trade_id", "", "raw_ref", ORDER, "values"),
    Kind.TICKER: Shape(MARKET, "trade_id", "", "raw_ref", rest="values"),
    Kind.INSTRUMENT: Shape(
        MARKET,
        pairs=(
            ("tick_e8", "lot_e8"), ("min_qty", "max_qty"), ("min_notional_e8", "maker_fee_e8"),
            ("taker_fee_e8", "price_digits"), ("qty_digits", "funding_interval_s"),
        ),
    ),
    Kind.SLOW_FEATURE: Shape(SIGNALS, "feature_id", "created_ns", "", (("event_ns", "value_bits"),)),
    Kind.MODEL_SWAP: Shape(SIGNALS, "slot", "version", "use", rest="digest"),
    Kind.INTENT: Shape(SIGNALS, "lots"),
    Kind.CMD_NEW: Shape(ORDERS, "order_id", "", "number", ORDER),
    Kind.CMD_CANCEL: Shape(ORDERS, "order_id", "", "number"),
    Kind.CMD_CANCEL_ALL: Shape(ORDERS, "", "", "number"),
    Kind.SEND_ATTEMPT: Shape(ORDERS, "order_id", "command_kind"),
    Kind.ORDER_ACCEPTED: Shape(ORDERS, "order_id", "venue_order_id", "filled", ORDER),
    Kind.ORDER_CANCELED: Shape(ORDERS, "order_id", "venue_order_id", "filled"),
    Kind.ORDER_REJECTED: Shape(ORDERS, "order_id", "venue_error"),
    Kind.ORDER_EXPIRED: Shape(ORDERS, "order_id", "venue_order_id", "filled"),
    Kind.ORDER_UNKNOWN: Shape(ORDERS, "order_id", "cause"),
    Kind.ORDER_ADOPTED: Shape(ORDERS, "order_id", "venue_order_id", "filled", ORDER),
    Kind.CANCEL_REJECTED: Shape(ORDERS, "order_id", "venue_error"),
    Kind.ORDER_FILL: Shape(FILLS, "order_id", "trade_id", "venue_order_id", (*ORDER, ("filled", "fee_e8"))),
    Kind.PARAMS: Shape(RISK, rest="params"),
    Kind.MODE: Shape(RISK, "mode"),
    Kind.HOLD: Shape(RISK, "hold"),
    Kind.BUDGET: Shape(RISK, "orders_per_s", "burst"),
    Kind.SUPPRESSED: Shape(RISK, "order_id", "suppress_cause", "command_kind"),
    Kind.POSITION: Shape(RISK, "position", "entry_price_e8", "updated_ns"),
    Kind.BALANCE: Shape(RISK, "wallet_e8", "available_e8"),
    Kind.QUARANTINE: Shape(SYSTEM, "reason", "stream", "raw_ref"),
    Kind.SESSION: Shape(SYSTEM, "shift_ns", "speed_milli", "order_epoch", (("restarts", ""),)),
    Kind.CLOCK_OFFSET: Shape(SYSTEM, "offset_ns", "error_ns"),
    Kind.VENUE_OFFSET: Shape(SYSTEM, "offset_ns", "error_ns", "round_trip_ns"),
    Kind.BACKLOG: Shape(SYSTEM, "begins", "from_seq", "stepped"),
    Kind.NOTE: Shape(SYSTEM, "note_topic", rest="text"),
}  # fmt: skip

# The 10 ms grid of the engine clock: a hundred a second that say nothing the other records' times do not.
UNPUBLISHED = frozenset({Kind.TICK})


def topic_of(kind: int) -> Topic | None:
    """Return the topic of a kind, None for what is not published; a kind that is newer than this table is System's."""
    if kind in UNPUBLISHED:
        return None
    shape = KINDS.get(kind)
    return shape.topic if shape is not None else Topic.SYSTEM
