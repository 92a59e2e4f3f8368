"""What happened in a log, kept whole: nothing is summed ahead, nothing of the engine's code is used.

`read(log)` returns the events by kind with their place in the log, and the book as it was at each TICK that a
reference is asked about. The references themselves are in `references.py`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from bot4_live.clock import TICK_NS
from bot4_live.events import Flag, Kind, header_of, slots_of

TICK, LOT = 0.1, 0.001


class Quote(NamedTuple):
    """New best quotes; `old` is what they replace (None after no usable book)."""

    grid: int  # TICKs seen by then
    ns: int
    bid: int
    bid_qty: int
    ask: int
    ask_qty: int
    old: Quote | None


class Trade(NamedTuple):
    """A print, with the doubled mid in force (0 for none)."""

    grid: int
    ns: int
    price: int
    lots: int
    sign: int
    mid2: int

    @property
    def notional(self) -> float:
        return self.price * TICK * self.lots * LOT


class Look(NamedTuple):
    """The book at a TICK: the best 200 levels a side as (price, lots), and the quote then."""

    grid: int
    ns: int
    seq: int
    bids: list[tuple[int, int]]
    asks: list[tuple[int, int]]
    quote: Quote


@dataclass
class History:
    """Everything, in order of the log."""

    quotes: list[Quote] = field(default_factory=list)
    trades: list[Trade] = field(default_factory=list)
    multi: list[tuple[int, float]] = field(default_factory=list)  # grid, e_n of five levels in quote currency
    mids: dict[int, int] = field(default_factory=dict)  # doubled mid at each TICK
    spreads: dict[int, int] = field(default_factory=dict)
    looks: dict[int, Look] = field(default_factory=dict)  # every 100 ms
    first: int = 0  # the first TICK
    known: dict[Any, Any] = field(default_factory=dict)  # what references worked out once


@dataclass
class _Reader:
    bids: dict[int, int] = field(default_factory=dict)
    asks: dict[int, int] = field(default_factory=dict)
    overlay: tuple[int, int, int, int, int] | None = None
    update_id: int = 0
    grid: int = 0
    levels: tuple[list[tuple[int, int]], list[tuple[int, int]]] | None = None
    h: History = field(default_factory=History)

    def sides(self, n: int) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
        """Return the best `n` levels a side; a newer quote hides what is better and replaces what it names."""
        bids, asks = self.bids, self.asks
        if self.overlay and self.overlay[0] > self.update_id:
            _, bid, bid_qty, ask, ask_qty = self.overlay
            bids = {p: q for p, q in bids.items() if p < bid} | {bid: bid_qty}
            asks = {p: q for p, q in asks.items() if p > ask} | {ask: ask_qty}
        return [(p, bids[p]) for p in sorted(bids)[: -n - 1 : -1]], [(p, asks[p]) for p in sorted(asks)[:n]]

    def book(self, ns: int) -> None:
        bids, asks = self.sides(5)
        if not bids or not asks:
            return
        old = self.h.quotes[-1] if self.h.quotes else None
        new = Quote(self.grid, ns, *bids[0], *asks[0], old._replace(old=None) if old else None)
        if old is None or new[2:6] != old[2:6]:
            self.h.quotes.append(new)
        levels = (bids[:5], asks[:5])
        if self.levels is not None and levels != self.levels:
            e = sum(level_change(*(at(side, i) for side in (*self.levels, *levels))) for i in range(5))
            self.h.multi.append((self.grid, e * LOT * (new.bid + new.ask) / 2 * TICK))
        self.levels = levels

    def depth(self, head: Any, slots: np.ndarray) -> None:
        if head["kind"] == Kind.DEPTH_SNAPSHOT:
            self.bids, self.asks = {}, {}
        elif not self.bids or head["b"] < self.update_id:
            return
        self.update_id = int(head["b"])
        n_bids = int(slots[0, 1])
        for side, part in ((self.bids, slots[1 : 1 + n_bids]), (self.asks, slots[1 + n_bids :])):
            for price, qty in part.tolist():
                side[price] = qty
                if qty == 0:
                    del side[price]
        self.book(int(head["recv_ns"]))

    def tick(self, head: Any) -> None:
        self.grid = int(head["recv_ns"]) // TICK_NS
        self.h.first = self.h.first or self.grid
        if not self.h.quotes:
            return
        quote = self.h.quotes[-1]
        self.h.mids[self.grid] = quote.bid + quote.ask
        self.h.spreads[self.grid] = quote.ask - quote.bid
        if self.grid % 10 == 0:
            bids, asks = self.sides(200)
            self.h.looks[self.grid] = Look(self.grid, int(head["recv_ns"]), int(head["seq"]), bids, asks, quote)


def at(side: list[tuple[int, int]], i: int) -> tuple[int, int] | None:
    """Return a level, None for a missing one."""
    return side[i] if i < len(side) else None


def level_change(
    old_bid: tuple[int, int] | None, old_ask: tuple[int, int] | None,
    bid: tuple[int, int] | None, ask: tuple[int, int] | None,
) -> int:  # fmt: skip
    """Return e_n of one level by the paper's four indicators, with prices of 0 and infinity for missing levels."""
    none_bid, none_ask = (0.0, 0), (float("inf"), 0)
    (pb0, qb0), (pb1, qb1) = old_bid or none_bid, bid or none_bid
    (pa0, qa0), (pa1, qa1) = old_ask or none_ask, ask or none_ask
    return (pb1 >= pb0) * qb1 - (pb1 <= pb0) * qb0 - (pa1 <= pa0) * qa1 + (pa1 >= pa0) * qa0


def read(log: Any) -> History:
    """Return the history of an EventLog of valid, connected events of BTCUSDT_USDM."""
    r = _Reader()
    for i in range(len(log.offsets)):
        record = log.record(i)
        head, slots = header_of(record), slots_of(record)
        kind, ns = head["kind"], int(head["recv_ns"])
        if kind == Kind.TICK:
            r.tick(head)
        elif kind == Kind.TRADE:
            price, lots = slots[0].tolist()
            mid2 = r.h.quotes[-1].bid + r.h.quotes[-1].ask if r.h.quotes else 0
            r.h.trades.append(Trade(r.grid, ns, price, lots, -1 if head["flags"] & Flag.SELL else 1, mid2))
        elif kind == Kind.BOOK_TICKER:
            r.overlay = (int(head["a"]), *slots[0].tolist(), *slots[1].tolist())
            if r.bids:
                r.book(ns)
        elif kind in (Kind.DEPTH_SNAPSHOT, Kind.DEPTH_DIFF):
            r.depth(head, slots)
    return r.h
