"""A faulty wire: a proxy on loopback between any WebSocket client and any server, which mistreats chosen frames.

Every fault is real for both ends: bytes do not come, come twice or late, the peer is gone without a FIN, a port
refuses. Frames are counted, so that a test can say what reached the client. It runs in a thread with an event loop of
its own; clients may be asyncio, threads, or polled. What is no WebSocket (REST) passes through as it is; TLS does not.

>>> with FaultyWire("127.0.0.1", exchange_port) as wire:
...     wire.commit(Fault("drop", match=b'"e":"depthUpdate"', after=100))
...     connect(f"ws://127.0.0.1:{wire.port}/stream")
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from websockets.frames import Opcode

What = Literal["drop", "duplicate", "reorder", "delay", "half_open", "silence", "hang_up", "reset"]
_CHUNK = 1 << 16
_PINGS = (Opcode.PING, Opcode.PONG)
_T = TypeVar("_T")


@dataclass
class Fault:
    """What happens to frames towards the client that contain `match`: `after` of them pass, then `times` are hit.

    drop: lost. duplicate: comes `frames` times more. reorder: comes after `frames` later ones. delay: it and all behind
    it wait `seconds`. half_open: the peer vanishes, nothing comes or is taken any more and no FIN says so. silence:
    data stops, pings are answered. hang_up: FIN instead of the frame. reset: RST instead of the frame.
    """

    what: What
    match: bytes = b""
    after: int = 0
    times: int = 1
    frames: int = 1
    seconds: float = 0.0
    hits: int = 0

    def meets(self, frame: bytes) -> bool:
        """Return whether this frame is hit, counting it."""
        if self.hits >= self.times or self.match not in frame:
            return False
        if self.after > 0:
            self.after -= 1
            return False
        self.hits += 1
        return True


class FaultyWire:
    """The proxy; a context manager. Counters may be read from any thread."""

    def __init__(self, host: str, port: int) -> None:
        """Name the server."""
        self._target = (host, port)
        self.port = 0
        self.connections = 0
        self.seen = 0  # data frames that the server sent
        self.delivered = 0  # data frames handed to the client's socket, copies included
        self.faults: list[Fault] = []
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="bot4-faulty-wire")
        self._server: asyncio.Server | None = None
        self._open: set[_Connection] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    def __enter__(self) -> FaultyWire:
        """Listen."""
        self._thread.start()
        self._call(self._listen())
        return self

    def __exit__(self, *_: object) -> None:
        """Hang up everywhere and end the thread."""
        self._call(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def commit(self, *faults: Fault) -> None:
        """Begin these faults; each frame meets the first that hits it."""
        self._loop.call_soon_threadsafe(self.faults.extend, faults)

    def refuse(self, refusing: bool = True) -> None:
        """Refuse new connections (the port is closed), or take them again on the same port."""
        self._call(self._refuse() if refusing else self._listen())

    def cut(self, *, reset: bool = False) -> int:
        """End every open connection at once by FIN or RST; return how many there were."""
        return self._call(self._cut(reset))

    def _call(self, work: Coroutine[Any, Any, _T]) -> _T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    async def _listen(self) -> None:
        if self._server is None:
            self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
            self.port = self._server.sockets[0].getsockname()[1]

    async def _refuse(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None

    async def _cut(self, reset: bool) -> int:
        ended = list(self._open)
        for connection in ended:
            connection.end(reset=reset)
        return len(ended)

    async def _close(self) -> None:
        await self._refuse()
        await self._cut(False)
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.sleep(0)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        try:
            upstream = await asyncio.open_connection(*self._target)
        except OSError:
            _abort(writer)
            return
        self.connections += 1
        connection = _Connection(self, reader, writer, *upstream)
        self._open.add(connection)
        try:
            await connection.run()
        finally:
            self._open.discard(connection)


class _Connection:
    """One client and its connection to the server."""

    def __init__(
        self,
        wire: FaultyWire,
        client_reader: asyncio.StreamReader,
        client: asyncio.StreamWriter,
        server_reader: asyncio.StreamReader,
        server: asyncio.StreamWriter,
    ) -> None:
        self._wire = wire
        self._client_reader, self._client = client_reader, client
        self._server_reader, self._server = server_reader, server
        self._held: list[list[Any]] = []  # [frames still to pass, frame]
        self._silent = self._vanished = False

    async def run(self) -> None:
        """Carry bytes both ways until an end hangs up or is hung up."""
        up = asyncio.create_task(self._carry(self._client_reader, self._server))
        down = asyncio.create_task(self._down())
        try:
            await asyncio.wait({up, down}, return_when=asyncio.FIRST_COMPLETED)
            while self._vanished and not self._client.transport.is_closing():
                await asyncio.sleep(0.01)
        finally:
            for task in (up, down):
                task.cancel()
            await asyncio.gather(up, down, return_exceptions=True)
            self.end()

    def end(self, *, reset: bool = False) -> None:
        """End both sides."""
        self._vanished = False
        if reset:
            _abort(self._client)
        else:
            self._client.close()
        self._server.close()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(_CHUNK):
                if self._vanished:
                    await asyncio.Event().wait()  # nobody is there to take it
                writer.write(data)
                await writer.drain()

    async def _down(self) -> None:
        """Carry the server's bytes: the response as it is, then frame by frame."""
        reader, client = self._server_reader, self._client
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            client.write(head)
            if b" 101 " not in head.split(b"\r\n", 1)[0]:
                await self._carry(reader, client)
                return
            while True:
                frame, opcode = await _read_frame(reader)
                if opcode in _PINGS:
                    client.write(frame)
                elif opcode == Opcode.CLOSE:  # a close ends the data: what was held back goes before it
                    self._release(all_of_it=True)
                    client.write(frame)
                elif not await self._data(frame):
                    return
                await client.drain()

    async def _data(self, frame: bytes) -> bool:
        """Pass one data frame on, or not; return False when the connection is over."""
        wire = self._wire
        wire.seen += 1
        what, fault = next(((f.what, f) for f in wire.faults if f.meets(frame)), ("", None))
        if what == "half_open":
            self._vanished = True
            self._server.close()
            return False
        if what in ("hang_up", "reset"):
            self.end(reset=what == "reset")
            return False
        self._silent = self._silent or what == "silence"
        if self._silent or what == "drop":
            return True
        if what == "delay" and fault is not None:
            await asyncio.sleep(fault.seconds)
        if what == "reorder" and fault is not None:
            self._held.append([fault.frames, frame])
            return True
        self._send(frame)
        if what == "duplicate" and fault is not None:
            for _ in range(fault.frames):
                self._send(frame)
        self._release()
        return True

    def _release(self, *, all_of_it: bool = False) -> None:
        for entry in self._held:
            entry[0] -= 1
        due = [frame for left, frame in self._held if left <= 0 or all_of_it]
        self._held = [entry for entry in self._held if entry[0] > 0 and not all_of_it]
        for frame in due:
            self._send(frame)

    def _send(self, frame: bytes) -> None:
        self._wire.delivered += 1
        self._client.write(frame)


def _abort(writer: asyncio.StreamWriter) -> None:
    """Hang up by RST: what is unsent is lost, as when a middlebox forgets a connection."""
    raw = writer.get_extra_info("socket")
    if raw is not None:
        with contextlib.suppress(OSError):
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def _read_frame(reader: asyncio.StreamReader) -> tuple[bytes, int]:
    """Read one frame of a server (unmasked); return its bytes and its opcode."""
    head = await reader.readexactly(2)
    size = head[1] & 0x7F
    if size > 125:
        more = await reader.readexactly(2 if size == 126 else 8)
        head += more
        size = int.from_bytes(more, "big")
    return head + await reader.readexactly(size), head[0] & 0x0F
