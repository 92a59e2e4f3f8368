"""What every venue's feed does alike: frames in, records out, books that are right or stale, never in between.

A venue subclasses VenueFeed and writes `decode`, which reads one frame and calls `_snapshot`, `_update`, `_trade`,
`_quote` or `_ticker`; its sequence rule calls `_gap`. Whatever cannot be read is refused: the frame is quarantined, and
a book that may have lost an update with it is stale at once. BOOK_STALE always comes before the update that did not
fit, so that nobody acts on a book that is known to be wrong.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import ClassVar

import msgspec
import numpy as np

from bot4_live.events import Kind, Reason, StaleCause
from bot4_live.market.feed_core import RawLog
from bot4_live.market.liquidations import LARGE_LIQUIDATION_USD
from bot4_live.market.numbers import BrokenNumber
from bot4_live.market.venues import records
from bot4_live.market.venues.emitter import (
    MAX_ID,
    MAX_LEVELS,
    MAX_NS,
    Emitter,
    RawLevels,
    Refused,
    VenueCounts,
    check_id,
    check_time,
)
from bot4_live.market.venues.ladder import Level, VenueBook
from bot4_live.market.venues.registry import Digits, Instruments

__all__ = ["MAX_FRAME", "MAX_ID", "MAX_LEVELS", "MAX_NS", "RawLevels", "Refused", "VenueCounts", "VenueFeed"]

MAX_FRAME = 8 << 20


class VenueFeed(Emitter, ABC):
    """One connection to one venue, without I/O: each method returns the records that came of it, in log order."""

    venue: ClassVar[str]
    max_frame: ClassVar[int] = MAX_FRAME  # bytes
    removes_what_is_there: ClassVar[bool] = False  # a removal of a level we lack says that an update is missing
    tickers_by: ClassVar[str] = ""  # "arrival" or "time": how tickers and updates are ordered, see venues.claims

    def __init__(
        self, instruments: Instruments, raw_log: RawLog | None = None, *, liquidation_usd: float = LARGE_LIQUIDATION_USD
    ) -> None:
        """Follow `instruments`, all stale. Frames go to `raw_log`, refused ones too."""
        super().__init__(instruments, raw_log, liquidation_usd=liquidation_usd)
        self.books = {name: VenueBook(name, instrument) for name, instrument in instruments}
        self.last_frame_ns = 0
        self.last_refused: tuple[Reason, str] | None = None
        self._connected = False
        self._computed = 0
        self._at_stake: Iterable[VenueBook] = ()

    @classmethod
    def measure(cls, frames: Iterable[bytes]) -> dict[str, Digits]:
        """Return the digits of each instrument in `frames`, by the venue's name, for `Instruments.infer`."""
        feed = cls(Instruments(cls.venue))
        feed._measured = {}
        for raw in frames:
            feed.on_frame(0, raw)
        return feed._measured

    # To be written by the venue.

    @classmethod
    @abstractmethod
    def recognises(cls, raw: bytes) -> bool:
        """Return whether this frame can only be this venue's; never raises."""

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

    def forget(self, book: VenueBook) -> None:
        """Forget the venue's own sequence state of a book that went stale."""

    def shares_ids(self, book: VenueBook) -> bool:
        """Return whether the venue numbers this book's updates alike on all connections."""
        return False

    # For the transport.

    def on_connect(self, recv_ns: int) -> list[np.ndarray]:
        """The stream is open; every book is stale until its snapshot comes."""
        self._begin(recv_ns)
        self._connected = True
        self.counts.connects += 1
        for book in self.books.values():
            if book.stale_cause is None:
                self._stale(book, StaleCause.START)
            book.resync_asked = True  # the first subscription asks by itself
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
            if len(raw) > self.max_frame:
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

    @property
    def wants_snapshot(self) -> list[str]:
        """Return the books whose snapshot is to be fetched: GET `snapshot_path(name)`, then `on_snapshot`.

        Only feeds whose venue sends no snapshot on the stream want any.
        """
        return []

    def snapshot_path(self, name: str) -> str:
        """Return the path at the venue's REST endpoint that answers with a book's snapshot."""
        raise ValueError(f"{self.venue}: the snapshot of {name} comes on the stream; send what resync() returns")

    def on_snapshot(self, recv_ns: int, name: str, body: bytes) -> list[np.ndarray]:
        """Take the answer of GET `snapshot_path(name)`."""
        raise ValueError(f"{self.venue}: the snapshot of {name} comes on the stream; give frames to on_frame()")

    def restate(self, recv_ns: int, name: str, update_id: int) -> np.ndarray:
        """Return a live book as a DEPTH_SNAPSHOT of that id: no frame is its source."""
        book = self.books[name]
        bids, asks = book.bids.top(len(book.bids)), book.asks.top(len(book.asks))
        times, ids = (recv_ns, 0), (update_id, update_id, 0)
        return records.depth(Kind.DEPTH_SNAPSHOT, book.instrument, times, ids, bids, asks, -1)

    # For the venue's `decode`.

    def _book(self, name: str) -> VenueBook:
        """Return the book of a frame; from here on it is at stake. Raises Refused for a name not followed."""
        book = self.books.get(name)
        if book is None and self._measured is not None:
            self._measured[name] = Digits()
            book = self.books[name] = VenueBook(name, self.instruments.declare(name, 0, 0))
        if book is None:
            self._at_stake = ()
            raise Refused(Reason.UNKNOWN_SYMBOL, f"{name[:40]!r} is not followed")
        self._at_stake = (book,)
        return book

    def _books(self, names: Iterable[str]) -> list[VenueBook]:
        """Return the books of a frame that updates several; refusing any part of it makes them all stale."""
        books = [self._book(name) for name in names]
        self._at_stake = books
        return books

    def _known(self, name: str) -> VenueBook:
        """Return the book of a name for events that change no levels. Raises Refused for a name not followed."""
        at_stake = self._at_stake
        book = self._book(name)
        self._at_stake = at_stake
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
        if not self._measure(book, (*bids, *asks)):
            self._replace(
                book, *self._levels(book, bids, asks), exch_ns=exch_ns, update_id=update_id, checksum=checksum
            )

    def _replace(
        self,
        book: VenueBook,
        new_bids: list[Level],
        new_asks: list[Level],
        *,
        exch_ns: int = 0,
        update_id: int | None = None,
        checksum: int | None = None,
    ) -> None:
        """Do what `_snapshot` says with levels whose numbers are read."""
        check_id(update_id)
        book.bids.replace(new_bids)
        book.asks.replace(new_asks)
        if book.depth:
            book.bids.cut(book.depth)
            book.asks.cut(book.depth)
        if book.crossed:
            raise Refused(Reason.CROSSED_QUOTE, f"snapshot of {book.name}: bid at or above ask")
        if checksum is not None and not self._matches(book, checksum):
            raise Refused(Reason.BAD_CHECKSUM, f"snapshot of {book.name}: its checksum is not {checksum}")
        self._emit_snapshot(book, check_time(exch_ns), book.update_id + 1 if update_id is None else update_id)

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
        if not self._measure(book, (*bids, *asks)):
            self._change(book, *self._levels(book, bids, asks), exch_ns=exch_ns, ids=ids, checksum=checksum)

    def _change(
        self,
        book: VenueBook,
        new_bids: list[Level],
        new_asks: list[Level],
        *,
        exch_ns: int = 0,
        ids: tuple[int, int, int] | None = None,
        checksum: int | None = None,
    ) -> None:
        """Do what `_update` says with levels whose numbers are read."""
        exch_ns = check_time(exch_ns)
        for number in ids or ():
            check_id(number)
        first, last, previous = ids or (book.update_id + 1, book.update_id + 1, book.update_id)
        if book.live:
            lacking = False
            for side, levels in ((book.bids, new_bids), (book.asks, new_asks)):
                for level in levels:
                    lacking |= not side.set(level) and side.reaches(level.price, book.depth)
                if book.depth:
                    # Whoever follows the events must drop these too.
                    levels += [Level(gone.price, 0, gone.raw_price, "0") for gone in side.cut(book.depth)]
            if checksum is not None and not self._matches(book, checksum):
                self._stale(book, StaleCause.CHECKSUM, checksum, self._computed)
            elif book.crossed:
                self._stale(book, StaleCause.CROSSED, last, last)
            elif lacking and self.removes_what_is_there:
                self._stale(book, StaleCause.GAP, last, 0)
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

    def _link(self, book: VenueBook, expected: int, got: int) -> bool:
        """Compare the id that an update names as its predecessor with ours; say where updates are missing.

        What comes while the book is stale is not compared: there is nothing to connect it to.
        """
        if not book.live:
            return False
        self.counts.links += 1
        self.counts.links_unbroken += expected == got
        if expected != got:
            self._gap(book, expected, got)
        return expected == got

    def _gap(self, book: VenueBook, expected: int, got: int) -> None:
        """Say that updates are missing."""
        if book.live:
            self._stale(book, StaleCause.GAP, expected, got)

    # Inside.

    def _matches(self, book: VenueBook, checksum: int) -> bool:
        self._computed = self.checksum(book)
        self.counts.checksums += 1
        self.counts.checksums_matched += self._computed == checksum
        return self._computed == checksum

    def _stale(self, book: VenueBook, cause: StaleCause, expected: int = 0, got: int = 0) -> None:
        book.live = False
        book.stale_cause = cause
        book.resync_asked = False
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

    def _refuse(self, reason: Reason, detail: str) -> None:
        """Quarantine the frame; what may have lost an update with it is stale."""
        self.last_refused = reason, detail
        self.counts.quarantined[reason] += 1
        at_stake = tuple(self._at_stake)
        for book in at_stake:
            if book.live:
                cause = StaleCause.CHECKSUM if reason is Reason.BAD_CHECKSUM else StaleCause.GAP
                self._stale(book, cause, book.update_id + 1, 0)
            elif len(at_stake) == 1:  # it may have been the snapshot
                book.resync_asked = False
                book.bids.clear()
                book.asks.clear()
        instruments = [book.instrument for book in at_stake or self.books.values()]
        if instruments:
            self._emit(records.quarantine(instruments[0], self._recv_ns, reason, self._keep(0, reason)))
