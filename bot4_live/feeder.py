"""The feeder: reads slow features from Feast's online store and hands them to the runner; a process of its own.

Feast is not imported (7 s, 365 MB): the store is SQLite, its keys and values are decoded here. Keys are Feast's
entity key serialization, version 3; values are `feast.types.Value` protobufs. A test on the platform's side compares
both with Feast itself. The TTL is enforced here, because Feast enforces none on read. Only changes are handed over.
"""

from __future__ import annotations

import argparse
import math
import os
import sqlite3
import struct
import sys
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from bot4_live.clock import MarketClock
from bot4_live.events import Kind, Source, float_bits, header_of, new_record, slots_of
from bot4_live.journal.ring import Ring
from bot4_live.settings import SLOW_FEATURES

PROJECT, VIEW, JOIN_KEY = "bot4", "slow_features", "market"
TABLE = f"{PROJECT}_{VIEW}"
RING_FILE = "feeder.ring"
RING_BYTES = 64 << 10
SECOND_NS = 1_000_000_000
_STRING = 2  # feast.types.ValueType.STRING
_DOUBLE, _FLOAT, _INT32, _INT64 = 5, 6, 3, 4  # field numbers of feast.types.Value


@dataclass(frozen=True)
class SlowValue:
    """One value of the store; times in ns of original exchange time (the store knows whole seconds)."""

    name: str
    value: float
    event_ns: int
    created_ns: int


def entity_key(market: str) -> bytes:
    """Return the store's key of `market` (`venue:SYMBOL`): Feast's serialization version 3 of one string entity."""
    name, value = JOIN_KEY.encode(), market.encode()
    return (
        struct.pack("<I", 1)
        + struct.pack("<II", _STRING, len(name))
        + name
        + struct.pack("<II", _STRING, len(value))
        + value
    )


def decode_value(data: bytes) -> float | None:
    """Return the number in a `feast.types.Value` protobuf; None for null or empty. Raises ValueError for others."""
    at, value = 0, None
    while at < len(data):
        tag, at = _varint(data, at)
        number, wire = tag >> 3, tag & 7
        if number == _DOUBLE and wire == 1:
            value, at = struct.unpack_from("<d", data, at)[0], at + 8
        elif number == _FLOAT and wire == 5:
            value, at = struct.unpack_from("<f", data, at)[0], at + 4
        elif number in (_INT32, _INT64) and wire == 0:
            raw, at = _varint(data, at)
            value = float(raw - (1 << 64) if raw >> 63 else raw)
        elif wire == 0:  # null_val
            _, at = _varint(data, at)
        else:
            raise ValueError(f"a value of another type than a number (field {number})")
    return value


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if at >= len(data) or shift > 63:
            raise ValueError("a protobuf that ends too soon")
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if not byte & 0x80:
            return value, at
        shift += 7


def stored_time_ns(stored: int | str | None) -> int:
    """Return a stored timestamp in ns, 0 for none.

    Feast writes naive UTC through `int(datetime.timestamp())`, which takes it for local time: so it is read back the
    same way.
    """
    if stored is None:
        return 0
    if isinstance(stored, str):
        moment = datetime.fromisoformat(stored)
    else:
        moment = datetime.fromtimestamp(stored)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return int(moment.timestamp()) * SECOND_NS


