"""Frames of Binance's sockets: a FeedCore for each symbol, which a connection feeds and a REST snapshot bridges.

Diffs are numbered alike on all connections, so in a renewal the new connection's are held until one of them continues
the book where the old connection has brought it: from that diff on the book is the new connection's, without a
snapshot. Should the diffs of the two never meet, a snapshot bridges them while the book stays live.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from typing import NamedTuple

from bot4_live.events import Kind, StaleCause, header_of, slots_of
from bot4_live.market.fast_parser import FastParser
from bot4_live.market.feed_core import FeedCore
from bot4_live.market.live.patience import StreamTimes
from bot4_live.market.live.reader import Overlap, Reader
from bot4_live.market.parser import Rejected
from bot4_live.market.venues.dialects import BinanceDialect

log = logging.getLogger(__name__)

_DIFF, _SNAPSHOT = int(Kind.DEPTH_DIFF), Kind.DEPTH_SNAPSHOT
_MOST_HELD = 20_000

Fetch = Callable[[str], Awaitable[bytes]]  # the raw depth snapshot of a symbol


class _Diff(NamedTuple):
    recv_ns: int
    raw: bytes
    first: int
    last: int
    previous: int  # -1 where the venue sends none


class BinanceLane:
    """One connection's way into the reader; `newer` says that it was opened to renew another one."""

    def __init__(self, reader: BinanceReader, *, newer: bool = False) -> None:
        """Begin closed."""
        self.newer = newer
        self.open = False
        self.held: dict[str, deque[_Diff]] = {name: deque(maxlen=_MOST_HELD) for name in reader.cores}
        self._reader = reader

    def opened(self, recv_ns: int) -> list[bytes]:
        """Take that frames will come; what is subscribed stands in the address."""
        self.open = True
        self._reader.opened(self, recv_ns)
        return []

    def frame(self, recv_ns: int, raw: bytes) -> list[bytes]:
        """Take a frame."""
        self._reader.take(self, recv_ns, raw)
        return []

    def tick(self) -> list[bytes]:
        """Raise what a snapshot's consumers raised."""
        self._reader.check()
        return []

    def closed(self, recv_ns: int, cause: StaleCause) -> None:
        """Take that no frames come."""
        self.open = False
        self._reader.lost(self, recv_ns, cause)


