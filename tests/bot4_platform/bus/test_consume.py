"""Consumers: the effect before the offset, each message once in the files, poison put aside, a full disk not."""

from __future__ import annotations

import base64
import errno
import json
import os
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from google_crc32c import value as crc32c

from bot4_live.events import Kind, header_of, new_record
from bot4_platform.bus.consume import Quarantine, Taken, follow, take_once
from bot4_platform.bus.envelope import VERSION, Envelope, encode
from bot4_platform.bus.files import JsonFiles
from bot4_platform.bus.memory import MemoryBus
from bot4_platform.bus.transport import Message


def message(seq: int, kind: int = Kind.ORDER_FILL, index: int = 0) -> Message:
    record = new_record(kind, 2)
    head = header_of(record)
    head["seq"] = seq
    head["crc"] = crc32c(record.tobytes()[8:])
    found = Envelope(VERSION, "test", "s1", "", 0, seq, index, kind, record.tobytes())
    return Message("Fills", "test", encode(found))


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for path in sorted(folder.glob("*.jsonl")) for line in path.read_text().splitlines()]


@pytest.fixture
def quarantine(tmp_path: Path) -> Quarantine:
    return Quarantine(tmp_path / "bus" / "quarantine.jsonl")


def test_redelivered_messages_have_no_second_effect(tmp_path: Path, quarantine: Quarantine) -> None:
    chance, bus, taken = random.Random(5), MemoryBus(), Taken()
    sink, source = JsonFiles(tmp_path / "out"), bus.follow("g", ["Fills"])
    sent = [message(seq) for seq in range(1, 200)]
    at = 0
    while at < len(sent):  # a publisher that goes back now and then, as one does after kill -9
        bus.send(sent[at : at + 20], lambda: None)
        at = max(0, at + 20 - chance.choice((0, 0, 7, 15)))
        take_once(source, sink, quarantine, taken, 0)
        if chance.random() < 0.3:  # the member dies after the effect, before it commits: another takes over
            source.at = dict.fromkeys(source.at, 0) | {place: bus._logs[place].first for place in source.at}
            sink.close()
    assert [line["seq"] for line in lines(tmp_path / "out")] == list(range(1, 200))
    assert taken.known > 0
    assert taken.applied == 199


def test_poison_is_put_aside_and_the_rest_goes_on(tmp_path: Path, quarantine: Quarantine) -> None:
    bus, sink = MemoryBus(), JsonFiles(tmp_path / "out")
    source = bus.follow("g", ["Fills"])
    html = Message("Fills", "test", b"<html>502</html>")
    unreadable = new_record(Kind.FUNDING, 1)
    unreadable[64:] = 0x7F
    header_of(unreadable)["seq"] = 3
    header_of(unreadable)["crc"] = crc32c(unreadable.tobytes()[8:])
    garbled = Envelope(VERSION, "test", "s1", "", 0, 3, 0, Kind.FUNDING, unreadable.tobytes())
    bus.send([message(1), html, message(2), Message("Fills", "test", encode(garbled)), message(4)], lambda: None)
    found = follow(source, sink, quarantine, lambda taken: taken.received >= 5)
    assert [line["seq"] for line in lines(tmp_path / "out")] == [1, 2, 4]
    assert (found.applied, found.quarantined) == (3, 2)
    aside = [json.loads(line) for line in quarantine.path.read_text().splitlines()]
    assert base64.b64decode(aside[0]["raw"]) == b"<html>502</html>"
    assert "no message of the bus" in aside[0]["reason"]
    assert "FUNDING 3" in aside[1]["reason"]
    assert all({"topic", "partition", "offset", "key", "first_seen_ns", "bytes"} <= line.keys() for line in aside)
    assert not bus.follow("g", ["Fills"]).poll(10, 0), "poison is committed: it does not come again"


def test_a_sink_that_cannot_write_commits_nothing(
    tmp_path: Path, quarantine: Quarantine, monkeypatch: pytest.MonkeyPatch
) -> None:
    bus, sink = MemoryBus(), JsonFiles(tmp_path / "out")
    source = bus.follow("g", ["Fills"])
    bus.send([message(1)], lambda: None)
    take_once(source, sink, quarantine, Taken(), 0)
    bus.send([message(2), message(3)], lambda: None)
    whole = os.pwrite

    def full(fd: int, data: bytes, offset: int) -> int:
        whole(fd, data[:10], offset)
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "pwrite", full)
        with pytest.raises(OSError, match="No space"):
            follow(source, sink, quarantine, lambda taken: False)
    assert [line["seq"] for line in lines(tmp_path / "out")] == [1], "the file is as it was"
    again = bus.follow("g", ["Fills"])
    take_once(again, sink, quarantine, Taken(), 0)
    assert [line["seq"] for line in lines(tmp_path / "out")] == [1, 2, 3]
    assert not quarantine.path.exists()


def test_a_line_that_a_killed_writer_did_not_finish_is_written_again(tmp_path: Path) -> None:
    def take(sink: JsonFiles, seqs: Sequence[int]) -> int:
        return sink.take("Fills", 0, [msgspec.msgpack.decode(message(seq).value, type=Envelope) for seq in seqs])

    first = JsonFiles(tmp_path)
    take(first, range(1, 6))
    path = tmp_path / "Fills-0.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole[:-30])
    second = JsonFiles(tmp_path)
    assert take(second, range(3, 8)) == 3
    assert [line["seq"] for line in lines(tmp_path)] == [1, 2, 3, 4, 5, 6, 7]
    # Who was thought dead comes back: it reads on what the other wrote, and passes over it.
    assert take(first, range(4, 9)) == 1
    assert take(second, range(8, 10)) == 1
    assert [line["seq"] for line in lines(tmp_path)] == list(range(1, 10))
    path.write_text('{"not": "ours"}\n')
    with pytest.raises(OSError, match="none of the bus's"):
        take(JsonFiles(tmp_path), [1])
