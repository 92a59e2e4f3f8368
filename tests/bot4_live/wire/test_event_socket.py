"""Messages in the read callback, against real servers on loopback: `websockets`, TLS, and peers that misbehave."""

from __future__ import annotations

import asyncio
import socket

import numpy as np
import pytest
import uvloop
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus
from websockets.frames import Close, Frame, Opcode

from bot4_live.wire.event_socket import TURN, EventSocket

LIMIT = 1 << 22


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request):
    """Run a coroutine on either loop."""

    def in_loop(work):
        async def timed():
            async with asyncio.timeout(20):
                return await work

        factory = uvloop.new_event_loop if request.param == "uvloop" else asyncio.new_event_loop
        with asyncio.Runner(loop_factory=factory) as runner:
            return runner.run(timed())

    return in_loop


async def listen(port, take=None, *, path="", tls=None, then=None, **options):
    """Connect, take until the end; return (messages, the library's reason for the end)."""
    out: list[bytes] = []
    scheme = "ws" if tls is None else "wss"
    socket = await connect(
        f"{scheme}://127.0.0.1:{port}/{path}", create_connection=EventSocket, compression=None, proxy=None,
        close_timeout=1.0, **({} if tls is None else {"ssl": tls}),
    )  # fmt: skip
    assert isinstance(socket, EventSocket)
    socket.start(take or out.append, max_message=LIMIT, **options)
    try:
        if then is not None:
            await then(socket, out)
        await socket.ended()
    finally:
        await socket.close()
    return out, socket.protocol.close_exc


def accept(connection, more=b"", *, apart=0):
    """Do the server's half of the handshake; `more` leaves in the same bytes, the last `apart` in others."""
    from websockets.server import ServerProtocol

    server = ServerProtocol()
    while server.state == 0:
        server.receive_data(connection.recv(4096))
        for event in server.events_received():
            server.send_response(server.accept(event))
    data = b"".join(server.data_to_send()) + more
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.sendall(data[: len(data) - apart])
    if apart:
        connection.sendall(data[len(data) - apart :])


def encoded(payload, opcode=Opcode.TEXT, *, fin=True):
    return Frame(opcode, payload, fin=fin).serialize(mask=False)


CLOSED = encoded(Close(1000, "").serialize(), Opcode.CLOSE)


def received(connection):
    """Return opcode and payload, unmasked, of the frame that the client sends."""
    data = connection.recv(4096)
    key, payload = data[2:6], data[6:]
    return data[0] & 0x0F, bytes(b ^ key[i % 4] for i, b in enumerate(payload))


def test_messages_of_every_size(serving, run):
    random = np.random.default_rng(1)
    messages = [random.bytes(size) for size in (0, 1, 125, 126, 65_535, 65_536, 1_000_000, 3_000_000)]

    def handler(connection):
        for message in messages:
            connection.send(message)

    with serving(handler) as port:
        got, closed = run(listen(port))
    assert got == messages
    assert closed.rcvd.code == 1000


def test_over_tls(serving, tls, run):
    server, client = tls
    messages = [bytes([i % 251]) * (i * 37 % 70_000) for i in range(300)]

    def handler(connection):
        for message in messages:
            connection.send(message)

    with serving(handler, ssl=server) as port:
        assert run(listen(port, tls=client))[0] == messages


def test_fragments_and_pings_on_the_way(serving, run):
    answered = []

    def handler(connection):
        pongs = [connection.ping(b"one")]
        connection.send([b"first ", b"second ", b"third"])
        pongs.append(connection.ping(b"two"))
        connection.send("text")
        answered.append(all(pong.wait(5) for pong in pongs))
        connection.send(b"last")

    with serving(handler) as port:
        assert run(listen(port))[0] == [b"first second third", b"text", b"last"]
    assert answered == [True]


def test_a_ping_between_fragments_is_answered_at_once(script, run):
    seen = []

    def play(connection):
        accept(connection)
        connection.sendall(encoded(b"half", fin=False) + encoded(b"now", Opcode.PING))
        seen.append(received(connection))
        connection.sendall(encoded(b" and half", Opcode.CONT) + CLOSED)
        connection.recv(4096)

    assert run(listen(script(play)))[0] == [b"half and half"]
    assert seen == [(Opcode.PONG, b"now")]


def test_the_library_s_pings_are_answered(serving, run):
    async def ping(socket, out):
        waiting = await socket.ping()
        assert await waiting >= 0.0
        await socket.close()

    with serving(lambda c: c.recv(timeout=10)) as port:
        _, closed = run(listen(port, then=ping))
    assert closed.sent.code == 1000


@pytest.mark.parametrize("apart", [0, 1, 3, 20, 33, 60])
def test_messages_that_come_with_the_response(script, run, apart):
    def play(connection):
        accept(connection, encoded(b"early") + encoded(b"x" * 40) + encoded(b"bird"), apart=apart)
        connection.sendall(encoded(b"late") + CLOSED)
        connection.recv(4096)

    assert run(listen(script(play)))[0] == [b"early", b"x" * 40, b"bird", b"late"]


