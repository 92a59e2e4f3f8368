"""The raw log: frames as they came, in zstd blocks, found again by their logical offset.

File: magic (8 bytes), first logical offset (int64), then blocks: compressed size, plain size (uint32 each), logical
offset of the first byte (int64), CRC32C of the compressed bytes (uint32), the bytes. A block holds entries of
`RAW_ENTRY` and the frame. A torn block at the end is as if it had not come.
"""

from __future__ import annotations

import os
import struct
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import zstandard
from google_crc32c import value as crc32c

from bot4_live.journal.layout import RAW_ENTRY, RAW_MAGIC, raw_name

ENTRY = struct.Struct(RAW_ENTRY)
BLOCK = struct.Struct("<IIqI")
BLOCK_BYTES = 256 << 10


def write_whole(fd: int, data: bytes | bytearray, at: int) -> None:
    """Write all of `data` at `at`: a disk that fills up takes a part first and refuses only the rest."""
    view = memoryview(data)
    done = 0
    while done < len(view):
        done += os.pwrite(fd, view[done:], at + done)


@dataclass(frozen=True)
class RawFrame:
    """One frame: where, when received (engine clock), the verdict (Reason, 0 = passed), stream code, bytes."""

    offset: int
    recv_ns: int
    reason: int
    stream: int
    raw: bytes


class RawWriter:
    """Appends frames; logical offsets go on over the files of a journal."""

    def __init__(self, directory: Path, first_seq: int, start: int) -> None:
        self._directory = directory
        self._compress = zstandard.ZstdCompressor(level=1)
        self.offset = start
        self._block = bytearray()
        self._open(first_seq)

    def _open(self, first_seq: int) -> None:
        self.path = self._directory / raw_name(first_seq)
        self._fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
        write_whole(self._fd, RAW_MAGIC + self.offset.to_bytes(8, "little"), 0)
        self.position, self._synced = 16, 0
        self._block_start = self.offset

    def append(self, recv_ns: int, raw: bytes, reason: int, stream: int) -> int:
        """Append one frame and return its logical offset."""
        at = self.offset
        self._block += ENTRY.pack(len(raw), reason, stream, 0, recv_ns, at)
        self._block += raw
        self.offset += ENTRY.size + len(raw)
        if len(self._block) >= BLOCK_BYTES:
            self.flush()
        return at

    def flush(self) -> None:
        """Write the open block."""
        if not self._block:
            return
        data = self._compress.compress(bytes(self._block))
        head = BLOCK.pack(len(data), len(self._block), self._block_start, crc32c(data))
        write_whole(self._fd, head + data, self.position)
        self.position += len(head) + len(data)
        self._block.clear()
        self._block_start = self.offset

    def sync(self) -> None:
        """Write the open block and make everything durable (fdatasync)."""
        self.flush()
        if self._fd >= 0 and self._synced != self.position:
            os.fdatasync(self._fd)
            self._synced = self.position

    def rotate(self, first_seq: int) -> None:
        """Go on in a new file."""
        self.close()
        self._open(first_seq)

    def abandon(self) -> None:
        """Close without writing the open block."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def close(self) -> None:
        """Write the open block and close; a file without frames is removed."""
        if self._fd < 0:
            return
        self.sync()
        os.close(self._fd)
        self._fd = -1
        if self.position == 16:
            self.path.unlink(missing_ok=True)


class RawReader:
    """Reads frames back by logical offset, one block kept decompressed."""

    def __init__(self, directory: Path) -> None:
        self._blocks: list[tuple[int, int, Path, int, int]] = []
        for path in sorted(directory.glob("raw-*.b4z")):
            self._index(path)
        self._blocks.sort(key=lambda block: block[0])
        self._starts = [block[0] for block in self._blocks]
        self._cached: tuple[int, bytes] = (-1, b"")

    def _index(self, path: Path) -> None:
        size = path.stat().st_size
        with path.open("rb") as file:
            head = file.read(16)
            if len(head) < 16 or not any(head):
                return  # its writer was killed before the first byte: there is nothing in it to lose
            if head[:8] != RAW_MAGIC:
                raise ValueError(f"{path} is not a raw log (wrong magic)")
            at = 16
            while at + BLOCK.size <= size:
                file.seek(at)
                packed, plain, start, _ = BLOCK.unpack(file.read(BLOCK.size))
                if not packed or at + BLOCK.size + packed > size:
                    break
                self._blocks.append((start, plain, path, at, packed))
                at += BLOCK.size + packed

    def _plain(self, index: int) -> bytes:
        if self._cached[0] != index:
            start, plain, path, at, packed = self._blocks[index]
            with path.open("rb") as file:
                file.seek(at)
                *_, crc = BLOCK.unpack(file.read(BLOCK.size))
                data = file.read(packed)
            if crc32c(data) != crc:
                raise ValueError(f"{path}: the block at offset {start} is damaged")
            self._cached = (index, zstandard.ZstdDecompressor().decompress(data, max_output_size=plain))
        return self._cached[1]

    def get(self, ref: int) -> RawFrame:
        """Return the frame at logical offset `ref`. Raises KeyError when the log does not hold it."""
        index = bisect_right(self._starts, ref) - 1
        if index < 0 or ref >= self._blocks[index][0] + self._blocks[index][1]:
            raise KeyError(f"the raw log holds no frame at {ref}")
        return self._at(index, ref - self._blocks[index][0])

    def _at(self, index: int, position: int) -> RawFrame:
        plain = self._plain(index)
        length, reason, stream, _, recv_ns, offset = ENTRY.unpack_from(plain, position)
        begin = position + ENTRY.size
        return RawFrame(offset, recv_ns, reason, stream, plain[begin : begin + length])

    def __iter__(self) -> Iterator[RawFrame]:
        """Iterate over all frames in order."""
        for index, block in enumerate(self._blocks):
            position = 0
            while position < block[1]:
                frame = self._at(index, position)
                yield frame
                position += ENTRY.size + len(frame.raw)

    @property
    def end(self) -> int:
        """Return the logical offset after the last whole block."""
        return self._blocks[-1][0] + self._blocks[-1][1] if self._blocks else 0
