"""Frames in Binance's format, and the kernels of the book as Python may call them."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from numba import njit

from bot4_live.events import HEADER, HEADER_SIZE, Kind, header_of, new_record, slots_of
from bot4_live.market import book as kernels
from bot4_live.market.levels import recentre, set_level
from bot4_live.market.venues.ladder import VenueBook

BASE_MS = 1_723_161_256_000
BASE_NS = BASE_MS * 1_000_000


@njit
def _apply(books, headers, slots):
    return kernels.book_apply(books[0], headers[0], slots)


@njit
def _set(books, row, price, qty, move):
    set_level(books[0], row, price, qty)
    if move:
        recentre(books[0])


@njit
def _best(books):
    b = books[0]
    return (
        kernels.book_best_bid(b),
        kernels.book_best_qty(b, 1),
        kernels.book_best_ask(b),
        kernels.book_best_qty(b, -1),
        kernels.book_crossed(b),
    )


@njit
def _qty(books, side, price):
    return kernels.book_qty(books[0], side, price)


@njit
def _depth(books, side, out, n):
    return kernels.book_depth(books[0], side, out, n)


class Book:
    """One book, its kernels as methods."""

    def __init__(self) -> None:
        self.data = kernels.new_book()

    def __getitem__(self, field: str) -> Any:
        return self.data[0][field]

    def apply(self, record: np.ndarray) -> bool:
        return bool(_apply(self.data, record[:HEADER_SIZE].view(HEADER), slots_of(record)))

    def set(self, row: int, price: int, qty: int, *, move: bool = True) -> None:
        _set(self.data, row, price, qty, move)

    def best(self) -> tuple[int, int, int, int]:
        return _best(self.data)[:4]

    def crossed(self) -> bool:
        return bool(_best(self.data)[4])

    def qty(self, side: int, price: int) -> int:
        return int(_qty(self.data, side, price))

    def depth(self, side: int, n: int) -> list[tuple[int, int]]:
        out = np.zeros((max(n, 1), 2), np.int64)
        found = _depth(self.data, side, out, n)
        return [(int(p), int(q)) for p, q in out[:found]]


@pytest.fixture(scope="session")
def make_book() -> Callable[[], Book]:
    """Make an empty book."""
    return Book


class Frames:
    """Writes frames as the venue does; `n` counts ms, so that times stay plausible."""

    def __init__(self) -> None:
        self.n = 0

    def ms(self) -> int:
        self.n += 1
        return BASE_MS + self.n

    def wrap(self, stream: str, data: dict[str, Any]) -> bytes:
        return json.dumps({"stream": f"btcusdt@{stream}", "data": data}, separators=(",", ":")).encode()

    def diff(self, first: int, last: int, previous: int, bids: list = (), asks: list = (), **other: Any) -> bytes:
        at = self.ms()
        data = {"e": "depthUpdate", "E": at, "T": at, "s": "BTCUSDT", "U": first, "u": last, "pu": previous}
        return self.wrap("depth@0ms", data | {"b": list(bids), "a": list(asks)} | other)

    def ticker(self, u: int, bid: str, bid_qty: str, ask: str, ask_qty: str, **other: Any) -> bytes:
        at = self.ms()
        data = {"e": "bookTicker", "u": u, "s": "BTCUSDT", "b": bid, "B": bid_qty, "a": ask, "A": ask_qty}
        return self.wrap("bookTicker", data | {"T": at, "E": at} | other)

    def trade(self, t: int, price: str, qty: str, *, maker_buys: bool = False, **other: Any) -> bytes:
        at = self.ms()
        data = {"e": "trade", "E": at, "T": at, "s": "BTCUSDT", "t": t, "p": price, "q": qty, "X": "MARKET"}
        return self.wrap("trade", data | {"m": maker_buys} | other)

    def snapshot(self, last: int, bids: list, asks: list) -> bytes:
        at = self.ms()
        return json.dumps({"lastUpdateId": last, "E": at, "T": at, "bids": bids, "asks": asks}).encode()


@pytest.fixture
def frames() -> Frames:
    """A writer of frames."""
    return Frames()


@pytest.fixture
def base_ns() -> int:
    """Receive time that fits the frames."""
    return BASE_NS


@pytest.fixture
def brief() -> Callable[[np.ndarray], tuple[str, int, int]]:
    """Turn a record into (kind, a, b)."""
    from bot4_live.events import Kind

    def make(record: np.ndarray) -> tuple[str, int, int]:
        head = header_of(record)
        return Kind(int(head["kind"])).name, int(head["a"]), int(head["b"])

    return make


@pytest.fixture(scope="session")
def frames_factory() -> Callable[[], Frames]:
    """Make a writer of frames (for property tests, where a fixture would be shared by the examples)."""
    return Frames


@njit(cache=True)
def _apply_one(books, headers, slots):
    kernels.book_apply(books[0], headers[0], slots)


@njit(cache=True)
def _state_of(books):
    b = books[0]
    return (
        b.valid,
        kernels.book_best_bid(b),
        kernels.book_best_qty(b, 1),
        kernels.book_best_ask(b),
        kernels.book_best_qty(b, -1),
    )


@njit(cache=True)
def _levels_of(books, side, out, n):
    return kernels.book_depth(books[0], side, out, n)


class EngineBooks:
    """The books that the engine would have after these records, one an instrument id."""

    def __init__(self) -> None:
        self.books: dict[int, np.ndarray] = {}
        self.apply(new_record(Kind.NOTE))  # compiled now, not while somebody's event loop waits
        self.valid(0)
        self.levels(0, 1, 1)
        self.books.clear()

    def apply(self, record: np.ndarray) -> None:
        book = self.books.setdefault(int(header_of(record)["instrument"]), kernels.new_book())
        _apply_one(book, record[:HEADER_SIZE].view(HEADER), slots_of(record))

    def valid(self, instrument: int) -> bool:
        return instrument in self.books and bool(_state_of(self.books[instrument])[0])

    def best(self, instrument: int) -> tuple[int, int, int, int]:
        return tuple(int(v) for v in _state_of(self.books[instrument])[1:])

    def levels(self, instrument: int, side: int, n: int) -> list[tuple[int, int]]:
        out = np.zeros((n, 2), np.int64)
        found = _levels_of(self.books[instrument], side, out, n)
        return [(int(p), int(q)) for p, q in out[:found]]


@pytest.fixture
def engine_books() -> EngineBooks:
    """Books as the engine keeps them, empty."""
    return EngineBooks()


@pytest.fixture(scope="session")
def same_book() -> Callable[[EngineBooks, VenueBook, int], None]:
    """Assert that the engine's book is the feed's."""

    def check(engine: EngineBooks, book: VenueBook, n: int) -> None:
        number = book.instrument.id
        assert engine.valid(number) == book.live
        if book.live:
            for side, levels in ((1, book.bids), (-1, book.asks)):
                assert engine.levels(number, side, n) == [(level.price, level.qty) for level in levels.top(n)]

    return check


@pytest.fixture(scope="session")
def order_flow() -> ModuleType:
    """The small exchange of `venues/order_flow.py`."""
    name = "bot4_test_venues_order_flow"
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name("venues") / "order_flow.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module
