"""Proof of the books in a journal, of any venue: its own records through the book kernel, one market after another.

Snapshots and updates alone build each book, as the engine would have it; nothing is taken over from best quotes. Then

- after each update the best bid and ask, price and size, must be those of the best quote in force at that update id:
  the one with the greatest id not above it (`compared`, for best quotes that are numbered as the updates are);
- each update must follow the one it names, unless a BOOK_STALE row lies between (`links`);
- no book may be crossed while it is in use.

Frames of other venues than Binance go once more from the raw log through the venue's feed, so that their checksums,
links and tickers are proof as well (`bot4_live.market.venues`). Coinbase's Advanced Trade numbers the frames of a whole
connection, control frames too, which no raw log holds: its links are those of the records.

A gap that the journal itself names is no fault of the book, and is counted: the book was stale until the next snapshot.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from bot4_live.events import HEADER, HEADER_SIZE, Flag, Kind, StaleCause
from bot4_live.journal.layout import SegmentHeader
from bot4_live.journal.reader import Journal, Segment
from bot4_live.market.book import new_book
from bot4_live.market.validation import UNLIMITED
from bot4_live.market.venues.base import VenueFeed
from bot4_live.market.venues.claims import Claims
from bot4_live.market.venues.coinbase import CoinbaseFeed
from bot4_live.market.venues.known import feed_of
from bot4_live.market.venues.registry import Instruments
from bot4_live.market.verify import apply_and_look, warm_up

PROGRESS_EVERY = 100_000
_CUTS = (StaleCause.START, StaleCause.DISCONNECT, StaleCause.SILENCE)
_DEPTH = (Kind.DEPTH_SNAPSHOT, Kind.DEPTH_DIFF, Kind.BOOK_STALE)
_FRAMES = (*_DEPTH, Kind.BOOK_TICKER, Kind.TRADE, Kind.TICKER)

Quote = tuple[int, int, int, int]  # bid, its quantity, ask, its quantity


@dataclass(frozen=True)
class JournalVerifyResult:
    """What was found; `ok` is what the command's exit code says. None: nothing of that kind is in the journal.

    `gaps` are those that the journal names, `broken` the updates that the book could not take though none was named.
    """

    markets: str
    events: int
    snapshots: int
    diffs: int
    applied: int
    best_quotes: int
    compared: int | None
    matched: int | None
    checksums: int | None
    checksums_matched: int | None
    links: int | None
    links_unbroken: int | None
    stale: int
    gaps: int
    broken: int
    crossed: int
    overflow: int
    quarantined: int
    first_mismatch: dict[str, Any] | None

    @property
    def ok(self) -> bool:
        """Return whether every book is proven."""
        proven = (self.compared or 0) + (self.checksums or 0) + (self.links or 0) > 0
        whole = self.compared == self.matched and self.links == self.links_unbroken
        whole = whole and self.checksums == self.checksums_matched
        return proven and whole and not (self.broken or self.crossed)


@dataclass
class _Market:
    """One market's book, and the quotes and states that still wait for each other."""

    name: str
    instrument: dict[str, Any]
    journal: Journal
    proven_by_records: bool
    feed: VenueFeed | None = None
    claims: Claims | None = None
    last_ref: int = -1
    connected: bool = False
    book: np.ndarray = field(default_factory=new_book)
    out: np.ndarray = field(default_factory=lambda: np.zeros(7, np.int64))
    quotes: deque[tuple[int, Quote]] = field(default_factory=deque)
    states: deque[tuple[int, Quote]] = field(default_factory=deque)
    counts: Counter[str] = field(default_factory=Counter)
    first_mismatch: dict[str, Any] | None = None

    def take(self, head: np.void, record: np.ndarray, slots: np.ndarray) -> None:
        kind = int(head["kind"])
        if kind in _FRAMES:
            self._again(kind, head)
        if kind == Kind.BOOK_TICKER:
            self._quote(int(head["a"]), slots)
        elif kind in _DEPTH:
            self._depth(kind, head, record, slots)
        elif kind == Kind.QUARANTINE:
            self.counts["quarantined"] += 1
        elif kind == Kind.INSTRUMENT:
            self._told(slots)

    def _told(self, slots: np.ndarray) -> None:
        """Go on with other ticks, lots or digits: what was said in those before is judged and let go."""
        (tick, lot), *_, (_, price_digits), (qty_digits, _) = slots[:5].tolist()
        units = {"tick_e8": tick, "lot_e8": lot, "price_digits": price_digits, "qty_digits": qty_digits}
        if units.items() <= self.instrument.items():
            return
        self._judge_all()
        self.quotes.clear()
        self._end_feed()
        self.instrument |= units

    def _quote(self, update_id: int, slots: np.ndarray) -> None:
        self.counts["best_quotes"] += 1
        if update_id <= 0 or (self.quotes and update_id < self.quotes[-1][0]):
            return  # it has no number, or came late over a second connection
        (bid, bid_qty), (ask, ask_qty) = slots[:2].tolist()
        if self.quotes and update_id == self.quotes[-1][0]:
            self.quotes.pop()
        self.quotes.append((update_id, (bid, bid_qty, ask, ask_qty)))
        while self.states and self.states[0][0] < update_id:
            self._judge(*self.states.popleft())

    def _depth(self, kind: int, head: np.void, record: np.ndarray, slots: np.ndarray) -> None:
        was_live, before = bool(self.book["valid"][0]), int(self.book["update_id"][0])
        apply_and_look(self.book, record[:HEADER_SIZE].view(HEADER), slots, self.out)
        valid, update_id, *best, crossed = self.out.tolist()
        if kind == Kind.BOOK_STALE:
            self.counts["stale"] += 1
            self.counts["gaps"] += int(head["a"]) == StaleCause.GAP
            if int(head["a"]) in _CUTS:
                self._judge_all()
            return
        self.counts["snapshots" if kind == Kind.DEPTH_SNAPSHOT else "diffs"] += 1
        self.counts["crossed"] += int(valid and crossed)
        if kind == Kind.DEPTH_SNAPSHOT or not was_live or int(head["b"]) < before:
            return
        if self.proven_by_records:
            self.counts["links"] += 1
            self.counts["links_unbroken"] += int(valid)
        if not valid:
            self.counts["broken"] += 1
            self._mismatch({"update_id": int(head["b"]), "expected": before, "got": int(slots[0, 0])})
        if valid and update_id == int(head["b"]):
            self.counts["applied"] += 1
            self.states.append((update_id, (best[0], best[1], best[2], best[3])))
            if len(self.states) > 1_000_000:  # of a venue whose quotes have no numbers
                self.states.popleft()

    def _again(self, kind: int, head: np.void) -> None:
        """Let the venue's feed see the frame that this record came of, for what it proves by itself."""
        recv_ns, ref = int(head["recv_ns"]), int(head["c"])
        if kind == Kind.BOOK_STALE:
            if int(head["a"]) in _CUTS and self.connected and self.feed is not None:
                self.feed.on_disconnect(recv_ns)
                self.connected = False
            return
        if self.proven_by_records or ref < 0 or ref == self.last_ref:
            return
        self.last_ref = ref
        raw = self.journal.raw(ref).raw
        if self.feed is None:
            self.feed = _feed_of(raw, self.instrument)
            if self.feed is None:
                self.proven_by_records = kind in _DEPTH  # a trade alone does not tell
                return
            self.claims = Claims(self.feed)
        if not self.connected:
            self.feed.on_connect(recv_ns)
            self.connected = True
        records = self.feed.on_frame(recv_ns, raw)
        counts = self.feed.counts
        if self.claims is not None:
            self.claims.take(records)
        if counts.checksums != counts.checksums_matched or counts.links != counts.links_unbroken:
            self._mismatch({"recv_ns": recv_ns, "raw_ref": ref, "refused": str(self.feed.last_refused)})

    def _judge(self, update_id: int, best: Quote, *, last: bool = False) -> None:
        """Compare a book with the best quote in force at its id; where the stream was cut that may not have come."""
        while len(self.quotes) > 1 and self.quotes[1][0] <= update_id:
            self.quotes.popleft()
        if not self.quotes or self.quotes[0][0] > update_id:
            return
        quote_id, quote = self.quotes[0]
        if last and best != quote and quote_id < update_id:
            return
        self.counts["compared"] += 1
        if best == quote:
            self.counts["matched"] += 1
        else:
            self._mismatch({"update_id": update_id, "book": self._plain(best), "quote": self._plain(quote)})

    def _mismatch(self, found: dict[str, Any]) -> None:
        if self.first_mismatch is None:
            self.first_mismatch = {"market": self.name} | found

    def _plain(self, quote: Quote) -> dict[str, str]:
        tick, lot = int(self.instrument.get("tick_e8", 0)), int(self.instrument.get("lot_e8", 0))
        names = ("bid", "bid_qty", "ask", "ask_qty")
        return {
            name: f"{value * unit / 1e8:.8f}".rstrip("0").rstrip(".")
            for name, value, unit in zip(names, quote, (tick, lot, tick, lot), strict=True)
        }

    def finish(self) -> None:
        """Judge what no later quote came for."""
        self._judge_all()
        self.counts["overflow"] = int(self.book["overflow"].sum())
        self._end_feed()

    def _judge_all(self) -> None:
        while self.states:
            self._judge(*self.states.popleft(), last=True)

    def _end_feed(self) -> None:
        """Add what the feed proved."""
        if self.feed is not None:
            said = self.feed.counts
            self.counts.update(
                checksums=said.checksums, checksums_matched=said.checksums_matched,
                links=said.links, links_unbroken=said.links_unbroken,
            )  # fmt: skip
        if self.claims is not None:
            self.counts.update(compared=self.claims.compared, matched=self.claims.matched)
            if self.claims.first_mismatch is not None:
                self._mismatch(self.claims.first_mismatch)
        self.feed = self.claims = None
        self.connected = False


