"""The journal writer: a process that takes records from the ring and puts them on disk.

It outlives a runner that is killed: what the runner appended is drained, then sealed. It may itself be killed and
started again: the ring remembers how far it came, so nothing is lost and nothing is written twice. A full disk
leaves everything in the ring, is reported to the runner (which pauses), and is tried again.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from bot4_live.journal.layout import SegmentHeader, raw_name, segment_name
from bot4_live.journal.locks import FileLock, is_held
from bot4_live.journal.policy import Policy
from bot4_live.journal.reader import read_segment
from bot4_live.journal.ring import Ring
from bot4_live.journal.segment import SPARES, SegmentWriter

RECORD, RAW = 1, 2
WELL, FEW_SPARES, FAILING = 0, 1, 2
LOOK_S = 0.1  # how often spares are made and counts told
BATCH = 4096
RAW_HEAD = 16


class Progress(NamedTuple):
    """How far the writer has come, kept in the ring beside the position."""

    first_seq: int
    offset: int
    raw_offset: int
    raw_position: int


class Counts(NamedTuple):
    """What the writer has done since it was started, kept in the ring for people to see."""

    entries: int = 0  # records and frames taken from the ring
    syncs: int = 0  # times that everything was made durable by policy
    sync_us: int = 0  # the longest of them
    sealed: int = 0  # segments closed
    sealed_before: int = 0  # of them, before the disk refused a write and the files were opened again

    def moved(self, entries: int, sealed: int) -> Counts:
        """Return it after a batch; `sealed` is the open writer's own count."""
        return self._replace(entries=self.entries + entries, sealed=self.sealed_before + sealed)

    def synced(self, seconds: float) -> Counts:
        """Return it after a sync."""
        return self._replace(syncs=self.syncs + 1, sync_us=max(self.sync_us, int(seconds * 1e6)))

    def reopened(self, sealed: int) -> Counts:
        """Return it for a new writer."""
        return self._replace(sealed_before=self.sealed_before + sealed)


class Drain:
    """Moves entries from the ring to segments; `step` does what is there and returns how many entries it moved."""

    def __init__(self, ring: Ring, directory: Path, header: SegmentHeader, policy: Policy) -> None:
        self.ring = ring
        self.position = ring.tail
        if self.position:
            self.writer = resume(directory, header, policy, Progress(*ring.consumer_words[:4]))
        else:
            self.writer = _segments(directory, header, policy, _raw_end(directory))
            self._commit()

    def _commit(self) -> None:
        self.writer.flush()
        self.writer.raw.flush()
        writer = self.writer
        progress = Progress(writer.header.first_seq, writer.offset, writer.raw.offset, writer.raw.position)
        self.ring.commit(self.position, progress)

    def step(self) -> int:
        """Move up to a batch of entries; raises OSError when the disk refuses, with nothing lost."""
        moved = 0
        while moved < BATCH:
            entry = self.ring.peek(self.position)
            if entry is None:
                break
            payload, kind, aux, after = entry
            if kind == RECORD:
                self.writer.append(payload)
            elif kind == RAW:
                reason, stream = divmod(int.from_bytes(payload[:2], "little"), 256)
                self.writer.raw.append(aux, payload[RAW_HEAD:], reason, stream)
            self.position = after
            moved += 1
        if moved:
            self._commit()
        return moved


def _segments(directory: Path, header: SegmentHeader, policy: Policy, raw_start: int) -> SegmentWriter:
    return SegmentWriter(directory, header, policy.segment_bytes, raw_start=raw_start, rotate_s=policy.rotate_s)


def _raw_end(directory: Path) -> int:
    from bot4_live.journal.raw_log import RawReader  # only at a start

    return RawReader(directory).end


