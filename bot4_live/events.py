"""The event record: the one language between venues, engine, journal and platform.

A record is a 64-byte little-endian header followed by 16-byte slots. `length` counts both, so it is a multiple
of 16; a record is committed by storing `length` last. `crc` is CRC32C over bytes 8 to `length`, set by the
journal writer; it is 0 before. Kinds and codes only grow; a reader keeps the previous schema.

Events (kind < 64) carry a dense `seq`. Commands (kind 64..79) are the engine's output: their `seq` is that of the
event that caused them and `c` counts them within it. Prices are ticks and quantities lots of `instrument` at
`inst_version`; money is 1e-8 of the quote currency (`_e8`).
"""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from enum import IntEnum, IntFlag

import numpy as np

SCHEMA = 1
HEADER_SIZE = 64
SLOT_SIZE = 16

HEADER = np.dtype(
    [
        ("length", "<u4"),  # bytes, header and slots
        ("crc", "<u4"),  # CRC32C of bytes 8..length; 0 until the journal writer has set it
        ("kind", "u1"),
        ("flags", "u1"),
        ("schema", "u1"),
        ("source", "u1"),
        ("instrument", "<u2"),
        ("inst_version", "<u2"),
        ("seq", "<u8"),
        ("recv_ns", "<i8"),  # engine clock (market time of the session)
        ("exch_ns", "<i8"),  # venue's event time, 0 where there is none
        ("a", "<i8"),
        ("b", "<i8"),
        ("c", "<i8"),
    ]
)
SLOT = np.dtype([("x", "<i8"), ("y", "<i8")])


class Kind(IntEnum):
    """What a record says; the comment gives a, b, c and the slots (s0, s1 ... as pairs x, y)."""

    # Market data. c = raw_ref: the frame's logical offset in the raw log, -1 when not kept.
    DEPTH_SNAPSHOT = 1  # a=b=lastUpdateId; s0=(0, number of bids); then bids, then asks, as (price, qty)
    DEPTH_DIFF = 2  # a=U (first id) b=u (last id); s0=(pu, number of bids); then bids, then asks
    BOOK_TICKER = 3  # a=u; s0=(bid price, bid qty); s1=(ask price, ask qty)
    TRADE = 4  # a=trade id; s0=(price, qty); flags SELL = the aggressor sold
    BOOK_STALE = 5  # a=StaleCause b=expected id c=got id: the book must not be used until the next snapshot
    QUARANTINE = 6  # a=Reason b=stream code c=raw_ref: a frame that could not become an event
    # Time and session.
    TICK = 8  # fixed 10 ms grid of the engine clock: recv_ns is the grid time
    SESSION = 9  # a=shift_ns b=speed_milli c=order epoch; s0=(restart count, 0): the book is void, HOLD is on
    CLOCK_OFFSET = 10  # a=offset_ns of the engine clock against CLOCK_MONOTONIC, b=estimated error ns
    VENUE_OFFSET = 11  # a=venue's clock minus engine clock, ns; b=error ns (+-a); c=shortest round trip ns; the engine
    #                    passes over it: an event's latency is recv_ns + a - exch_ns
    # More market data, c = raw_ref; the engine passes over it. Values are slots as `value_slot` makes them.
    FUNDING = 12  # a=next funding time ns, 0 where it is not said; values (Field.FUNDING_RATE first)
    LIQUIDATION = 13  # a=trade id, 0 for an order; s0=(price, qty); flags SELL = a long is sold out; then values
    TICKER = 14  # a=trade id of the last trade, 0 where it is not said; values: only what the venue sent
    # Configuration; all that steers `step` arrives this way.
    INSTRUMENT = 16  # s0=(tick_e8, lot_e8) s1=(min_qty lots, max_qty lots) s2=(min_notional_e8, maker_fee_e8)
    #                  s3=(taker_fee_e8, price_digits) s4=(qty_digits, funding interval in s); fees are fractions in e8
    PARAMS = 17  # slots (param id, value as float64 bits): see bot4_live.settings.PARAM_IDS
    MODE = 18  # a=Mode
    MODEL_SWAP = 19  # a=slot b=version c=use (1 = skews quotes, 0 = baseline); s0,s1 = sha256 of the bundle
    SLOW_FEATURE = 20  # a=slow feature id b=created_ns; s0=(event_ns, value as float64 bits)
    HOLD = 21  # a=1: nothing leaves but cancels and reduce-only; a=0: reconciled
    BUDGET = 22  # a=orders a second, b=burst
    INTENT = 23  # a=lots (signed): an operator asks for this change of position, at once, through the risk gate;
    #              fewer than the venue allows means the smallest it allows
    BACKLOG = 24  # a=1: events from seq b on wait to be stepped; a=0: all were, c of them; the engine passes over it
    # Account and orders. a=order id (bot4_live.execution.order_id), 0 for an order that is not ours.
    POSITION = 32  # a=position lots (signed) b=entry price e8 c=venue update ns: truth from the venue
    BALANCE = 33  # a=wallet_e8 b=available_e8
    ORDER_ACCEPTED = 34  # b=venue order id c=cumulative filled lots; s0=(price, qty)
    ORDER_FILL = 35  # b=trade id c=venue order id; s0=(price, qty) s1=(cumulative filled lots, fee_e8); MAKER, SELL
    ORDER_CANCELED = 36  # b=venue order id c=cumulative filled lots
    ORDER_REJECTED = 37  # b=venue error code: the order never rested (a post-only reject is normal)
    ORDER_EXPIRED = 38  # b=venue order id c=cumulative filled lots (an IOC's rest, GTX)
    ORDER_UNKNOWN = 39  # b=cause: fate not known, asked about, never resent
    ORDER_ADOPTED = 40  # b=venue order id c=cumulative filled; s0=(price, qty); flags SELL: ours, found at the venue
    CANCEL_REJECTED = 41  # b=venue error code
    # The way out.
    SEND_ATTEMPT = 48  # a=order id b=command kind: journaled before the bytes leave
    SUPPRESSED = 49  # a=order id b=SuppressCause c=command kind: stopped by the gate
    # Commands: the engine's output. seq = seq of the causing event, c = index within it.
    CMD_NEW = 64  # a=order id; s0=(price, qty); flags SELL, POST_ONLY, REDUCE_ONLY, IOC
    CMD_CANCEL = 65  # a=order id
    CMD_CANCEL_ALL = 66
    # For people; the engine ignores it.
    NOTE = 80  # slots hold UTF-8 text padded with zeros; a=NoteTopic


