"""The feeder: our codec on a store made as Feast makes it, TTL, only changes, across a real process."""

from __future__ import annotations

import os
import sqlite3
import struct
import subprocess
import sys
import time
from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot4_live.clock import MarketClock
from bot4_live.events import Kind, Source, bits_float, header_of, slots_of
from bot4_live.feeder import (
    RING_BYTES,
    TABLE,
    Feed,
    OnlineStore,
    SlowValue,
    decode_value,
    entity_key,
    stored_time_ns,
)
from bot4_live.journal.ring import Ring

MARKET = "binance_usdm:BTCUSDT"
SECOND = 1_000_000_000
NOON = 1_723_118_400 * SECOND
# feast.infra.key_encoding_utils.serialize_entity_key, version 3, of {"market": "binance_usdm:BTCUSDT"}
KEY = (
    "01000000" "02000000" "06000000" "6d61726b6574" "02000000" "14000000" "62696e616e63655f7573646d3a42544355534454"
)  # fmt: skip


def encoded(value):
    """A double as feast.types.Value: field 5, fixed 64 bits."""
    return b"\x29" + struct.pack("<d", value)


class Store:
    """An online store with the table that Feast's SQLite store creates."""

    def __init__(self, path):
        self.connection = sqlite3.connect(path)
        self.connection.execute(
            f"CREATE TABLE {TABLE} (entity_key BLOB, feature_name TEXT, value BLOB, value_text TEXT, "
            "vector_value BLOB, event_ts timestamp, created_ts timestamp, PRIMARY KEY(entity_key, feature_name))"
        )

    def put(self, name, data, event_s, created_s=None):
        self.connection.execute(
            f"INSERT OR REPLACE INTO {TABLE} (entity_key, feature_name, value, event_ts, created_ts) "
            "VALUES (?,?,?,?,?)",
            (bytes.fromhex(KEY), name, data, event_s, created_s),
        )
        self.connection.commit()


@pytest.fixture
def store(tmp_path):
    made = Store(tmp_path / "online.db")
    yield made
    made.connection.close()


def test_entity_key_is_feasts():
    assert entity_key(MARKET).hex() == KEY


@given(st.floats(allow_nan=False))
def test_doubles_are_decoded_exactly(value):
    assert decode_value(encoded(value)) == value


def test_other_numbers_and_nulls():
    assert decode_value(b"") is None
    assert decode_value(b"\x98\x01\x00") is None  # null_val, field 19
    assert decode_value(b"\x35" + struct.pack("<f", 0.5)) == 0.5
    assert decode_value(b"\x20\x2a") == 42.0
    assert decode_value(b"\x20" + b"\xff" * 9 + b"\x01") == -1.0
    with pytest.raises(ValueError, match="another type"):
        decode_value(b"\x12\x01a")
    with pytest.raises(ValueError, match="too soon"):
        decode_value(b"\x20\xff")


