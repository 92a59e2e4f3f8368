"""Framing against the `websockets` library's sans-I/O protocol, on streams that it made itself."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.protocol import SERVER, State
from websockets.server import ServerProtocol
from websockets.uri import parse_uri

from bot4_live.wire.framing import (
    BINARY,
    CLOSE,
    CONTROL,
    FULL,
    MORE,
    PING,
    PONG,
    PROTOCOL_ERROR,
    SLACK,
    TEXT,
    TOO_BIG,
    Framer,
    frame,
)

LIMIT = 70_000


class Reader:
    """Drives a framer as the socket does, and keeps what it gives."""

    def __init__(self, limit=LIMIT, count=4096):
        self.framer = Framer(limit, count)
        self.messages, self.controls, self.error, self.closed = [], [], 0, False

    def feed(self, data):
        while data and not self.error and not self.closed:
            self.framer.clear()
            part, data = data[: len(self.framer.free)], data[len(self.framer.free) :]
            assert part
            self.framer.free[: len(part)] = part
            self.scan(len(part))
        return self

    def scan(self, received):
        framer = self.framer
        state = framer.scan(received)
        while True:
            if state == CONTROL:
                self.controls.append((len(self.messages) + framer.count, *framer.control))
                self.closed = framer.control[0] == CLOSE
            if state != CONTROL or self.closed:
                for i in range(framer.count):
                    at, size = int(framer.starts[i]), int(framer.sizes[i])
                    assert 0 <= at <= at + size < len(framer.buffer)
                    self.messages.append((int(framer.opcodes[i]), framer.message(i)))
                self.error = min(state, 0)
                if state != FULL:
                    return
                framer.clear()
            state = framer.scan(0)


class Reference:
    """The same through `websockets`' client protocol."""

    def __init__(self, limit=LIMIT):
        self.protocol = ClientProtocol(parse_uri("ws://x/"), state=State.OPEN, max_size=limit)
        self.messages, self.controls, self.open, self.at = [], [], None, 0

    def feed(self, data):
        self.protocol.receive_data(data)
        for event in self.protocol.events_received():
            if event.opcode in (Opcode.PING, Opcode.PONG, Opcode.CLOSE):
                self.controls.append((len(self.messages), int(event.opcode), bytes(event.data)))
                continue
            if event.opcode is not Opcode.CONT:
                self.open = (int(event.opcode), b"")
            self.open = (self.open[0], self.open[1] + bytes(event.data))
            if event.fin:
                self.messages.append(self.open)
        return self

    @property
    def error(self):
        error = self.protocol.parser_exc
        return 0 if error is None else -int(self.protocol.close_sent.code)


def server_frame(opcode, payload, fin=True):
    return Frame(Opcode(opcode), payload, fin).serialize(mask=False)


CONTROLS = st.tuples(st.sampled_from([PING, PONG]), st.binary(max_size=125))
SIZES = st.one_of(
    st.integers(0, 12), st.sampled_from([125, 126, 127, 128, 65_535, 65_536, LIMIT]), st.integers(0, 9000)
)


@st.composite
def streams(draw):
    """Frames of whole messages: in pieces, with control frames between any two."""
    out = []
    for _ in range(draw(st.integers(0, 6))):
        payload = draw(st.randoms(use_true_random=False)).randbytes(draw(SIZES))
        cuts = sorted(draw(st.lists(st.integers(0, len(payload)), max_size=4)))
        bounds = [0, *cuts, len(payload)]
        opcode = draw(st.sampled_from([TEXT, BINARY]))
        for i in range(len(bounds) - 1):
            final = i == len(bounds) - 2
            out.append(server_frame(opcode if i == 0 else 0, payload[bounds[i] : bounds[i + 1]], final))
            out += [server_frame(*c) for c in draw(st.lists(CONTROLS, max_size=2))]
    return out


@settings(max_examples=150, deadline=None)
@given(frames=streams(), data=st.data())
def test_any_stream_in_any_pieces_is_read_as_websockets_reads_it(frames, data):
    stream = b"".join(frames)
    ours, theirs = Reader(count=data.draw(st.sampled_from([1, 2, 4096]))), Reference()
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        ours.feed(stream[a:b])
        theirs.feed(stream[a:b])
        assert ours.messages == theirs.messages
        assert ours.controls == theirs.controls
    assert ours.error == theirs.error == 0
    assert ours.framer.messages == len(theirs.messages)


@settings(max_examples=100, deadline=None)
@given(frames=streams())
def test_byte_by_byte_nothing_changes(frames):
    stream = b"".join(frames)[:3000]
    whole, drip = Reader().feed(stream), Reader()
    for i in range(len(stream)):
        drip.feed(stream[i : i + 1])
    assert (drip.messages, drip.controls) == (whole.messages, whole.controls)


