"""What a pool of connections says of itself: plain values, ready for JSON, metrics and `bot4 feeds`."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any
from urllib.parse import urlsplit


class State(StrEnum):
    """What a connection is doing."""

    CONNECTING = "connecting"
    OPEN = "open"
    BACKING_OFF = "backing_off"
    BREAKER_OPEN = "breaker_open"
    CLOSED = "closed"


@dataclass(frozen=True)
class ChannelStatus:
    """One channel of one instrument on one connection. `limit_s` is the silence at which it counts as stale: None
    until there are gaps to judge by. `gaps` are updates of its book that were missed; `stale` that its book is."""

    name: str
    frames: int
    rate: float  # frames a second, of the last ten or so
    age_s: float  # since its last frame
    gap_p999_s: float | None  # between frames
    limit_s: float | None
    silent: bool
    gaps: int
    stale: bool


@dataclass(frozen=True)
class ConnectionStatus:
    """One connection; its counts are those since the pool began, across reconnects and renewals."""

    name: str
    venue: str
    url: str  # without user, password and query
    state: State
    connects: int
    failures: int
    silences: int
    renewals: int
    frames: int
    bytes: int
    last_frame_ns: int  # engine clock, 0 before the first
    last_error: str
    open_s: float  # how long it has been open, 0 when it is not
    stale_books: tuple[str, ...]
    channels: tuple[ChannelStatus, ...]


@dataclass(frozen=True)
class PoolStatus:
    """All connections to one venue. `breaker` is closed, open or half_open."""

    venue: str
    breaker: str
    connections: tuple[ConnectionStatus, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return plain names and values, for JSON."""
        return asdict(self)


def public_url(url: str) -> str:
    """Return an address that may be shown: scheme, host, port and path alone."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    host = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{host}{f':{parts.port}' if parts.port else ''}{parts.path}"
