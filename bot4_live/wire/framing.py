"""WebSocket framing of a client (RFC 6455, section 5), compiled: messages where they lie in the receive buffer.

`scan` looks at the bytes that came and notes for each whole message where its payload begins, how long it is, and
whether it is text or binary. Nothing is copied and no Python object is made for a message in one frame; the payloads of
a fragmented message are moved together inside the buffer, so that it too is one piece. A control frame ends the scan,
so that its answer leaves in its place; after an error nothing more is read.

What is refused, with the close code of section 7.4: reserved bits and opcodes, masked frames (a server must not mask,
5.1), control frames that are long or fragmented, continuations without a beginning and messages begun within another
(1002); messages above the limit (1009). Text is not decoded: the parser of the message judges its bytes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numba.np.numpy_support import carray

from bot4_live.kernels import address, entry_point, offset, pointer

# What `scan` answers.
MORE, FULL, CONTROL = 0, 1, 2  # more bytes are needed; the columns are full; a control frame lies at control_at
PROTOCOL_ERROR, TOO_BIG = -1002, -1009  # close codes, negative

CONT, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
SLACK = 64 << 10  # room beyond the largest message, so that there is always some to receive into

FRAMER = np.dtype(
    [
        ("buffer", "<i8"),  # addresses
        ("starts", "<i8"),
        ("sizes", "<i8"),
        ("opcodes", "<i8"),
        ("max_count", "<i8"),
        ("max_message", "<i8"),
        ("read", "<i8"),  # the next frame's header
        ("end", "<i8"),  # the bytes that came
        ("open", "<i8"),  # opcode of the message that is open, 0 when none is
        ("first", "<i8"),  # where its payload begins
        ("last", "<i8"),  # and ends so far
        ("count", "<i8"),  # messages noted
        ("control", "<i8"),  # opcode of the control frame
        ("control_at", "<i8"),
        ("control_length", "<i8"),
        ("messages", "<i8"),  # since the beginning
        ("failed", "<i8"),  # the error, once there was one
    ]
)
_END, _COUNT, _MESSAGES, _CONTROL, _CONTROL_AT, _CONTROL_LENGTH = (
    offset(FRAMER, name) // 8 for name in ("end", "count", "messages", "control", "control_at", "control_length")
)


@njit(cache=True)
def _move(buffer: np.ndarray, to: int, start: int, n: int) -> None:
    """Move n bytes down."""
    for i in range(n):
        buffer[to + i] = buffer[start + i]


@njit(cache=True)
def _scan(s: Any) -> int:
    buffer = carray(pointer(s.buffer), s.end, np.uint8)
    starts = carray(pointer(s.starts), s.max_count, np.int64)
    sizes = carray(pointer(s.sizes), s.max_count, np.int64)
    opcodes = carray(pointer(s.opcodes), s.max_count, np.uint8)
    while True:
        if s.count == s.max_count:
            return FULL
        at = s.read
        left = s.end - at
        if left < 2:
            return MORE
        head: Any = np.int64(buffer[at])
        length: Any = np.int64(buffer[at + 1])
        opcode, final = head & 0x0F, head & 0x80 != 0
        if length & 0x80 or head & 0x70 or (opcode > BINARY and not CLOSE <= opcode <= PONG):
            return PROTOCOL_ERROR
        payload = at + 2
        if opcode >= CLOSE:
            if length > 125 or not final:
                return PROTOCOL_ERROR
        elif (opcode == CONT) != (s.open != 0):
            return PROTOCOL_ERROR
        if length >= 126:
            size = 2 if length == 126 else 8
            payload += size
            if left < 2 + size:
                return MORE
            length = np.int64(0)
            for i in range(size):
                if length >> 48:  # far above any limit, and the next shift could overflow
                    return TOO_BIG
                length = length << 8 | np.int64(buffer[at + 2 + i])
        whole = length
        if opcode == CONT:
            whole += s.last - s.first
        if opcode < CLOSE and whole > s.max_message:
            return TOO_BIG
        if payload + length > s.end:
            return MORE
        s.read = payload + length
        if opcode >= CLOSE:
            s.control, s.control_at, s.control_length = opcode, payload, length
            return CONTROL
        if opcode == CONT:
            _move(buffer, s.last, payload, length)
        else:
            s.open, s.first, s.last = opcode, payload, payload
        s.last += length
        if final:
            starts[s.count] = s.first
            sizes[s.count] = s.last - s.first
            opcodes[s.count] = s.open
            s.count += 1
            s.messages += 1
            s.open = 0


@njit("i8(i8, i8)", cache=True)
def scan_at(framer: int, received: int) -> int:
    """Take in `received` new bytes at the buffer's end and look for messages; see `scan`."""
    s = carray(pointer(framer), 1, FRAMER)[0]
    s.end += received
    if s.failed == 0:
        found = _scan(s)
        if found >= 0:
            return found
        s.failed = found
    return s.failed


