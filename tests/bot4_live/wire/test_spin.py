"""The polled socket against real servers on loopback: `websockets`, TLS, and peers that misbehave."""

from __future__ import annotations

import socket
import ssl
import struct
import threading
import time

import numpy as np
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.frames import Frame, Opcode
from websockets.sync.client import connect

from bot4_live.wire.framing import BINARY
from bot4_live.wire.handshake import HandshakeError
from bot4_live.wire.spin import SocketClosed, SpinSocket


def until_closed(wire, seconds=5.0):
    """Poll to the end; return (messages, close code)."""
    out, deadline = [], time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            out += [wire.framer.message(i) for i in range(wire.poll())]
        except SocketClosed as closed:
            return out, closed.code
    raise AssertionError("the wire did not end")


def until_broken(wire, seconds=5.0):
    """Poll until it raises."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        wire.poll()


def accept(connection):
    """Do the server's half of the handshake on a plain socket."""
    from websockets.server import ServerProtocol

    server = ServerProtocol()
    while not server.handshake_exc and server.state == 0:
        server.receive_data(connection.recv(4096))
        for event in server.events_received():
            server.send_response(server.accept(event))
    connection.sendall(b"".join(server.data_to_send()))


def test_messages_of_every_size_both_ways(serving, collect):
    sizes = [0, 1, 125, 126, 65_535, 65_536, 1_000_000, 3_000_000]
    random = np.random.default_rng(1)
    messages = [random.bytes(size) for size in sizes]

    def echo(connection):
        for message in connection:
            connection.send(message)

    with serving(echo, max_size=None) as port, SpinSocket.connect(f"ws://127.0.0.1:{port}/") as wire:
        for message in messages:
            wire.send(message, BINARY)
            assert collect(wire, 1) == [message]
    assert wire.closed


def test_fragments_and_pings_on_the_way(serving, collect):
    answered = []

    def handler(connection):
        pongs = [connection.ping(b"one")]
        connection.send([b"first ", b"second ", b"third"])
        pongs.append(connection.ping(b"two"))
        connection.send("text")
        answered.append(all(pong.wait(5) for pong in pongs))
        connection.send(b"last")
        connection.recv()

    with serving(handler) as port, SpinSocket.connect(f"ws://127.0.0.1:{port}/") as wire:
        assert collect(wire, 3) == [b"first second third", b"text", b"last"]
        assert wire.pings == 2
    assert answered == [True]


def test_a_ping_is_answered_by_the_server(serving):
    with serving(lambda c: c.recv()) as port, SpinSocket.connect(f"ws://127.0.0.1:{port}/") as wire:
        wire.ping(b"are you there")
        deadline = time.monotonic() + 5
        while wire.pongs == 0:
            assert wire.poll() == 0
            assert time.monotonic() < deadline
        with pytest.raises(ValueError, match="125"):
            wire.ping(bytes(126))


def test_no_compression_is_offered(serving, collect):
    offered = []

    def handler(connection):
        offered.append(connection.request.headers.get("Sec-WebSocket-Extensions"))
        connection.send("a" * 1000)

    with serving(handler, compression="deflate") as port, SpinSocket.connect(f"ws://127.0.0.1:{port}/") as wire:
        assert collect(wire, 1) == [b"a" * 1000]
    assert offered == [None]


@pytest.mark.parametrize(("code", "reason"), [(1000, ""), (1001, "going away"), (4001, "käse")])
def test_the_server_closes(serving, code, reason):
    closed = []

    def handler(connection):
        connection.send("last words")
        connection.close(code, reason)
        closed.append(connection.protocol.close_rcvd.code)

    with serving(handler) as port:
        wire = SpinSocket.connect(f"ws://127.0.0.1:{port}/")
        assert until_closed(wire) == ([b"last words"], code)
        with pytest.raises(SocketClosed, match=reason or "closed"):
            wire.poll()
        with pytest.raises(SocketClosed):
            wire.send(b"more")
        wire.close()
    assert closed == [code]


def test_we_close(serving):
    seen = []

    def handler(connection):
        try:
            connection.recv()
        except ConnectionClosed as error:
            seen.append(error.rcvd.code)

    with serving(handler) as port:
        wire = SpinSocket.connect(f"ws://127.0.0.1:{port}/")
        wire.close(1001)
        assert wire.closed
    assert seen == [1001]


BAD = {
    "reserved bit": (b"\xc1\x01x", 1002),
    "masked": (b"\x81\x81abcdx", 1002),
    "too big": (b"\x81\x7f" + (2_000_000).to_bytes(8, "big"), 1009),
    "close of one byte": (b"\x88\x01x", 1002),
    "close with a code that must not travel": (b"\x88\x02\x03\xee", 1002),
    "close with a reason that is no text": (b"\x88\x04\x03\xe8\xff\xfe", 1007),
}


@pytest.mark.parametrize(("tail", "code"), BAD.values(), ids=BAD)
def test_a_server_that_breaks_the_rules_is_told_and_left(script, tail, code):
    told = []

    def play(connection):
        accept(connection)
        connection.sendall(Frame(Opcode.TEXT, b"good").serialize(mask=False) + tail)
        received = b""
        while data := connection.recv(100):
            received += data
        head, mask, payload = received[:2], received[2:6], received[6:]
        assert head == b"\x88\x82"
        told.append(int.from_bytes(bytes(p ^ m for p, m in zip(payload, mask, strict=False)), "big"))

    wire = SpinSocket.connect(f"ws://127.0.0.1:{script(play)}/", max_message=1_000_000)
    assert until_closed(wire) == ([b"good"], code)
    deadline = time.monotonic() + 5
    while not told and time.monotonic() < deadline:
        time.sleep(0.01)
    assert told == [code]


