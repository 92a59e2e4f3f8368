"""The fast features: one state, updated event by event, by the engine and by the batch job alike.

`update` (or the `on_...` kernel of one kind) is called after the book took the event in; `f.x` then holds every
feature of `bot4_live.features.registry` as of that event. Only events enter: integers and the engine's clock, no
look-ahead. Decays step on the 10 ms TICKs by constant factors, so an event costs no exponential and a value does not
depend on how many events fell between two TICKs.

Kernels take `f`, a numba Record of FEATURE_STATE, and `b`, a Record of bot4_live.market.book.BOOK. A zeroed state is
a fresh one. `f.valid` is 1 when the book is usable and every look-back is filled (5 s after the book came).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from bot4_live.clock import TICK_NS
from bot4_live.events import Flag, Kind, Side
from bot4_live.features.bars import (
    bar_price,
    bar_trade,
    bars_forget,
    end_bar_1s,
    end_bar_5s,
    spread_to_median,
)
from bot4_live.features.flow import (
    flow_forget,
    flow_tick,
    level_flow,
    refresh_touch,
    take_large,
    take_touch,
    take_trade,
)
from bot4_live.features.numbers import decayed, mid_return, power
from bot4_live.features.prints import prints_forget
from bot4_live.features.queues import queue_void
from bot4_live.features.registry import index
from bot4_live.features.shape import take_levels
from bot4_live.features.signals import look_for_walls, wall_reach, walls_forget, walls_tick
from bot4_live.features.state import (
    BAR_TICKS,
    BUCKET_TICKS,
    BUCKETS,
    DECAY_1S,
    DECAY_5S,
    DECAY_10S,
    DECAY_BUCKET,
    FEATURE_STATE,
    MAX_BUCKET_LOTS,
    MIN_BUCKETS,
    RATE_1S,
    RATE_5S,
    RING,
    WALL_TICKS,
    new_state,
)  # fmt: skip
from bot4_live.instrument import E8
from bot4_live.market.book import book_best_ask, book_best_bid, book_qty

__all__ = [
    "FEATURE_STATE", "new_state", "on_book", "on_instrument", "on_stale", "on_tick", "on_trade", "update",
    "usable_instrument",
]  # fmt: skip

SPREAD_TICKS, SPREAD_BP = index("spread_ticks"), index("spread_bp")
IMBALANCE_1, WEIGHTED_MID = index("imbalance_1"), index("weighted_mid_bp")
RETURN_250MS, RETURN_1S, RETURN_5S = index("return_250ms"), index("return_1s"), index("return_5s")
VOLATILITY, KYLE = index("volatility"), index("kyle_lambda")
FLOW_1S, FLOW_10S, OFI_1S = index("flow_1s"), index("flow_10s"), index("ofi_1s")
INTENSITY, TRADE_SIZE, QUOTE_RATE = index("trade_intensity"), index("trade_size"), index("quote_rate")

_SNAPSHOT, _DIFF, _TICKER = int(Kind.DEPTH_SNAPSHOT), int(Kind.DEPTH_DIFF), int(Kind.BOOK_TICKER)
_TRADE, _TICK, _STALE = int(Kind.TRADE), int(Kind.TICK), int(Kind.BOOK_STALE)
_SESSION, _INSTRUMENT = int(Kind.SESSION), int(Kind.INSTRUMENT)
_SELL, _INVALID = int(Flag.SELL), int(Flag.INVALID)
_BUY_SIDE, _SELL_SIDE = int(Side.BUY), int(Side.SELL)


@njit(cache=True)
def _refresh_prices(f: Any) -> None:
    """Set the look-back returns and `valid` from the mid now and the ring."""
    oldest = f.ring[(f.grid - 500) & (RING - 1)]
    f.x[RETURN_250MS] = mid_return(f.mid2, f.ring[(f.grid - 25) & (RING - 1)])
    f.x[RETURN_1S] = mid_return(f.mid2, f.ring[(f.grid - 100) & (RING - 1)])
    f.x[RETURN_5S] = mid_return(f.mid2, oldest)
    ready = f.mid2 > 0 and oldest > 0 and f.tick > 0.0 and f.var_weight > 0.0
    f.valid = 1 if ready else 0


@njit(cache=True)
def _refresh_flows(f: Any) -> None:
    """Set every decayed feature from its sums."""
    f.x[FLOW_1S] = f.flow_1s
    f.x[FLOW_10S] = f.flow_10s
    f.x[INTENSITY] = f.trades_5s * RATE_5S
    f.x[TRADE_SIZE] = f.notional_10s / f.trades_10s if f.trades_10s > 1e-6 else 0.0
    f.x[OFI_1S] = f.ofi_1s
    f.x[QUOTE_RATE] = f.quotes_1s * RATE_1S


@njit(cache=True)
def on_book(f: Any, b: Any, now_ns: int, levels: int) -> None:
    """Take in a changed book. One that is not valid, or crossed, counts as stale.

    `levels` is 0 for a best quote, which cannot have changed what lies behind the best prices.
    """
    f.now_ns = now_ns
    bid = book_best_bid(b)
    ask = book_best_ask(b)
    if b.valid == 0 or bid <= 0 or ask <= bid:
        on_stale(f, now_ns)
        return
    bid_qty = book_qty(b, _BUY_SIDE, bid)
    ask_qty = book_qty(b, _SELL_SIDE, ask)
    same_prices = bid == f.bid_px and ask == f.ask_px
    fresh = f.mid2 == 0
    moved = not same_prices or bid_qty != f.bid_qty or ask_qty != f.ask_qty
    if moved:
        if f.mid2 > 0:
            e = level_flow(bid, bid_qty, ask, ask_qty, (f.bid_px, f.bid_qty, f.ask_px, f.ask_qty))
            notional = e * f.lot * (0.5 * (bid + ask)) * f.tick
            f.ofi_1s += notional
            f.quotes_1s += 1.0
            take_touch(f, bid, bid_qty, ask, ask_qty, notional)
            f.x[OFI_1S] = f.ofi_1s
            f.x[QUOTE_RATE] = f.quotes_1s * RATE_1S
        f.bid_px = bid
        f.bid_qty = bid_qty
        f.ask_px = ask
        f.ask_qty = ask_qty
        f.mid2 = bid + ask
        mid = 0.5 * f.mid2
        size = bid_qty + ask_qty
        f.x[SPREAD_TICKS] = ask - bid
        f.x[SPREAD_BP] = 1e4 * (ask - bid) / mid
        f.x[IMBALANCE_1] = (bid_qty - ask_qty) / size if size > 0 else 0.0
        f.x[WEIGHTED_MID] = 0.5e4 * (ask - bid) * f.x[IMBALANCE_1] / mid
        bar_price(f.bars_1s, f.mid2)
        bar_price(f.bars_5s, f.mid2)
        wall_reach(f, bid, ask)
        spread_to_median(f.x, f.bars_1s, ask - bid)
        refresh_touch(f)
        _refresh_prices(f)
    if moved or levels:
        take_levels(f, b, same_prices and levels == 0, fresh)


@njit(cache=True)
def on_trade(f: Any, b: Any, now_ns: int, price: int, qty: int, sell: int) -> None:
    """Take in a trade of `qty` lots at `price` ticks; `sell` is nonzero when the aggressor sold."""
    f.now_ns = now_ns
    notional = (price * f.tick) * (qty * f.lot)
    signed = -notional if sell else notional
    take_large(f, notional, signed)
    f.flow_1s += signed
    f.flow_10s += signed
    f.trades_5s += 1.0
    f.trades_10s += 1.0
    f.notional_10s += notional
    f.bucket_lots += -qty if sell else qty
    bar_trade(f.bars_1s, price, qty)
    bar_trade(f.bars_5s, price, qty)
    wall_reach(f, price, price)
    take_trade(f, price, qty, sell, notional)
    refresh_touch(f)
    _refresh_flows(f)


@njit(cache=True)
def _close_bucket(f: Any) -> None:
    """End a 250 ms bucket: volatility takes its return, Kyle's regression its mid change and net volume."""
    change = f.mid2 - f.bucket_mid2
    counts = f.mid2 > 0 and f.bucket_mid2 > 0 and -MAX_BUCKET_LOTS < f.bucket_lots < MAX_BUCKET_LOTS
    at = f.bucket_at
    if f.bucket_used[at]:
        x = f.bucket_x[at]
        y = f.bucket_y[at]
        f.bucket_n -= 1
        f.sx -= x
        f.sy -= y
        f.sxx -= x * x
        f.sxy -= x * y
        f.bucket_used[at] = 0
    if counts:
        x = f.bucket_lots
        f.bucket_x[at] = x
        f.bucket_y[at] = change
        f.bucket_used[at] = 1
        f.bucket_n += 1
        f.sx += x
        f.sy += change
        f.sxx += x * x
        f.sxy += x * change
        r = mid_return(f.mid2, f.bucket_mid2)
        f.var_sum = decayed(f.var_sum, DECAY_BUCKET) + r * r
        f.var_weight = decayed(f.var_weight, DECAY_BUCKET) + 1.0
        f.x[VOLATILITY] = np.sqrt(f.var_sum / f.var_weight * 4.0)
    f.bucket_at = at + 1 if at + 1 < BUCKETS else 0
    f.bucket_mid2 = f.mid2
    f.bucket_lots = 0
    _kyle(f)