FIRST_COMMAND = 64
LAST_COMMAND = 79

# Kinds of one instrument's market: those of instruments that are only watched say nothing of the traded one.
MARKET_KINDS = (
    Kind.DEPTH_SNAPSHOT, Kind.DEPTH_DIFF, Kind.BOOK_TICKER, Kind.TRADE, Kind.BOOK_STALE, Kind.QUARANTINE, Kind.FUNDING,
    Kind.LIQUIDATION, Kind.TICKER,
)  # fmt: skip


class Field(IntEnum):
    """What a value of FUNDING, LIQUIDATION or TICKER is; in the venue's own units, as it sent them."""

    FUNDING_RATE = 1  # a fraction of the position's value, per funding interval of the venue
    FUNDING_RATE_8H = 2
    MARK_PRICE = 3
    INDEX_PRICE = 4
    SETTLEMENT_PRICE = 5  # estimated, of the coming settlement or delivery
    BID_PRICE = 6
    BID_QTY = 7
    ASK_PRICE = 8
    ASK_QTY = 9
    LAST_PRICE = 10
    LAST_QTY = 11
    OPEN_PRICE = 12  # 24 h ago
    HIGH_PRICE = 13  # of 24 h, as the two below
    LOW_PRICE = 14
    VOLUME = 15  # base currency or contracts
    QUOTE_VOLUME = 16
    OPEN_INTEREST = 17
    UNDERLYING_PRICE = 18
    MARK_IV = 19  # implied volatilities in percent a year
    BID_IV = 20
    ASK_IV = 21
    DELTA = 22
    GAMMA = 23
    VEGA = 24
    THETA = 25
    RHO = 26
    INTEREST_RATE = 27
    AVERAGE_PRICE = 28  # of the fills of a liquidation
    FILLED_QTY = 29  # of a liquidation, cumulative
    MIN_PRICE = 30  # the venue's price band
    MAX_PRICE = 31


class Flag(IntFlag):
    """Header flags. Verdict bits are set by the feed; the engine skips records that carry INVALID."""

    SELL = 1
    MAKER = 2
    POST_ONLY = 4
    REDUCE_ONLY = 8
    IOC = 16
    INVALID = 32  # parsed but failed a validation rule; `flags` keeps it, Reason is in the NOTE of the rule
    REPLAYED = 64  # learnt by query after a restart or reconnect, not from the stream
    LARGE = 128  # LIQUIDATION: worth at least the feed's threshold (liquidation_usd)


class Source(IntEnum):
    """Who wrote the event."""

    MARKET_STREAM = 1
    MARKET_REST = 2
    USER_STREAM = 3
    ORDER_REST = 4
    RUNNER = 5
    TIMER = 6
    FEEDER = 7
    OPERATOR = 8
    WATCHDOG = 9
    ENGINE = 10
    FILE = 11


