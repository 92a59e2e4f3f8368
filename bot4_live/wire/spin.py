"""A WebSocket client that is polled: no event loop, no sleeping, no Python object for a message.

`poll()` asks the socket once and returns how many messages came; the caller takes them from the buffer before it polls
again. Waking a sleeping thread costs more than everything else on the way from the wire to a decision, so a
`spin` feed has a core of its own and asks all the time. Pings are answered, and a close is, on the way.
"""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import time
from collections.abc import Mapping

import numpy as np

from bot4_live.kernels import address as address_of
from bot4_live.kernels import entry_point
from bot4_live.wire.framing import (
    CLOSE,
    CONTROL,
    FULL,
    MORE,
    PING,
    PONG,
    PROTOCOL_ERROR,
    TEXT,
    TOO_BIG,
    Framer,
    frame,
)
from bot4_live.wire.handshake import Address, HandshakeError, check_response, new_key, request
from bot4_live.wire.receive import HUNG_UP, LOWEST_ERRNO, NOTHING, receive_at, waits_at

MAX_MESSAGE = 16 << 20
MAX_UNSENT = 1 << 20
TRIES = 8  # how often one poll asks the kernel
NORMAL, NO_STATUS, ABNORMAL, BAD_PROTOCOL, BAD_DATA = 1000, 1005, 1006, 1002, 1007
# Codes of section 7.4.1 that may travel, with those of the IANA registry; 3000 to 4999 are free for use.
_CODES = frozenset({1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014})
_WHY = {PROTOCOL_ERROR: "the server broke the framing", TOO_BIG: "a message is larger than the limit"}
_WAIT = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


class SocketClosed(ConnectionError):
    """The connection has ended. `code` is the close code, 1006 when there was no close frame."""

    def __init__(self, code: int, reason: str) -> None:
        """Keep both."""
        super().__init__(f"{reason or 'closed'} (close code {code})")
        self.code, self.reason = code, reason