class OnlineStore:
    """The store, opened for reading when it exists; `read` gives the values of one market."""

    def __init__(self, path: Path, market: str) -> None:
        self.path = path
        self._key = entity_key(market)
        self._connection: sqlite3.Connection | None = None
        self._file = -1

    def read(self) -> list[SlowValue]:
        """Return what is stored now; empty while there is no store. Raises ValueError for a value that is no number."""
        try:
            file = self.path.stat().st_ino
        except FileNotFoundError:
            self.close()
            return []
        if file != self._file:
            self.close()  # another file under this name: the open one will never change again
        if self._connection is None:
            self._file = file
            self._connection = sqlite3.connect(f"file:{self.path}?mode=ro", uri=True, timeout=1.0)
        try:
            rows = self._connection.execute(
                f"SELECT feature_name, value, event_ts, created_ts FROM {TABLE} WHERE entity_key = ?",
                (self._key,),
            ).fetchall()
        except sqlite3.DatabaseError as error:
            self.close()  # the file may have been replaced
            if "no such table" in str(error) or "locked" in str(error):
                return []
            raise ValueError(f"{self.path} cannot be read ({error}); apply the feature store again") from error
        values = []
        for name, data, event, created in rows:
            number = decode_value(data)
            if number is not None and math.isfinite(number):
                event_ns = stored_time_ns(event)
                values.append(SlowValue(name, number, event_ns, stored_time_ns(created) or event_ns))
        return values

    def close(self) -> None:
        """Close it; the next read opens it again."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


class Feed:
    """Turns what the store holds into SLOW_FEATURE records: fresh ones, and only when they changed."""

    def __init__(self, ttl_s: float, shift_ns: int) -> None:
        """`shift_ns` is exchange time minus original time: records carry exchange time, as all events do."""
        self._ttl_ns = int(ttl_s * SECOND_NS)
        self._shift_ns = shift_ns
        self._ids = {name: number for number, name in SLOW_FEATURES.items()}
        self._last: dict[str, SlowValue] = {}
        self.expired = 0

    def changes(self, values: list[SlowValue], now_ns: int) -> list[tuple[SlowValue, np.ndarray]]:
        """Return (value, record) for each that changed, is known, and is not older than the TTL at `now_ns`."""
        found = []
        for value in sorted(values, key=lambda v: self._ids.get(v.name, -1)):
            if value.name not in self._ids or self._last.get(value.name) == value:
                continue
            if now_ns - (value.event_ns + self._shift_ns) > self._ttl_ns:
                self.expired += 1
                continue
            found.append((value, self._record(value)))
        return found

    def handed_over(self, value: SlowValue) -> None:
        """Note that the runner has it."""
        self._last[value.name] = value

    def _record(self, value: SlowValue) -> np.ndarray:
        record = new_record(Kind.SLOW_FEATURE, 1)
        head = header_of(record)
        head["source"] = Source.FEEDER
        head["a"], head["b"] = self._ids[value.name], value.created_ns + self._shift_ns
        slots_of(record)[0] = value.event_ns + self._shift_ns, float_bits(value.value)
        return record


def serve(store: OnlineStore, feed: Feed, ring: Ring, clock: MarketClock, poll_s: float, parent: int) -> None:
    """Poll until the parent is gone or the ring is closed."""
    complained = ""
    while os.getppid() == parent and not ring.closed:
        try:
            for value, record in feed.changes(store.read(), clock.now_ns()):
                if ring.push(record.tobytes()):
                    feed.handed_over(value)
            complained = ""
        except ValueError as error:
            if str(error) != complained:
                print(f"bot4 feeder: {error}", file=sys.stderr, flush=True)
                complained = str(error)
        time.sleep(poll_s)


def main(argv: list[str] | None = None) -> None:
    """Run the feeder; started by the runner, ends with it."""
    parser = argparse.ArgumentParser(prog="bot4 feeder", description="hand slow features to the runner")
    parser.add_argument("--store", type=Path, required=True)
    parser.add_argument("--ring", type=Path, required=True)
    parser.add_argument("--market", required=True)
    parser.add_argument("--poll-s", type=float, required=True)
    parser.add_argument("--ttl-s", type=float, required=True)
    parser.add_argument("--shift-ns", type=int, required=True)
    parser.add_argument("--start-market-ns", type=int, required=True)
    parser.add_argument("--start-mono-ns", type=int, required=True)
    parser.add_argument("--speed-milli", type=int, required=True)
    parser.add_argument("--parent", type=int, required=True)
    args = parser.parse_args(argv)
    clock = MarketClock(args.start_market_ns, args.start_mono_ns, args.speed_milli)
    ring = Ring(args.ring)
    store = OnlineStore(args.store, args.market)
    try:
        serve(store, Feed(args.ttl_s, args.shift_ns), ring, clock, args.poll_s, args.parent)
    finally:
        store.close()
        ring.unmap()


if __name__ == "__main__":
    main()
