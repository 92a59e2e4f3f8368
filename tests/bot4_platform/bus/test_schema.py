"""What is on the topics: every kind has its place, messages only grow, bytes that are none are refused."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings, strategies

from bot4_live.events import Field, Kind, float_bits, header_of, new_record, note, slots_of, value_slot
from bot4_platform.bus.envelope import VERSION, BadMessage, Envelope, Marks, decode, encode
from bot4_platform.bus.schema import KINDS, TITLES, UNPUBLISHED, Topic, topic_of
from bot4_platform.bus.view import view

DOC = Path(__file__).resolve().parents[3] / "docs" / "bus.md"
FIELDS = tuple(field.name for field in msgspec.structs.fields(Envelope))


def envelope(record: Any, *, market: str = "binance_usdm:BTCUSDT", shift_ns: int = 0, index: int = 0) -> Envelope:
    from google_crc32c import value as crc32c

    head = header_of(record)
    head["crc"] = crc32c(record.tobytes()[8:])
    return Envelope(
        VERSION, "test", "s1", market, shift_ns, int(head["seq"]), index, int(head["kind"]), record.tobytes()
    )


def test_every_kind_has_a_topic_or_a_reason_to_have_none() -> None:
    assert set(KINDS) | UNPUBLISHED == {kind.value for kind in Kind}
    assert {shape.topic for shape in KINDS.values()} == set(Topic) == set(TITLES)
    assert [topic.value for topic in Topic] == ["MarketData", "Signals", "Orders", "Fills", "Risk", "System"]
    assert topic_of(Kind.TICK) is None


def test_no_number_of_a_record_hides_one_of_its_place() -> None:
    place = set(view(envelope(new_record(250)))) - {"a", "b", "c", "slots"}
    for kind, shape in KINDS.items():
        names = [*shape[1:4], *(name for pair in shape.pairs for name in pair)]
        assert not place & set(filter(None, names)), Kind(kind).name


def test_the_schema_only_grows(golden: Callable[[str, Any], None]) -> None:
    golden(
        "bus.json",
        {
            "version": VERSION,
            "envelope": FIELDS,
            "kinds": {Kind(kind).name: [shape.topic, *shape[1:]] for kind, shape in KINDS.items()},
        },
    )


class Yesterday(msgspec.Struct, array_like=True):
    """A reader that knows the fields of the first version alone."""

    version: int
    account: str
    session: str
    market: str
    shift_ns: int
    seq: int
    index: int
    kind: int
    record: bytes


class Tomorrow(Envelope, array_like=True, frozen=True):
    """A writer with a field more."""

    trace: str = ""


def test_old_readers_read_new_messages_and_new_readers_old_ones() -> None:
    now = envelope(new_record(Kind.TRADE, 1))
    later = Tomorrow(*msgspec.structs.astuple(now), trace="abc")
    assert decode(msgspec.msgpack.encode(later)) == now
    old = msgspec.msgpack.decode(encode(now), type=Yesterday)
    assert (old.seq, old.record) == (now.seq, now.record)
    assert decode(msgspec.msgpack.encode(old)) == now


def test_a_kind_from_the_future_is_read_by_its_letters() -> None:
    made = new_record(250, 2)
    header_of(made)["a"], slots_of(made)[1, 0] = 11, 12
    assert topic_of(250) == Topic.SYSTEM
    seen = view(decode(encode(envelope(made))))
    assert (seen["kind"], seen["a"], seen["slots"]) == ("250", 11, [(0, 0), (12, 0)])


def test_views_name_every_number() -> None:
    trade = new_record(Kind.TRADE, 1)
    head = header_of(trade)
    head["seq"], head["a"], head["c"], head["exch_ns"], head["flags"] = 5, 77, -1, 1_000, 1
    slots_of(trade)[0] = (557_000, 12)
    seen = view(envelope(trade, shift_ns=300))
    assert (seen["topic"], seen["key"], seen["kind"]) == ("MarketData", "binance_usdm:BTCUSDT", "TRADE")
    assert (seen["trade_id"], seen["price"], seen["qty"], seen["flags"]) == (77, 557_000, 12, ["sell"])
    assert seen["exch_ns"] == 700

    diff = new_record(Kind.DEPTH_DIFF, 4)
    slots_of(diff)[:] = [(9, 2), (100, 1), (99, 2), (101, 3)]
    seen = view(envelope(diff))
    assert (seen["previous_id"], seen["bids"], seen["asks"]) == (9, [(100, 1), (99, 2)], [(101, 3)])

    funding = new_record(Kind.FUNDING, 2)
    slots_of(funding)[:] = [value_slot(Field.FUNDING_RATE, "0.00010000"), value_slot(Field.MARK_PRICE, "55700.1")]
    seen = view(envelope(funding))
    assert (seen["funding_rate"], seen["mark_price"]) == ("0.00010000", "55700.1")

    params = new_record(Kind.PARAMS, 1)
    slots_of(params)[0] = (0, float_bits(0.25))
    seen = view(envelope(params))
    assert (seen["params"], seen["key"]) == ({"gamma": 0.25}, "test")
    assert view(envelope(note("watch out")))["text"] == "watch out"
    slow = new_record(Kind.SLOW_FEATURE, 1)
    slots_of(slow)[0] = (123, float_bits(4e-5))
    assert view(envelope(slow))["value"] == 4e-5


@pytest.mark.parametrize(
    ("break_it", "says"),
    [
        (lambda e: b"<html>", "no message"),
        (lambda e: b"", "no message"),
        (lambda e: encode(e)[:-9], "no message"),
        (lambda e: encode(msgspec.structs.replace(e, record=e.record[:40])), "40 bytes"),
        (lambda e: encode(msgspec.structs.replace(e, record=e.record[:-1] + b"x")), "checksum"),
        (lambda e: encode(msgspec.structs.replace(e, seq=9)), "another record"),
        (lambda e: encode(msgspec.structs.replace(e, record=e.record[:10] + b"\x63" + e.record[11:])), "schema 99"),
    ],
)
def test_what_is_no_message_says_why(break_it: Callable[[Envelope], bytes], says: str) -> None:
    with pytest.raises(BadMessage, match=says):
        decode(break_it(envelope(new_record(Kind.TRADE, 1))))


def test_a_body_that_is_not_its_kinds_is_bad_too() -> None:
    funding = new_record(Kind.FUNDING, 1)
    slots_of(funding)[0] = (2**62, 2**62)
    with pytest.raises(BadMessage, match="FUNDING"):
        view(envelope(funding))


@settings(max_examples=60, deadline=None)
@given(strategies.binary(max_size=200))
def test_any_bytes_are_a_message_or_refused(data: bytes) -> None:
    try:
        decode(data)
    except BadMessage:
        return


@settings(max_examples=60, deadline=None)
@given(strategies.lists(strategies.tuples(strategies.integers(0, 30), strategies.integers(0, 2)), max_size=60))
def test_marks_take_each_place_once_and_never_go_back(places: list[tuple[int, int]]) -> None:
    class At(msgspec.Struct):
        account: str
        key: str
        seq: int
        index: int

    marks, kept = Marks(), [At("a", "k", seq, index) for seq, index in places]
    taken = [(at.index > 0, at.seq, at.index) for at in kept if marks.take("t", at)]
    for stream in (False, True):
        mine = [place[1:] for place in taken if place[0] == stream]
        assert mine == sorted(set(mine))


def test_the_document_says_what_the_code_says() -> None:
    text = DOC.read_text()
    for topic, title in TITLES.items():
        kinds = ", ".join(Kind(kind).name for kind, shape in KINDS.items() if shape.topic == topic)
        assert f"| {topic} | {title} | {kinds} |" in text
    assert [name for name in re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE) if name in FIELDS] == list(FIELDS)