def test_a_response_byte_by_byte(script, run):
    def play(connection):
        from websockets.server import ServerProtocol

        server = ServerProtocol()
        server.receive_data(connection.recv(4096))
        server.send_response(server.accept(server.events_received()[0]))
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in b"".join(server.data_to_send()) + encoded(b"one") + encoded(b"two" * 100) + CLOSED:
            connection.send(bytes([byte]))
        connection.recv(4096)

    assert run(listen(script(play)))[0] == [b"one", b"two" * 100]


def test_a_refusal_is_the_library_s(script, run):
    def play(connection):
        connection.recv(4096)
        connection.sendall(b"HTTP/1.1 503 Busy\r\nContent-Length: 4\r\n\r\nwait")

    with pytest.raises(InvalidStatus) as refused:
        run(listen(script(play)))
    assert refused.value.response.body == b"wait"


@pytest.mark.parametrize(
    ("bytes_", "code"),
    [
        (b"\xc1\x00", 1002),  # a reserved bit
        (b"\x83\x00", 1002),  # a reserved opcode
        (encoded(b"going on", Opcode.CONT), 1002),  # with what was never begun
        (b"\x81\x85\0\0\0\0hello", 1002),  # masked
        (b"\x82\x7f" + (LIMIT + 1).to_bytes(8, "big"), 1009),
    ],
    ids=["reserved-bit", "reserved-opcode", "no-beginning", "masked", "too-large"],
)
def test_a_server_that_breaks_the_framing_is_told(script, run, bytes_, code):
    answers = []

    def play(connection):
        accept(connection)
        connection.sendall(encoded(b"good") + bytes_ + encoded(b"unheard"))
        answers.append(received(connection))  # and hang up

    got, closed = run(listen(script(play)))
    assert got == [b"good"]
    assert closed.sent.code == code
    assert answers[0][0] == Opcode.CLOSE
    assert int.from_bytes(answers[0][1][:2], "big") == code


def test_nothing_is_taken_after_a_close(script, run):
    def play(connection):
        accept(connection)
        connection.sendall(encoded(b"last") + CLOSED + encoded(b"unheard"))
        connection.recv(4096)

    got, closed = run(listen(script(play)))
    assert got == [b"last"]
    assert closed.rcvd.code == 1000


def test_what_the_taker_raises_ends_it(serving, run):
    taken = []

    def take(raw):
        taken.append(raw)
        if raw == b"2":
            raise OSError("the disk is full")

    def handler(connection):
        for i in range(5):
            connection.send(f"{i}")

    with serving(handler) as port, pytest.raises(OSError, match="the disk is full"):
        run(listen(port, take))
    assert taken == [b"0", b"1", b"2"]


def test_without_room_the_server_waits_and_nothing_is_lost(serving, run):
    """The server cannot send all: what the socket's buffers take is little of it."""
    count, size = 400, 100_000
    sent = []

    def handler(connection):
        for i in range(count):
            connection.send(i.to_bytes(4, "big") + bytes(size))
            sent.append(i)

    async def work(port):
        room = asyncio.Event()

        async def then(socket, out):
            before = -1
            while len(sent) != before:  # until the server is stuck
                before = len(sent)
                await asyncio.sleep(0.2)
            assert socket.waiting
            assert len(out) < 10
            assert len(sent) < count
            room.set()

        return await listen(port, room=room.is_set, then=then)

    with serving(handler) as port:
        got, _ = run(work(port))
    assert [int.from_bytes(message[:4], "big") for message in got] == list(range(count))


def test_other_tasks_have_their_turn_in_a_flood(script, run):
    """The server sends without end: a task beside it goes on, and is not put off by more than some messages."""

    def play(connection):
        accept(connection)
        flood = encoded(b"x" * 100) * 10_000
        while True:
            connection.sendall(flood)

    async def beside(socket, out):
        turns = []
        while len(out) < 100_000:
            turns.append(len(out))
            await asyncio.sleep(0)
        socket.transport.abort()
        longest = max(np.diff(turns))
        assert longest <= TURN + 2 * (1 << 20) // 100, f"{longest} messages in one turn"

    got, _ = run(listen(script(play), then=beside))
    assert len(got) >= 100_000


def test_after_runs_once_a_read(script, run):
    log = []

    def play(connection):
        accept(connection)
        connection.sendall(encoded(b"1") + encoded(b"2"))
        connection.recv(4096)

    async def then(socket, out):
        while len(log) < 3:
            await asyncio.sleep(0.001)
        await socket.send("thanks")
        await socket.close()

    run(listen(script(play), log.append, after=lambda: log.append("after"), then=then))
    assert log[:3] == [b"1", b"2", "after"]
