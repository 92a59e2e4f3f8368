"""Event records of a venue's frame, as bot4_live.events defines them."""

from __future__ import annotations

import struct
from array import array
from collections.abc import Iterable

import numpy as np

from bot4_live.events import HEADER_SIZE, SCHEMA, SLOT_SIZE, Flag, Kind, Reason, Source, StaleCause
from bot4_live.instrument import Instrument
from bot4_live.market.venues.ladder import Level

_HEADER = struct.Struct("<IIBBBBHHQqqqqq")


def _record(
    kind: Kind,
    instrument: Instrument,
    times: tuple[int, int],
    abc: tuple[int, int, int],
    slots: list[int],
    flags: int = 0,
) -> np.ndarray:
    """Return a writable record; `times` are receive and venue time in ns, `slots` x, y, x, y ..."""
    length = HEADER_SIZE + len(slots) * SLOT_SIZE // 2
    head = _HEADER.pack(
        length, 0, kind, flags, SCHEMA, Source.MARKET_STREAM, instrument.id, instrument.version, 0, *times, *abc
    )
    return np.frombuffer(bytearray(head) + array("q", slots).tobytes(), np.uint8)


def depth(
    kind: Kind,
    instrument: Instrument,
    times: tuple[int, int],
    ids: tuple[int, int, int],
    bids: Iterable[Level],
    asks: Iterable[Level],
    raw_ref: int,
) -> np.ndarray:
    """Return a DEPTH_SNAPSHOT or DEPTH_DIFF; `ids` are first, last and previous (0 for a snapshot, -1 for none)."""
    first, last, previous = ids
    slots = [previous, 0]
    for level in bids:
        slots += (level.price, level.qty)
    slots[1] = len(slots) // 2 - 1
    for level in asks:
        slots += (level.price, level.qty)
    return _record(kind, instrument, times, (first, last, raw_ref), slots)


def quote(
    instrument: Instrument, times: tuple[int, int], update_id: int, bid: Level, ask: Level, raw_ref: int
) -> np.ndarray:
    """Return a BOOK_TICKER."""
    slots = [bid.price, bid.qty, ask.price, ask.qty]
    return _record(Kind.BOOK_TICKER, instrument, times, (update_id, 0, raw_ref), slots)


def trade(
    instrument: Instrument, times: tuple[int, int], trade_id: int, price: int, qty: int, *, sell: bool, raw_ref: int
) -> np.ndarray:
    """Return a TRADE; `sell` says that the aggressor sold."""
    return _record(Kind.TRADE, instrument, times, (trade_id, 0, raw_ref), [price, qty], int(Flag.SELL) if sell else 0)


def values(
    kind: Kind,
    instrument: Instrument,
    times: tuple[int, int],
    a: int,
    slots: list[tuple[int, int]],
    raw_ref: int,
    flags: int = 0,
) -> np.ndarray:
    """Return a TICKER, FUNDING or LIQUIDATION; `slots` as events.value_slot makes them."""
    words = [number for slot in slots for number in slot]
    return _record(kind, instrument, times, (a, 0, raw_ref), words, int(flags))


def stale(instrument: Instrument, recv_ns: int, cause: StaleCause, expected: int, got: int) -> np.ndarray:
    """Return a BOOK_STALE."""
    return _record(Kind.BOOK_STALE, instrument, (recv_ns, 0), (cause, expected, got), [])


def quarantine(instrument: Instrument, recv_ns: int, reason: Reason, raw_ref: int) -> np.ndarray:
    """Return a QUARANTINE; the stream is not one of Binance's, so its code is 0."""
    return _record(Kind.QUARANTINE, instrument, (recv_ns, 0), (reason, 0, raw_ref), [])
