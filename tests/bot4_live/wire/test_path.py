"""Event by event the same journal, raw log and state: the feed in Python, and the compiled path before it."""

from __future__ import annotations

import random
from types import SimpleNamespace

import numpy as np
import pytest
from websockets.frames import Frame, Opcode

from bot4_live.benchmarks.session import open_session
from bot4_live.events import Kind, Reason, StaleCause, header_of
from bot4_live.hot_loop import HotLoop
from bot4_live.hot_step import DECLINED
from bot4_live.instrument import BTCUSDT_USDM
from bot4_live.journal.client import JournalClient
from bot4_live.journal.reader import Journal
from bot4_live.kernels import address
from bot4_live.market.capture import read_capture
from bot4_live.market.feed_core import FeedCore
from bot4_live.market.hot_feed import HotFeed
from bot4_live.market.import_capture import segment_header
from bot4_live.simulation.generator import generate
from bot4_live.wire.framing import FULL, MORE, Framer
from bot4_live.wire.path import PathFeed, WirePath
from bot4_live.wire.spsc import SpscRing


def encoded(raw):
    """A server's frame."""
    return Frame(Opcode.TEXT, raw).serialize(mask=False)


def disturb(frames, seed):
    """Drop, repeat, exchange and cut frames."""
    rng = random.Random(seed)
    out = []
    for recv_ns, raw in frames:
        match rng.randrange(150):
            case 0:
                continue
            case 1:
                out.append((recv_ns, raw))
            case 2 if out:
                out[-1], raw = (out[-1][0], raw), out[-1][1]
            case 3:
                raw = raw[: rng.randrange(1, len(raw))]
        out.append((recv_ns, raw))
    return out


class Side:
    """A session with a journal of its own on disk."""

    def __init__(self, folder, frames, core_type, ring_bytes=64 << 20):
        header = segment_header(BTCUSDT_USDM, 1, frames[0][0])
        self.folder, self.frames = folder, frames
        self.client = JournalClient(folder / "journal", header, folder / "shm", ring_bytes=ring_bytes)
        self.session = open_session(frames[0][0], None, self.client, core_type, raw_log=self.client)
        self.session.core.on_connect(frames[0][0])

    def apart(self, reconnect):
        for i, (recv_ns, raw) in enumerate(self.frames):
            if i == reconnect:
                self.reconnect(recv_ns)
            self.session.core.on_frame(recv_ns, raw)
            self.session.answer()

    def reconnect(self, recv_ns):
        self.session.core.on_disconnect(recv_ns)
        self.session.core.on_connect(recv_ns)
        self.session.answer()

    def together(self, reconnect, seed=1):
        """As the socket would give them: in pieces of any size, between frames and within them."""
        rng, results = random.Random(seed), self.lay_path()
        done = 0
        times = np.array([recv_ns for recv_ns, _ in self.frames])
        for begin, end in ((0, reconnect), (reconnect, len(self.frames))):
            if begin == end:
                continue
            if begin:
                self.reconnect(self.frames[begin][0])
            framer = Framer(1 << 20)
            wire = SimpleNamespace(framer=framer)
            data = memoryview(b"".join(encoded(raw) for _, raw in self.frames[begin:end]))
            while len(data):
                size = min(rng.choice([1, 700, 20_000, 300_000]), len(framer.free), len(data))
                framer.free[:size] = data[:size]
                data = data[size:]
                found = framer.scan(size)
                while True:
                    assert found in (MORE, FULL)
                    self.path.take(wire, framer.count, address(times) + 8 * done, 8)
                    self.path.ready()
                    done += framer.count
                    framer.clear()
                    if found == MORE:
                        break
                    found = framer.scan(0)
        assert sum(after - first for first, after, _ in results) == len(self.frames) == done
        assert sum(result == DECLINED for *_, result in results) == self.path.declined
        self.ring.unmap()

    def one_by_one(self, reconnect):
        """As asyncio gives them: bytes, or what is like bytes, to a feed that has a path before it."""
        results = self.lay_path()
        self.session.core.front = self.path.take_frame
        for i, (recv_ns, raw) in enumerate(self.frames):
            if reconnect and i == reconnect:
                self.reconnect(recv_ns)
            self.session.core.on_frame(recv_ns, bytearray(raw) if i % 5 == 0 else raw)
        assert len(results) == len(self.frames)
        assert sum(result == DECLINED for *_, result in results) == self.path.declined
        self.ring.unmap()

    def lay_path(self):
        """Put the compiled path before the feed; return what it will say of each frame."""
        session, results = self.session, []
        loop = HotLoop(session.core, session.sequencer, session.engine, None)
        self.ring = SpscRing(self.client.ring)
        self.path = WirePath(
            loop, session.core, self.ring, self.client, lambda *taken: results.append(taken), session.commands.extend,
            session.answer,
        )  # fmt: skip
        return results

    def close(self):
        self.client.close()
        journal = Journal(self.folder / "journal")
        records = [bytes(record) for record in journal.records()]
        refs = [int(header_of(record)["c"]) for record in journal.records() if header_of(record)["kind"] in MARKET]
        return records, [(frame.recv_ns, frame.reason, frame.stream, frame.raw) for frame in map(journal.raw, refs)]


