"""A client on a real exchange process through a faulty wire, on either transport; and what must hold afterwards."""

from __future__ import annotations

import asyncio
import json
import os
import resource
import subprocess
import sys
import threading
import time
import urllib.request
from bisect import bisect_right
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

from bot4_live import engine_events
from bot4_live.clock import MarketClock
from bot4_live.engine import Engine
from bot4_live.events import Kind, Source, StaleCause, header_of
from bot4_live.instrument import BTCUSDT_USDM
from bot4_live.journal.local import LocalJournal
from bot4_live.journal.reader import Journal
from bot4_live.market.feed_core import FeedCore
from bot4_live.market.import_capture import segment_header
from bot4_live.market.public import PublicApi, stream_url
from bot4_live.market.stream import MarketStream, StreamTimes
from bot4_live.market.verify import _Collector
from bot4_live.sequencer import Sequencer
from bot4_live.settings import StrategyParams
from bot4_live.simulation.wire_faults import FaultyWire
from bot4_live.wire.spin_stream import SpinStream

from .books import depth

TOKEN = "for-tests"
SPEED_MILLI = 4000
TIMES = StreamTimes(
    first_backoff_s=0.02, longest_backoff_s=0.2, silence_s=3.0, snapshot_retry_s=0.02, open_timeout_s=5.0,
    breaker_open_s=0.5,
)  # fmt: skip
MEMORY_BYTES = 64 << 20  # what any fault may add to this process


def resident():
    """Return the resident memory of this process, in bytes."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()


class Exchange:
    """The running exchange."""

    def __init__(self, ready):
        self.rest, self.port = ready["rest"], ready["port"]

    def get(self, path):
        with urllib.request.urlopen(self.rest + path, timeout=10) as answer:
            return answer.read()

    def clock(self, **changes):
        data = json.dumps(changes).encode() if changes else None
        request = urllib.request.Request(f"{self.rest}/bot4/clock", data, {"X-Bot4-Token": TOKEN})
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.loads(answer.read())

    def faults(self, **plan):
        """Let REST refuse or the clock be wrong; nothing given: all is well again."""
        headers = {"X-Bot4-Token": TOKEN}
        request = urllib.request.Request(f"{self.rest}/bot4/faults", json.dumps(plan).encode(), headers)
        urllib.request.urlopen(request, timeout=10).close()

    async def limited_depth(self):
        """GET depth as a session does, from the budget that keeps the silences it is told of."""
        async with PublicApi(self.rest, "BTCUSDT") as api:
            return await api.depth()

    def depth(self):
        return self.get("/fapi/v1/depth?symbol=BTCUSDT&limit=1000")


@pytest.fixture(scope="module")
def exchange(tmp_path_factory):
    """A generated market at 4x."""
    errors = (tmp_path_factory.mktemp("exchange") / "exchange.err").open("w+b")
    command = [sys.executable, "-m", "bot4_live", "exchange", "--seed", "11", "--duration", "7200", "--port", "0"]
    process = subprocess.Popen(
        [*command, "--speed", str(SPEED_MILLI / 1000), "--paused"],
        stdout=subprocess.PIPE, stderr=errors, env=os.environ | {"BOT4_EXCHANGE_TOKEN": TOKEN},
    )  # fmt: skip
    try:
        line = process.stdout.readline()
        assert line, errors.seek(0) or errors.read()
        yield Exchange(json.loads(line))
    finally:
        process.kill()
        process.communicate()
        errors.close()


class Proof:
    """Each diff's best levels against the best quote in force, by update id; anew after each gap and reconnect."""

    def __init__(self):
        self.collector = _Collector()
        self.compared = self.matched = self.connects = 0

    def emit(self, record, connects):
        if header_of(record)["kind"] == Kind.BOOK_STALE or connects != self.connects:
            self.connects = connects
            self.judge()
        self.collector.emit(record)

    def judge(self):
        """Compare what was collected, and forget it."""
        ids = sorted(self.collector.quotes)
        for update_id, *best in self.collector.states:
            at = bisect_right(ids, update_id) - 1
            if at >= 0:
                self.compared += 1
                self.matched += tuple(best) == self.collector.quotes[ids[at]]
        self.collector.quotes.clear()
        self.collector.states.clear()


