"""How a journal is cut into segments, and when what was written is made durable."""

from __future__ import annotations

import argparse
from dataclasses import dataclass

from bot4_live.journal.layout import SEGMENT_BYTES

DAY_S = 86_400
FSYNC = ("batch", "interval", "rotation")


@dataclass(frozen=True)
class Policy:
    """When the writer rotates and syncs.

    A new segment begins when `segment_bytes` are full and, in receive time without the shift, at each multiple of
    `rotate_s` (which divides a day, so that a segment never holds two). `fsync` says when fdatasync is called, and so
    what a power cut can take; the death of a process takes nothing. `batch`: after every batch of records, `interval`:
    every `fsync_ms` while there is something new, `rotation`: with the segment's end alone.
    """

    segment_bytes: int = SEGMENT_BYTES
    rotate_s: int = DAY_S
    fsync: str = "interval"
    fsync_ms: int = 100

    def __post_init__(self) -> None:
        """Raise ValueError for what cannot be."""
        if self.fsync not in FSYNC:
            raise ValueError(f"fsync {self.fsync!r} is none of {', '.join(FSYNC)}")
        if self.rotate_s < 1 or DAY_S % self.rotate_s:
            raise ValueError(f"a rotation of {self.rotate_s} s does not divide a day; e.g. 3600 or 900 does")
        if self.fsync_ms < 1:
            raise ValueError(f"fsync_ms {self.fsync_ms}: at least 1")

    def sync_due(self, since_s: float) -> bool:
        """Return whether to sync now, `since_s` after the last one."""
        return self.fsync == "batch" or (self.fsync == "interval" and since_s >= self.fsync_ms / 1000)

    def arguments(self) -> list[str]:
        """Return it as arguments for the writer's process."""
        pairs = ("--segment-bytes", self.segment_bytes), ("--rotate-s", self.rotate_s)
        pairs_too = ("--fsync", self.fsync), ("--fsync-ms", self.fsync_ms)
        return [str(word) for pair in (*pairs, *pairs_too) for word in pair]

    @staticmethod
    def add_arguments(parser: argparse.ArgumentParser) -> None:
        """Let `parser` take what `arguments` gives."""
        parser.add_argument("--segment-bytes", type=int, default=SEGMENT_BYTES)
        parser.add_argument("--rotate-s", type=int, default=DAY_S)
        parser.add_argument("--fsync", choices=FSYNC, default="interval")
        parser.add_argument("--fsync-ms", type=int, default=100)

    @classmethod
    def of(cls, args: argparse.Namespace) -> Policy:
        """Return the policy that was parsed."""
        return cls(args.segment_bytes, args.rotate_s, args.fsync, args.fsync_ms)
