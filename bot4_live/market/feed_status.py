"""How a process that takes market data shows its feeds to others: a file in shared memory, replaced as a whole.

The file names its process and carries the time of CLOCK_MONOTONIC at which it was written, so a reader can tell a
process that runs from one that hangs and from one that died with its file left behind. A clean end removes it.
"""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from bot4_live.events import HEADER, HEADER_SIZE, Kind, Reason, StaleCause
from bot4_live.instrument import Instrument
from bot4_live.journal.client import JournalClient
from bot4_live.market.live.status import PoolStatus
from bot4_live.safety.durable import read_json, write_bytes
from bot4_live.safety.process import Identity, alive, identify

STATUS_FILE = "feeds.json"
PUBLISH_S = 0.5
HUNG_S = 3.0  # a process that lives and has not published for so long is stuck

_SNAPSHOT, _STALE, _QUARANTINE = Kind.DEPTH_SNAPSHOT, Kind.BOOK_STALE, Kind.QUARANTINE
_CLOCK, _VENUE = Kind.CLOCK_OFFSET, Kind.VENUE_OFFSET
WATCHED = frozenset(int(kind) for kind in (_SNAPSHOT, _STALE, _QUARANTINE, _CLOCK, _VENUE))


class Pool(Protocol):
    """What has connections: bot4_live.market.live.pool.Pool, or a gauge around one stream."""

    def status(self) -> PoolStatus:
        """Return how they are."""


class Tally:
    """What the records of a feed tell by themselves: books, verdicts by rule, the clock. Costs a look at the kind."""

    def __init__(self, instruments: Iterable[Instrument] = ()) -> None:
        """Begin without a book; `instruments` only names them."""
        self._names = {instrument.id: instrument.market for instrument in instruments}
        self._books: dict[int, _Book] = {}
        self._quarantined: dict[int, Counter[int]] = {}
        self._clock: dict[str, int] | None = None
        self._venue: dict[str, int] | None = None

    def see(self, kind: int, record: np.ndarray) -> None:
        """Look at a record of this kind, where it tells anything."""
        if kind in WATCHED:
            self.take(record)

    @property
    def live_books(self) -> tuple[int, int]:
        """Return (books that may be used, all books)."""
        return sum(not book.cause for book in self._books.values()), len(self._books)

    def take(self, record: np.ndarray) -> None:
        """Look at one record."""
        head = record[:HEADER_SIZE].view(HEADER)[0]
        kind, instrument, now_ns = int(head["kind"]), int(head["instrument"]), time.monotonic_ns()
        if kind == _QUARANTINE:
            self._quarantined.setdefault(instrument, Counter())[int(head["a"])] += 1
        elif kind == _CLOCK:
            self._clock = {"offset_ns": int(head["a"]), "error_ns": int(head["b"])}
        elif kind == _VENUE:
            self._venue = {"offset_ns": int(head["a"]), "error_ns": int(head["b"]), "rtt_ns": int(head["c"])}
        elif kind == _SNAPSHOT:
            self._book(instrument, now_ns).lives(now_ns)
        elif kind == _STALE:
            self._book(instrument, now_ns).stale(now_ns, int(head["a"]))

    def _book(self, instrument: int, now_ns: int) -> _Book:
        return self._books.setdefault(instrument, _Book(now_ns))

    def _name(self, instrument: int) -> str:
        return self._names.get(instrument, str(instrument))

    def as_dict(self) -> dict[str, Any]:
        """Return `books`, `quarantined` (by market and rule), `clock` and `venue_clock`, for JSON."""
        now_ns = time.monotonic_ns()
        return {
            "books": [{"market": self._name(i)} | book.as_dict(now_ns) for i, book in sorted(self._books.items())],
            "quarantined": {
                self._name(i): {_name(Reason, code): n for code, n in sorted(counts.items())}
                for i, counts in sorted(self._quarantined.items())
            },
            "clock": self._clock,
            "venue_clock": self._venue,
        }


