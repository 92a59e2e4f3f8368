"""The sequencer: one order for everything that reaches the engine, journaled ahead of `step`.

Log order is truth: receive times never go back, and TICK events lie on a fixed 10 ms grid of the engine clock, each
before the first event at or after it. One sequencer an account.

While `ahead`, events are sequenced and journaled only; `catch_up` steps them later, in order. Commands carry the seq of
their cause, so a replay is the same either way (docs/decisions/008).
"""

from __future__ import annotations

from typing import Protocol

import numpy as np

from bot4_live.clock import TICK_NS
from bot4_live.events import HEADER, HEADER_SIZE, Kind, Source, header_of, new_record
from bot4_live.journal.backlog import Backlog

_HEADER_BYTES = np.arange(HEADER_SIZE)


class JournalSink(Protocol):
    """Where records go: JournalClient or LocalJournal."""

    def append(self, record: np.ndarray | bytes) -> None:
        """Append one record."""


class Stepper(Protocol):
    """What turns an event into commands: the engine."""

    def step(self, record: np.ndarray) -> bytes:
        """Return the command records of one event, back to back."""

    def run(self, buffer: np.ndarray, offsets: np.ndarray) -> bytes:
        """Return the command records of many events, back to back."""


class Sequencer:
    """Gives events their seq and engine time, journals them, and steps the engine."""

    def __init__(
        self,
        journal: JournalSink,
        engine: Stepper | None,
        clock_start_ns: int,
        first_seq: int = 1,
        *,
        ticks: bool = True,
        backlog: Backlog | None = None,
    ) -> None:
        """Begin at `first_seq` with engine time `clock_start_ns`; `ticks=False` leaves TICKs out (pure recording).

        `backlog` holds what waits while the sequencer is `ahead`.
        """
        self._journal, self._engine, self.backlog = journal, engine, backlog
        self.ahead = False
        self.stepped_ns = clock_start_ns  # engine time of the last event taken from the backlog, or of its beginning
        self.next_seq = first_seq
        self.last_ns = clock_start_ns
        self._ticks = ticks
        self._next_tick = (clock_start_ns // TICK_NS + 1) * TICK_NS
        self._tick = new_record(Kind.TICK)
        header_of(self._tick)["source"] = Source.TIMER

    @property
    def tick_grid(self) -> tuple[bool, int]:
        """Return (whether TICKs are emitted, engine time of the next one)."""
        return self._ticks, self._next_tick

    def resume(self, next_seq: int, last_ns: int, next_tick: int) -> None:
        """Go on where the compiled loop (`hot_loop`), which sequences by the same rules, has stopped."""
        self.next_seq, self.last_ns, self._next_tick = next_seq, last_ns, next_tick

    def push(self, record: np.ndarray) -> list[np.ndarray]:
        """Sequence one event (its recv_ns is set, seq not); return the commands it and the due TICKs caused.

        `record` is stamped in place; commands are uint8 copies in order.
        """
        head = header_of(record)
        recv_ns = max(int(head["recv_ns"]), self.last_ns)
        commands = self.advance(recv_ns)
        head["recv_ns"] = recv_ns
        self.last_ns = recv_ns
        self._sequence(record, head, commands)
        return commands

    def advance(self, now_ns: int) -> list[np.ndarray]:
        """Emit the TICKs due up to and including `now_ns`; return their commands."""
        commands: list[np.ndarray] = []
        if self._ticks:
            while self._next_tick <= now_ns:
                head = header_of(self._tick)
                head["recv_ns"] = self._next_tick
                self.last_ns = self._next_tick
                self._next_tick += TICK_NS
                self._sequence(self._tick, head, commands)
        return commands

    def go_ahead(self) -> None:
        """From here on journal events without stepping them. Raises ValueError without a backlog to hold them."""
        if self.backlog is None:
            raise ValueError("this sequencer has no backlog; give it one to let it run ahead")
        self.ahead, self.stepped_ns = True, self.last_ns

    def catch_up(self, most: int) -> tuple[np.ndarray, list[np.ndarray]]:
        """Step up to `most` of the events that wait; return (their headers, the commands they caused).

        None come while the disk has not yet what is next.
        """
        if self.backlog is None or self._engine is None:
            return np.empty(0, HEADER), []
        buffer, offsets = self.backlog.take(most)
        if not offsets.size:
            return np.empty(0, HEADER), []
        commands = split(self._engine.run(buffer, offsets))
        for command in commands:
            self._journal.append(command)
        heads = buffer[offsets[:, None] + _HEADER_BYTES].view(HEADER).reshape(-1)
        self.stepped_ns = int(heads["recv_ns"][-1])
        return heads, commands

    def wait(self, records: bytes) -> None:
        """Let events wait that the compiled loop sequenced and journaled while ahead; they lie back to back."""
        assert self.backlog is not None
        for record in split(records):
            self.backlog.add(int(header_of(record)["seq"]), record.tobytes())

    def draw_level(self) -> None:
        """Step events at once again; nothing may wait any more."""
        assert not self.backlog, "events wait"
        self.ahead = False

    def _sequence(self, record: np.ndarray, head: np.void, commands: list[np.ndarray]) -> None:
        head["seq"] = self.next_seq
        self.next_seq += 1
        self._journal.append(record)
        if self._engine is None:
            return
        if self.ahead and self.backlog is not None:
            self.backlog.add(self.next_seq - 1, record.tobytes())
            return
        out = self._engine.step(record)
        for command in split(out) if out else ():
            self._journal.append(command)
            commands.append(command)


def split(data: bytes) -> list[np.ndarray]:
    """Return the records in `data`, which lie back to back, as uint8 copies."""
    records = []
    at = 0
    while at + HEADER_SIZE <= len(data):
        length = int.from_bytes(data[at : at + 4], "little")
        records.append(np.frombuffer(data, np.uint8, length, at).copy())
        at += length
    return records
