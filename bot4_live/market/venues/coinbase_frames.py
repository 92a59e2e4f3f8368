"""What Coinbase's feeds have in common: asking for a product's channels, and telling whose a frame is."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TypeVar

import msgspec

T = TypeVar("T")


def request(
    what: str, names: Sequence[str], channels: str | list[str], signed: Mapping[str, str] | None = None
) -> bytes:
    """Return a frame that asks for one channel (Advanced Trade) or for several (Exchange); `what` is the verb.

    `signed` is what signs it, where the venue wants that.
    """
    key = "channel" if isinstance(channels, str) else "channels"
    return json.dumps({"type": what, "product_ids": list(names), key: channels, **(signed or {})}).encode()


def decoded(decoder: msgspec.json.Decoder[T], raw: bytes) -> T | None:
    """Return what a frame says, None when it is nothing that this decoder knows."""
    try:
        return decoder.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
