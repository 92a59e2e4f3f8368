"""What every venue's feed does alike: frames in, records out, books that are right or stale, never in between.

A venue subclasses VenueFeed and writes `decode`, which reads one frame and calls `_snapshot`, `_update`, `_trade` or
`_quote`; its sequence rule calls `_gap`. Whatever cannot be read is refused: the frame is quarantined, and a book that
may have lost an update with it is stale at once. BOOK_STALE always comes before the update that did not fit, so that
nobody acts on a book that is known to be wrong.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import msgspec
import numpy as np

from bot4_live.events import Kind, Reason, StaleCause, header_of
from bot4_live.instrument import Instrument
from bot4_live.market.feed_core import RawLog
from bot4_live.market.numbers import BrokenNumber
from bot4_live.market.venues import records
from bot4_live.market.venues.ladder import Level, VenueBook
from bot4_live.market.venues.registry import Digits, Instruments

MAX_FRAME = 8 << 20
MAX_LEVELS = 40_000
MAX_ID = 2**63 - 1
MAX_NS = 9_000_000_000_000_000_000
REMEMBERED_TRADES = 4096

RawLevels = Sequence[tuple[str, str]]


class Refused(Exception):
    """A frame that cannot become an event; `reason` says why."""

    def __init__(self, reason: Reason, detail: str) -> None:
        """Keep the reason."""
        super().__init__(detail)
        self.reason = reason


@dataclass
class VenueCounts:
    """What came in and what became of it."""

    frames: int = 0
    connects: int = 0
    control: int = 0  # acknowledgements, heartbeats, status: frames that are no market data
    events: Counter[Kind] = field(default_factory=Counter)
    quarantined: Counter[Reason] = field(default_factory=Counter)
    stale: Counter[StaleCause] = field(default_factory=Counter)
    checksums: int = 0
    checksums_matched: int = 0
    duplicates: int = 0  # trades that came before
    ignored: int = 0  # updates of a book that was stale

    def as_dict(self) -> dict[str, Any]:
        """Return plain names and numbers, for JSON."""
        plain = {name: getattr(self, name) for name in ("frames", "connects", "control", "duplicates", "ignored")}
        return plain | {
            "checksums": self.checksums,
            "checksums_matched": self.checksums_matched,
            "events": {kind.name.lower(): n for kind, n in sorted(self.events.items())},
            "quarantined": {reason.name.lower(): n for reason, n in sorted(self.quarantined.items())},
            "stale": {cause.name.lower(): n for cause, n in sorted(self.stale.items())},
        }


class VenueFeed(ABC):
    """One connection to one venue, without I/O: each method returns the records that came of it, in log order."""

    venue: ClassVar[str]

    def __init__(self, instruments: Instruments, raw_log: RawLog | None = None) -> None:
        """Follow `instruments`, all stale. Frames go to `raw_log`, refused ones too."""
        self.instruments = instruments
        self.books = {name: VenueBook(name, instrument) for name, instrument in instruments}
        self.counts = VenueCounts()
        self.last_frame_ns = 0
        self.last_refused: tuple[Reason, str] | None = None
        self._raw_log = raw_log
        self._connected = False
        self._out: list[np.ndarray] = []
        self._recv_ns = 0
        self._raw_ref = -1
        self._at_stake: Iterable[VenueBook] = ()
        self._trades: dict[str, dict[int, None]] = {name: {} for name in self.books}

    # To be written by the venue.

    @classmethod
    @abstractmethod
    def recognises(cls, raw: bytes) -> bool:
        """Return whether this frame can only be this venue's; never raises."""

    @classmethod
    @abstractmethod
    def see_digits(cls, raw: bytes, digits: dict[str, Digits]) -> None:
        """Look at the numbers of one frame, by the venue's name of the instrument; never raises."""

    @abstractmethod
    def decode(self, raw: bytes) -> None:
        """Read one frame. Raises Refused, BrokenNumber or msgspec's errors; nothing is applied before all is read."""

    @abstractmethod
    def subscribe(self, names: Sequence[str]) -> list[bytes]:
        """Return the frames to send that subscribe to books, trades and tickers of `names`."""

    @abstractmethod
    def resubscribe(self, name: str) -> list[bytes]:
        """Return the frames to send that make the venue send a new snapshot of one book."""

    def checksum(self, book: VenueBook) -> int:
        """Return the checksum of a book as the venue computes it; only asked where the venue sends one."""
        raise Refused(Reason.UNKNOWN_STREAM, f"{self.venue} sends no checksums")

    def forget(self, book: VenueBook) -> None:  # noqa: B027 - most venues keep nothing
        """Forget the venue's own sequence state of a book that went stale."""

    # For the transport.

    def on_connect(self, recv_ns: int) -> list[np.ndarray]:
        """The stream is open; every book is stale until its snapshot comes."""
        self._begin(recv_ns)
        self._connected = True
        self.counts.connects += 1
        for book in self.books.values():
            if book.stale_cause is None:
                self._stale(book, StaleCause.START)
        return self._out

    def on_disconnect(self, recv_ns: int, cause: StaleCause = StaleCause.DISCONNECT) -> list[np.ndarray]:
        """The stream is gone: every book is stale at once."""
        self._begin(recv_ns)
        self._connected = False
        for book in self.books.values():
            if book.live:
                self._stale(book, cause)
            book.resync_asked = False
            self.forget(book)
        return self._out

    def on_frame(self, recv_ns: int, raw: bytes) -> list[np.ndarray]:
        """Take one frame as it came. Never raises for what the frame holds."""
        self._begin(recv_ns)
        self.counts.frames += 1
        self.last_frame_ns = recv_ns
        # Until the frame is known to be something else, it may have been an update of any book that cannot tell.
        self._at_stake = [book for book in self.books.values() if not book.chained]
        self._raw = raw
        try:
            if len(raw) > MAX_FRAME:
                raise Refused(Reason.TOO_LARGE, f"frame of {len(raw)} bytes")
            if not raw.isascii():
                raw.decode()
            self.decode(raw)
        except (Refused, BrokenNumber) as error:
            self._refuse(error.reason, str(error))
        except UnicodeDecodeError as error:
            self._refuse(Reason.NOT_UTF8, str(error))
        except msgspec.ValidationError as error:
            missing = "missing required field" in str(error)
            self._refuse(Reason.MISSING_FIELD if missing else Reason.WRONG_TYPE, str(error))
        except (msgspec.DecodeError, RecursionError) as error:
            self._refuse(Reason.NOT_JSON, str(error))
        return self._out

    @property
    def wants_resync(self) -> list[str]:
        """Return the books that need a new snapshot and have not asked for one: send `resync(name)`."""
        if not self._connected:
            return []
        return [name for name, book in self.books.items() if not book.live and not book.resync_asked]

    def resync(self, name: str) -> list[bytes]:
        """Return the frames that ask for a new snapshot of one book. May be called again when none comes."""
        self.books[name].resync_asked = True
        return self.resubscribe(name)

    # For the venue's `decode`.

    def _book(self, name: str) -> VenueBook:
        """Return the book of a frame; from here on it is at stake. Raises Refused for a name not followed."""
        book = self.books.get(name)
        if book is None:
            self._at_stake = ()
            raise Refused(Reason.UNKNOWN_SYMBOL, f"{name[:40]!r} is not followed")
        self._at_stake = (book,)
        return book

    def _harmless(self) -> None:
        """Say that the frame is no update of a book: refusing it makes none stale."""
        self._at_stake = ()

    def _control(self) -> None:
        """Count a frame that is no market data."""
        self._harmless()
        self.counts.control += 1

    def _unknown(self, what: str) -> Refused:
        """Return the refusal of a frame of a kind that is not known; books go on, their own proof holds."""
        self._harmless()
        return Refused(Reason.UNKNOWN_STREAM, what)

    def _snapshot(
        self,
        book: VenueBook,
        bids: RawLevels,
        asks: RawLevels,
        *,
        exch_ns: int = 0,
        update_id: int | None = None,
        checksum: int | None = None,
    ) -> None:
        """Replace a book: it is live. Without `update_id` its events are counted instead. Raises Refused."""
        new_bids, new_asks = self._levels(book, bids, asks)
        _check_id(update_id)
        book.bids.replace(new_bids)
        book.asks.replace(new_asks)
        if book.depth:
            book.bids.cut(book.depth)
            book.asks.cut(book.depth)
        if book.crossed:
            raise Refused(Reason.CROSSED_QUOTE, f"snapshot of {book.name}: bid at or above ask")
        if checksum is not None and not self._matches(book, checksum):
            raise Refused(Reason.BAD_CHECKSUM, f"snapshot of {book.name}: its checksum is not {checksum}")
        self._emit_snapshot(book, _time(exch_ns), book.update_id + 1 if update_id is None else update_id)

    def _update(
        self,
        book: VenueBook,
        bids: RawLevels,
        asks: RawLevels,
        *,
        exch_ns: int = 0,
        ids: tuple[int, int, int] | None = None,
        checksum: int | None = None,
    ) -> None:
        """Change levels (quantity 0 removes one). `ids`: first, last, previous; without them updates are counted.

        The caller has checked its sequence rule (`_gap` where it does not hold). An update of a stale book is
        journaled and nothing else. Raises Refused, before anything is applied.
        """
        new_bids, new_asks = self._levels(book, bids, asks)
        exch_ns = _time(exch_ns)
        for number in ids or ():
            _check_id(number)
        first, last, previous = ids or (book.update_id + 1, book.update_id + 1, book.update_id)
        if book.live:
            for side, levels in ((book.bids, new_bids), (book.asks, new_asks)):
                for level in levels:
                    side.set(level)
                if book.depth:
                    # Whoever follows the events must drop these too.
                    levels += [Level(gone.price, 0, gone.raw_price, "0") for gone in side.cut(book.depth)]
            if checksum is not None and not self._matches(book, checksum):
                self._stale(book, StaleCause.CHECKSUM, checksum, self._computed)
            elif book.crossed:
                self._stale(book, StaleCause.CROSSED, last, last)
        else:
            self.counts.ignored += 1
        book.update_id = last
        ref = self._keep(Kind.DEPTH_DIFF)
        times = (self._recv_ns, exch_ns)
        kind = Kind.DEPTH_DIFF
        self._emit(records.depth(kind, book.instrument, times, (first, last, previous), new_bids, new_asks, ref))

    def _renumber(self, book: VenueBook, update_id: int, exch_ns: int = 0) -> None:
        """Emit the book as a snapshot under a new id, where the venue begins to count anew."""
        if book.live:
            self._emit_snapshot(book, exch_ns, update_id)

    def _gap(self, book: VenueBook, expected: int, got: int) -> None:
        """Say that updates are missing."""
        if book.live:
            self._stale(book, StaleCause.GAP, expected, got)

    def _trade(
        self, book: VenueBook, trade_id: int | None, price: str, qty: str, *, sell: bool, exch_ns: int = 0
    ) -> None:
        """Emit a trade; `sell` says that the aggressor sold. One that came before is counted and left out."""
        price_scale, qty_scale = self.instruments.scales(book.name)
        ticks, lots = price_scale.units(price), qty_scale.units(qty)
        _check_id(trade_id)
        if ticks == 0:
            raise Refused(Reason.ZERO_PRICE, f"{book.name}: trade at price 0")
        if lots == 0:
            raise Refused(Reason.BAD_NUMBER, f"{book.name}: trade of quantity 0")
        times = (self._recv_ns, _time(exch_ns))
        if trade_id is not None and self._seen(book.name, trade_id):
            self.counts.duplicates += 1
            return
        ref = self._keep(Kind.TRADE)
        self._emit(records.trade(book.instrument, times, trade_id or 0, ticks, lots, sell=sell, raw_ref=ref))

    def _quote(
        self, book: VenueBook, bid: tuple[str, str], ask: tuple[str, str], *, exch_ns: int = 0, update_id: int = 0
    ) -> None:
        """Emit the best quote; `update_id` 0 says that it cannot be ordered against the updates of the book."""
        (best_bid,), (best_ask,) = self._levels(book, [bid], [ask])
        if best_bid.price >= best_ask.price:
            raise Refused(Reason.CROSSED_QUOTE, f"{book.name}: bid {bid[0]} at or above ask {ask[0]}")
        times = (self._recv_ns, _time(exch_ns))
        ref = self._keep(Kind.BOOK_TICKER)
        self._emit(records.quote(book.instrument, times, update_id, best_bid, best_ask, ref))

    # Inside.

    def _begin(self, recv_ns: int) -> None:
        self._out = []
        self._recv_ns = recv_ns
        self._raw = b""
        self._raw_ref = -1

    def _levels(self, book: VenueBook, bids: RawLevels, asks: RawLevels) -> tuple[list[Level], list[Level]]:
        if len(bids) + len(asks) > MAX_LEVELS:
            raise Refused(Reason.TOO_LARGE, f"{len(bids) + len(asks)} levels")
        price_scale, qty_scale = self.instruments.scales(book.name)
        ticks, lots = price_scale.units, qty_scale.units
        new_bids = [Level(ticks(price), lots(qty), price, qty) for price, qty in bids]
        new_asks = [Level(ticks(price), lots(qty), price, qty) for price, qty in asks]
        if any(level.price == 0 for level in new_bids) or any(level.price == 0 for level in new_asks):
            raise Refused(Reason.ZERO_PRICE, f"{book.name}: level at price 0")
        return new_bids, new_asks

    def _matches(self, book: VenueBook, checksum: int) -> bool:
        self._computed = self.checksum(book)
        self.counts.checksums += 1
        self.counts.checksums_matched += self._computed == checksum
        return self._computed == checksum

    def _seen(self, name: str, trade_id: int) -> bool:
        known = self._trades[name]
        if trade_id in known:
            return True
        known[trade_id] = None
        if len(known) > REMEMBERED_TRADES:
            del known[next(iter(known))]
        return False

    def _stale(self, book: VenueBook, cause: StaleCause, expected: int = 0, got: int = 0) -> None:
        book.live = False
        book.stale_cause = cause
        book.resync_asked = cause is StaleCause.START  # the first subscription asks by itself
        book.bids.clear()
        book.asks.clear()
        self.forget(book)
        self.counts.stale[cause] += 1
        self._emit(records.stale(book.instrument, self._recv_ns, cause, expected, got))

    def _emit_snapshot(self, book: VenueBook, exch_ns: int, update_id: int) -> None:
        book.live, book.stale_cause, book.resync_asked = True, None, False
        book.update_id = update_id
        ref = self._keep(Kind.DEPTH_SNAPSHOT)
        bids, asks = book.bids.top(len(book.bids)), book.asks.top(len(book.asks))
        times, ids = (self._recv_ns, exch_ns), (update_id, update_id, 0)
        self._emit(records.depth(Kind.DEPTH_SNAPSHOT, book.instrument, times, ids, bids, asks, ref))

    def _keep(self, stream: int, reason: int = 0) -> int:
        """Put the frame into the raw log, once; return its reference."""
        if self._raw_ref < 0 and self._raw_log is not None:
            self._raw_ref = self._raw_log.append_raw(self._recv_ns, self._raw, reason, stream)
        return self._raw_ref

    def _emit(self, record: np.ndarray) -> None:
        self.counts.events[Kind(int(header_of(record)["kind"]))] += 1
        self._out.append(record)

    def _refuse(self, reason: Reason, detail: str) -> None:
        """Quarantine the frame; what may have lost an update with it is stale."""
        self.last_refused = reason, detail
        self.counts.quarantined[reason] += 1
        at_stake = tuple(self._at_stake)
        instrument = at_stake[0].instrument if len(at_stake) == 1 else self._any_instrument()
        for book in at_stake:
            if book.live:
                cause = StaleCause.CHECKSUM if reason is Reason.BAD_CHECKSUM else StaleCause.GAP
                self._stale(book, cause, book.update_id + 1, 0)
        if instrument is not None:
            self._emit(records.quarantine(instrument, self._recv_ns, reason, self._keep(0, reason)))

    def _any_instrument(self) -> Instrument | None:
        return next((book.instrument for book in self.books.values()), None)


def _check_id(number: int | None) -> None:
    if number is not None and not -1 <= number <= MAX_ID:
        raise Refused(Reason.NEGATIVE if number < 0 else Reason.TOO_LARGE, f"id {number}")


def _time(exch_ns: int) -> int:
    if not 0 <= exch_ns < MAX_NS:
        raise Refused(Reason.TIME_OUT_OF_RANGE, f"venue time {exch_ns} ns")
    return exch_ns
