"""Order identity: a durable epoch and a sequence in one int64.

Venues keep client order ids unique only among open orders, so an id must never come twice: the epoch is a counter
on disk, fsynced before the first order of a runner's life, and the sequence counts within it.
"""

from __future__ import annotations

import re
from pathlib import Path

from bot4_live.safety.durable import write_bytes

SEQUENCE_BITS = 32
MAX_EPOCH = (1 << 30) - 1
PREFIX = "b4"
_PATTERN = re.compile(r"b4-([0-9a-f]{8})-([0-9a-f]{8})")


def pack(epoch: int, sequence: int) -> int:
    """Return the order id of `sequence` (1 .. 2**32-1) in `epoch` (1 .. MAX_EPOCH)."""
    if not 0 < epoch <= MAX_EPOCH or not 0 < sequence < 1 << SEQUENCE_BITS:
        raise ValueError(f"order id out of range: epoch {epoch}, sequence {sequence}")
    return (epoch << SEQUENCE_BITS) | sequence


def unpack(order_id: int) -> tuple[int, int]:
    """Return (epoch, sequence)."""
    return order_id >> SEQUENCE_BITS, order_id & ((1 << SEQUENCE_BITS) - 1)


def to_client_id(order_id: int) -> str:
    """Return the venue's client order id: `b4-<epoch>-<sequence>`, 20 characters of hex and dashes."""
    epoch, sequence = unpack(order_id)
    return f"{PREFIX}-{epoch:08x}-{sequence:08x}"


def from_client_id(client_id: str) -> int:
    """Return the order id, or 0 when the client id is not one of ours."""
    match = _PATTERN.fullmatch(client_id)
    return (int(match[1], 16) << SEQUENCE_BITS) | int(match[2], 16) if match else 0


def next_epoch(path: Path) -> int:
    """Advance the epoch stored at `path` and return it; it is on disk (fsynced) before this returns.

    Raises ValueError when the file holds anything but a number: a lost epoch would repeat ids, so it is not guessed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    text = path.read_text().strip() if path.exists() else "0"
    if not text.isdigit():
        raise ValueError(f"{path} does not hold an order epoch; restore it or remove the account's state")
    epoch = int(text) + 1
    write_bytes(path, f"{epoch}\n".encode())
    return epoch
