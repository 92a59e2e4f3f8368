"""WebSocket side of the simulated exchange: who listens to what, and frames out in one write a wakeup."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

import orjson

from bot4_live.simulation.faults import FaultPlan, FrameFaults
from bot4_live.simulation.frames import bare, renamed, stream_name

TEXT, BINARY = 1, 2
SLOW_BYTES = 8 << 20  # what may wait for one client before it is cut off


def websocket_frame(payload: bytes, opcode: int = TEXT) -> bytes:
    """Return an unmasked, final server frame (RFC 6455, section 5.2)."""
    size = len(payload)
    if size < 126:
        head = bytes((0x80 | opcode, size))
    elif size < 1 << 16:
        head = bytes((0x80 | opcode, 126)) + size.to_bytes(2, "big")
    else:
        head = bytes((0x80 | opcode, 127)) + size.to_bytes(8, "big")
    return head + payload


def opcode_of(payload: bytes) -> int:
    """Return TEXT, or BINARY for bytes that no text frame may carry."""
    if payload.isascii():
        return TEXT
    try:
        payload.decode()
    except UnicodeDecodeError:
        return BINARY
    return TEXT


@dataclass(eq=False)
class Listener:
    """One connection. `streams` are names as subscribed; `combined` wraps data in {"stream", "data"}."""

    transport: asyncio.Transport
    combined: bool
    streams: set[str] = field(default_factory=set)
    account: str | None = None
    listen_key: str = ""
    faults: FrameFaults | None = None
    limit_bytes: int = SLOW_BYTES
    _found: dict[str, str | None] = field(default_factory=dict)

    def subscribe(self, name: str) -> None:
        """Ask for a stream."""
        self.streams.add(name)
        self._found.clear()

    def unsubscribe(self, names: list[str]) -> None:
        """Ask for some streams no more."""
        self.streams.difference_update(names)
        self._found.clear()

    def wanted(self, stream: str) -> str | None:
        """Return the name under which a stream was subscribed, None when it was not; "*" is for all."""
        if stream == "*" or stream in self.streams:
            return stream
        if stream not in self._found:
            self._found[stream] = next((name for name in self.streams if same_stream(name, stream)), None)
        return self._found[stream]

    def send(self, frames: list[bytes]) -> bool:
        """Write frames at once; return False when the client is gone, too slow, or cut off by a fault.

        Nothing is waited for: what a client does not read in time would hold up the others.
        """
        broken = False
        if self.faults is not None:
            frames, broken = self.faults.pass_on(frames)
        if self.transport.is_closing():
            return False
        if frames:
            self.transport.write(b"".join(frames))
        if broken or self.transport.get_write_buffer_size() > self.limit_bytes:
            self.transport.abort()
            return False
        return True


def same_stream(subscribed: str, sent: str) -> bool:
    """Return whether a subscription covers a stream; all speeds of a depth stream are the one there is."""
    if subscribed == sent:
        return True
    one, other = subscribed.split("@"), sent.split("@")
    return len(one) >= 2 and len(other) >= 2 and one[:2] == other[:2] and one[1] == "depth"


class Hub:
    """All listeners."""

    def __init__(self, plan: FaultPlan | None = None) -> None:
        """Begin without listeners."""
        self.listeners: set[Listener] = set()
        self.cut_off = 0  # too slow, gone, or by a fault
        self._plan = plan
        self._connections = 0

    def add(self, listener: Listener) -> None:
        """Let a listener in."""
        self._connections += 1
        if self._plan is not None and (listener.account is None or self._plan.user):
            listener.faults = FrameFaults(self._plan, self._connections)
        self.listeners.add(listener)

    def set_plan(self, plan: FaultPlan) -> None:
        """Change the faults of all connections from now on."""
        self._plan = plan
        for number, listener in enumerate(self.listeners):
            hit = listener.account is None or plan.user
            listener.faults = FrameFaults(plan, number) if hit else None

    def send_market(self, frames: list[tuple[str, bytes]]) -> None:
        """Send (stream, frame) to all who subscribed it; stream "*" goes to every market listener."""
        shapes: dict[tuple[bool, str, int], bytes] = {}
        for listener in list(self.listeners):
            if not listener.streams:
                continue
            out = []
            for number, (stream, raw) in enumerate(frames):
                name = listener.wanted(stream)
                if name is None:
                    continue
                key = (listener.combined, name, number)
                shaped = shapes.get(key)
                if shaped is None:
                    shaped = shapes[key] = _shape(raw, stream, name, listener.combined)
                out.append(shaped)
            if out:
                self._deliver(listener, out)

    def send_user(self, account: str, event: dict[str, Any]) -> None:
        """Send an event to an account's user streams."""
        for listener in list(self.listeners):
            if listener.account == account:
                self._deliver(listener, [_user_frame(listener, event)])

    def end_user(self, account: str, listen_key: str, now_ms: int) -> None:
        """Tell an account's user streams that their key ended."""
        event = {"e": "listenKeyExpired", "E": now_ms, "listenKey": listen_key}
        for listener in list(self.listeners):
            if listener.account == account and listener.listen_key == listen_key:
                self._deliver(listener, [_user_frame(listener, event)])
                listener.account = None

    def _deliver(self, listener: Listener, frames: list[bytes]) -> None:
        if not listener.send(frames):
            self.cut_off += 1
            self.listeners.discard(listener)


def _shape(raw: bytes, stream: str, name: str, combined: bool) -> bytes:
    if stream == "*":
        return websocket_frame(raw, opcode_of(raw))
    if not combined:
        return websocket_frame(bare(raw))
    return websocket_frame(raw if name == stream_name(raw) else renamed(raw, name))


def _user_frame(listener: Listener, event: dict[str, Any]) -> bytes:
    return websocket_frame(orjson.dumps({"stream": listener.listen_key, "data": event} if listener.combined else event))
