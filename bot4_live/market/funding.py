"""When each instrument pays funding next, as FUNDING and INSTRUMENT events tell it."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

import numpy as np

from bot4_live.events import Field, Kind, header_of, slot_value, slots_of

_S = 1_000_000_000


@dataclass(frozen=True)
class Funding:
    """The last that was said of an instrument's funding; times in ns since 1970, venue's clock."""

    rate: Decimal | None = None  # a fraction of the position's value, per interval; positive: longs pay
    next_ns: int = 0  # 0: not said, or paid all the time (Deribit)
    said_ns: int = 0  # venue time of the statement
    interval_s: int = 0  # 0: not said

    def times(self, now_ns: int, n: int = 3) -> list[int]:
        """Return the next `n` funding times after `now_ns`; only one is known without an interval, none without both.

        A time that has passed since it was said is stepped over by whole intervals.
        """
        if not self.next_ns:
            return []
        if not self.interval_s:
            return [self.next_ns] if self.next_ns > now_ns else []
        step = self.interval_s * _S
        first = self.next_ns + max(0, (now_ns - self.next_ns) // step + 1) * step
        return [first + i * step for i in range(n)]


class FundingSchedule:
    """Takes records in log order, of any kind; `of(instrument id)` is the newest statement.

    The interval is that of the INSTRUMENT event where it says one, else the distance of two next times that were said.
    """

    def __init__(self) -> None:
        """Begin without statements."""
        self._known: dict[int, Funding] = {}
        self._declared: dict[int, int] = {}

    def of(self, instrument: int) -> Funding:
        """Return what was last said, an empty statement where nothing was."""
        return self._known.get(instrument, Funding())

    def take(self, record: np.ndarray) -> None:
        """Take in one record."""
        head = header_of(record)
        kind, number = int(head["kind"]), int(head["instrument"])
        if kind == Kind.INSTRUMENT:
            slots = slots_of(record)
            self._declared[number] = int(slots[4, 1]) if len(slots) > 4 else 0
        elif kind == Kind.FUNDING:
            before, next_ns = self.of(number), int(head["a"])
            said = dict(slot_value(int(x), int(y)) for x, y in slots_of(record))
            moved = (next_ns - before.next_ns) // _S if before.next_ns and next_ns > before.next_ns else 0
            self._known[number] = Funding(
                said.get(Field.FUNDING_RATE, before.rate),
                next_ns or before.next_ns,
                int(head["exch_ns"]),
                self._declared.get(number, 0) or moved or before.interval_s,
            )
