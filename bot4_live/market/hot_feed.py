"""The feed's rules once more, compiled, for frames that break none of them.

`judge` says of a parsed record whether the validation of `validation.Validator` and the sequence rules of `FeedCore`
let it pass with nothing to report. Everything else (a rule broken, a gap, a snapshot, a book that waits for one) it
leaves to them, and changes nothing: so verdicts, quarantine and resynchronisation stay theirs alone. `give` and `take`
carry what both must know from one to the other. An id that was accepted is known to be new when it is greater than all
before it; others are left to the validator, which remembers them.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit

from bot4_live.events import Kind, StaleCause, header_of
from bot4_live.instrument import Instrument
from bot4_live.kernels import offset
from bot4_live.market.blocks import fetch
from bot4_live.market.feed_core import FeedCore
from bot4_live.market.levels import WINDOW

REMEMBERED = 1024  # ids between two visits of the Python feed
_DIFF, _TICKER, _TRADE = int(Kind.DEPTH_DIFF), int(Kind.BOOK_TICKER), int(Kind.TRADE)
_COUNTED = (Kind.DEPTH_DIFF, Kind.BOOK_TICKER, Kind.TRADE)

FEED = np.dtype(
    [
        ("max_distance_ns", "<i8"),
        ("outlier", "<f8"),
        ("memory_ns", "<i8"),
        # sequence rules
        ("live", "<i8"),
        ("bridging", "<i8"),
        ("last_id", "<i8"),
        # validation
        ("mid2", "<i8"),
        ("mid_ns", "<i8"),
        ("outliers", "<i8"),
        ("ticker_id", "<i8"),
        ("ticker", "<i8", (2, 2)),
        ("highest_trade", "<i8"),
        ("highest_diff", "<i8"),
        ("n_trades", "<i8"),
        ("n_diffs", "<i8"),
        ("trades", "<i8", (REMEMBERED,)),
        ("diffs", "<i8", (REMEMBERED,)),
        # counts since the last visit
        ("frames", "<i8"),
        ("bytes", "<i8"),
        ("last_frame_ns", "<i8"),
        ("events", "<i8", (len(_COUNTED),)),
    ]
)

# The same for Python, which would need ten times as long field by field.
_LENT, _SEEN, _COUNTS = struct.Struct("<qdq13q"), struct.Struct("<2q"), struct.Struct(f"<{3 + len(_COUNTED)}q")
_TICKER_BODY = struct.Struct("<4q")
_SEEN_AT, _TRADES_AT, _DIFFS_AT, _COUNTS_AT = (offset(FEED, n) for n in ("n_trades", "trades", "diffs", "frames"))


@njit(cache=True)
def _no_outlier(f: Any, price2: int, recv_ns: int) -> bool:
    if f.mid2 == 0 or recv_ns - f.mid_ns > f.memory_ns:
        return True
    return abs(price2 - f.mid2) <= f.outlier * f.mid2


@njit(cache=True)
def fetch_levels(slots: np.ndarray, qty: int) -> bool:
    """Ask for the cache lines of a diff's levels before they are needed; return whether no price is 0.

    `qty` is where the quantities of the book's window lie: `BOOK["qty"]`, bids before asks.
    """
    zeros = 0
    n_bids = slots[0, 1]
    for i in range(1, slots.shape[0]):
        price = slots[i, 0]
        zeros += price == 0
        fetch(qty + ((price & (WINDOW - 1)) + (0 if i <= n_bids else WINDOW)) * 8)
    return zeros == 0


@njit(cache=True)
def _diff_passes(f: Any, h: Any, slots: np.ndarray) -> bool:
    if f.live == 0 or h.b <= f.highest_diff or h.b < f.last_id or f.n_diffs == REMEMBERED:
        return False
    previous = slots[0, 0]
    connects = previous >= 0 and previous == f.last_id
    if not connects and f.bridging == 1:
        connects = h.a <= f.last_id + 1 and h.b >= f.last_id
    elif not connects:
        connects = previous < 0 and h.a == f.last_id + 1
    if not connects:
        return False
    f.diffs[f.n_diffs] = h.b
    f.n_diffs += 1
    f.highest_diff = h.b
    f.last_id = h.b
    f.bridging = 0
    return True


@njit(cache=True)
def _ticker_passes(f: Any, h: Any, slots: np.ndarray, recv_ns: int) -> bool:
    bid, ask = slots[0, 0], slots[1, 0]
    if bid == 0 or ask == 0 or bid >= ask or not _no_outlier(f, bid + ask, recv_ns):
        return False
    same = h.a == f.ticker_id and bid == f.ticker[0, 0] and ask == f.ticker[1, 0]
    if same and slots[0, 1] == f.ticker[0, 1] and slots[1, 1] == f.ticker[1, 1]:
        return False
    f.ticker_id = h.a
    for i in range(2):
        f.ticker[i, 0] = slots[i, 0]
        f.ticker[i, 1] = slots[i, 1]
    f.mid2 = bid + ask
    f.mid_ns = recv_ns
    f.outliers = 0
    return True


@njit(cache=True)
def _trade_passes(f: Any, h: Any, slots: np.ndarray, recv_ns: int) -> bool:
    price, qty = slots[0, 0], slots[0, 1]
    if price == 0 or qty == 0 or h.a <= f.highest_trade or f.n_trades == REMEMBERED:
        return False
    if not _no_outlier(f, 2 * price, recv_ns):
        return False
    f.trades[f.n_trades] = h.a
    f.n_trades += 1
    f.highest_trade = h.a
    return True


@njit(cache=True)
def judge(f: Any, h: Any, slots: np.ndarray, recv_ns: int) -> bool:
    """Return whether a diff, best quote or trade passes with nothing to report; `f` (FEED) then knows of it.

    Of a diff, `fetch_levels` has looked at the levels.
    """
    if h.exch_ns != 0 and abs(h.exch_ns - recv_ns) > f.max_distance_ns:
        return False
    if h.kind == _DIFF:
        row, passes = 0, _diff_passes(f, h, slots)
    elif h.kind == _TICKER:
        row, passes = 1, _ticker_passes(f, h, slots, recv_ns)
    elif h.kind == _TRADE:
        row, passes = 2, _trade_passes(f, h, slots, recv_ns)
    else:
        return False
    if passes:
        f.frames += 1
        f.last_frame_ns = recv_ns
        f.events[row] += 1
    return passes


class HotFeed(FeedCore):
    """A FeedCore that can lend its state to `judge`. The engine's book stands in for one of its own.

    `touched` says that it has changed by itself since it was last given.
    """

    touched = True

    def follow(self, book: np.ndarray, behind: Callable[[], bool] = lambda: False) -> None:
        """Look at this book ((1,) of BOOK), to which every emitted record is applied at once, instead of an own one.

        While it is `behind` it is not looked at: the first diff after that finds what is wrong with it.
        """
        self._checker = None
        self._book, self._behind = book, behind

    def _check(self, record: np.ndarray) -> None:
        """Say BOOK_STALE where the levels contradict themselves, as FeedCore does."""
        if self._behind():
            return
        book = self._book[0]
        cause = 0
        if not book["valid"]:
            cause = int(book["stale_cause"])
        else:
            bid, ask = book["best"].tolist()
            if bid > 0 and ask > 0 and bid >= ask:
                cause = int(StaleCause.CROSSED)
        if cause:
            head = header_of(record)
            self._stale(int(head["recv_ns"]), StaleCause(cause), int(head["b"]), int(head["b"]))

    def confirm(self, record: np.ndarray) -> None:
        """Look at the book after a diff that `judge` let pass."""
        self._check(record)

    def on_connect(self, recv_ns: int) -> None:
        """The stream is open; the book is stale until bridged."""
        self.touched = True
        super().on_connect(recv_ns)

    def on_disconnect(self, recv_ns: int, cause: StaleCause = StaleCause.DISCONNECT) -> None:
        """The stream is gone: the book is stale at once."""
        self.touched = True
        super().on_disconnect(recv_ns, cause)

    def change_instrument(self, recv_ns: int, instrument: Instrument) -> None:
        """Go on under a later version of the instrument."""
        self.touched = True
        super().change_instrument(recv_ns, instrument)

    def _judge(self, recv_ns: int, raw: bytes, stream: int) -> np.ndarray | None:
        self.touched = True
        return super()._judge(recv_ns, raw, stream)

    def give(self, f: memoryview) -> None:
        """Write to `f` (the bytes of a FEED) what `judge` must know."""
        validator, limits = self._validator, self._validator.limits
        update_id, body = validator.last_ticker
        _LENT.pack_into(
            f, 0, limits.max_clock_distance_ns, limits.outlier, limits.outlier_memory_ns,
            self._live, self._bridging, self._last_id, *validator.reference,
            update_id, *(_TICKER_BODY.unpack(body) if body else (0, 0, 0, 0)), *validator.highest,
        )  # fmt: skip
        self.touched = False

    def take(self, f: memoryview) -> None:
        """Learn what `judge` let pass since `give` or the last `take`."""
        _, _, _, _, bridging, self._last_id, mid2, mid_ns, outliers, update_id, *ticker, _, _ = _LENT.unpack_from(f)
        self._bridging = bool(bridging)
        n_trades, n_diffs = _SEEN.unpack_from(f, _SEEN_AT)
        self._validator.learn(
            (mid2, mid_ns, outliers),
            (update_id, _TICKER_BODY.pack(*ticker)),
            np.frombuffer(f, np.int64, n_trades, _TRADES_AT).tolist() if n_trades else [],
            np.frombuffer(f, np.int64, n_diffs, _DIFFS_AT).tolist() if n_diffs else [],
        )
        _SEEN.pack_into(f, _SEEN_AT, 0, 0)
        frames, size, last_frame_ns, *events = _COUNTS.unpack_from(f, _COUNTS_AT)
        if frames:
            self.counts.frames += frames
            self.counts.bytes += size
            self.last_frame_ns = last_frame_ns
            for kind, n in zip(_COUNTED, events, strict=True):
                if n:
                    self.counts.events[kind] += n
            _COUNTS.pack_into(f, _COUNTS_AT, 0, 0, last_frame_ns, *(0 for _ in _COUNTED))
