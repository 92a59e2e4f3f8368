"""What is on the bus: a header and the journal's record, as one MessagePack array that only grows at its end."""

from __future__ import annotations

from typing import Protocol

import msgspec
import numpy as np
from google_crc32c import value as crc32c

from bot4_live.events import FIRST_COMMAND, HEADER, HEADER_SIZE, LAST_COMMAND, MARKET_KINDS, SCHEMA, SLOT_SIZE, Kind
from bot4_live.journal.layout import SegmentHeader

VERSION = 1
_OF_ONE_MARKET = frozenset((*MARKET_KINDS, Kind.INSTRUMENT))


class BadMessage(ValueError):
    """Bytes on a topic that are no message of ours; what it says is the reason in the quarantine."""


class Envelope(msgspec.Struct, array_like=True, frozen=True):
    """A record with what is needed to read it alone. New fields go to the end and have a default.

    `(account, key, seq, index)` names a record for good: an event has index 0; a command, whose seq is that of the
    event that caused it, has 1 + its number there. `record` is the journal's, with its CRC; of one that is larger than
    a message may be only the header is sent, and `omitted` is true.
    """

    version: int
    account: str
    session: str
    market: str
    shift_ns: int  # exchange time of the record minus original exchange time
    seq: int
    index: int
    kind: int
    record: bytes
    omitted: bool = False

    @property
    def key(self) -> str:
        """Return what messages are ordered by: the market of market data, the account for everything else."""
        return self.market if self.kind in _OF_ONE_MARKET else self.account

    @property
    def head(self) -> np.void:
        """Return the record's header (events.HEADER)."""
        return np.frombuffer(self.record, HEADER, 1)[0]

    @property
    def slots(self) -> list[tuple[int, int]]:
        """Return the record's body as pairs."""
        pairs = np.frombuffer(self.record, "<i8", offset=HEADER_SIZE).reshape(-1, 2)
        return [(x, y) for x, y in pairs.tolist()]


_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(Envelope)


def wrap(record: bytes, kind: int, seq: int, segment: SegmentHeader, markets: dict[int, str], most: int) -> Envelope:
    """Return the envelope of a journal record; past `most` bytes only its header is in it."""
    command = FIRST_COMMAND <= kind <= LAST_COMMAND
    number = int.from_bytes(record[12:14], "little")
    return Envelope(
        VERSION, segment.account, segment.session,
        markets.get(number, segment.market if kind in _OF_ONE_MARKET else ""), segment.shift_ns, seq,
        1 + int.from_bytes(record[56:64], "little", signed=True) if command else 0, kind,
        record if len(record) <= most else record[:HEADER_SIZE], len(record) > most,
    )  # fmt: skip


def encode(envelope: Envelope) -> bytes:
    """Return the message's bytes."""
    return _ENCODER.encode(envelope)


def decode(data: bytes) -> Envelope:
    """Return the message. Raises BadMessage for bytes that are none, or whose record is not whole."""
    try:
        found = _DECODER.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadMessage(f"no message of the bus ({error})") from None
    size = len(found.record)
    if size < HEADER_SIZE or size % SLOT_SIZE:
        raise BadMessage(f"its record has {size} bytes; a record has {HEADER_SIZE} and slots of {SLOT_SIZE}")
    head = found.head
    if int(head["schema"]) > SCHEMA:
        raise BadMessage(f"its record has schema {head['schema']}, this bot4 reads up to {SCHEMA}; update bot4")
    if (int(head["kind"]), int(head["seq"])) != (found.kind, found.seq):
        raise BadMessage("its header speaks of another record")
    if not found.omitted and (int(head["length"]) != size or crc32c(found.record[8:]) != int(head["crc"])):
        raise BadMessage("its record does not have the bytes its checksum was made of")
    return found


class Placed(Protocol):
    """What has a place in a stream."""

    @property
    def account(self) -> str: ...
    @property
    def key(self) -> str: ...
    @property
    def seq(self) -> int: ...
    @property
    def index(self) -> int: ...


class Marks:
    """What was taken in already: for each topic, account, key and stream (events, commands) the highest place.

    Order by key makes one number enough: what is not above it was here before.
    """

    def __init__(self) -> None:
        self._highest: dict[tuple[str, str, str, bool], tuple[int, int]] = {}

    def take(self, topic: str, found: Placed) -> bool:
        """Return whether this is new, and remember it."""
        stream, mark = (topic, found.account, found.key, found.index > 0), (found.seq, found.index)
        if mark <= self._highest.get(stream, (0, 0)):
            return False
        self._highest[stream] = mark
        return True