@njit("i8(i8, i8)", cache=True)
def clear_at(framer: int, room: int) -> int:
    """Forget the messages and make `room` bytes of room where less is left; see `clear`.

    What is open (parts of a message, half a frame) moves to the buffer's beginning, the rest is forgotten.
    """
    s = carray(pointer(framer), 1, FRAMER)[0]
    s.count = 0
    if s.read == s.end and s.open == 0:
        s.read = 0
        s.end = 0
    elif s.end + room > s.max_message + SLACK:
        buffer = carray(pointer(s.buffer), s.end, np.uint8)
        kept = s.last - s.first if s.open != 0 else 0
        _move(buffer, 0, s.first, kept)
        _move(buffer, kept, s.read, s.end - s.read)
        s.end = kept + s.end - s.read
        s.read = kept
        s.first = 0
        s.last = kept
    return s.end


@njit("void(i8, i8, i8)", cache=True)
def mask_at(data: int, size: int, key: int) -> None:
    """Mask `size` bytes at the address `data` with the 32-bit key, its first byte lowest (RFC 6455, 5.3)."""
    payload = carray(pointer(data), size, np.uint8)
    for i in range(size):
        payload[i] ^= np.uint8((key >> (8 * (i & 3))) & 0xFF)


class Framer:
    """The buffer and its framing. `buffer` is uint8 of `max_message + SLACK` bytes and one more, which stays 0.

    Message i is `buffer[starts[i] : starts[i] + sizes[i]]` (int64), `opcodes[i]` (uint8) TEXT or BINARY.

    >>> framer = Framer(1 << 20)
    >>> framer.free[: len(data)] = data
    >>> framer.scan(len(data))
    >>> payloads = [framer.message(i) for i in range(framer.count)]
    """

    def __init__(self, max_message: int, max_count: int = 4096) -> None:
        """Reserve the memory; it does not grow. Raises ValueError for limits that are not positive."""
        if max_message < 1 or max_count < 1:
            raise ValueError("a framer needs room for at least one message of one byte")
        self.buffer = np.zeros(max_message + SLACK + 1, np.uint8)
        self.starts, self.sizes = np.zeros(max_count, np.int64), np.zeros(max_count, np.int64)
        self.opcodes = np.zeros(max_count, np.uint8)
        self._capacity = max_message + SLACK
        self._state = np.zeros(1, FRAMER)
        for column in ("buffer", "starts", "sizes", "opcodes"):
            self._state[column] = address(getattr(self, column))
        self._state["max_count"], self._state["max_message"] = max_count, max_message
        self._view = memoryview(self.buffer.data)
        self._begins, self._lengths = self.starts.data, self.sizes.data  # whose items are ints
        self._words = self._state.view(np.int64).data
        self.address = address(self._state)
        self._scan, self._clear = entry_point(scan_at), entry_point(clear_at)

    @property
    def free(self) -> memoryview:
        """Return where bytes go next."""
        return self._view[self._words[_END] : self._capacity]

    def scan(self, received: int) -> int:
        """Take in `received` bytes that lie at the start of `free`; return MORE, FULL, CONTROL, or a negative code.

        Call it again with 0 after FULL (messages taken, `clear` called) and after CONTROL (answered).
        """
        found: int = self._scan(self.address, received)
        return found

    def clear(self) -> None:
        """Forget the messages, whose bytes may now be overwritten, and make room."""
        self._clear(self.address, SLACK // 2)

    @property
    def count(self) -> int:
        """Return how many messages were noted since `clear`."""
        count: int = self._words[_COUNT]
        return count

    @property
    def messages(self) -> int:
        """Return how many messages came since the beginning."""
        messages: int = self._words[_MESSAGES]
        return messages

    @property
    def control(self) -> tuple[int, bytes]:
        """Return (opcode, payload) of the control frame at which the scan stopped."""
        words = self._words
        at = words[_CONTROL_AT]
        return words[_CONTROL], bytes(self._view[at : at + words[_CONTROL_LENGTH]])

    def message(self, i: int) -> bytes:
        """Return a copy of one message's bytes."""
        at = self._begins[i]
        return bytes(self._view[at : at + self._lengths[i]])


def frame(opcode: int, payload: bytes, key: bytes) -> bytes:
    """Return one final client frame, masked with the 4 bytes of `key` (which must be unpredictable, RFC 6455 10.3)."""
    size = len(payload)
    if size < 126:
        head = bytes((0x80 | opcode, 0x80 | size))
    elif size < 1 << 16:
        head = bytes((0x80 | opcode, 0x80 | 126)) + size.to_bytes(2, "big")
    else:
        head = bytes((0x80 | opcode, 0x80 | 127)) + size.to_bytes(8, "big")
    data = np.frombuffer(payload, np.uint8).copy()
    mask_at(address(data), size, int.from_bytes(key, "little"))
    return head + key + data.tobytes()