class _Book:
    """One book: whether it may be used, since when, and what made it stale how often."""

    def __init__(self, now_ns: int) -> None:
        self.cause, self.since_ns = 0, now_ns
        self.causes: Counter[int] = Counter()
        self.snapshots = 0

    def lives(self, now_ns: int) -> None:
        self.snapshots += 1
        if self.cause:
            self.cause, self.since_ns = 0, now_ns

    def stale(self, now_ns: int, cause: int) -> None:
        self.causes[cause] += 1
        if not self.cause:
            self.since_ns = now_ns
        self.cause = cause

    def as_dict(self, now_ns: int) -> dict[str, Any]:
        return {
            "live": not self.cause,
            "since_s": (now_ns - self.since_ns) / 1e9,
            "cause": _name(StaleCause, self.cause) if self.cause else None,
            "snapshots": self.snapshots,
            "gaps": self.causes[StaleCause.GAP],
            "stale": {_name(StaleCause, cause): n for cause, n in sorted(self.causes.items())},
        }


def _name(codes: type[Reason] | type[StaleCause], code: int) -> str:
    return codes(code).name.lower() if code in set(codes) else str(code)


def journal_status(journal: JournalClient, last_seq: int) -> dict[str, Any]:
    """Return how far the journal is and what its writer has done, for `Publisher.publish`."""
    counts = journal.counts
    return {
        "last_seq": last_seq, "healthy": journal.healthy, "errno": journal.failure, "backlog": journal.ring.backlog,
        "entries": counts.entries, "syncs": counts.syncs, "longest_sync_us": counts.sync_us, "sealed": counts.sealed,
    }  # fmt: skip


class Publisher:
    """Writes the file of one process; `publish` now and then, `close` at a clean end."""

    def __init__(self, shm_dir: Path, *, role: str, account: str, journal: Path) -> None:
        """Name the process. `role` is `record` or `live`."""
        self._path = shm_dir / STATUS_FILE
        me = identify(os.getpid())
        self._self = {
            "role": role, "account": account, "journal": str(journal), "pid": os.getpid(),
            "start_ticks": me.start_ticks if me else 0, "started_mono_ns": time.monotonic_ns(),
        }  # fmt: skip

    def publish(self, tally: Tally, pools: Iterable[Pool], **more: Any) -> None:
        """Replace the file. `more` is what else is worth showing. A file that cannot be written is not shown: feeds
        and journal do not depend on it."""
        content = self._self | tally.as_dict() | {"pools": [pool.status().as_dict() for pool in pools]} | more
        content["published_mono_ns"] = time.monotonic_ns()
        try:
            write_bytes(self._path, json.dumps(content).encode(), sync=False)
        except OSError:
            return

    def close(self) -> None:
        """Remove the file."""
        self._path.unlink(missing_ok=True)


@dataclass(frozen=True)
class Shown:
    """What a process showed last, and what became of it: `running`, `hung` or `dead`."""

    state: str
    age_s: float  # since it was written
    content: dict[str, Any]

    def as_dict(self) -> dict[str, Any]:
        """Return it for JSON."""
        return {"state": self.state, "age_s": round(self.age_s, 3)} | self.content


def read(shm_dir: Path) -> Shown | None:
    """Return what the process of this folder shows, None when there is none. Raises ValueError for a broken file."""
    path = shm_dir / STATUS_FILE
    content = read_json(path)
    if content is None:
        return None
    try:
        age_s = (time.monotonic_ns() - int(content["published_mono_ns"])) / 1e9
        lives = alive(Identity(int(content["pid"]), int(content["start_ticks"]), ""))
    except (KeyError, TypeError, ValueError):
        raise ValueError(f"{path} does not say which process wrote it; remove it") from None
    state = "dead" if not lives else "hung" if age_s > HUNG_S else "running"
    return Shown(state, age_s, content)


def shown(shm_dirs: Iterable[Path]) -> list[Shown]:
    """Return what is shown in several folders, in their order."""
    return [found for folder in shm_dirs if (found := read(folder)) is not None]