@njit(cache=True)
def _kyle(f: Any) -> None:
    """Set Kyle's lambda from the partial sums: OLS slope with intercept."""
    f.x[KYLE] = 0.0
    n = f.bucket_n
    if n < MIN_BUCKETS or f.mid2 <= 0 or f.tick <= 0.0:
        return
    spread = float(n) * f.sxx - float(f.sx) * f.sx
    if spread <= 0.0:
        return
    slope = (float(n) * f.sxy - float(f.sx) * f.sy) / spread  # half ticks a lot
    mid = 0.5 * f.mid2
    bp_per_lot = 1e4 * 0.5 * slope / mid
    f.x[KYLE] = 1e6 * bp_per_lot / (mid * f.tick * f.lot)


@njit(cache=True)
def _end_bars(f: Any, before: int) -> None:
    """End the bars whose time is over at the TICK `f.grid`, when `before` was the last one."""
    bars = f.grid // BAR_TICKS - before // BAR_TICKS
    if bars > 0:
        end_bar_1s(f, bars == 1)
        bars = f.grid // (5 * BAR_TICKS) - before // (5 * BAR_TICKS)
        if bars > 0:
            end_bar_5s(f, bars == 1)


@njit(cache=True)
def on_tick(f: Any, b: Any, now_ns: int) -> None:
    """Step the grid to a TICK: keep the mid, close buckets, decay. Missed TICKs count as time without a mid."""
    f.now_ns = now_ns
    grid = now_ns // TICK_NS
    n = grid - f.grid
    if n <= 0:
        return
    missed = min(n - 1, RING)
    for i in range(missed):
        f.ring[(grid - 1 - i) & (RING - 1)] = 0
    before = f.grid
    f.grid = grid
    f.ring[grid & (RING - 1)] = f.mid2
    factor = power(DECAY_1S, n)
    f.flow_1s = decayed(f.flow_1s, factor)
    f.ofi_1s = decayed(f.ofi_1s, factor)
    f.quotes_1s = decayed(f.quotes_1s, factor)
    f.trades_5s = decayed(f.trades_5s, power(DECAY_5S, n))
    factor = power(DECAY_10S, n)
    f.flow_10s = decayed(f.flow_10s, factor)
    f.trades_10s = decayed(f.trades_10s, factor)
    f.notional_10s = decayed(f.notional_10s, factor)
    if grid // BUCKET_TICKS != before // BUCKET_TICKS:
        if n >= BUCKET_TICKS:
            f.bucket_mid2 = 0
        _close_bucket(f)
    flow_tick(f, n)
    walls_tick(f, n)
    _end_bars(f, before)
    if grid // WALL_TICKS != before // WALL_TICKS:
        if n > WALL_TICKS:
            walls_forget(f)
        look_for_walls(f, b)
    _refresh_flows(f)
    _refresh_prices(f)