class SpinSocket:
    """One open connection.

    >>> wire = SpinSocket.connect("ws://127.0.0.1:9000/stream")
    >>> while True:
    ...     for i in range(wire.poll()):
    ...         view = wire.buffer[wire.starts[i] : wire.starts[i] + wire.sizes[i]]
    """

    def __init__(self, raw: socket.socket, *, max_message: int = MAX_MESSAGE, early: bytes = b"") -> None:
        """Take over a socket on which the handshake is done; `early` are bytes that came with the response."""
        self.framer = Framer(max_message)
        self.buffer, self.starts, self.sizes = self.framer.buffer, self.framer.starts, self.framer.sizes
        self.heard = time.monotonic()  # when bytes last came
        self.pings = self.pongs = 0
        self._raw = raw
        raw.setblocking(False)
        self._receive, self._waits = entry_point(receive_at), entry_point(waits_at)
        self._descriptor = raw.fileno()
        self._tls = isinstance(raw, ssl.SSLSocket)
        self._byte = np.zeros(1, np.uint8)
        self._byte_at = address_of(self._byte)
        self._drained = False  # TLS holds no whole record back
        self._unsent = bytearray()
        self._state = MORE
        self._delivered = False
        self._closing = False
        self._closed: tuple[int, str] | None = None  # no exception: its traceback would keep us and the buffer alive
        self._early = early

    @classmethod
    def connect(
        cls,
        url: str,
        *,
        timeout_s: float = 10.0,
        context: ssl.SSLContext | None = None,
        headers: Mapping[str, str] | None = None,
        max_message: int = MAX_MESSAGE,
        receive_buffer: int = 0,
    ) -> SpinSocket:
        """Open a connection; proxies of the environment are not used. `receive_buffer` sets SO_RCVBUF where it is > 0.

        Raises OSError (TimeoutError, ssl.SSLError, HandshakeError are some) when it cannot be opened in time, and
        ValueError for a URL that is none.
        """
        address = Address.parse(url)
        deadline = time.monotonic() + timeout_s
        raw = socket.create_connection((address.host, address.port), timeout_s)
        try:
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if receive_buffer > 0:
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
            if address.secure:
                raw.settimeout(_left(deadline))
                secure = context or ssl.create_default_context()
                raw = secure.wrap_socket(raw, server_hostname=address.host)
            key = new_key()
            raw.settimeout(_left(deadline))
            raw.sendall(request(address, key, headers))
            data, begin = b"", 0
            while not begin:
                raw.settimeout(_left(deadline))
                more = raw.recv(4096)
                if not more:
                    raise HandshakeError("the server hung up during the handshake")
                data += more
                begin = check_response(data, key)
            return cls(raw, max_message=max_message, early=data[begin:])
        except BaseException:
            raw.close()
            raise

    @property
    def closed(self) -> bool:
        """Return whether the connection has ended."""
        return self._closed is not None

    def fileno(self) -> int:
        """Return the file descriptor, for `select` where nobody spins."""
        return self._raw.fileno()

    def poll(self) -> int:
        """Receive without waiting; return how many messages came. Those of the last poll are void then.

        Raises SocketClosed once everything that came before the end was delivered.
        """
        framer = self.framer
        if self._delivered:
            framer.clear()
            self._delivered = False
        if self._state == FULL:  # more messages are there already
            return self._take(framer.scan(0))
        if self._closed is not None:
            raise SocketClosed(*self._closed)
        if self._unsent:
            self._flush()
        if self._early:
            return self._take_early()
        if self._tls:
            return self._poll_tls()
        state = self._receive(framer.address, self._descriptor, TRIES)
        if state == NOTHING:
            return 0
        if state == HUNG_UP:
            return self._end(ABNORMAL, "the server hung up")
        if LOWEST_ERRNO < state < 0:
            return self._end(ABNORMAL, f"the connection broke: {OSError(-state, os.strerror(-state))}")
        self.heard = time.monotonic()
        return self._take(state)

    def _poll_tls(self) -> int:
        """Ask Python's ssl, which is slow to say no, only when there is something."""
        if self._drained and not self._waits(self._descriptor, self._byte_at, TRIES):
            return 0
        try:
            received = self._raw.recv_into(self.framer.free)
        except ssl.SSLWantReadError:
            self._drained = True
            return 0
        except _WAIT:
            return 0
        except OSError as error:
            return self._end(ABNORMAL, f"the connection broke: {error}")
        if received == 0:
            return self._end(ABNORMAL, "the server hung up")
        self._drained = False
        self.heard = time.monotonic()
        return self._take(self.framer.scan(received))

    def _take_early(self) -> int:
        room = len(self.framer.free)
        early, self._early = self._early[:room], self._early[room:]
        self.framer.free[: len(early)] = early
        return self._take(self.framer.scan(len(early)))

    def _take(self, state: int) -> int:
        """Go on from what a scan has found: answer control frames, and return the number of messages."""
        framer = self.framer
        while state == CONTROL:
            self._control(*framer.control)
            if self._closed is not None:
                state = MORE
                break
            state = framer.scan(0)
        if state < 0:
            self._fail(-state, _WHY[state])
            state = MORE
        self._state = state
        self._delivered = True
        return framer.count

    def _control(self, opcode: int, payload: bytes) -> None:
        if opcode == PING:
            self.pings += 1
            self._send(PONG, payload)
        elif opcode == PONG:
            self.pongs += 1
        else:
            self._close_received(payload)

    def _close_received(self, payload: bytes) -> None:
        """Echo the code (5.5.1), or say what is wrong with the close frame, and end."""
        if not payload:
            code, reason, answer = NO_STATUS, "", b""
        else:
            code, answer = int.from_bytes(payload[:2], "big"), payload[:2]
            if len(payload) == 1 or (code not in _CODES and not 3000 <= code < 5000):
                self._fail(BAD_PROTOCOL, "the server sent a broken close frame")
                return
            try:
                reason = payload[2:].decode()
            except UnicodeDecodeError:
                self._fail(BAD_DATA, "the server's reason to close is not UTF-8")
                return
        if not self._closing:
            self._send(CLOSE, answer)
        self._end(code, reason)

    def _fail(self, code: int, why: str) -> None:
        """Tell the server what is wrong, and end (7.1.7)."""
        if not self._closing:
            self._send(CLOSE, code.to_bytes(2, "big"))
        self._end(code, why)

    def _end(self, code: int, reason: str) -> int:
        """Remember why, and hang up; what is unsent is lost. Returns 0, or raises when no message waits."""
        if self._closed is None:
            self._closed = (code, reason)
            self._hang_up()
        if self.framer.count == 0:
            raise SocketClosed(*self._closed)
        return 0

    def _send(self, opcode: int, payload: bytes) -> None:
        self._unsent += frame(opcode, payload, os.urandom(4))
        self._flush()

    def _flush(self) -> None:
        """Send what the kernel takes now; the rest follows at the next poll."""
        try:
            while self._unsent:
                del self._unsent[: self._raw.send(self._unsent)]
        except _WAIT:
            if len(self._unsent) > MAX_UNSENT:
                self._end(ABNORMAL, f"the server does not read: {len(self._unsent):,} bytes wait to be sent")
        except OSError:
            self._unsent.clear()  # the connection is broken; receiving gives what came before and then says so

    def send(self, payload: bytes, opcode: int = TEXT) -> None:
        """Send one message in one frame; never waits. Raises SocketClosed when the connection has ended."""
        if self._closed is not None:
            raise SocketClosed(*self._closed)
        self._send(opcode, payload)

    def ping(self, payload: bytes = b"") -> None:
        """Send a ping; `pongs` counts the answers. Raises ValueError above 125 bytes."""
        if len(payload) > 125:
            raise ValueError("a ping carries at most 125 bytes")
        self.send(payload, PING)

    def close(self, code: int = NORMAL, *, timeout_s: float = 1.0) -> None:
        """Close properly: send a close frame, wait for the server's, hang up. Messages that still come are lost."""
        if self._closed is None:
            with contextlib.suppress(SocketClosed):
                self._send(CLOSE, code.to_bytes(2, "big"))
                self._closing = True
                deadline = time.monotonic() + timeout_s
                while time.monotonic() < deadline:
                    if self.poll() == 0:
                        time.sleep(0.0005)
        self.abort()

    def abort(self) -> None:
        """Hang up at once."""
        if self._closed is None:
            self._closed = (ABNORMAL, "hung up here")
            self._hang_up()

    def _hang_up(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            if isinstance(self._raw, ssl.SSLSocket):
                self._raw.unwrap()  # says goodbye in TLS and does not wait for the answer
        with contextlib.suppress(OSError):
            self._raw.shutdown(socket.SHUT_WR)
        self._raw.close()

    def __enter__(self) -> SpinSocket:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _left(deadline: float) -> float:
    """Return the seconds left, for a timeout. Raises TimeoutError when none are."""
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError("the connection could not be opened in time")
    return left