class Client:
    """Feed, sequencer, journal and engine on one transport, in a thread of its own."""

    def __init__(self, transport, exchange, port, folder):
        self.exchange, self.folder, self.transport = exchange, folder, transport
        self.resident_before = 0
        self.proof, self.stale, self.old_snapshots = Proof(), [], []
        self.error = None
        said = exchange.clock(paused=False)
        clock = MarketClock(said["market_ns"], time.monotonic_ns(), SPEED_MILLI)
        header = segment_header(
            BTCUSDT_USDM, 1, clock.start_market_ns,
            account="faults", session="faults", shift_ns=said["shift_ns"], speed_milli=SPEED_MILLI,
            start_mono_ns=clock.start_mono_ns,
        )  # fmt: skip
        self.journal = LocalJournal(folder, header, segment_bytes=4 << 20)
        self.engine = Engine()
        self.sequencer = Sequencer(self.journal, self.engine, clock.start_market_ns)
        for record in engine_events.opening(BTCUSDT_USDM, StrategyParams(), clock.now_ns(), 1):
            self.sequencer.push(record)
        self.core = FeedCore(BTCUSDT_USDM, self.emit, self.journal)
        self.stopping, self.pool = threading.Event(), ThreadPoolExecutor(1)
        url = stream_url(f"ws://127.0.0.1:{port}", "BTCUSDT")
        if transport == "async":
            self.stream = MarketStream(self.core, url, self.fetch_async, clock.now_ns, times=TIMES, seed=3)
        else:
            self.stream = SpinStream(
                self.core, url, lambda: self.pool.submit(self.fetch), clock.now_ns, times=TIMES, seed=3
            )
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def emit(self, record):
        self.proof.emit(record, self.core.counts.connects)
        head = header_of(record)
        if head["kind"] == Kind.BOOK_STALE:
            self.stale.append(StaleCause(int(head["a"])).name)
        self.sequencer.push(record)

    def fetch(self):
        """GET depth; answers queued in `old_snapshots` come first, as from a cache of the venue."""
        return self.old_snapshots.pop(0) if self.old_snapshots else asyncio.run(self.exchange.limited_depth())

    async def fetch_async(self):
        return await asyncio.to_thread(self.fetch)

    def run(self):
        try:
            if self.transport == "async":
                asyncio.run(self.run_async())
                return
            while not self.stopping.is_set():
                if self.stream.poll() == 0:
                    time.sleep(0.0005)  # the wire runs in this process: let it
            self.stream.close()
        except BaseException as error:
            self.error = error

    async def run_async(self):
        task = asyncio.create_task(self.stream.run())
        while not self.stopping.is_set() and not task.done():
            await asyncio.sleep(0.01)
        self.stream.stop()
        await asyncio.wait_for(task, 10)

    def wait(self, condition, what, seconds=30.0):
        deadline = time.monotonic() + seconds
        while not condition():
            assert self.error is None, self.error
            assert time.monotonic() < deadline, (what, self.stream.last_error, self.core.counts, self.stale)
            time.sleep(0.005)

    def more(self, n=300):
        """Let the market go on until the book is in use, and n more frames came to it."""
        self.wait(lambda: self.core.live, "the book is not in use again")
        frames = self.core.counts.frames + n
        self.wait(lambda: self.core.live and self.core.counts.frames >= frames, f"{n} more frames")

    def stop(self):
        self.stopping.set()
        self.thread.join(20)
        self.pool.shutdown()
        self.journal.close()

    def settle(self, wire):
        """Let the market stand still, and wait until all that was sent is here."""
        self.exchange.clock(paused=True)
        before, since = (-1, -1), time.monotonic()
        last_id = json.loads(self.exchange.depth())["lastUpdateId"]

        def still():
            nonlocal before, since
            now = (wire.seen, self.core.counts.frames)
            if now != before or not self.core.live or self.core.last_update_id != last_id:
                before, since = now, time.monotonic()
            return time.monotonic() - since > 0.2

        self.wait(still, "the market does not come to rest")

    def book_is_right(self):
        """Compare with the exchange's own book, level by level, and with every best quote in force."""
        true = json.loads(self.exchange.depth())
        price, lots = BTCUSDT_USDM.ticks, BTCUSDT_USDM.lots
        book = self.proof.collector.book
        assert self.core.last_update_id == true["lastUpdateId"]
        assert book["update_id"][0] == true["lastUpdateId"]
        for side, name in ((1, "bids"), (-1, "asks")):
            assert depth(book, side) == [(price(p), lots(q)) for p, q in true[name]]
        quote = json.loads(self.exchange.get("/fapi/v1/ticker/bookTicker?symbol=BTCUSDT"))
        state = self.engine.state
        assert (int(state["bid"][0]), int(state["ask"][0])) == (price(quote["bidPrice"]), price(quote["askPrice"]))
        self.proof.judge()
        assert self.proof.compared > 20
        assert self.proof.matched == self.proof.compared

    def nothing_is_lost(self, wire, *, exact=True):
        """Every frame that reached us is an event or in quarantine, in a journal that is whole; memory is bounded."""
        frames = self.core.counts.frames
        if exact:
            assert frames == wire.delivered
        else:
            assert 0 < frames <= wire.delivered
        kinds, stream, refs = Counter(), 0, []
        for seq, record in enumerate(Journal(self.folder).events(), 1):
            head = header_of(record)
            assert head["seq"] == seq
            kinds[int(head["kind"])] += 1
            if head["source"] == Source.MARKET_STREAM and head["kind"] not in (Kind.BOOK_STALE, Kind.DEPTH_SNAPSHOT):
                stream += 1
                refs.append(int(head["c"]))
        assert stream == frames
        assert len(set(refs)) == frames, "each has its frame in the raw log"
        assert kinds[Kind.BOOK_STALE] == len(self.stale)
        assert resident() - self.resident_before < MEMORY_BYTES
        return kinds


@pytest.fixture(params=["async", "spin"])
def transport(request):
    return request.param


@pytest.fixture
def wire(exchange):
    with FaultyWire("127.0.0.1", exchange.port) as wire:
        yield wire


@pytest.fixture
def client(transport, exchange, wire, tmp_path):
    """A client whose book is in use."""
    made = Client(transport, exchange, wire.port, tmp_path / "journal")
    try:
        made.more(200)
        made.resident_before = resident()
        yield made
    finally:
        made.stop()
        exchange.clock(paused=True)
