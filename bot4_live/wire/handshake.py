"""The opening handshake of a WebSocket client (RFC 6455, section 4), without I/O.

No extension is offered, permessage-deflate above all: inflating costs more than the wire saves here. A server that
turns one on regardless is refused.
"""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

MAX_RESPONSE = 16 << 10
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_OURS = frozenset(
    {"host", "upgrade", "connection", "sec-websocket-key", "sec-websocket-version", "sec-websocket-extensions"}
)


class HandshakeError(OSError):
    """The peer did not open a WebSocket; the message says what it did instead."""


@dataclass(frozen=True)
class Address:
    """Where a ws:// or wss:// URL leads."""

    host: str
    port: int
    path: str
    secure: bool

    @classmethod
    def parse(cls, url: str) -> Address:
        """Return the parts of a URL. Raises ValueError for anything that is not one of a WebSocket."""
        parts = urlsplit(url)
        if parts.scheme not in ("ws", "wss") or not parts.hostname or parts.fragment or "@" in parts.netloc:
            raise ValueError(f"{url!r} is not the URL of a WebSocket; give ws://host:port/path or wss://...")
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        if not path.isascii() or any(c <= " " or c == "\x7f" for c in path):
            raise ValueError(f"{url!r} has characters that must be percent-encoded")
        secure = parts.scheme == "wss"
        return cls(parts.hostname, parts.port or (443 if secure else 80), path, secure)

    @property
    def host_header(self) -> str:
        """Return the value of the Host header: brackets around IPv6, no port where it is the scheme's own."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.secure else 80) else f"{host}:{self.port}"


def new_key() -> bytes:
    """Return a fresh Sec-WebSocket-Key."""
    return base64.b64encode(os.urandom(16))


def request(address: Address, key: bytes, headers: Mapping[str, str] | None = None) -> bytes:
    """Return the request. `headers` are added; ValueError for those of the handshake itself and for line breaks."""
    lines = [
        f"GET {address.path} HTTP/1.1",
        f"Host: {address.host_header}",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Key: {key.decode()}",
        "Sec-WebSocket-Version: 13",
    ]
    for name, value in (headers or {}).items():
        if name.lower() in _OURS or any(c in name + value for c in "\r\n\0") or ":" in name:
            raise ValueError(f"the header {name!r} cannot be set on a WebSocket's request")
        lines.append(f"{name}: {value}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def check_response(data: bytes, key: bytes) -> int:
    """Return where the frames begin in `data`, 0 while the response is not whole.

    Raises HandshakeError when the server refuses, or agrees to something that was not asked for.
    """
    end = data.find(b"\r\n\r\n")
    if end < 0:
        if len(data) > MAX_RESPONSE:
            raise HandshakeError(f"no end of the handshake's response within {MAX_RESPONSE} bytes")
        return 0
    status, *lines = data[:end].decode("latin-1").split("\r\n")
    version, _, rest = status.partition(" ")
    if version != "HTTP/1.1" or not rest.startswith("101"):
        raise HandshakeError(f"the server answered {status[:80]!r} instead of opening a WebSocket")
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or not name or name != name.strip():
            raise HandshakeError(f"the handshake's response has a broken header {line[:80]!r}")
        name = name.lower()
        headers[name] = f"{headers[name]}, {value.strip()}" if name in headers else value.strip()
    if headers.get("upgrade", "").lower() != "websocket":
        raise HandshakeError("the server switched to another protocol than websocket")
    if "upgrade" not in {token.strip().lower() for token in headers.get("connection", "").split(",")}:
        raise HandshakeError("the handshake's response lacks Connection: Upgrade")
    expected = base64.b64encode(hashlib.sha1(key + _GUID, usedforsecurity=False).digest()).decode()
    if headers.get("sec-websocket-accept", "") != expected:
        raise HandshakeError("the handshake's response was made for another request (Sec-WebSocket-Accept)")
    for name in ("sec-websocket-extensions", "sec-websocket-protocol"):
        if headers.get(name):
            raise HandshakeError(f"the server turned on {headers[name][:80]!r}, which was not asked for")
    return end + 4