@njit(cache=True)
def on_stale(f: Any, now_ns: int) -> None:
    """Take in that the book may not be used: no mid until the next one, and the running bucket does not count."""
    f.now_ns = now_ns
    f.mid2 = 0
    f.bid_px = 0
    f.bid_qty = 0
    f.ask_px = 0
    f.ask_qty = 0
    f.bucket_mid2 = 0
    f.valid = 0
    queue_void(f.bid_queue)
    queue_void(f.ask_queue)
    walls_forget(f)


@njit(cache=True)
def _forget(f: Any) -> None:
    """Void everything but the clock: what was counted belongs to another instrument."""
    f.x[:] = 0.0
    f.ring[:] = 0
    f.flow_1s = 0.0
    f.flow_10s = 0.0
    f.trades_5s = 0.0
    f.trades_10s = 0.0
    f.notional_10s = 0.0
    f.ofi_1s = 0.0
    f.quotes_1s = 0.0
    f.var_sum = 0.0
    f.var_weight = 0.0
    f.bucket_lots = 0
    f.bucket_used[:] = 0
    f.bucket_n = 0
    f.sx = 0
    f.sy = 0
    f.sxx = 0
    f.sxy = 0
    flow_forget(f.flow)
    prints_forget(f.prints)
    f.bid_queue.left = 0.0
    f.ask_queue.left = 0.0
    bars_forget(f.bars_1s)
    bars_forget(f.bars_5s)
    f.bid_wall.withdrawn = 0.0
    f.ask_wall.withdrawn = 0.0
    on_stale(f, f.now_ns)