@pytest.mark.parametrize("zone", ["UTC", "America/New_York"])
def test_times_are_read_as_feast_wrote_them(zone, monkeypatch):
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        naive_utc = datetime.fromtimestamp(NOON // SECOND, UTC).replace(tzinfo=None)
        assert stored_time_ns(int(naive_utc.timestamp())) == NOON  # int(datetime.timestamp()) is Feast's adapter
        assert stored_time_ns(naive_utc.isoformat()) == NOON
        assert stored_time_ns(None) == 0
    finally:
        monkeypatch.undo()
        time.tzset()


def test_reading_a_store(store, tmp_path):
    store.put("garch_sigma", encoded(4.2e-5), NOON // SECOND, NOON // SECOND + 60)
    store.put("intensity_k", b"", NOON // SECOND)
    store.put("intensity_a", encoded(float("nan")), NOON // SECOND)
    reader = OnlineStore(tmp_path / "online.db", MARKET)
    assert reader.read() == [SlowValue("garch_sigma", 4.2e-5, NOON, NOON + 60 * SECOND)]
    reader.close()
    assert OnlineStore(tmp_path / "online.db", "binance_usdm:ETHUSDT").read() == []
    assert OnlineStore(tmp_path / "nowhere.db", MARKET).read() == []


def test_a_store_that_was_replaced_is_read_anew(store, tmp_path):
    reader = OnlineStore(tmp_path / "online.db", MARKET)
    store.put("garch_sigma", encoded(1e-4), NOON // SECOND)
    assert [value.value for value in reader.read()] == [1e-4]
    other = Store(tmp_path / "other.db")
    other.put("garch_sigma", encoded(3e-4), NOON // SECOND)
    other.connection.close()
    (tmp_path / "other.db").replace(tmp_path / "online.db")
    assert [value.value for value in reader.read()] == [3e-4]
    (tmp_path / "online.db").unlink()
    assert reader.read() == []


def test_a_store_without_the_table_is_empty_and_a_file_that_is_none_is_an_error(tmp_path):
    sqlite3.connect(tmp_path / "empty.db").close()
    assert OnlineStore(tmp_path / "empty.db", MARKET).read() == []
    (tmp_path / "broken.db").write_bytes(b"not a database" * 100)
    with pytest.raises(ValueError, match=r"broken.db cannot be read .* apply the feature store"):
        OnlineStore(tmp_path / "broken.db", MARKET).read()


def test_only_changes_within_their_ttl_are_handed_over_in_exchange_time():
    feed = Feed(ttl_s=100.0, shift_ns=7 * SECOND)
    fresh = SlowValue("intensity_a", 1.5, NOON, NOON + SECOND)
    old = SlowValue("intensity_k", 2.0, NOON - 95 * SECOND, NOON)
    unknown = SlowValue("something_else", 1.0, NOON, NOON)
    now = NOON + 7 * SECOND + 10 * SECOND
    ((value, record),) = feed.changes([fresh, old, unknown], now)
    assert value == fresh
    head, slots = header_of(record), slots_of(record)
    assert (head["kind"], head["source"], head["a"]) == (Kind.SLOW_FEATURE, Source.FEEDER, 1)
    assert head["b"] == NOON + 8 * SECOND
    assert slots[0, 0] == NOON + 7 * SECOND
    assert bits_float(int(slots[0, 1])) == 1.5
    assert feed.expired == 1
    assert len(feed.changes([fresh], now)) == 1, "what was not taken is offered again"
    feed.handed_over(fresh)
    assert feed.changes([fresh], now) == []
    corrected = SlowValue("intensity_a", 1.6, NOON, NOON + SECOND)
    assert len(feed.changes([corrected], now)) == 1


def test_the_process_hands_over_and_ends_with_its_parent(store, tmp_path):
    store.put("garch_sigma", encoded(1e-4), NOON // SECOND)
    ring = Ring.create(tmp_path / "feeder.ring", RING_BYTES)
    clock = MarketClock(NOON + 5 * SECOND, time.monotonic_ns())
    command = [
        sys.executable, "-m", "bot4_live.feeder", "--store", str(tmp_path / "online.db"), "--ring", str(ring.path),
        "--market", MARKET, "--poll-s", "0.05", "--ttl-s", "3600", "--shift-ns", "0", "--speed-milli", "1000",
        "--start-market-ns", str(clock.start_market_ns), "--start-mono-ns", str(clock.start_mono_ns),
        "--parent", str(os.getpid()),
    ]  # fmt: skip
    process = subprocess.Popen(command)
    try:
        assert _next_value(ring) == (0, 1e-4)
        store.put("garch_sigma", encoded(2e-4), NOON // SECOND + 1)
        assert _next_value(ring) == (0, 2e-4)
        time.sleep(0.2)
        assert ring.pop() is None
        ring.close_producer()
        assert process.wait(10) == 0
    finally:
        process.kill()
        process.wait()
        ring.unmap()


def _next_value(ring):
    deadline = time.monotonic() + 20
    while (payload := ring.pop()) is None:
        assert time.monotonic() < deadline, "the feeder handed nothing over"
        time.sleep(0.01)
    record = np.frombuffer(payload, np.uint8)
    return int(header_of(record)["a"]), bits_float(int(slots_of(record)[0, 1]))


def test_the_feeder_imports_little():
    text = "import bot4_live.feeder, sys; print(sorted({'feast', 'numba', 'pandas', 'aiohttp'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, check=True)
    assert done.stdout.strip() == b"[]"