class BinanceReader(Reader):
    """The books of some symbols; `cores` by the symbol as it is in stream names (btcusdt).

    `books` is False for a socket that brings no books (/market): its end makes none stale. What `fetch` raises as
    OSError, TimeoutError or ValueError is tried again; without it, whoever drives the reader asks what it `wants` and
    brings that as `bridged`.
    """

    def __init__(
        self,
        cores: Mapping[str, FeedCore],
        fetch: Fetch | None,
        now_ns: Callable[[], int],
        times: StreamTimes,
        *,
        books: bool = True,
    ) -> None:
        """Begin without a connection."""
        self.cores = dict(cores)
        self.snapshots = 0
        self.snapshot_failures = 0
        self._fetch, self._now_ns, self._times, self._books = fetch, now_ns, times, books
        self._only = next(iter(self.cores.values())) if len(self.cores) == 1 else None
        self._dialect = BinanceDialect()
        self._lane = BinanceLane(self)
        self._next: BinanceLane | None = None
        self._moved: set[str] = set()
        self._hurried: set[str] = set()  # books that wait for a snapshot to go over with
        self._overlap: Overlap | None = None
        self._parsers: dict[str, FastParser] = {}
        self._bridges: dict[str, asyncio.Task[None]] = {}
        self._failed: BaseException | None = None

    def first(self) -> BinanceLane:
        """Return the lane of the first connection."""
        return self._lane

    def renew(self) -> BinanceLane:
        """Begin a renewal. The union begins now: the venue may serve the new connection before we know of it."""
        self._next = BinanceLane(self, newer=True)
        self._lane.newer = False
        self._moved.clear()
        self._overlap = Overlap()
        self._parsers = {name: FastParser(core.instrument) for name, core in self.cores.items()}
        return self._next

    def left_old(self) -> bool:
        """Return whether all books went over."""
        if self._next is None or not self._next.open:
            return False
        return not self._books or len(self._moved) == len(self.cores)

    def hurry(self) -> None:
        """Fetch snapshots of the books whose diffs do not meet."""
        if self._next is not None and self._next.open and self._books:
            for name in self.cores.keys() - self._moved - self._hurried:
                log.warning("%s: the diffs of old and new connection do not meet: bridging by a snapshot", name)
                self._hurried.add(name)
                self._bridge(name)

    def renewed(self) -> None:
        """The new lane is the lane."""
        if self._next is not None:
            self._lane, self._next = self._next, None
        self._moved.clear()
        self._hurried.clear()

    def settled(self) -> None:
        """End the union."""
        self._overlap = None

    def stale_books(self) -> list[str]:
        """Return the books that are stale."""
        return [name for name, core in self.cores.items() if not core.live] if self._books else []

    def gaps(self, name: str) -> int:
        """Return how often diffs of a book were missed."""
        return self.cores[name].counts.stale[StaleCause.GAP] if name in self.cores else 0

    def check(self) -> None:
        """Raise what a snapshot's consumers raised."""
        if self._failed is not None:
            raise self._failed

    async def close(self) -> None:
        """End the fetching of snapshots."""
        bridges = list(self._bridges.values())
        self._cancel_bridges()
        for task in bridges:
            with contextlib.suppress(asyncio.CancelledError, OSError):
                await task

    # For the lanes.

    def opened(self, lane: BinanceLane, recv_ns: int) -> None:
        """Take that a connection is open."""
        if self._books:
            for name, core in self.cores.items():
                if self._home(name) is lane:
                    core.on_connect(recv_ns)

    def take(self, lane: BinanceLane, recv_ns: int, raw: bytes) -> None:
        """Give a frame to its core, unless the other connection has brought it or will."""
        name, core = "", self._only
        if core is None or self._overlap is not None:
            name = self._dialect.channel(raw)[1]
            if name not in self.cores:  # not a frame of ours: any core will refuse it, with its reason
                name = next(iter(self.cores))
            core = self.cores[name]
        if self._overlap is None or self._passes(self._overlap, lane, name, recv_ns, raw):
            core.on_frame(recv_ns, raw)
            if self._books and core.wants_snapshot:
                self._bridge(name or next(iter(self.cores)))
        if self._overlap is not None:
            self._try_move(name)

    def lost(self, lane: BinanceLane, recv_ns: int, cause: StaleCause) -> None:
        """Take that a connection is gone. What the old one leaves in a renewal goes over, live or not."""
        if not self._books:
            return
        mine = [name for name in self.cores if self._home(name) is lane]
        for name in mine:
            if self._next is not None and lane is self._lane and self._try_move(name):
                continue
            self.cores[name].on_disconnect(recv_ns, cause)
            if (task := self._bridges.pop(name, None)) is not None:
                task.cancel()
            if self._next is not None and lane is self._lane:
                self._moved.add(name)
                if self._next.open:
                    self.cores[name].on_connect(recv_ns)
                    self._push(name, self._next)
        for held in lane.held.values():
            held.clear()

    def _home(self, name: str) -> BinanceLane:
        return self._next if self._next is not None and name in self._moved else self._lane

    def _passes(self, overlap: Overlap, lane: BinanceLane, name: str, recv_ns: int, raw: bytes) -> bool:
        record = self._parsers[name].parse(raw)
        if isinstance(record, Rejected):
            return self._home(name) is lane
        head = header_of(record)
        if int(head["kind"]) != _DIFF:
            return overlap.is_new(record, on_new=lane.newer)
        if self._home(name) is lane:
            return True
        if lane is self._next:
            diff = _Diff(recv_ns, raw, int(head["a"]), int(head["b"]), int(slots_of(record)[0, 0]))
            lane.held[name].append(diff)
        return False

    def _try_move(self, name: str, *, bridging: bool = False) -> bool:
        """Let a book go over to the new lane if its diffs continue the book; return whether it is there."""
        lane, core = self._next, self.cores[name]
        if lane is None or not lane.open or name in self._moved or not self._books:
            return name in self._moved
        if core.live:
            held, last = lane.held[name], core.last_update_id
            while held and held[0].last < last:
                held.popleft()
            if not held:
                return False
            diff = held[0]
            meets = diff.last == last or diff.previous == last or (diff.previous < 0 and diff.first == last + 1)
            if not meets and not (bridging and diff.first <= last + 1):
                return False
        self._moved.add(name)
        self._push(name, lane)
        return True

    def _push(self, name: str, lane: BinanceLane) -> None:
        """Give the core what was held; diffs that it has are left out."""
        core, held = self.cores[name], lane.held[name]
        while held:
            diff = held.popleft()
            if diff.last > core.highest_diff_id:
                core.on_frame(diff.recv_ns, diff.raw)
        if core.wants_snapshot:
            self._bridge(name)

    # Snapshots.

    def wants(self, name: str) -> bool:
        """Return whether a book waits for a snapshot."""
        return self.cores[name].wants_snapshot or name in self._hurried

    def bridged(self, name: str, recv_ns: int, raw: bytes) -> bool:
        """Take a book's snapshot; return whether it wants no other."""
        core = self.cores[name]
        taken = core.counts.events[_SNAPSHOT]
        core.on_snapshot(recv_ns, raw)
        if core.counts.events[_SNAPSHOT] > taken and self._try_move(name, bridging=True):
            self._hurried.discard(name)
        return not self.wants(name)

    def _bridge(self, name: str) -> None:
        if self._fetch is None or name in self._bridges:
            return
        task = self._bridges[name] = asyncio.create_task(self._fetching(name, self._fetch))

        def done(ended: asyncio.Task[None]) -> None:
            if self._bridges.get(name) is ended:
                del self._bridges[name]
            if not ended.cancelled() and (error := ended.exception()) is not None:
                self._failed = error

        task.add_done_callback(done)

    def _cancel_bridges(self) -> None:
        for task in self._bridges.values():
            task.cancel()
        self._bridges.clear()

    async def _fetching(self, name: str, fetch: Fetch) -> None:
        """Fetch snapshots until the core is content."""
        wait = self._times.snapshot_retry_s
        while self.wants(name):
            try:
                raw = await fetch(self.cores[name].instrument.symbol)
            except (OSError, TimeoutError, ValueError) as error:
                self.snapshot_failures += 1
                log.warning("%s: no depth snapshot: %s", name, error)
            else:
                self.snapshots += 1
                if self.bridged(name, self._now_ns(), raw):
                    return
            await asyncio.sleep(wait)
            wait = min(wait * 2, self._times.snapshot_slowest_s)
