"""Journals that a test appends to while they are followed, and a broker that speaks Kafka's protocol."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from bot4_live.events import Kind, Source, header_of, new_record, slots_of
from bot4_live.journal.layout import SegmentHeader
from bot4_live.journal.local import LocalJournal
from bot4_live.settings import Settings

MARKETS = ("binance_usdm:BTCUSDT", "binance_usdm:ETHUSDT", "okx:SOLUSDT")
START_NS = 1_723_161_600 * 10**9
SHIFT_NS = 5 * 10**9


def record(kind: int, seq: int, *, market: int = 0, index: int = 0, slots: int = 1) -> np.ndarray:
    """Return a record whose numbers say which it is."""
    made = new_record(kind, slots)
    head = header_of(made)
    head["seq"], head["instrument"], head["source"] = seq, market, Source.MARKET_STREAM
    head["recv_ns"], head["exch_ns"] = START_NS + seq * 1000, START_NS + seq * 1000 - 7
    head["a"], head["b"], head["c"] = seq * 10, seq * 10 + 1, index
    slots_of(made)[:] = (seq, seq + 1)
    return made


class Log:
    """A journal that is written in this process: trades of three markets, orders, fills, ticks, late commands."""

    def __init__(self, settings: Settings, *, session: str = "s1", first_seq: int = 1, segment_bytes: int = 1 << 16):
        header = SegmentHeader(
            account=settings.account, session=session, first_seq=first_seq, market=MARKETS[0], shift_ns=SHIFT_NS,
            speed_milli=1000, start_market_ns=START_NS, start_mono_ns=0, order_epoch=1, source_hash="0" * 64,
            lock_hash="0" * 64, cpu="test", schema=1,
            instruments=[{"id": i, "market": market} for i, market in enumerate(MARKETS)],
        )  # fmt: skip
        self.journal = LocalJournal(settings.journal_dir, header, segment_bytes=segment_bytes)
        self.next_seq = first_seq
        self.made: list[tuple[int, int, int]] = []  # (kind, seq, index) of what belongs on the bus, in log order

    def add(self, kind: int, market: int = 0, slots: int = 1) -> int:
        """Append one event; return its seq."""
        seq = self.next_seq
        self.journal.append(record(kind, seq, market=market, slots=slots))
        self.next_seq += 1
        if kind != Kind.TICK:
            self.made.append((kind, seq, 0))
        return seq

    def command(self, seq: int, index: int) -> None:
        """Append a command that event `seq` caused."""
        self.journal.append(record(Kind.CMD_NEW, seq, index=index))
        self.made.append((Kind.CMD_NEW, seq, 1 + index))

    def fill(self, events: int) -> None:
        """Append a mixture; commands come three events behind their cause."""
        for _ in range(events):
            seq = self.next_seq
            kind = (Kind.TRADE, Kind.TICK, Kind.ORDER_ACCEPTED, Kind.TRADE, Kind.ORDER_FILL, Kind.TRADE)[seq % 6]
            self.add(kind, market=seq // 2 % 3 if kind == Kind.TRADE else 0, slots=2)
            if seq % 7 == 0 and seq > 3:
                self.command(seq - 3, 0)
                self.command(seq - 3, 1)
        self.flush()

    def flush(self) -> None:
        """Let the followers see it."""
        self.journal._writer.flush()

    def close(self) -> None:
        """Seal."""
        self.journal.close()


@pytest.fixture
def log(settings: Settings) -> Iterator[Log]:
    """The account's journal, open."""
    made = Log(settings)
    yield made
    made.close()


BROKER = """
import sys
from confluent_kafka import Producer
cluster = Producer({"test.mock.num.brokers": 1, "log_level": 0})
brokers = cluster.list_topics(timeout=20).brokers
print(next(f"{b.host}:{b.port}" for b in brokers.values()), flush=True)
sys.stdin.read()
"""


class Broker:
    """librdkafka's mock broker in a process of its own: it can be stopped, and let go on."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", BROKER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            text=True,
        )  # fmt: skip
        assert self.process.stdout is not None
        self.address = self.process.stdout.readline().strip()
        assert self.address, "the mock broker did not start"

    def close(self) -> None:
        """End it, also when it is stopped."""
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def broker() -> Iterator[Broker]:
    """A broker of this test alone."""
    started = Broker()
    yield started
    started.close()


@pytest.fixture
def bus_state(tmp_path: Path) -> Callable[[str], Path]:
    """Return what gives a place to keep a bridge's place in."""
    folder = tmp_path / "bus"
    folder.mkdir()
    return lambda name: folder / f"{name}.json"
