"""The journal on disk: names, segment header, and the raw log.

A journal is a folder of one account:

- `seg-<first seq, 20 digits>.b4j`: a segment header, then records in log order. It is preallocated; a zero length,
  or a record whose CRC does not hold, ends it.
- `seg-....seal.json`: written when the segment is closed (fsynced, then renamed): sha256 of the bytes, record
  counts by kind, first and last seq and receive time, the exchange days within, the shift.
- `raw-<first seq>.b4z`: the frames as received, in zstd blocks; `raw_ref` in a record is the frame's logical
  (uncompressed) offset, counted over all raw logs of the journal.
- `snapshot-<seq>.b4s`: the engine's state after `seq`, with layout and source hash.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field

MAGIC = b"BOT4JRN1"
HEADER_BLOCK = 4096
SEGMENT_BYTES = 256 << 20
SEVERAL = "several"

RAW_MAGIC = b"BOT4RAW1"
RAW_ENTRY = "<IBBHqq"  # length of the frame, verdict (Reason or 0), stream code, reserved, recv_ns, logical offset


@dataclass(frozen=True)
class SegmentHeader:
    """What a segment was written by and under which settings. `shift_ns` is exchange time minus original time."""

    account: str
    session: str
    first_seq: int
    market: str  # venue:SYMBOL, of a session the traded one; SEVERAL when several markets were recorded
    shift_ns: int
    speed_milli: int
    start_market_ns: int
    start_mono_ns: int
    order_epoch: int
    source_hash: str
    lock_hash: str
    cpu: str
    schema: int
    settings: dict[str, object] = field(default_factory=dict)
    instruments: list[dict[str, int | str]] = field(default_factory=list)  # Instrument.describe

    @property
    def markets(self) -> dict[int, str]:
        """Return the market of each instrument id; a header that names none has one, whose id is 0."""
        found: dict[int, str] = {}
        for one in self.instruments:
            # Before they said it themselves, sessions named venue and symbol.
            market = one.get("market") or f"{one.get('venue')}:{one.get('symbol')}"
            found[int(one["id"])] = str(market)
        return found or {0: self.market}

    def encode(self) -> bytes:
        """Return the header block: magic, length, JSON, padded with zeros to a multiple of 4096 bytes."""
        text = json.dumps(asdict(self), sort_keys=True).encode()
        size = len(MAGIC) + 8 + len(text)
        total = -(-size // HEADER_BLOCK) * HEADER_BLOCK
        head = MAGIC + total.to_bytes(4, "little") + len(text).to_bytes(4, "little")
        return (head + text).ljust(total, b"\0")

    @classmethod
    def decode(cls, data: bytes | memoryview) -> tuple[SegmentHeader, int]:
        """Return (header, offset of the first record). Raises ValueError on anything else."""
        head = bytes(data[:16])
        if head[:8] != MAGIC:
            raise ValueError("not a journal segment (wrong magic)")
        total, length = int.from_bytes(head[8:12], "little"), int.from_bytes(head[12:16], "little")
        if total % HEADER_BLOCK or not 16 + length <= total <= len(data):
            raise ValueError("not a journal segment (broken header)")
        try:
            return cls(**json.loads(bytes(data[16 : 16 + length]))), total
        except (ValueError, TypeError) as error:
            raise ValueError(f"not a journal segment (broken header: {error})") from None


def segment_name(first_seq: int) -> str:
    """Return the file name of the segment that begins with `first_seq`."""
    return f"seg-{first_seq:020d}.b4j"


def seal_name(first_seq: int) -> str:
    """Return the name of that segment's seal."""
    return f"seg-{first_seq:020d}.seal.json"


def raw_name(first_seq: int) -> str:
    """Return the name of the raw log beside that segment."""
    return f"raw-{first_seq:020d}.b4z"


def snapshot_name(seq: int) -> str:
    """Return the name of the state snapshot taken after `seq`."""
    return f"snapshot-{seq:020d}.b4s"
