"""Replay: a fresh engine reads a journal's events only; its commands must be the journaled ones, byte for byte.

A live session is proven by it: what was decided follows from what was journaled and nothing else. The hash is taken
over the command records with `crc` zeroed, so that it says nothing of who wrote them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from bot4_live.engine import Engine
from bot4_live.engine_events import words_digest
from bot4_live.events import HEADER, HEADER_SIZE, Kind, slots_of
from bot4_live.journal.reader import Journal, Segment
from bot4_live.models.bundle import load_digest

_CRC = slice(4, 8)
_NO_BUNDLE = "0" * 64


@dataclass(frozen=True)
class ReplayResult:
    """What a replay found.

    `first_difference` is the seq of the first event whose commands differ, None when none do. `lost_tail` counts
    commands at the end which a crash kept out of the journal, which is no difference: those of the very last event of a
    journal that was not closed, and those of events that waited to be stepped (the last BACKLOG says so).
    """

    identical: bool
    events: int
    commands: int  # of the replay
    journaled: int  # commands in the journal
    sha256: str  # over the replay's commands
    journaled_sha256: str
    first_difference: int | None
    lost_tail: int = 0

    def as_dict(self) -> dict[str, bool | int | str | None]:
        """Return it as plain data."""
        return asdict(self)


class _Compare:
    """Compares two streams of command records as they come, without keeping what agrees."""

    def __init__(self) -> None:
        self.hashes = hashlib.sha256(), hashlib.sha256()  # replay, journal
        self.counts = [0, 0]
        self.first: int | None = None
        self._rest: list[list[tuple[int, bytes]]] = [[], []]

    def add(self, stream: int, data: bytes) -> None:
        """Take in command records of stream 0 (the replay) or 1 (the journal)."""
        self.hashes[stream].update(data)
        at = 0
        while at < len(data):
            length = int.from_bytes(data[at : at + 4], "little")
            record = data[at : at + length]
            self._rest[stream].append((int.from_bytes(record[16:24], "little"), record))
            self.counts[stream] += 1
            at += length

    def settle(self) -> None:
        """Compare what both streams have; what is left waits for the other stream."""
        ours, theirs = self._rest
        both = min(len(ours), len(theirs))
        if self.first is None:
            for mine, its in zip(ours[:both], theirs[:both], strict=True):
                if mine[1] != its[1]:
                    self.first = min(mine[0], its[0])
                    break
        del ours[:both], theirs[:both]

    def finish(self, open_end: int | None) -> int:
        """Judge the end: a stream that goes on alone differs, save for what event `open_end` and later ones caused.

        Returns how many commands of those events the journal lacks.
        """
        self.settle()
        ours, theirs = self._rest
        if self.first is not None or not (ours or theirs):
            return 0
        if not theirs and open_end is not None and ours[0][0] >= open_end:
            return len(ours)
        self.first = min(rest[0][0] for rest in self._rest if rest)
        return 0


def replay(
    journal_dir: Path, models_dir: Path | None = None, progress: Callable[[str], None] = lambda _: None
) -> ReplayResult:
    """Run a journal's events through a fresh engine and compare the commands.

    Bundles that MODEL_SWAP events name are loaded by digest from `models_dir` (by default `models` beside the journal).
    Raises FileNotFoundError when there is no journal, ValueError when it is damaged, empty or only recorded, or when a
    segment or bundle is missing.
    """
    models = journal_dir.parent / "models" if models_dir is None else models_dir
    Journal(journal_dir).require()
    engine, compare, events = Engine(), _Compare(), 0
    sealed, traded, waits_from = True, False, None
    for segment in Journal(journal_dir).segments():
        progress(f"{segment.path.name}: {segment.offsets.size} records")
        events += _replay_segment(segment, engine, models, compare)
        sealed = segment.sealed
        markers = segment.headers[np.isin(segment.headers["kind"], (Kind.BACKLOG, Kind.SESSION))]
        if markers.size:
            last = markers[-1]  # a session begins with the commands that the last one owed
            waits_from = int(last["b"]) if last["kind"] == Kind.BACKLOG and last["a"] else None
        traded = traded or segment.header.order_epoch > 0
    if events == 0:
        raise ValueError(f"{journal_dir} holds no events; record or trade first")
    if not traded and not compare.counts[1]:
        raise ValueError(
            f"{journal_dir} was recorded, not traded: it holds no decisions to compare; "
            f"`bot4 verify-book {journal_dir}` proves its books"
        )
    open_end = None if sealed else engine.last_seq
    lost = compare.finish(open_end if waits_from is None else waits_from)
    ours, theirs = (digest.hexdigest() for digest in compare.hashes)
    return ReplayResult(
        identical=compare.first is None,
        events=events,
        commands=compare.counts[0],
        journaled=compare.counts[1],
        sha256=ours,
        journaled_sha256=theirs,
        first_difference=compare.first,
        lost_tail=lost,
    )


def _replay_segment(segment: Segment, engine: Engine, models: Path, compare: _Compare) -> int:
    """Step one segment's events, bundle by bundle; return how many there were."""
    is_command = segment.is_command
    for index in np.flatnonzero(is_command):
        record = segment.record(int(index)).copy()
        record[_CRC] = 0
        compare.add(1, record.tobytes())
    todo = np.flatnonzero(~is_command)
    swaps = np.flatnonzero(segment.headers["kind"][todo] == Kind.MODEL_SWAP)
    for part in np.split(todo, swaps):
        if part.size:
            load_named_bundle(engine, segment.record(int(part[0])), models)
            compare.add(0, engine.run(segment.buffer, segment.offsets[part]))
    compare.settle()
    return int(todo.size)


def load_named_bundle(engine: Engine, record: np.ndarray, models_dir: Path) -> None:
    """Put the bundle that a MODEL_SWAP names into its slot; other records, and a swap to none, change nothing.

    Raises ValueError when the bundle is missing or broken.
    """
    head = record[:HEADER_SIZE].view(HEADER)[0]
    if head["kind"] != Kind.MODEL_SWAP:
        return
    digest = words_digest(slots_of(record)[:2].reshape(-1))
    slot = int(head["a"])
    # A slot in use is never loaded, live or here: `step` sees whether it holds the named bundle.
    if digest != _NO_BUNDLE and slot != int(engine.state["model"][0]):
        engine.load_model(slot, load_digest(models_dir, digest))