class StaleCause(IntEnum):
    """Why a book may not be used."""

    START = 1
    GAP = 2
    DISCONNECT = 3
    SILENCE = 4
    CROSSED = 5
    LOST_LEVELS = 6  # the far store overflowed and the market reached what was dropped
    CHECKSUM = 7  # the venue's checksum of the best levels is another one than ours
    INSTRUMENT = 8  # tick or lot changed: the levels are counts of something else now


class Reason(IntEnum):
    """Why a frame was quarantined."""

    NOT_JSON = 1
    NOT_UTF8 = 2
    UNKNOWN_STREAM = 3
    MISSING_FIELD = 4
    WRONG_TYPE = 5
    BAD_NUMBER = 6
    LOST_DIGITS = 7  # more decimals than the instrument has: an error, never a rounding
    NEGATIVE = 8
    ZERO_PRICE = 9
    CROSSED_QUOTE = 10
    TIME_OUT_OF_RANGE = 11
    UNKNOWN_SYMBOL = 12
    BAD_SEQUENCE = 13
    TOO_LARGE = 14
    OUTLIER = 15
    DUPLICATE = 16
    BAD_CHECKSUM = 17  # a snapshot that is not what its checksum says


class SuppressCause(IntEnum):
    """Why the gate let nothing out."""

    NO_LEASE = 1
    STOPPED = 2
    DISARMED = 3
    HOLD = 4
    MODE = 5
    RATE = 6
    DISCONNECTED = 7
    BEHIND = 8  # its cause is too old: the engine was behind


class Mode(IntEnum):
    """Control modes (S2), ordered by safety."""

    NORMAL = 0
    REDUCE = 1
    PAUSE = 2
    EMERGENCY = 3


class Side(IntEnum):
    """Order side."""

    BUY = 1
    SELL = -1


def new_record(kind: int, slots: int = 0) -> np.ndarray:
    """Return a zeroed record of `kind` with `slots` body slots, as a uint8 array of its full length."""
    record = np.zeros(HEADER_SIZE + SLOT_SIZE * slots, np.uint8)
    header = record[:HEADER_SIZE].view(HEADER)[0]
    header["length"] = record.size
    header["kind"] = kind
    header["schema"] = SCHEMA
    return record


def header_of(record: np.ndarray) -> np.void:
    """Return the header of a record as a writable view."""
    return record[:HEADER_SIZE].view(HEADER)[0]


def slots_of(record: np.ndarray) -> np.ndarray:
    """Return the body as a writable int64 view of shape (slots, 2)."""
    return record[HEADER_SIZE:].view(np.int64).reshape(-1, 2)


_FIELD_BITS = 16
_MOST_DECIMALS = 64
_LONGEST_NUMBER = 80
_NUMBER_CHARACTERS = frozenset("0123456789+-.eE")


def value_slot(field: int, text: str) -> tuple[int, int]:
    """Return the slot that carries a decimal number exactly: (field | decimals << 16, the digits as an integer).

    Raises ValueError for text that is no finite decimal, has over 64 decimals, or over 63 bits of digits.
    """
    try:
        if len(text) > _LONGEST_NUMBER or not _NUMBER_CHARACTERS.issuperset(text):
            raise InvalidOperation
        sign, digits, exponent = Decimal(text).as_tuple()
    except InvalidOperation:
        raise ValueError(f"not a number: {text[:40]!r}") from None
    if not isinstance(exponent, int) or exponent > _MOST_DECIMALS:
        raise ValueError(f"not a plain number: {text[:40]!r}")
    number = int("".join(map(str, digits))) * 10 ** max(exponent, 0)
    decimals = max(-exponent, 0)
    if decimals > _MOST_DECIMALS or number >= 1 << 63:
        raise ValueError(f"more digits than a record holds: {text[:40]!r}")
    return field | decimals << _FIELD_BITS, -number if sign else number


def slot_value(x: int, y: int) -> tuple[int, Decimal]:
    """Return (field, number) of a value slot."""
    return x & ((1 << _FIELD_BITS) - 1), Decimal(y).scaleb(-(x >> _FIELD_BITS))


def float_bits(value: float) -> int:
    """Return the int64 that carries a float64 in a slot."""
    return int(np.float64(value).view(np.int64))


def bits_float(bits: int) -> float:
    """Return the float64 that an int64 slot value carries."""
    return float(np.int64(bits).view(np.float64))


def note(text: str, topic: int = 0) -> np.ndarray:
    """Return a NOTE record holding `text`."""
    raw = text.encode()
    record = new_record(Kind.NOTE, -(-len(raw) // SLOT_SIZE))
    record[HEADER_SIZE : HEADER_SIZE + len(raw)] = np.frombuffer(raw, np.uint8)
    header_of(record)["a"] = topic
    return record