MARKET = (Kind.DEPTH_DIFF, Kind.DEPTH_SNAPSHOT, Kind.BOOK_TICKER, Kind.TRADE, Kind.QUARANTINE)


def check_same(folder, frames, reconnect=0, ring_bytes=64 << 20, way=Side.together):
    one, other = Side(folder / "apart", frames, FeedCore), Side(folder / "together", frames, PathFeed, ring_bytes)
    one.apart(reconnect or -1)
    way(other, reconnect)
    assert one.session.engine.snapshot() == other.session.engine.snapshot()
    assert one.session.core.counts == other.session.core.counts
    assert one.client.raw_offset == other.client.raw_offset
    assert one.session.orders == other.session.orders
    (records, raws), (hot_records, hot_raws) = one.close(), other.close()
    for expected, got in zip(records, hot_records, strict=False):
        assert expected == got, (header_of(np.frombuffer(expected, np.uint8)), header_of(np.frombuffer(got, np.uint8)))
    assert len(records) == len(hot_records) > len(frames)
    assert raws == hot_raws
    return other


def test_a_quiet_market(tmp_path):
    frames = list(generate(3, duration_s=15.0))
    side = check_same(tmp_path, frames)
    assert side.path.declined < 0.02 * len(frames)
    assert side.session.orders > 0


@pytest.mark.parametrize(
    ("way", "seed"), [(Side.together, 0), (Side.together, 1), (Side.together, 3), (Side.one_by_one, 1)]
)
def test_a_disturbed_one(tmp_path, way, seed):
    frames = disturb(list(generate(seed, duration_s=8.0)), seed)
    side = check_same(tmp_path, frames, reconnect=len(frames) // 2, way=way)
    counts = side.session.core.counts
    assert 0 < side.path.declined < len(frames)
    assert counts.quarantined[Reason.DUPLICATE] > 0
    assert counts.stale[StaleCause.GAP] > 0


def test_a_ring_that_is_short_of_room(tmp_path):
    """A frame that might not fit takes the ordinary way, which waits for the writer; nothing is lost."""
    frames = list(generate(5, duration_s=6.0))
    side = check_same(tmp_path, frames, ring_bytes=2 << 20)
    assert side.path.declined < len(frames)
    side = check_same(tmp_path / "smaller", frames, ring_bytes=512 << 10)
    assert side.path.declined == len(frames)


def test_what_the_journal_refuses_is_heard_of_and_nothing_is_lent(tmp_path):
    frames = list(generate(3, duration_s=4.0))
    side = Side(tmp_path, frames, HotFeed)
    emit = side.session.core._emit

    def full_disk(record):
        if header_of(record)["kind"] == Kind.DEPTH_SNAPSHOT:
            raise OSError(28, "No space left on device")
        emit(record)

    side.session.core._emit = full_disk
    with pytest.raises(OSError, match="No space left"):
        side.together(0)
    before, raw_offset = side.session.sequencer.next_seq, side.client.raw_offset
    side.session.core._emit = emit
    side.session.core.on_disconnect(side.session.sequencer.last_ns)
    assert side.session.sequencer.next_seq > before
    assert side.client.raw_offset == raw_offset
    side.client.close()


@pytest.mark.capture
def test_a_real_capture(tmp_path, usdm_capture):
    frames = [frame for frame, _ in zip(read_capture(usdm_capture), range(8_000), strict=False)]
    side = check_same(tmp_path, frames)
    assert side.path.declined < 0.01 * len(frames)