def verify_journal(directory: Path, *, progress: Callable[[str, int], None] | None = None) -> JournalVerifyResult:
    """Build the books of a journal from its records and judge them; segments that are still written count too.

    `progress(stage, events)` is called every 100,000 events. Raises FileNotFoundError when there is no journal,
    ValueError when it is damaged or holds no book.
    """
    warm_up()
    markets: dict[str, _Market] = {}
    events = 0
    journal = Journal(directory)
    for segment in journal.segments():
        ours = _markets_of(segment.header, markets, journal)
        events = _take(segment, ours, events, progress)
    for market in markets.values():
        market.finish()
    total: Counter[str] = sum((market.counts for market in markets.values()), Counter())
    if not total["snapshots"] and not total["diffs"]:
        raise ValueError(f"{directory} holds no order book; record a market first")
    compared, checksums, links = total["compared"], total["checksums"], total["links"]
    return JournalVerifyResult(
        markets=", ".join(markets),
        events=events,
        snapshots=total["snapshots"],
        diffs=total["diffs"],
        applied=total["applied"],
        best_quotes=total["best_quotes"],
        compared=compared or None,
        matched=total["matched"] if compared else None,
        checksums=checksums or None,
        checksums_matched=total["checksums_matched"] if checksums else None,
        links=links or None,
        links_unbroken=total["links_unbroken"] if links else None,
        stale=total["stale"],
        gaps=total["gaps"],
        broken=total["broken"],
        crossed=total["crossed"],
        overflow=total["overflow"],
        quarantined=total["quarantined"],
        first_mismatch=next((m.first_mismatch for m in markets.values() if m.first_mismatch), None),
    )