@settings(max_examples=300, deadline=None)
@given(noise=st.binary(max_size=300), frames=streams())
@example(noise=b"\x81\x7f\xff\xff\xff\xff\xff\xff\xff\xff", frames=[])
@example(noise=b"\x81\x7e\x00\x01x", frames=[])  # longer length than needed: both take it
def test_noise_is_refused_where_websockets_refuses_it(noise, frames):
    """What came before the first wrong frame is delivered, on both sides. Ours refuses some frames before they end."""
    stream = b"".join(frames)[:5000] + noise
    ours, theirs = Reader().feed(stream), Reference().feed(stream)
    assert ours.messages == theirs.messages
    if ours.closed:
        assert theirs.controls in (ours.controls, ours.controls[:-1])  # theirs leaves out a close frame that is broken
        return
    assert ours.controls == theirs.controls
    if theirs.error:
        assert ours.error in (theirs.error, PROTOCOL_ERROR)  # a frame can be too big and wrong in another way


HEAD = server_frame(TEXT, b"before")
BROKEN = {
    "reserved bit": (b"\xc1\x01x", PROTOCOL_ERROR),
    "reserved opcode": (b"\x83\x01x", PROTOCOL_ERROR),
    "reserved control opcode": (b"\x8b\x00", PROTOCOL_ERROR),
    "masked": (b"\x81\x81abcdx", PROTOCOL_ERROR),
    "long ping": (b"\x89\x7e\x00\x7e" + bytes(126), PROTOCOL_ERROR),
    "fragmented ping": (b"\x09\x00", PROTOCOL_ERROR),
    "continuation of nothing": (b"\x80\x01x", PROTOCOL_ERROR),
    "message within a message": (b"\x01\x01a\x81\x01b", PROTOCOL_ERROR),
    "too big": (b"\x81\x7f" + (LIMIT + 1).to_bytes(8, "big"), TOO_BIG),
    "larger than any": (b"\x81\x7f" + b"\xff" * 8, TOO_BIG),
    "too big in pieces": (server_frame(TEXT, bytes(LIMIT), False) + b"\x00\x01", TOO_BIG),
}


@pytest.mark.parametrize(("tail", "code"), BROKEN.values(), ids=BROKEN)
def test_a_broken_frame_has_the_right_code_and_costs_nothing_before_it(tail, code):
    ours, theirs = Reader().feed(HEAD + tail + bytes(200)), Reference().feed(HEAD + tail + bytes(200))
    assert ours.messages == theirs.messages == [(TEXT, b"before")]
    assert ours.error == theirs.error == code
    assert ours.framer.scan(0) == code  # and it stays


def test_a_message_is_delivered_where_it_lies():
    framer = Framer(1000)
    stream = server_frame(TEXT, b"abc") + server_frame(BINARY, b"defg")
    framer.free[: len(stream)] = stream
    assert framer.scan(len(stream)) == MORE
    assert framer.count == 2
    assert framer.starts[:2].tolist() == [2, 7]
    assert framer.sizes[:2].tolist() == [3, 4]
    assert framer.opcodes[:2].tolist() == [TEXT, BINARY]
    assert framer.buffer[:11].tobytes() == stream


def test_the_largest_message_fits_wherever_it_begins():
    """A buffer that is nearly full moves what is open to its beginning, also the parts of a message."""
    limit = 200_000
    ours, theirs = Reader(limit), Reference(limit)
    small = server_frame(TEXT, bytes(1000))
    big = np.random.default_rng(1).bytes(limit)
    pieces = [server_frame(BINARY, big[:90_000], False), server_frame(PING, b"!"), server_frame(0, big[90_000:], True)]
    stream = small * 150 + b"".join(pieces) + small * 200 + server_frame(TEXT, big)
    for at in range(0, len(stream), 7_001):
        ours.feed(stream[at : at + 7_001])
        theirs.feed(stream[at : at + 7_001])
    assert ours.messages == theirs.messages
    assert len(ours.messages) == 352
    assert ours.controls == theirs.controls
    assert ours.framer.buffer[limit + SLACK] == 0  # the end that parsers rely on


def test_full_columns_are_continued():
    stream = b"".join(server_frame(TEXT, bytes([65 + i])) for i in range(10))
    framer = Framer(1000, max_count=4)
    framer.free[: len(stream)] = stream
    answers, got = [framer.scan(len(stream))], []
    while True:
        got += [framer.message(i) for i in range(framer.count)]
        if answers[-1] != FULL:
            break
        framer.clear()
        answers.append(framer.scan(0))
    assert answers == [FULL, FULL, MORE]
    assert b"".join(got) == b"ABCDEFGHIJ"


@given(
    payload=st.binary(max_size=400) | st.sampled_from([bytes(65_535), bytes(65_536), b"z" * 70_000]),
    key=st.binary(min_size=4, max_size=4),
    opcode=st.sampled_from([TEXT, BINARY]),
)
@settings(max_examples=100, deadline=None)
def test_a_server_reads_the_frames_that_are_sent(payload, key, opcode):
    server = ServerProtocol(state=State.OPEN)
    assert server.side is SERVER
    server.receive_data(frame(opcode, payload, key))
    (received,) = server.events_received()
    assert (received.opcode, bytes(received.data), received.fin) == (opcode, payload, True)


def test_limits_are_checked():
    with pytest.raises(ValueError, match="at least one message"):
        Framer(0)
    with pytest.raises(ValueError, match="at least one message"):
        Framer(1, 0)