@njit(cache=True)
def usable_instrument(slots: np.ndarray) -> bool:
    """Return whether the body of an INSTRUMENT event makes sense: positive tick and lot, whole value of a lot."""
    tick = slots[0, 0]
    lot = slots[0, 1]
    return tick > 0 and lot > 0 and tick * lot % E8 == 0 and slots[1, 0] <= slots[1, 1]


@njit(cache=True)
def on_instrument(f: Any, instrument: int, tick_e8: int, lot_e8: int) -> None:
    """Take in an instrument version. Another instrument, tick or lot voids all features."""
    tick = tick_e8 / 1e8
    lot = lot_e8 / 1e8
    if f.tick != 0.0 and (tick != f.tick or lot != f.lot or instrument != f.instrument):
        _forget(f)
    f.instrument = instrument
    f.tick = tick
    f.lot = lot


@njit(cache=True)
def update(f: Any, b: Any, h: Any, slots: np.ndarray) -> None:
    """Take in one record (`h` a Record of HEADER, `slots` int64 (n, 2)) after the book `b` took it in."""
    kind = h.kind
    if h.flags & _INVALID:
        return
    if kind in (_TICKER, _DIFF, _SNAPSHOT):
        on_book(f, b, h.recv_ns, 0 if kind == _TICKER else 1)
    elif kind == _TRADE:
        on_trade(f, b, h.recv_ns, slots[0, 0], slots[0, 1], h.flags & _SELL)
    elif kind == _TICK:
        on_tick(f, b, h.recv_ns)
    elif kind in (_STALE, _SESSION):
        on_stale(f, h.recv_ns)
    elif kind == _INSTRUMENT and usable_instrument(slots):
        on_instrument(f, h.instrument, slots[0, 0], slots[0, 1])
