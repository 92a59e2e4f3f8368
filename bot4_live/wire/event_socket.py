"""A connection of the `websockets` library whose messages are taken in the event loop's read callback.

The library shakes hands, pings, answers and closes. In between, the compiled framing finds the data messages, and each
goes to its taker at once: in the library it would cross a parser in Python, a queue, and the waking of a task. Control
frames go to the library as they came, each after the messages before it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from enum import Enum, auto
from typing import Any

from websockets.asyncio.client import ClientConnection
from websockets.protocol import OPEN

from bot4_live.wire.framing import CLOSE, CONTROL, FULL, TOO_BIG, Framer

ROOM_S = 0.002  # how often a taker without room is asked again
FULL_READ = 64 << 10  # bytes: a read this long says that more waits in the socket
TURN = 1024  # messages of such reads, after which timers and other tasks have their turn
_END = b"\r\n\r\n"


class _Phase(Enum):
    OPENING = auto()  # the handshake's response is the library's
    OPEN = auto()  # what comes is kept until somebody takes it
    TAKING = auto()
    CLOSING = auto()  # what comes is the library's, which drops it
    FAILED = auto()


class EventSocket(ClientConnection):
    """Made by `connect(url, create_connection=EventSocket, compression=None)`; the limit of a message is `start`'s.

    Nothing is taken before `start`, and `recv` is not for use. What the taker raises ends the connection, and `ended`.

    >>> socket.start(take, max_message=1 << 20)
    >>> await socket.ended()
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        """Prepare; the library calls this."""
        super().__init__(*arguments, **options)
        self.waiting = False  # for room: the socket is not read
        self._phase = _Phase.OPENING
        self._failure: Exception | None = None
        self._head = b""  # the end of what came of the response
        self._held = bytearray()  # what came while nothing could be taken
        self._turn_began = 0  # with so many messages
        self._in_turn = False
        self._leaving = False  # we close: nobody waits for room

    def start(
        self,
        take: Callable[[bytes], None],
        *,
        max_message: int,
        after: Callable[[], None] = lambda: None,
        room: Callable[[], bool] = lambda: True,
    ) -> None:
        """Take messages from now on. `after` runs after those of one read; while there is no `room` nothing is read."""
        self._take, self._after, self._room = take, after, room
        self._framer = Framer(max_message)
        self._phase = _Phase.TAKING
        self._go_on()

    async def ended(self) -> None:
        """Wait until the connection is closed and all that came was taken. Raises what the taker raised."""
        await self.wait_closed()
        while self.waiting and self._failure is None:
            await asyncio.sleep(ROOM_S)
        if self._failure is not None:
            raise self._failure

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """Close from our side. What waits for room then is dropped: there may never be any."""
        self._leaving = True
        await super().close(code, reason)

    def data_received(self, data: bytes) -> None:
        """Take bytes as they come; the event loop calls this."""
        if self._phase is _Phase.TAKING and not self.waiting:
            self._feed(data)
        elif self._phase is _Phase.OPENING:
            self._respond(data)
        elif self._phase is _Phase.CLOSING:
            super().data_received(data)
        elif self._phase is not _Phase.FAILED:
            self._held += data

    def _respond(self, data: bytes) -> None:
        """Give the library the handshake's response; what follows it is kept, unless it refuses."""
        found = (self._head + data).find(_END)
        cut = len(data) if found < 0 else found + len(_END) - len(self._head)
        self._head = (self._head + data)[1 - len(_END) :]
        super().data_received(data[:cut])
        if self.protocol.state is OPEN:
            self._phase = _Phase.OPEN
            self._held += data[cut:]
            self._read(False)
        elif data[cut:]:
            super().data_received(data[cut:])

    def _read(self, on: bool) -> None:
        if self.transport.is_closing():
            return
        if on:
            self.transport.resume_reading()
        else:
            self.transport.pause_reading()

    def _go_on(self) -> None:
        """Take what was held and read on, as soon as there is room."""
        self.waiting = self._phase is _Phase.TAKING and not self._room()
        if self.waiting and self._leaving:
            self.waiting, self._phase = False, _Phase.CLOSING
        if self.waiting:
            self.loop.call_later(ROOM_S, self._go_on)
            return
        held, self._held = bytes(self._held), bytearray()
        if held and self._phase is _Phase.TAKING:
            self._feed(held)
        if not self.waiting:
            self._read(True)

    def _feed(self, data: bytes) -> None:
        free, size = self._framer.free, len(data)
        try:
            if size <= len(free):
                free[:size] = data
                self._deliver(size)
            else:
                self._feed_parts(memoryview(data))
            self._after()
        except Exception as error:  # neither library nor loop knows what to do with it: `ended` raises it
            self._failure, self._phase = error, _Phase.FAILED
            self.transport.abort()
            return
        if size >= FULL_READ:
            self._count_turn()
        if not self._room():
            self._read(False)
            self._go_on()

    def _feed_parts(self, data: memoryview) -> None:
        while len(data) and self._phase is _Phase.TAKING:
            free = self._framer.free
            part = data[: len(free)]
            free[: len(part)] = part
            data = data[len(part) :]
            self._deliver(len(part))

    def _deliver(self, received: int) -> None:
        """Give the taker the messages that are whole, and the library the control frames between them."""
        framer, take, given = self._framer, self._take, 0
        state = framer.scan(received)
        while True:
            for i in range(given, framer.count):
                take(framer.message(i))
            given = framer.count
            if state == CONTROL:
                opcode, payload = framer.control
                if opcode == CLOSE:
                    self._phase = _Phase.CLOSING
                super().data_received(bytes((0x80 | opcode, len(payload))) + payload)
                if opcode == CLOSE:
                    return
            elif state == FULL:
                framer.clear()
                given = 0
            elif state < 0:
                self._refuse(-state)
                return
            else:
                framer.clear()
                return
            state = framer.scan(0)

    def _refuse(self, code: int) -> None:
        """Tell the server what is wrong, and end (RFC 6455, 7.1.7). It has as long to hang up as in a proper close."""
        self._phase = _Phase.CLOSING
        self.protocol.fail(code, "a message is too large" if code == -TOO_BIG else "the framing is broken")
        super().data_received(b"")  # sends the close frame
        self.loop.call_later(self.close_timeout or 0.0, self.transport.abort)

    def _count_turn(self) -> None:
        """Let other tasks of the loop have their turn while the socket gives more than can be taken."""
        if not self._in_turn:
            self._in_turn, self._turn_began = True, self._framer.messages
            self.loop.call_soon(self._end_turn)
        elif self._framer.messages - self._turn_began >= TURN:
            self._read(False)

    def _end_turn(self) -> None:
        self._in_turn = False
        if not self.waiting:
            self._read(True)
