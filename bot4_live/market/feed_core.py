"""The feed without I/O: frames in, records out in log order, and the rules that keep a book true.

Binance's way: open the stream, buffer diffs, fetch a snapshot, drop the diffs it already holds, connect the first one
(U <= lastUpdateId <= u), then each diff's `pu` must be the previous one's `u`. Here nothing is dropped: a diff the
snapshot already holds is emitted before it, while the book is stale, so that the journal has every frame; engine and
platform pass over it by update id. Trades and best quotes pass through at once; diffs wait for their snapshot.

A diff that does not connect makes the book stale at once: BOOK_STALE first, then a new snapshot is wanted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from bot4_live.events import Kind, Reason, Source, StaleCause, header_of, new_record, slots_of
from bot4_live.instrument import Instrument
from bot4_live.market.checker import BookChecker
from bot4_live.market.fast_parser import FastParser
from bot4_live.market.liquidations import LARGE_LIQUIDATION_USD, mark_large
from bot4_live.market.parser import Rejected
from bot4_live.market.validation import Limits, Validator

MAX_WAITING = 8192

# An enum member costs a lookup each time it is named (Python 3.11); these are named for every frame.
_DIFF, _SNAPSHOT, _LIQUIDATION = int(Kind.DEPTH_DIFF), int(Kind.DEPTH_SNAPSHOT), int(Kind.LIQUIDATION)
_KINDS = {int(kind): kind for kind in Kind}


class RawLog(Protocol):
    """Where raw frames go: a journal."""

    def append_raw(self, recv_ns: int, raw: bytes, reason: int, stream: int) -> int:
        """Keep a frame and return its reference."""


@dataclass
class FeedCounts:
    """What came in and what became of it."""

    frames: int = 0
    bytes: int = 0  # of the frames
    events: Counter[Kind] = field(default_factory=Counter)
    quarantined: Counter[Reason] = field(default_factory=Counter)
    stale: Counter[StaleCause] = field(default_factory=Counter)
    snapshots_too_old: int = 0
    large_liquidations: int = 0
    connects: int = 0

    def as_dict(self) -> dict[str, Any]:
        """Return plain names and numbers, for JSON."""
        return {
            "frames": self.frames,
            "connects": self.connects,
            "events": {kind.name.lower(): n for kind, n in sorted(self.events.items())},
            "quarantined": {reason.name.lower(): n for reason, n in sorted(self.quarantined.items())},
            "stale": {cause.name.lower(): n for cause, n in sorted(self.stale.items())},
            "snapshots_too_old": self.snapshots_too_old,
            "large_liquidations": self.large_liquidations,
        }


class FeedCore:
    """One market's feed. `emit(record)` receives records with recv_ns set, in log order."""

    def __init__(
        self,
        instrument: Instrument,
        emit: Callable[[np.ndarray], object],
        raw_log: RawLog | None = None,
        *,
        limits: Limits | None = None,
        check_book: bool = True,
        liquidation_usd: float = LARGE_LIQUIDATION_USD,
        max_waiting: int = MAX_WAITING,
    ) -> None:
        """Begin stale. With `check_book` an own book is kept, so that a crossed one is noticed here.

        Liquidations worth `liquidation_usd` are marked (Flag.LARGE). At most `max_waiting` diffs wait for a snapshot.
        """
        self.instrument = instrument
        self.counts = FeedCounts()
        self.last_frame_ns = 0
        self.last_rejected: tuple[Reason, str] | None = None
        self._emit = emit
        self._raw_log = raw_log
        self._parser = FastParser(instrument)
        self._validator = Validator(limits or Limits())
        self._checker = BookChecker() if check_book else None
        self._liquidation_usd = liquidation_usd
        self._connected = False
        self._live = False  # a snapshot is in force
        self._bridging = False
        self._last_id = 0
        self._stale_said = False
        self._max_waiting = max_waiting
        self._waiting: list[np.ndarray] = []

    @property
    def wants_snapshot(self) -> bool:
        """Return whether to fetch a snapshot: connected, not live, and a diff is there for it to connect to."""
        return self._connected and not self._live and bool(self._waiting)

    @property
    def live(self) -> bool:
        """Return whether the book may be used."""
        return self._live

    @property
    def last_update_id(self) -> int:
        """Return the update id of the book."""
        return self._last_id

    @property
    def highest_diff_id(self) -> int:
        """Return the greatest last id of all diffs that came, -1 before the first."""
        return self._validator.highest[1]

    def on_connect(self, recv_ns: int) -> None:
        """The stream is open; the book is stale until bridged."""
        self._connected = True
        self.counts.connects += 1
        self._validator.reset()
        if not self._stale_said:
            self._stale(recv_ns, StaleCause.START)

    def on_disconnect(self, recv_ns: int, cause: StaleCause = StaleCause.DISCONNECT) -> None:
        """The stream is gone: the book is stale at once; diffs that waited in vain are journaled."""
        if not self._connected:
            return
        self._connected = False
        if self._live or not self._stale_said:
            self._stale(recv_ns, cause)
        self._live = False
        self._flush_waiting(recv_ns)

    def change_instrument(self, recv_ns: int, instrument: Instrument) -> None:
        """Go on under a later version of the instrument, and say so: an INSTRUMENT event.

        Another tick or lot makes the book stale, for its levels count something else, until a snapshot is read by the
        new ones; diffs that waited are journaled as what they were. Raises ValueError for another instrument or no
        later version.
        """
        old = self.instrument
        if (instrument.id, instrument.market) != (old.id, old.market) or instrument.version <= old.version:
            raise ValueError(f"{instrument.market} version {instrument.version} does not follow {old.version}")
        parser = FastParser(instrument)
        if (instrument.tick_e8, instrument.lot_e8) != (old.tick_e8, old.lot_e8):
            if self._live or not self._stale_said:
                self._stale(recv_ns, StaleCause.INSTRUMENT)
            self._flush_waiting(recv_ns)
            self._validator.reset()
        self.instrument, self._parser = instrument, parser
        record = instrument.record(recv_ns)
        header_of(record)["source"] = Source.MARKET_REST
        self._out(record)

    def on_frame(self, recv_ns: int, raw: bytes) -> None:
        """Take one frame as it came. A snapshot (a capture holds them among the frames) is taken as one."""
        self.counts.frames += 1
        self.counts.bytes += len(raw)
        self.last_frame_ns = recv_ns
        record = self._judge(recv_ns, raw, 0)
        if record is None:
            return
        kind = int(header_of(record)["kind"])
        if kind == _DIFF:
            self._diff(record)
        elif kind == _SNAPSHOT:
            self._snapshot(record)
        else:
            self._out(record)

    def on_snapshot(self, recv_ns: int, raw: bytes) -> None:
        """Take the answer of GET depth."""
        record = self._judge(recv_ns, raw, Kind.DEPTH_SNAPSHOT)
        if record is not None and header_of(record)["kind"] == Kind.DEPTH_SNAPSHOT:
            self._snapshot(record)

    def _judge(self, recv_ns: int, raw: bytes, stream: int) -> np.ndarray | None:
        """Return the record of a frame, or None after quarantining it. The raw log has the frame either way."""
        parsed = self._parser.parse(raw)
        if isinstance(parsed, Rejected):
            self._quarantine(recv_ns, raw, parsed.reason, parsed.stream or stream, parsed.detail)
            return None
        head = header_of(parsed)
        head["recv_ns"] = recv_ns
        if stream and head["kind"] != stream:
            self._quarantine(recv_ns, raw, Reason.UNKNOWN_STREAM, stream, "not a depth snapshot")
            return None
        verdict = self._validator.check(parsed, recv_ns)
        if verdict is not None:
            self._quarantine(recv_ns, raw, verdict[0], int(head["kind"]), verdict[1])
            return None
        if head["kind"] == _LIQUIDATION:
            self.counts.large_liquidations += mark_large(parsed, self.instrument, self._liquidation_usd)
        if self._raw_log is not None:
            head["c"] = self._raw_log.append_raw(recv_ns, raw, 0, int(head["kind"]))
        return parsed

    def _quarantine(self, recv_ns: int, raw: bytes, reason: Reason, stream: int, detail: str) -> None:
        self.counts.quarantined[reason] += 1
        self.last_rejected = (reason, detail)
        record = new_record(Kind.QUARANTINE)
        head = header_of(record)
        head["source"] = Source.MARKET_REST if stream == Kind.DEPTH_SNAPSHOT else Source.MARKET_STREAM
        head["instrument"], head["inst_version"] = self.instrument.id, self.instrument.version
        head["recv_ns"], head["a"], head["b"] = recv_ns, reason, stream
        head["c"] = -1 if self._raw_log is None else self._raw_log.append_raw(recv_ns, raw, reason, stream)
        self._emit(record)

    def _stale(self, recv_ns: int, cause: StaleCause, expected: int = 0, got: int = 0) -> None:
        self.counts.stale[cause] += 1
        self._stale_said = True
        self._live = False
        record = new_record(Kind.BOOK_STALE)
        head = header_of(record)
        head["source"] = Source.MARKET_STREAM
        head["instrument"], head["inst_version"] = self.instrument.id, self.instrument.version
        head["recv_ns"], head["a"], head["b"], head["c"] = recv_ns, cause, expected, got
        self._emit(record)

    def _out(self, record: np.ndarray) -> None:
        self.counts.events[_KINDS[int(header_of(record)["kind"])]] += 1
        self._emit(record)

    def _wait(self, record: np.ndarray) -> None:
        self._waiting.append(record)
        if len(self._waiting) > self._max_waiting:  # no snapshot for minutes: journal the oldest, it will not be needed
            self._out(self._waiting.pop(0))

    def _flush_waiting(self, recv_ns: int) -> None:
        waiting, self._waiting = self._waiting, []
        for record in waiting:
            self._out(record)

    def _diff(self, record: np.ndarray) -> None:
        if not self._live:
            self._wait(record)
            return
        head = header_of(record)
        first, last, previous = int(head["a"]), int(head["b"]), int(slots_of(record)[0, 0])
        if last < self._last_id:  # late (or held by the snapshot): journaled, passed over by every book
            self._out(record)
            return
        if not self._connects(first, last, previous):
            self._stale(int(head["recv_ns"]), StaleCause.GAP, self._last_id, previous if previous >= 0 else first)
            self._wait(record)
            return
        self._last_id = last
        self._bridging = False
        self._out(record)
        self._check(record)

    def _connects(self, first: int, last: int, previous: int) -> bool:
        """The same rules as `book._connects`, kept here because the feed must know before the engine."""
        if previous >= 0 and previous == self._last_id:
            return True
        if self._bridging:
            return first <= self._last_id + 1 and last >= self._last_id
        return previous < 0 and first == self._last_id + 1

    def _snapshot(self, record: np.ndarray) -> None:
        head = header_of(record)
        snapshot_id = int(head["b"])
        if self._live and snapshot_id < self._last_id:
            self.counts.snapshots_too_old += 1
            return
        waiting = sorted(self._waiting, key=_last_id_of)
        later = [diff for diff in waiting if _last_id_of(diff) >= snapshot_id]
        if later and not _bridges(later[0], snapshot_id):
            self.counts.snapshots_too_old += 1  # older than what waits: fetch again, nothing is lost
            return
        self._waiting = []
        for diff in waiting[: len(waiting) - len(later)]:
            self._out(diff)
        self._live, self._bridging, self._stale_said = True, True, False
        self._last_id = snapshot_id
        self._out(record)
        self._check(record)
        for diff in later:
            self._diff(diff)

    def _check(self, record: np.ndarray) -> None:
        cause = self._checker.check(record) if self._checker is not None else None
        if cause is not None:
            head = header_of(record)
            self._stale(int(head["recv_ns"]), cause, int(head["b"]), int(head["b"]))


def _last_id_of(record: np.ndarray) -> int:
    return int(header_of(record)["b"])


def _bridges(diff: np.ndarray, snapshot_id: int) -> bool:
    """Return whether the first later diff connects to the snapshot."""
    return int(header_of(diff)["a"]) <= snapshot_id + 1 or int(slots_of(diff)[0, 0]) == snapshot_id
