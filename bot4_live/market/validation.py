"""Rules that a parsed record must pass before it may become an event. Each rule lives here and nowhere else.

The platform reads the verdicts, it does not judge again: a second opinion would make training differ from trading.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

import numpy as np

from bot4_live.events import Kind, Reason, header_of, slots_of

# Named for every frame, see feed_core.
_TRADE, _TICKER, _DIFF = int(Kind.TRADE), int(Kind.BOOK_TICKER), int(Kind.DEPTH_DIFF)
_LIQUIDATION = int(Kind.LIQUIDATION)
_STATEMENTS = (int(Kind.FUNDING), int(Kind.TICKER))


@dataclass(frozen=True)
class Limits:
    """What is believed. Times in ns, `outlier` a fraction of the last mid."""

    max_clock_distance_ns: int = 60_000_000_000  # |exchange time - receive time|; a stalled process is late, not wrong
    outlier: float = 0.10
    outlier_ticks: int = 5  # not an outlier, however few ticks the price is
    outlier_memory_ns: int = 10_000_000_000  # an older mid proves nothing
    outliers_in_a_row: int = 20  # then it is the market that moved, and the reference is dropped
    remembered: int = 4096  # ids kept to tell a duplicate from a late frame


# For proofs of a book: they judge neither the recorder's clock nor the size of a move.
UNLIMITED = Limits(max_clock_distance_ns=2**62, outlier=float("inf"))


class _Recent:
    """The last N ids."""

    def __init__(self, size: int) -> None:
        self._order: deque[int] = deque()
        self._known: set[int] = set()
        self._size = size
        self.highest = -1  # of all that were ever added

    def seen(self, value: int) -> bool:
        """Return whether `value` is known."""
        return value in self._known

    def add(self, value: int) -> None:
        """Remember `value`, forgetting the oldest."""
        if value in self._known:
            return
        self._order.append(value)
        self._known.add(value)
        self.highest = max(self.highest, value)
        if len(self._order) > self._size:
            self._known.discard(self._order.popleft())


@dataclass
class Validator:
    """Judges records one by one, in arrival order."""

    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        """Begin without a reference."""
        self._trades = _Recent(self.limits.remembered)
        self._diffs = _Recent(self.limits.remembered)
        self._last_ticker: tuple[int, bytes] = (-1, b"")
        self.reset()

    def reset(self) -> None:
        """Forget the reference price; after a reconnect the market may be elsewhere."""
        self._mid2 = 0  # twice the mid, in ticks, so that it stays an integer
        self._mid_ns = 0
        self._outliers = 0

    @property
    def reference(self) -> tuple[int, int, int]:
        """Return (twice the mid in ticks, its receive time, outliers in a row): what `hot_feed` judges by."""
        return self._mid2, self._mid_ns, self._outliers

    @property
    def last_ticker(self) -> tuple[int, bytes]:
        """Return update id and slots of the last best quote that passed."""
        return self._last_ticker

    @property
    def highest(self) -> tuple[int, int]:
        """Return the greatest (trade id, diff id) that ever passed, -1 for none: a greater one is new."""
        return self._trades.highest, self._diffs.highest

    def learn(
        self, reference: tuple[int, int, int], last_ticker: tuple[int, bytes], trades: list[int], diffs: list[int]
    ) -> None:
        """Remember what the compiled rules (`hot_feed.judge`) let pass, as if `check` had."""
        self._mid2, self._mid_ns, self._outliers = reference
        self._last_ticker = last_ticker
        for trade in trades:
            self._trades.add(trade)
        for diff in diffs:
            self._diffs.add(diff)

    def check(self, record: np.ndarray, recv_ns: int) -> tuple[Reason, str] | None:
        """Return (reason, words) of the first broken rule, or None. A record that passes is remembered."""
        head, slots = header_of(record), slots_of(record)
        kind, exch_ns, a, b = int(head["kind"]), int(head["exch_ns"]), int(head["a"]), int(head["b"])
        if exch_ns and abs(exch_ns - recv_ns) > self.limits.max_clock_distance_ns:
            return Reason.TIME_OUT_OF_RANGE, f"exchange time is {(exch_ns - recv_ns) / 1e9:.3f} s from receive time"
        if kind == _TRADE:
            return self._trade(a, int(slots[0, 0]), int(slots[0, 1]), recv_ns)
        if kind == _TICKER:
            return self._ticker(a, slots, recv_ns)
        if kind == _DIFF:
            return self._diff(b, slots)
        if kind == _LIQUIDATION:
            return _amount("liquidation", int(slots[0, 0]), int(slots[0, 1]))
        if kind in _STATEMENTS:  # their numbers are the venue's own say; only their time can be judged
            return None
        return self._snapshot(slots)

    def _trade(self, trade_id: int, price: int, qty: int, recv_ns: int) -> tuple[Reason, str] | None:
        if broken := _amount("trade", price, qty):
            return broken
        if self._trades.seen(trade_id):
            return Reason.DUPLICATE, f"trade {trade_id} came before"
        if self._outlier(2 * price, recv_ns):
            return Reason.OUTLIER, f"trade at {price} ticks, mid {self._mid2 / 2} ticks"
        self._trades.add(trade_id)
        return None

    def _ticker(self, update_id: int, slots: np.ndarray, recv_ns: int) -> tuple[Reason, str] | None:
        bid, ask = int(slots[0, 0]), int(slots[1, 0])
        if bid == 0 or ask == 0:
            return Reason.ZERO_PRICE, "best quote at price 0"
        if bid >= ask:
            return Reason.CROSSED_QUOTE, f"bid {bid} at or above ask {ask}"
        body = slots.tobytes()
        if self._last_ticker == (update_id, body):
            return Reason.DUPLICATE, f"best quote {update_id} came before"
        if self._outlier(bid + ask, recv_ns):
            return Reason.OUTLIER, f"mid {(bid + ask) / 2} ticks, before {self._mid2 / 2} ticks"
        self._last_ticker = (update_id, body)
        self._mid2, self._mid_ns, self._outliers = bid + ask, recv_ns, 0
        return None

    def _outlier(self, price2: int, recv_ns: int) -> bool:
        if self._mid2 == 0 or recv_ns - self._mid_ns > self.limits.outlier_memory_ns:
            return False
        if abs(price2 - self._mid2) <= max(self.limits.outlier * self._mid2, 2 * self.limits.outlier_ticks):
            return False
        self._outliers += 1
        if self._outliers >= self.limits.outliers_in_a_row:
            self.reset()
            return False
        return True

    def _diff(self, update_id: int, slots: np.ndarray) -> tuple[Reason, str] | None:
        if (slots[1:, 0] == 0).any():
            return Reason.ZERO_PRICE, "level at price 0"
        if self._diffs.seen(update_id):
            return Reason.DUPLICATE, f"diff {update_id} came before"
        self._diffs.add(update_id)
        return None

    def _snapshot(self, slots: np.ndarray) -> tuple[Reason, str] | None:
        n_bids = int(slots[0, 1])
        bids, asks = slots[1 : 1 + n_bids, 0], slots[1 + n_bids :, 0]
        if (slots[1:, 0] == 0).any():
            return Reason.ZERO_PRICE, "level at price 0"
        if bids.size and asks.size and bids.max() >= asks.min():
            return Reason.CROSSED_QUOTE, f"snapshot: bid {bids.max()} at or above ask {asks.min()}"
        return None


def _amount(what: str, price: int, qty: int) -> tuple[Reason, str] | None:
    if price == 0:
        return Reason.ZERO_PRICE, f"{what} at price 0"
    if qty == 0:
        return Reason.BAD_NUMBER, f"{what} of quantity 0"
    return None
