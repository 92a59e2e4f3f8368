"""Frames of the venues whose feeds are VenueFeeds: each connection has a feed of its own, and books go over by state.

While two connections are open, a book goes over when both feeds hold the same levels (and the same update id where the
venue numbers updates alike on all connections). Ids that count by connection go on from the old connection's last.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from bot4_live.events import Kind, StaleCause, header_of, slots_of
from bot4_live.market.feed_core import RawLog
from bot4_live.market.live.fetching import Fetch, Fetching
from bot4_live.market.live.patience import StreamTimes
from bot4_live.market.live.reader import Emit, Overlap, Reader
from bot4_live.market.venues.base import VenueFeed

_DEPTH = (int(Kind.DEPTH_SNAPSHOT), int(Kind.DEPTH_DIFF))
_STALE, _SNAPSHOT, _REFUSED = int(Kind.BOOK_STALE), int(Kind.DEPTH_SNAPSHOT), int(Kind.QUARANTINE)
_MISSED = (StaleCause.GAP, StaleCause.CHECKSUM)

MakeFeed = Callable[[RawLog], VenueFeed]


class LateRaw:
    """A raw log that can wait: in a renewal a frame is kept only if a record of it goes out."""

    def __init__(self, raw_log: RawLog | None) -> None:
        """Write through."""
        self.waits = False
        self._log = raw_log
        self._held: tuple[int, bytes, int, int] | None = None
        self._ref = -1

    def append_raw(self, recv_ns: int, raw: bytes, reason: int, stream: int) -> int:
        """Keep a frame and return its reference, -1 when it waits."""
        if self._log is None:
            return -1
        if not self.waits:
            return self._log.append_raw(recv_ns, raw, reason, stream)
        self._held, self._ref = (recv_ns, raw, reason, stream), -1
        return -1

    def keep(self) -> int:
        """Write the frame that waits, once; return its reference, -1 when there is none."""
        if self._ref < 0 and self._held is not None and self._log is not None:
            self._ref = self._log.append_raw(*self._held)
        return self._ref

    def forget(self) -> None:
        """Let the frame go."""
        self._held, self._ref = None, -1


class VenueLane:
    """One connection's way into the reader; `newer` says that it was opened to renew another one."""

    def __init__(self, reader: VenueReader, raw: LateRaw, *, newer: bool = False) -> None:
        """Make the feed of a connection."""
        self.raw, self.newer = raw, newer
        self.feed = reader.make_feed(raw)
        self.open = False
        self.shift: dict[str, int] = {}  # what is added to a book's ids
        self.names = {book.instrument.id: name for name, book in self.feed.books.items()}
        self._reader = reader
        self._first_s = reader.times.resync_retry_s
        self._asked: dict[str, tuple[float, float]] = {}  # when a book was asked for, and how long to wait for it
        self._hurried: dict[str, float] = {}  # when it was asked for at once
        self._fetching = reader.fetching(self)

    def opened(self, recv_ns: int) -> list[bytes]:
        """Subscribe."""
        self.open = True
        self._asked = dict.fromkeys(self._reader.names, (time.monotonic(), self._first_s))
        self._hurried.clear()
        self._reader.take(self, self.feed.on_connect(recv_ns))
        return self.feed.subscribe(self._reader.names)

    def frame(self, recv_ns: int, raw: bytes) -> list[bytes]:
        """Read a frame; ask at once for a book that it made stale, unless that was just done."""
        records = self.feed.on_frame(recv_ns, raw)
        if not records:
            return []
        self._reader.take(self, records)
        if all(int(header_of(record)["kind"]) != _STALE for record in records):
            return []
        if self._fetching is not None:
            self._fetching.look()
        now = time.monotonic()
        names = [n for n in self.feed.wants_resync if now - self._hurried.get(n, -self._first_s) >= self._first_s]
        self._hurried.update(dict.fromkeys(names, now))
        return self._ask(names, self._first_s)

    def tick(self) -> list[bytes]:
        """Ask again for books that were asked for in vain, after ever longer waits."""
        if self._fetching is not None:
            self._fetching.look()
        now = time.monotonic()
        frames: list[bytes] = []
        for name, (asked, patience) in self._asked.items():
            if self.feed.books[name].live:
                self._asked[name] = now, self._first_s
            elif now - asked >= patience:
                frames += self._ask([name], min(2 * patience, 12 * self._first_s))
        return frames

    def closed(self, recv_ns: int, cause: StaleCause) -> None:
        """Say which books are stale now."""
        self.open = False
        if self._fetching is not None:
            self._fetching.cancel()
        self._reader.losing(self, recv_ns)
        self._reader.lost(self, recv_ns, self.feed.on_disconnect(recv_ns, cause))

    async def close(self) -> None:
        """Wait for what was under way."""
        if self._fetching is not None:
            await self._fetching.close()

    def _ask(self, names: Iterable[str], patience: float) -> list[bytes]:
        frames: list[bytes] = []
        for name in names:
            self._asked[name] = time.monotonic(), patience
            frames += self.feed.resync(name)
        return frames


