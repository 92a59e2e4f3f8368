"""How each venue wants a connection kept: limits, heartbeats, and which channel a frame is of.

Sans-I/O like the feeds, and beside them: a feed reads what a frame says, a dialect what it means for the connection.
The numbers are the venues' published limits of 2026 (docs/venues.md names the pages).
"""

from __future__ import annotations

import json
import re
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

Channel = tuple[str, str]  # its kind and the instrument's name, "" where it is of none
NO_CHANNEL: Channel = ("", "")
Rate = tuple[int, float]  # at most so many in so many seconds

_HEAD = 240  # bytes of a frame in which its channel is named


@dataclass(frozen=True)
class VenueLimits:
    """What a venue allows, from one address where it counts by address."""

    names: int  # instruments on one connection; ours, where the venue's own limit is larger or not given
    messages: Rate  # sent on a connection
    connects: Rate
    connections: int | None = None  # at a time
    lifetime_s: float | None = None  # after which the venue cuts a connection


class Dialect(ABC):
    """A connection of a venue that needs nothing said: a base for those that do."""

    venue: ClassVar[str] = ""
    limits: ClassVar[VenueLimits]
    heartbeat_s: ClassVar[float | None] = None  # a frame comes at least so often once we ask for it as below
    books: ClassVar[frozenset[str]] = frozenset()  # kinds of channel that change a book
    control: ClassVar[frozenset[str]] = frozenset()  # kinds that are no market data

    def __init__(self) -> None:
        """Know no channel yet."""
        self._known: dict[tuple[bytes, bytes], Channel] = {}

    def hello(self) -> list[bytes]:
        """Return what to send when a connection is open, before the subscriptions."""
        return []

    def ping(self) -> bytes | None:
        """Return what to send every `heartbeat_s`, None when the venue speaks by itself."""
        return None

    def answer(self, raw: bytes) -> bytes | None:
        """Return what a control frame demands to be sent, None for nothing."""
        return None

    def leaving(self, raw: bytes) -> bool:
        """Return whether a control frame says that the venue is about to close the connection."""
        return False

    def is_book(self, channel: Channel) -> bool:
        """Return whether frames of the channel change a book."""
        return channel[0] in self.books

    def channel(self, raw: bytes) -> Channel:
        """Return the channel of a frame, NO_CHANNEL for control frames. Never raises."""
        found = self._find(raw)
        if found is None:
            return NO_CHANNEL
        channel = self._known.get(found)
        if channel is None:
            kind, name = (part.decode(errors="replace") for part in found)
            channel = NO_CHANNEL if kind in self.control else (kind, name)
            if len(self._known) < 10_000:
                self._known[found] = channel
        return channel

    @abstractmethod
    def _find(self, raw: bytes) -> tuple[bytes, bytes] | None:
        """Return kind and name as they stand in the frame, None when it is of no channel."""


def _field(name: bytes) -> Callable[[bytes], bytes | None]:
    search = re.compile(rb'"' + name + rb'"\s*:\s*"([^"]*)"').search

    def find(head: bytes) -> bytes | None:
        found = search(head)
        return found[1] if found is not None else None

    return find


_channel, _symbol, _inst_id = _field(b"channel"), _field(b"symbol"), _field(b"instId")
_event, _code = _field(b"event"), _field(b"code")
_product_id, _type, _stream = _field(b"product_id"), _field(b"type"), _field(b"stream")


class BinanceDialect(Dialect):
    """Binance pings by protocol frames, which the library answers; streams are named in the address."""

    venue = "binance_usdm"
    limits = VenueLimits(names=60, messages=(10, 1.0), connects=(300, 300.0), lifetime_s=86_400.0)
    books = frozenset({"depth"})

    def _find(self, raw: bytes) -> tuple[bytes, bytes] | None:
        stream = _stream(raw[:_HEAD])
        if stream is None:
            return None
        name, _, rest = stream.partition(b"@")
        return rest.partition(b"@")[0], name


class BinanceSpotDialect(BinanceDialect):
    """Spot takes fewer messages."""

    venue = "binance_spot"
    limits = VenueLimits(names=60, messages=(5, 1.0), connects=(300, 300.0), lifetime_s=86_400.0)


class BinanceCoinmDialect(BinanceDialect):
    """COIN-M is as USD-M."""

    venue = "binance_coinm"


class KrakenDialect(Dialect):
    """v2: the venue sends a heartbeat every second in which nothing else comes; a ping proves both directions."""

    venue = "kraken"
    limits = VenueLimits(names=50, messages=(10, 1.0), connects=(150, 600.0))
    heartbeat_s = 5.0
    books = frozenset({"book"})
    control = frozenset({"heartbeat", "status", "pong"})

    def ping(self) -> bytes | None:
        """Ask for a pong."""
        return b'{"method":"ping"}'

    def _find(self, raw: bytes) -> tuple[bytes, bytes] | None:
        head = raw[:_HEAD]
        kind = _channel(head)
        return None if kind is None or b'"method"' in head else (kind, _symbol(head) or b"")