def _markets_of(header: SegmentHeader, markets: dict[str, _Market], journal: Journal) -> dict[int, _Market]:
    described = {int(one["id"]): one for one in header.instruments}
    for number, name in header.markets.items():
        if name not in markets:
            instrument = dict(described.get(number, {}))
            markets[name] = _Market(name, instrument, journal, name.startswith("binance"))
    return {number: markets[name] for number, name in header.markets.items()}


def _feed_of(raw: bytes, instrument: dict[str, Any]) -> VenueFeed | None:
    """Return a feed of this one instrument that reads such frames; None where they prove nothing by themselves."""
    kind = feed_of([raw])
    if kind is None or kind is CoinbaseFeed or "name" not in instrument:
        return None
    instruments = Instruments(kind.venue, int(instrument["id"]))
    instruments.declare(
        str(instrument["name"]),
        int(instrument["price_digits"]),
        int(instrument["qty_digits"]),
        tick_e8=int(instrument["tick_e8"]),
        lot_e8=int(instrument["lot_e8"]),
    )
    feed = kind(instruments)
    feed.limits = UNLIMITED
    return feed


def _take(
    segment: Segment, markets: dict[int, _Market], events: int, progress: Callable[[str, int], None] | None
) -> int:
    heads = segment.headers
    for row in np.flatnonzero(~segment.is_command):
        head = heads[row]
        events += 1
        if progress is not None and events % PROGRESS_EVERY == 0:
            progress("book", events)
        if head["flags"] & Flag.INVALID:
            continue
        if head["kind"] == Kind.SESSION:  # every book is void
            for market in markets.values():
                record = segment.record(int(row))
                apply_and_look(market.book, record[:HEADER_SIZE].view(HEADER), segment.slots(int(row)), market.out)
            continue
        found = markets.get(int(head["instrument"]))
        if found is not None:
            found.take(head, segment.record(int(row)), segment.slots(int(row)))
    return events
