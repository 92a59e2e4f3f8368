"""Where a venue's numbers become records: counted, kept in the raw log, every digit exact or the frame refused."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from bot4_live.events import Field, Flag, Kind, Reason, StaleCause, header_of, value_slot
from bot4_live.market.feed_core import RawLog
from bot4_live.market.liquidations import LARGE_LIQUIDATION_USD, is_large
from bot4_live.market.validation import Limits
from bot4_live.market.venues import records
from bot4_live.market.venues.ladder import Level, VenueBook
from bot4_live.market.venues.registry import Digits, Instruments

MAX_LEVELS = 40_000
MAX_ID = 2**63 - 1
MAX_NS = 9_000_000_000_000_000_000
REMEMBERED_TRADES = 4096
_OPTIONS = ("-C", "-P")  # the end of their common names

RawLevels = Sequence[tuple[str, str]]  # price and quantity as the venue wrote them
Values = Iterable[tuple[Field, str | None]]


class Refused(Exception):
    """A frame that cannot become an event; `reason` says why."""

    def __init__(self, reason: Reason, detail: str) -> None:
        """Keep the reason."""
        super().__init__(detail)
        self.reason = reason


@dataclass
class VenueCounts:
    """What came in and what became of it."""

    frames: int = 0
    connects: int = 0
    control: int = 0  # acknowledgements, heartbeats, status: frames that are no market data
    events: Counter[Kind] = field(default_factory=Counter)
    quarantined: Counter[Reason] = field(default_factory=Counter)
    stale: Counter[StaleCause] = field(default_factory=Counter)
    checksums: int = 0
    checksums_matched: int = 0
    links: int = 0  # updates that named the one before them
    links_unbroken: int = 0
    heads: int = 0  # level 3: trades whose maker is known, and those of them whose maker was first in line
    heads_matched: int = 0
    snapshots_too_old: int = 0  # of those that are fetched
    large_liquidations: int = 0
    duplicates: int = 0  # trades that came before
    ignored: int = 0  # updates of a book that was stale

    def as_dict(self) -> dict[str, Any]:
        """Return plain names and numbers, for JSON."""
        plain = {
            name: getattr(self, name)
            for name in (
                "frames",
                "connects",
                "control",
                "snapshots_too_old",
                "large_liquidations",
                "duplicates",
                "ignored",
            )
        }
        return plain | {
            "checksums": self.checksums,
            "checksums_matched": self.checksums_matched,
            "links": self.links,
            "links_unbroken": self.links_unbroken,
            "heads": self.heads,
            "heads_matched": self.heads_matched,
            "events": {kind.name.lower(): n for kind, n in sorted(self.events.items())},
            "quarantined": {reason.name.lower(): n for reason, n in sorted(self.quarantined.items())},
            "stale": {cause.name.lower(): n for cause, n in sorted(self.stale.items())},
        }


class Emitter:
    """Makes the records of one frame at a time."""

    def __init__(
        self, instruments: Instruments, raw_log: RawLog | None = None, *, liquidation_usd: float = LARGE_LIQUIDATION_USD
    ) -> None:
        """Begin without a frame. Frames go to `raw_log`, refused ones too.

        Liquidations worth `liquidation_usd` are marked (Flag.LARGE).
        """
        self.instruments = instruments
        self.counts = VenueCounts()
        self.limits = Limits()
        self._liquidation_usd = liquidation_usd
        self._raw_log = raw_log
        self._out: list[np.ndarray] = []
        self._recv_ns = 0
        self._raw = b""
        self._raw_ref = -1
        self._measured: dict[str, Digits] | None = None
        self._trades: dict[str, dict[int, None]] = {}
        self._outliers: Counter[str] = Counter()

    def _trade(
        self, book: VenueBook, trade_id: int | None, price: str, qty: str, *, sell: bool, exch_ns: int = 0
    ) -> None:
        """Emit a trade; `sell` says that the aggressor sold. One that came before is counted and left out."""
        if self._measure(book, ((price, qty),)):
            return
        price_scale, qty_scale = self.instruments.scales(book.name)
        ticks, lots = price_scale.units(price), qty_scale.units(qty)
        check_id(trade_id)
        if ticks == 0:
            raise Refused(Reason.ZERO_PRICE, f"{book.name}: trade at price 0")
        if lots == 0:
            raise Refused(Reason.BAD_NUMBER, f"{book.name}: trade of quantity 0")
        times = (self._recv_ns, check_time(exch_ns))
        self._believe(book, ticks)
        if trade_id is not None and self._seen(book.name, trade_id):
            self.counts.duplicates += 1
            return
        ref = self._keep(Kind.TRADE)
        self._emit(records.trade(book.instrument, times, trade_id or 0, ticks, lots, sell=sell, raw_ref=ref))

    def _quote(
        self, book: VenueBook, bid: tuple[str, str], ask: tuple[str, str], *, exch_ns: int = 0, update_id: int = 0
    ) -> None:
        """Emit the best quote; `update_id` 0 says that it cannot be ordered against the updates of the book."""
        if self._measure(book, (bid, ask)):
            return
        (best_bid,), (best_ask,) = self._levels(book, [bid], [ask])
        if best_bid.price >= best_ask.price:
            raise Refused(Reason.CROSSED_QUOTE, f"{book.name}: bid {bid[0]} at or above ask {ask[0]}")
        self._believe(book, (best_bid.price + best_ask.price) // 2)
        times = (self._recv_ns, check_time(exch_ns))
        ref = self._keep(Kind.BOOK_TICKER)
        self._emit(records.quote(book.instrument, times, update_id, best_bid, best_ask, ref))

    def _ticker(self, book: VenueBook, values: Values, *, exch_ns: int = 0, trade_id: int = 0) -> None:
        """Emit what a ticker says, in the venue's units; `trade_id` is that of the last trade."""
        check_id(trade_id)
        self._values(Kind.TICKER, book, _slots(values), trade_id, exch_ns)

    def _funding(self, book: VenueBook, values: Values, *, next_ns: int = 0, exch_ns: int = 0) -> None:
        """Emit a funding rate; `next_ns` is the next funding time, 0 where it is not said."""
        self._values(Kind.FUNDING, book, _slots(values), check_time(next_ns), exch_ns)

    def _liquidation(
        self,
        book: VenueBook,
        price: str,
        qty: str,
        *,
        sell: bool,
        exch_ns: int = 0,
        trade_id: int = 0,
        values: Values = (),
    ) -> None:
        """Emit a liquidation; `sell` says that a long was sold out."""
        if self._measure(book, ((price, qty),)):
            return
        price_scale, qty_scale = self.instruments.scales(book.name)
        ticks, lots = price_scale.units(price), qty_scale.units(qty)
        check_id(trade_id)
        if ticks == 0 or lots == 0:
            raise Refused(Reason.BAD_NUMBER if ticks else Reason.ZERO_PRICE, f"{book.name}: liquidation of nothing")
        large = is_large(book.instrument, lots, ticks, self._liquidation_usd)
        flags = (Flag.SELL if sell else 0) | (Flag.LARGE if large else 0)
        self._values(Kind.LIQUIDATION, book, [(ticks, lots), *_slots(values)], trade_id, exch_ns, flags)
        self.counts.large_liquidations += large

    def _begin(self, recv_ns: int) -> None:
        self._out = []
        self._recv_ns = recv_ns
        self._raw = b""
        self._raw_ref = -1

    def _measure(self, book: VenueBook, levels: RawLevels) -> bool:
        """Return whether the numbers are only to be measured; then they are."""
        if self._measured is None:
            return False
        self._measured[book.name].see_levels(levels)
        return True

    def _levels(self, book: VenueBook, bids: RawLevels, asks: RawLevels) -> tuple[list[Level], list[Level]]:
        if len(bids) + len(asks) > MAX_LEVELS:
            raise Refused(Reason.TOO_LARGE, f"{len(bids) + len(asks)} levels")
        price_scale, qty_scale = self.instruments.scales(book.name)
        ticks, lots = price_scale.units, qty_scale.units
        new_bids = [Level(ticks(price), lots(qty), price, qty) for price, qty in bids]
        new_asks = [Level(ticks(price), lots(qty), price, qty) for price, qty in asks]
        if any(level.price == 0 for level in new_bids) or any(level.price == 0 for level in new_asks):
            raise Refused(Reason.ZERO_PRICE, f"{book.name}: level at price 0")
        return new_bids, new_asks

    def _believe(self, book: VenueBook, price: int) -> None:
        """Refuse a price far outside a live book, until so many come in a row that the book must be wrong.

        Options are left out: a step of their few orders is more than a tenth of the price.
        """
        bid, _, ask, _ = book.best()
        if not (book.live and bid and ask) or book.instrument.symbol.endswith(_OPTIONS):
            return
        if max(bid - price, price - ask) <= max(self.limits.outlier * (bid + ask) / 2, self.limits.outlier_ticks):
            self._outliers[book.name] = 0
            return
        self._outliers[book.name] += 1
        if self._outliers[book.name] < self.limits.outliers_in_a_row:
            raise Refused(Reason.OUTLIER, f"{book.name}: {price} ticks, best prices {bid} and {ask}")

    def _seen(self, name: str, trade_id: int) -> bool:
        known = self._trades.setdefault(name, {})
        if trade_id in known:
            return True
        known[trade_id] = None
        if len(known) > REMEMBERED_TRADES:
            del known[next(iter(known))]
        return False

    def _keep(self, stream: int, reason: int = 0) -> int:
        """Put the frame into the raw log, once; return its reference."""
        if self._raw_ref < 0 and self._raw_log is not None:
            self._raw_ref = self._raw_log.append_raw(self._recv_ns, self._raw, reason, stream)
        return self._raw_ref

    def _emit(self, record: np.ndarray) -> None:
        self.counts.events[Kind(int(header_of(record)["kind"]))] += 1
        self._out.append(record)

    def _values(
        self, kind: Kind, book: VenueBook, slots: list[tuple[int, int]], a: int, exch_ns: int, flags: int = 0
    ) -> None:
        if self._measured is not None:
            return
        times = (self._recv_ns, check_time(exch_ns))
        self._emit(records.values(kind, book.instrument, times, a, slots, self._keep(kind), flags))


def check_id(number: int | None) -> None:
    """Refuse an id that a record cannot hold."""
    if number is not None and not -1 <= number <= MAX_ID:
        raise Refused(Reason.NEGATIVE if number < 0 else Reason.TOO_LARGE, f"id {number}")


def check_time(exch_ns: int) -> int:
    """Return a venue time in ns, or refuse it."""
    if not 0 <= exch_ns < MAX_NS:
        raise Refused(Reason.TIME_OUT_OF_RANGE, f"venue time {exch_ns} ns")
    return exch_ns


def _slots(values: Values) -> list[tuple[int, int]]:
    """Return value slots; what the venue left empty is not said."""
    slots = []
    for name, text in values:
        if text:
            try:
                slots.append(value_slot(name, text))
            except ValueError as error:
                reason = Reason.LOST_DIGITS if "more digits" in str(error) else Reason.BAD_NUMBER
                raise Refused(reason, f"{name.name.lower()}: {error}") from None
    return slots