class VenueReader(Reader):
    """The books of some instruments of a venue. `emit` receives records in log order."""

    def __init__(
        self,
        make_feed: MakeFeed,
        names: Sequence[str],
        emit: Emit,
        raw_log: RawLog | None,
        times: StreamTimes,
        *,
        now_ns: Callable[[], int] = time.time_ns,
        fetch: Fetch | None = None,
    ) -> None:
        """Begin without a connection. `make_feed` makes a feed that follows exactly `names`.

        `fetch` is needed where the venue sends no snapshots on its stream.
        """
        self.make_feed, self.names, self.times = make_feed, list(names), times
        self._now_ns, self._fetch = now_ns, fetch
        self._emit, self._raw_log = emit, raw_log
        self._gaps: Counter[str] = Counter()
        self._lane = VenueLane(self, LateRaw(raw_log))
        self._next: VenueLane | None = None
        self._moved: set[str] = set()  # books that are the new lane's
        self._overlap: Overlap | None = None

    def first(self) -> VenueLane:
        """Return the lane of the first connection."""
        return self._lane

    def renew(self) -> VenueLane:
        """Begin a renewal. The union begins now: the venue may serve the new connection before we know of it."""
        self._next = VenueLane(self, LateRaw(self._raw_log), newer=True)
        self._lane.newer = False
        self._moved.clear()
        self._overlap = Overlap()
        self._lane.raw.waits = self._next.raw.waits = True
        return self._next

    def left_old(self) -> bool:
        """Return whether all books went over."""
        return self._next is not None and self._next.open and len(self._moved) == len(self.names)

    def hurry(self) -> None:
        """Let books go over that the new connection has, as snapshots."""
        if self._next is not None:
            for name in self.names:
                self._try_move(name, self._next.feed.last_frame_ns, forced=True)

    def renewed(self) -> None:
        """The new lane is the lane."""
        if self._next is not None:
            self._lane, self._next = self._next, None
        self._moved.clear()

    def settled(self) -> None:
        """End the union."""
        self._overlap = None
        self._lane.raw.waits = False

    def feed(self, name: str) -> VenueFeed:
        """Return the feed of the connection whose book is in force."""
        return self._home(name).feed

    async def close(self) -> None:
        """End the fetching of snapshots."""
        for lane in (self._lane, self._next):
            if lane is not None:
                await lane.close()

    def stale_books(self) -> list[str]:
        """Return the books that are stale where they are read."""
        return [name for name in self.names if not self._home(name).feed.books[name].live]

    def gaps(self, name: str) -> int:
        """Return how often updates of a book were missed."""
        return self._gaps[name]

    # For the lanes.

    def fetching(self, lane: VenueLane) -> Fetching | None:
        """Return what fetches a lane's snapshots, None where they come on the stream."""
        if self._fetch is None:
            return None
        return Fetching(lane.feed, self._fetch, self._now_ns, lambda records: self.take(lane, records), self.times)

    def take(self, lane: VenueLane, records: list[np.ndarray]) -> None:
        """Pass on what a lane's feed says, as far as it is the lane's to say."""
        if self._overlap is None:
            for record in records:
                self._out(lane, record)
            return
        touched = set()
        for record in records:
            head = header_of(record)
            kind, name = int(head["kind"]), lane.names[int(head["instrument"])]
            if kind in _DEPTH or kind == _STALE:
                touched.add(name)
                passes = self._home(name) is lane
            else:
                passes = kind == _REFUSED or self._overlap.is_new(record, on_new=lane.newer)
            if passes:
                if kind != _STALE and (ref := lane.raw.keep()) >= 0:
                    head["c"] = ref
                self._out(lane, record)
        lane.raw.forget()
        for name in touched:
            self._try_move(name, lane.feed.last_frame_ns)

    def losing(self, lane: VenueLane, recv_ns: int) -> None:
        """Take that a lane's connection is gone, before its feed says so: what the new one has goes over."""
        if self._next is not None and lane is self._lane:
            for name in self.names:
                self._try_move(name, recv_ns, forced=True)

    def lost(self, lane: VenueLane, recv_ns: int, records: list[np.ndarray]) -> None:
        """Take what a lane's feed says of its end. All that is left goes over, live or not."""
        self.take(lane, records)
        if self._next is not None and lane is self._lane:
            self.losing(lane, recv_ns)
            self._moved.update(self.names)

    def _home(self, name: str) -> VenueLane:
        return self._next if self._next is not None and name in self._moved else self._lane

    def _out(self, lane: VenueLane, record: np.ndarray) -> None:
        head = header_of(record)
        kind = int(head["kind"])
        if kind == _STALE:
            self._gaps[lane.names[int(head["instrument"])]] += int(head["a"]) in _MISSED
        elif lane.shift and kind in _DEPTH and (shift := lane.shift.get(lane.names[int(head["instrument"])])):
            head["a"] += shift
            head["b"] += shift
            if kind != _SNAPSHOT:
                slots_of(record)[0, 0] += shift
        self._emit(record)

    def _try_move(self, name: str, recv_ns: int, *, forced: bool = False) -> None:
        """Let a book go over to the new lane if both agree; `forced`, or if the old one is stale: as a snapshot."""
        if self._next is None or name in self._moved or not self._next.feed.books[name].live:
            return
        old, new = self._lane.feed.books[name], self._next.feed.books[name]
        shared = self._next.feed.shares_ids(new)
        said = old.update_id + self._lane.shift.get(name, 0)
        if shared and old.live and (new.update_id < said if forced else new.update_id != said):
            return  # ids never go back within a book's life
        same = old.live and old.bids.same_as(new.bids) and old.asks.same_as(new.asks)
        if not (same or forced or shared or not old.live):
            return
        self._moved.add(name)
        update_id = new.update_id if shared else said + (not same)
        if not shared:
            self._next.shift[name] = update_id - new.update_id
        if not (same and (not shared or new.update_id == said)):
            self._emit(self._next.feed.restate(recv_ns, name, update_id))