class KrakenOrdersDialect(KrakenDialect):
    """`level3` is on a socket of its own; a subscription to 1000 prices costs 100 of the 200 tokens of a second."""

    venue = "kraken_orders"
    limits = VenueLimits(names=2, messages=(2, 1.0), connects=(150, 600.0))
    books = frozenset({"level3"})


class KrakenOldDialect(KrakenDialect):
    """v1: arrays that end with channel and pair."""

    _tail = re.compile(rb'"([a-z]+)(?:-\d+)?"\s*,\s*"([^"]+)"\s*\]\s*$')

    def ping(self) -> bytes | None:
        """Ask for a pong."""
        return b'{"event":"ping"}'

    def _find(self, raw: bytes) -> tuple[bytes, bytes] | None:
        found = self._tail.search(raw[-60:]) if raw[:1] == b"[" else None
        return (found[1], found[2]) if found is not None else None


class OkxDialect(Dialect):
    """The venue closes what was silent for 30 s: the text ping is due before. It warns before it restarts."""

    venue = "okx"
    limits = VenueLimits(names=50, messages=(480, 3600.0), connects=(3, 1.0))
    heartbeat_s = 10.0
    books = frozenset({"books", "books-l2-tbt", "books50-l2-tbt"})

    def ping(self) -> bytes | None:
        """Ask for a pong: plain text, no JSON."""
        return b"ping"

    def leaving(self, raw: bytes) -> bool:
        """A notice of code 64008 comes a minute before the connection is closed for an upgrade."""
        head = raw[:_HEAD]
        return _event(head) == b"notice" and _code(head) == b"64008"

    def _find(self, raw: bytes) -> tuple[bytes, bytes] | None:
        head = raw[:_HEAD]
        kind = _channel(head)
        return None if kind is None or b'"event"' in head else (kind, _inst_id(head) or b"")


class DeribitDialect(Dialect):
    """The venue sends heartbeats once asked to, and closes a connection that does not answer its test requests."""

    venue = "deribit"
    limits = VenueLimits(names=100, messages=(20, 1.0), connects=(20, 1.0), connections=32)
    heartbeat_s = 10.0  # the shortest interval that the venue takes
    books = frozenset({"book"})

    def hello(self) -> list[bytes]:
        """Ask for heartbeats."""
        return [_rpc("public/set_heartbeat", {"interval": int(self.heartbeat_s or 10)})]

    def answer(self, raw: bytes) -> bytes | None:
        """Answer a test request."""
        head = raw[:_HEAD]
        return _rpc("public/test", {}) if b'"heartbeat"' in head and b'"test_request"' in head else None

    def _find(self, raw: bytes) -> tuple[bytes, bytes] | None:
        channel = _channel(raw[:_HEAD])
        if channel is None:
            return None
        kind, _, rest = channel.partition(b".")
        return kind, rest.rpartition(b".")[0]


class CoinbaseDialect(Dialect):
    """Advanced Trade: the feed subscribes to the heartbeats channel, one a second."""

    venue = "coinbase"
    limits = VenueLimits(names=30, messages=(8, 1.0), connects=(8, 1.0))
    heartbeat_s = 1.0
    books = frozenset({"l2_data"})
    control = frozenset({"subscriptions", "heartbeats", "status"})

    def _find(self, raw: bytes) -> tuple[bytes, bytes] | None:
        head = raw[:_HEAD]
        kind = _channel(head)
        return None if kind is None else (kind, _product_id(head) or b"")


class CoinbaseExchangeDialect(Dialect):
    """Exchange: nothing comes while its markets are quiet."""

    venue = "coinbase_exchange"
    limits = VenueLimits(names=30, messages=(100, 1.0), connects=(8, 1.0))
    books = frozenset({"level2"})
    control = frozenset({"subscriptions", "heartbeat", "status", "error"})

    def _find(self, raw: bytes) -> tuple[bytes, bytes] | None:
        kind = _type(raw[:_HEAD])
        if kind is None:
            return None
        name = _product_id(raw[:_HEAD]) or _product_id(raw[-_HEAD:]) or b""
        return (b"level2" if kind in (b"snapshot", b"l2update") else kind), name


class CoinbaseOrdersDialect(CoinbaseExchangeDialect):
    """Exchange's `full` (objects) and `level3` (arrays that begin with type and product): one heartbeat a second."""

    venue = "coinbase_orders"
    heartbeat_s = 1.0
    books = frozenset({"orders"})
    control = frozenset({"subscriptions", "heartbeat", "status", "error", "level3", "activate"})
    _numbered = frozenset({b"received", b"open", b"done", b"match", b"change", b"noop"})
    _array = re.compile(rb'\s*\[\s*"([a-z]+)"\s*,\s*"([^"]+)"')

    def _find(self, raw: bytes) -> tuple[bytes, bytes] | None:
        array = self._array.match(raw)
        found = (array[1], array[2]) if array is not None else super()._find(raw)
        return (b"orders", found[1]) if found is not None and found[0] in self._numbered else found


def _rpc(method: str, params: dict[str, int]) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": 0, "method": method, "params": params}).encode()