def test_frames_that_come_with_the_handshake_are_not_lost(script):
    def play(connection):
        frames = b"".join(Frame(Opcode.TEXT, b"%d" % i).serialize(mask=False) for i in range(50))
        send = connection.sendall

        class Together:
            recv = connection.recv

            @staticmethod
            def sendall(data):
                send(data + frames)

        accept(Together)

    wire = SpinSocket.connect(f"ws://127.0.0.1:{script(play)}/")
    assert until_closed(wire) == ([b"%d" % i for i in range(50)], 1006)


def test_a_connection_that_breaks_ends_with_1006(script):
    def play(connection):
        accept(connection)
        connection.sendall(Frame(Opcode.TEXT, b"whole").serialize(mask=False) + b"\x81\x05hal")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x00" * 8)

    wire = SpinSocket.connect(f"ws://127.0.0.1:{script(play)}/")
    assert until_closed(wire) == ([b"whole"], 1006)


def test_a_connection_that_is_reset_says_so(script):
    gone = threading.Event()

    def play(connection):
        accept(connection)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()
        gone.set()

    wire = SpinSocket.connect(f"ws://127.0.0.1:{script(play)}/")
    assert gone.wait(5)
    with pytest.raises(SocketClosed, match=r"the connection broke: .*reset by peer"):
        until_broken(wire)
    assert wire.closed


def test_a_silent_server_never_holds_us_up(script):
    release = threading.Event()

    def play(connection):
        accept(connection)
        release.wait(10)

    wire = SpinSocket.connect(f"ws://127.0.0.1:{script(play)}/")
    began, heard = time.monotonic(), wire.heard
    for _ in range(1000):
        assert wire.poll() == 0
    assert time.monotonic() - began < 2
    assert wire.heard == heard < time.monotonic()
    wire.close(timeout_s=0.1)  # nobody answers the close either
    assert wire.closed
    release.set()


def test_a_server_that_does_not_read_is_left(script):
    release = threading.Event()

    def play(connection):
        accept(connection)
        release.wait(10)

    wire = SpinSocket.connect(f"ws://127.0.0.1:{script(play)}/")
    with pytest.raises(SocketClosed, match="does not read"):
        all(wire.send(bytes(100_000)) is None for _ in range(2000))
    release.set()


@pytest.mark.parametrize("when", ["at once", "after the request", "never"])
def test_a_server_that_does_not_shake_hands(script, when):
    release = threading.Event()

    def play(connection):
        if when == "after the request":
            connection.recv(4096)
        elif when == "never":
            release.wait(10)

    port = script(play)
    began = time.monotonic()
    expected = TimeoutError if when == "never" else OSError
    with pytest.raises(expected):
        SpinSocket.connect(f"ws://127.0.0.1:{port}/", timeout_s=0.3)
    assert time.monotonic() - began < 2
    release.set()


def test_a_refusal_says_what_came(script):
    def play(connection):
        connection.recv(4096)
        connection.sendall(b"HTTP/1.1 429 Too Many Requests\r\n\r\n")

    with pytest.raises(HandshakeError, match="429 Too Many"):
        SpinSocket.connect(f"ws://127.0.0.1:{script(play)}/")


def test_proxies_of_the_environment_are_not_used(serving, monkeypatch):
    for name in ("http_proxy", "https_proxy", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    with serving(lambda c: c.recv()) as port, SpinSocket.connect(f"ws://127.0.0.1:{port}/") as wire:
        assert not wire.closed


def test_tls(serving, collect, tls):
    server, client = tls
    messages = [b"small", bytes(100_000), b"x" * 2_000_000]

    def handler(connection):
        connection.ping(b"p")
        for message in messages:
            connection.send(message)
        assert connection.recv() == b"thanks"
        connection.close(1000, "done")

    with serving(handler, ssl=server) as port:
        wire = SpinSocket.connect(f"wss://127.0.0.1:{port}/", context=client)
        assert wire.poll() >= 0
        assert collect(wire, 3) == messages
        assert wire.pings == 1
        wire.send(b"thanks", BINARY)
        assert until_closed(wire) == ([], 1000)


def test_tls_checks_who_answers(serving, tls):
    server, client = tls
    with serving(lambda c: None, ssl=server) as port:
        with pytest.raises(ssl.SSLCertVerificationError):
            SpinSocket.connect(f"wss://127.0.0.1:{port}/")
        with pytest.raises(ssl.SSLCertVerificationError):
            SpinSocket.connect(f"wss://localhost:{port}/", context=client)
        with pytest.raises(OSError, match=r"."):
            SpinSocket.connect(f"ws://127.0.0.1:{port}/", timeout_s=1)


def test_the_same_server_serves_websockets(serving):
    """The fixture is a real server: the library's own client talks to it as well."""
    with serving(lambda c: c.send("hello")) as port, connect(f"ws://127.0.0.1:{port}/", proxy=None) as other:
        assert other.recv() == "hello"
