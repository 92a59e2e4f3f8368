"""Snapshots of the engine's state: where a replay may begin instead of the journal's start."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import zstandard
from google_crc32c import value as crc32c

from bot4_live.journal.layout import snapshot_name
from bot4_live.safety.durable import write_bytes

MAGIC = b"BOT4SNP1"
KEEP = 3


@dataclass(frozen=True)
class Snapshot:
    """The state after event `seq`."""

    seq: int
    layout_hash: str
    source_hash: str
    state: bytes


def save(directory: Path, snapshot: Snapshot) -> Path:
    """Write a snapshot, whole or not at all, and drop all but the newest few."""
    data = zstandard.ZstdCompressor(level=1).compress(snapshot.state)
    meta = json.dumps(
        {
            "seq": snapshot.seq,
            "layout": snapshot.layout_hash,
            "source": snapshot.source_hash,
            "size": len(snapshot.state),
            "crc": crc32c(data),
        }
    ).encode()
    path = directory / snapshot_name(snapshot.seq)
    write_bytes(path, MAGIC + len(meta).to_bytes(4, "little") + meta + data)
    for old in sorted(directory.glob("snapshot-*.b4s"))[:-KEEP]:
        old.unlink(missing_ok=True)
    return path


def load(path: Path) -> Snapshot:
    """Read one snapshot. Raises ValueError when it is damaged."""
    data = path.read_bytes()
    try:
        if data[:8] != MAGIC:
            raise ValueError("wrong magic")
        size = int.from_bytes(data[8:12], "little")
        meta = json.loads(data[12 : 12 + size])
        body = data[12 + size :]
        if crc32c(body) != meta["crc"]:
            raise ValueError("wrong checksum")
    except (ValueError, KeyError) as error:
        raise ValueError(f"{path} is not a whole snapshot ({error})") from error
    state = zstandard.ZstdDecompressor().decompress(body, max_output_size=meta["size"])
    return Snapshot(meta["seq"], meta["layout"], meta["source"], state)


def latest(directory: Path, layout_hash: str, source_hash: str) -> Snapshot | None:
    """Return the newest whole snapshot of this layout and source, None when there is none.

    One of another source is not used: the state it holds may be one that today's code would not have reached.
    """
    for path in sorted(directory.glob("snapshot-*.b4s"), reverse=True):
        try:
            snapshot = load(path)
        except ValueError:
            continue
        if snapshot.layout_hash == layout_hash and snapshot.source_hash == source_hash:
            return snapshot
    return None
