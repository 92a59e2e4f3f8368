"""Recovery: engine and ledger as they were when the last session ended, however it ended.

Everything comes from the journal: the newest snapshot and the events after it, stepped again. Commands lie in the log
in one order, if late (docs/decisions/008), so what the journal has of them is a beginning of what the events cause: the
rest, which the crash kept out, is given back, to be journaled before anything new.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bot4_live import compile_cache
from bot4_live.engine import Engine
from bot4_live.engine_state import layout_hash
from bot4_live.events import Kind
from bot4_live.execution.ledger import Ledger
from bot4_live.journal import snapshots
from bot4_live.journal.layout import SegmentHeader
from bot4_live.journal.reader import Journal, Segment, read_segment
from bot4_live.replay import load_named_bundle
from bot4_live.safety.durable import write_json
from bot4_live.sequencer import split

KEEP = 3
# What the ledger lives on.
_LEDGER_KINDS = np.array(
    [*range(Kind.POSITION, Kind.CANCEL_REJECTED + 1), Kind.SEND_ATTEMPT, Kind.SUPPRESSED, Kind.HOLD, Kind.SESSION,
     Kind.INSTRUMENT, Kind.CMD_NEW],
    np.uint8,
)  # fmt: skip


@dataclass
class Recovered:
    """State after `last_seq`; `lost` are commands that the journal lacks: of the last event, or of all that waited."""

    engine: Engine
    ledger: Ledger
    last_seq: int
    last_ns: int
    replayed: int
    from_snapshot: int
    lost: list[np.ndarray]


def recover(
    journal_dir: Path, state_dir: Path, models_dir: Path, progress: Callable[[str], None] = lambda _: None
) -> Recovered:
    """Rebuild engine and ledger. Raises ValueError when the journal is damaged or names a model that is missing."""
    progress("loading the engine (about 20 s when its compiled code is not cached)")
    engine, ledger = Engine(), Ledger()
    done = Recovered(engine, ledger, 0, 0, 0, 0, [])
    if not journal_dir.is_dir():
        return done
    snapshot = snapshots.latest(journal_dir, layout_hash(), compile_cache.source_hash())
    # After a power cut a snapshot may be ahead of the journal: events that nobody can read again did not happen.
    if snapshot is not None and snapshot.seq <= Journal(journal_dir).last_seq:
        engine.restore(snapshot.state)
        done.from_snapshot = snapshot.seq
    kept = load_ledger(state_dir, done.from_snapshot)
    if kept is not None:
        done.ledger = ledger = kept
    ledger_from = done.from_snapshot if kept is not None else 0
    Journal(journal_dir).require(min(done.from_snapshot, ledger_from))
    paths = Journal(journal_dir).paths()
    for i, path in enumerate(paths):
        # A segment that ends before both starting points has nothing to tell.
        following = _first_seq(paths[i + 1]) if i + 1 < len(paths) else None
        if following is not None and following <= min(done.from_snapshot, ledger_from):
            continue
        segment = read_segment(path)
        if segment.offsets.size:
            progress(f"replaying {path.name}")
            _replay(segment, done, models_dir)
            _remember(segment, ledger, ledger_from)
    return done


def _first_seq(path: Path) -> int:
    with path.open("rb") as file:
        header, _ = SegmentHeader.decode(file.read(1 << 20))
    return header.first_seq


def _replay(segment: Segment, done: Recovered, models_dir: Path) -> None:
    """Step the segment's events after what the engine has; bundles are loaded just before they are swapped in."""
    heads, commands = segment.headers, segment.is_command
    events = np.flatnonzero(~commands)
    todo = events[heads["seq"][events] > done.from_snapshot]
    for part in np.split(todo, np.flatnonzero(heads["kind"][todo] == Kind.MODEL_SWAP)):
        if part.size:
            load_named_bundle(done.engine, segment.record(int(part[0])), models_dir)
            done.lost += split(done.engine.run(segment.buffer, segment.offsets[part]))
    done.replayed += int(todo.size)
    if events.size:
        last = events[-1]
        done.last_seq, done.last_ns = int(heads["seq"][last]), int(heads["recv_ns"][last])
    del done.lost[: int((commands & (heads["seq"] > done.from_snapshot)).sum())]


def _remember(segment: Segment, ledger: Ledger, after_seq: int) -> None:
    heads = segment.headers
    wanted = np.isin(heads["kind"], _LEDGER_KINDS) & (heads["seq"] > after_seq)
    for index in np.flatnonzero(wanted):
        ledger.apply(segment.record(int(index)))


def ledger_path(state_dir: Path, seq: int) -> Path:
    """Return where the ledger after event `seq` is kept."""
    return state_dir / f"ledger-{seq:020d}.json"


def save(journal_dir: Path, state_dir: Path, snapshot: snapshots.Snapshot, ledger: dict[str, object]) -> None:
    """Keep a snapshot and the ledger of the same moment. Slow (compression, fsync): call it off the event loop."""
    write_json(ledger_path(state_dir, snapshot.seq), ledger)
    snapshots.save(journal_dir, snapshot)
    for old in sorted(state_dir.glob("ledger-*.json"))[:-KEEP]:
        old.unlink(missing_ok=True)


def take(engine: Engine) -> snapshots.Snapshot:
    """Return a snapshot of the engine as it is now: a copy of its memory."""
    return snapshots.Snapshot(engine.last_seq, layout_hash(), compile_cache.source_hash(), engine.snapshot())


def load_ledger(state_dir: Path, seq: int) -> Ledger | None:
    """Return the ledger kept with the snapshot at `seq`; None means it is read from the journal instead."""
    path = ledger_path(state_dir, seq)
    if seq == 0 or not path.exists():
        return None
    try:
        return Ledger.load(json.loads(path.read_text()))
    except (ValueError, KeyError, TypeError):
        return None