def resume(directory: Path, header: SegmentHeader, policy: Policy, done: Progress) -> SegmentWriter:
    """Go on after a killed writer: cut its segment and raw log to what it had finished, seal, and open the next."""
    from bot4_live.journal.segment import recover  # only at a restart

    path = directory / segment_name(done.first_seq)
    next_seq = done.first_seq
    for later in directory.glob("seg-*.b4j"):
        if int(later.stem.removeprefix("seg-")) > done.first_seq:
            later.with_suffix(".seal.json").unlink(missing_ok=True)
            later.unlink()
    if path.exists() and path.stat().st_size > done.offset:
        # Sealed or not: what lies beyond is still in the ring and will be written again.
        path.with_suffix(".seal.json").unlink(missing_ok=True)
        os.truncate(path, done.offset)
        recover(directory)
    if path.exists():
        events = read_segment(path).event_seqs
        next_seq = int(events[-1]) + 1 if events.size else done.first_seq
    for raw in directory.glob("raw-*.b4z"):
        if raw.name == raw_name(done.first_seq):
            os.truncate(raw, done.raw_position)
        elif int(raw.stem.removeprefix("raw-")) > done.first_seq:
            raw.unlink()
    return _segments(directory, replace(header, first_seq=next_seq), policy, done.raw_offset)


def run(ring_path: Path, directory: Path, header: SegmentHeader, producer_lock: Path, policy: Policy) -> int:
    """Drain until the producer has closed the ring or died and the ring is empty; then seal. Returns an exit code."""
    lock = FileLock(directory / ".writer.lock")
    if not lock.acquire():
        print(f"journal writer: {directory} is being written by process {lock.holder()}", file=sys.stderr)
        return 1
    ring = Ring(ring_path)
    drain = _open(ring, directory, header, policy)
    counts = Counts()
    last_sync = last_look = time.monotonic()
    unsynced = unlooked = False
    while True:
        try:
            moved = drain.step()
            unsynced, unlooked = unsynced or moved > 0, unlooked or moved > 0
            now = time.monotonic()
            if unsynced and policy.sync_due(now - last_sync):
                drain.writer.sync()
                last_sync, unsynced = time.monotonic(), False
                counts = counts.synced(last_sync - now)
            if unlooked and now - last_look >= LOOK_S:
                ring.set_status(WELL if drain.writer.prepare_spares() >= SPARES else FEW_SPARES)
                last_look, unlooked = now, False
            if moved:
                counts = counts.moved(moved, drain.writer.sealed)
            ring.set_counts(counts)
        except OSError as error:
            counts = counts.reopened(drain.writer.sealed)
            drain.writer.abandon()
            drain = _retry(ring, directory, header, policy, error)
            continue
        if not moved:
            if ring.backlog == 0 and (ring.closed or not is_held(producer_lock)):
                # The producer may have appended between the two looks.
                if ring.backlog:
                    continue
                break
            time.sleep(0.002)
    try:
        drain.writer.close()
    except OSError as error:
        # The ring stays: whoever opens the journal next finishes what is missing here.
        ring.set_status(FAILING, error.errno or 0)
        print(f"journal writer: {directory} could not be sealed: {error}", file=sys.stderr)
        return 1
    ring.set_status(WELL)
    ring.path.unlink(missing_ok=True)
    lock.release()
    return 0


def _open(ring: Ring, directory: Path, header: SegmentHeader, policy: Policy) -> Drain:
    while True:
        try:
            return Drain(ring, directory, header, policy)
        except OSError as error:
            ring.set_status(FAILING, error.errno or 0)
            time.sleep(0.5)


def _retry(ring: Ring, directory: Path, header: SegmentHeader, policy: Policy, error: OSError) -> Drain:
    """After a refused write: go back to what the ring says is done, and try again in a fresh segment."""
    ring.set_status(FAILING, error.errno or 0)
    time.sleep(0.5)
    return _open(ring, directory, header, policy)


def main(argv: list[str] | None = None) -> int:
    """Run the writer process (started by JournalClient)."""
    parser = argparse.ArgumentParser(prog="bot4-journal-writer", description=__doc__)
    parser.add_argument("--ring", type=Path, required=True)
    parser.add_argument("--directory", type=Path, required=True)
    parser.add_argument("--header", type=Path, required=True, help="file with the encoded segment header")
    parser.add_argument("--producer-lock", type=Path, required=True)
    Policy.add_arguments(parser)
    args = parser.parse_args(argv)
    # A Ctrl-C in the terminal is for the runner; the writer ends when the runner has, with everything on disk.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    header, _ = SegmentHeader.decode(args.header.read_bytes())
    args.directory.mkdir(parents=True, exist_ok=True)
    return run(args.ring, args.directory, header, args.producer_lock, Policy.of(args))


if __name__ == "__main__":
    sys.exit(main())
