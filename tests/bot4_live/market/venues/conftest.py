"""Feeds of one instrument, what they say in short words, and the engine's compiled book behind their records."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from bot4_live.events import Flag, Kind, Reason, StaleCause, header_of, slots_of
from bot4_live.market.venues.base import VenueFeed
from bot4_live.market.venues.registry import Instruments


def _say(record: np.ndarray) -> str:
    head, slots = header_of(record), slots_of(record).tolist()
    kind = Kind(int(head["kind"]))
    if kind is Kind.BOOK_STALE:
        return f"STALE {StaleCause(int(head['a'])).name}"
    if kind is Kind.QUARANTINE:
        return f"QUARANTINE {Reason(int(head['a'])).name}"
    if kind is Kind.TRADE:
        side = "sell" if head["flags"] & Flag.SELL else "buy"
        return f"TRADE {int(head['a'])} {side} {slots[0][1]}@{slots[0][0]}"
    if kind is Kind.BOOK_TICKER:
        (bid, bid_qty), (ask, ask_qty) = slots
        return f"QUOTE {int(head['a'])} {bid_qty}@{bid} {ask_qty}@{ask}"
    if kind in (Kind.DEPTH_DIFF, Kind.DEPTH_SNAPSHOT):
        n = slots[0][1]
        bids, asks = slots[1 : 1 + n], slots[1 + n :]
        name = "DIFF" if kind is Kind.DEPTH_DIFF else "SNAPSHOT"
        ids = f"{int(head['a'])}-{int(head['b'])}<{slots[0][0]}"
        return f"{name} {ids} " + " ".join(f"{q}@{p}" for p, q in bids) + " | " + " ".join(f"{q}@{p}" for p, q in asks)
    return kind.name


@pytest.fixture(scope="session")
def say() -> Callable[[list[np.ndarray]], list[str]]:
    """Put records into words."""
    return lambda out: [_say(record) for record in out]


@pytest.fixture(scope="session")
def make_feed() -> Callable[..., VenueFeed]:
    """Make a connected feed: `make_feed(KrakenFeed, {"BTC/USD": (1, 8)}, ...)`."""

    def make(kind: type[VenueFeed], names: dict[str, tuple[int, int]], **options: Any) -> VenueFeed:
        instruments = Instruments(kind.venue)
        for name, digits in names.items():
            instruments.declare(name, *digits)
        feed = kind(instruments, **options)
        feed.on_connect(1)
        return feed

    return make
