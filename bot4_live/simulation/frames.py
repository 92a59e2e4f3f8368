"""Market frames as bytes: shift their times, strip or rename their stream, read what matching needs."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

import msgspec

from bot4_live.instrument import Instrument
from bot4_live.market.numbers import Scale

_TIMES = re.compile(rb'"([ET])":(\d{12,14})')
_HEAD = re.compile(rb'\{"stream":"([^"]{1,80})","data":')
DEPTH, TICKER, TRADE = "depthUpdate", "bookTicker", "trade"
Level = tuple[int, int]


def event_ms(raw: bytes) -> int | None:
    """Return E, the time at which the venue sent the frame, None when it has none."""
    for name, value in _TIMES.findall(raw):
        if name == b"E":
            return int(value)
    return None


def shift_times(raw: bytes, shift_ms: int) -> bytes:
    """Return the frame with `shift_ms` added to E and T; every other byte is as it was."""
    if not shift_ms:
        return raw
    return _TIMES.sub(lambda found: b'"%s":%d' % (found[1], int(found[2]) + shift_ms), raw, count=2)


def stream_name(raw: bytes) -> str:
    """Return the stream that a combined frame names, "" for any other frame."""
    found = _HEAD.match(raw)
    return found[1].decode() if found else ""


def bare(raw: bytes) -> bytes:
    """Return a combined frame's data, as /ws/<stream> sends it."""
    found = _HEAD.match(raw)
    return raw[found.end() : -1] if found else raw


def renamed(raw: bytes, name: str) -> bytes:
    """Return a combined frame under another stream name (the one its client subscribed to)."""
    found = _HEAD.match(raw)
    return b'{"stream":"%s","data":%s' % (name.encode(), raw[found.end() :]) if found else raw


class _Data(msgspec.Struct):
    e: str = ""
    s: str = ""
    E: int = 0
    T: int = 0
    U: int = 0
    u: int = 0
    pu: int = 0
    b: list[tuple[str, str]] | str = ""
    B: str = ""
    a: list[tuple[str, str]] | str = ""
    A: str = ""
    t: int = 0
    p: str = ""
    q: str = ""
    m: bool = False


class _Frame(msgspec.Struct):
    data: _Data | None = None
    lastUpdateId: int = 0
    E: int = 0
    T: int = 0
    bids: list[tuple[str, str]] = []
    asks: list[tuple[str, str]] = []


class Update(msgspec.Struct):
    """One market message in ticks and lots. `kind` is DEPTH, TICKER, TRADE, or "snapshot"; times in ms."""

    kind: str
    event_ms: int
    first: int = 0  # U
    last: int = 0  # u; the id of a ticker; the lastUpdateId of a snapshot
    previous: int = 0  # pu
    bids: list[Level] = []
    asks: list[Level] = []
    trade_id: int = 0
    price: int = 0
    qty: int = 0
    sells: bool = False  # the aggressor sold


class FrameReader:
    """Reads frames of one instrument. Texts seen before are remembered: a book repeats its prices."""

    def __init__(self, instrument: Instrument, *, texts: int = 1 << 16) -> None:
        """Read in the instrument's tick and lot; `texts` is how many prices and how many quantities are remembered."""
        self._decode = msgspec.json.Decoder(_Frame).decode
        self._ticks = lru_cache(maxsize=texts)(Scale(instrument.tick_e8).units)
        self._lots = lru_cache(maxsize=texts)(Scale(instrument.lot_e8).units)

    def read(self, raw: bytes) -> Update:
        """Return what a frame says. Raises ValueError for one that is not a USD-M market frame."""
        frame = self._decode(raw)
        data = frame.data
        if data is None:
            if not frame.lastUpdateId:
                raise ValueError(f"not a market frame: {raw[:80]!r}")
            return Update(
                "snapshot",
                frame.E,
                last=frame.lastUpdateId,
                bids=self._levels(frame.bids),
                asks=self._levels(frame.asks),
            )
        if data.e == DEPTH:
            bids, asks = self._levels(data.b), self._levels(data.a)
            return Update(DEPTH, data.E, first=data.U, last=data.u, previous=data.pu, bids=bids, asks=asks)
        ticks, lots = self._ticks, self._lots
        if data.e == TICKER:
            bid, ask = (ticks(str(data.b)), lots(data.B)), (ticks(str(data.a)), lots(data.A))
            return Update(TICKER, data.E, last=data.u, bids=[bid], asks=[ask])
        if data.e == TRADE:
            return Update(TRADE, data.E, trade_id=data.t, price=ticks(data.p), qty=lots(data.q), sells=data.m)
        raise ValueError(f"not a market frame: {raw[:80]!r}")

    def _levels(self, levels: Any) -> list[Level]:
        ticks, lots = self._ticks, self._lots
        return [(ticks(price), lots(qty)) for price, qty in levels]
