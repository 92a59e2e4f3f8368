"""Trades and order flow beyond the core: decayed sums, runs, volume buckets, spreads paid, what leaves the touch.

Kernels take `f`, a Record of FEATURE_STATE; `f.flow` is their own part of it. See `declared.flow` and
`declared.signals` for each definition.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from bot4_live.features.numbers import decayed, power
from bot4_live.features.prints import prints_tick, take_print
from bot4_live.features.queues import queue_change, queue_tick, queue_trade, refresh_queues
from bot4_live.features.registry import index
from bot4_live.features.state import (
    BUCKET_TRADES,
    DECAY_1S,
    DECAY_10S,
    DECAY_250MS,
    LARGE,
    MOST_S,
    MULTI,
    PENDING,
    RATE_10S,
    RATE_250MS,
    REALISED_TICKS,
    VOLUME_BUCKETS,
)  # fmt: skip

FLOW_250MS, TRADE_IMBALANCE, RUN, VPIN = (
    index("flow_250ms"),
    index("trade_imbalance_10s"),
    index("run_length"),
    index("vpin"),
)
OFI_250MS, OFI_5_1S = index("ofi_250ms"), index("ofi_5_1s")
EFFECTIVE, REALISED = index("effective_spread_bp"), index("realised_spread_bp")
SINCE_TRADE, SINCE_MOVE = index("since_trade_s"), index("since_move_s")
LARGE_FLOW, EXCITATION, CANCEL_SHARE = index("large_flow_10s"), index("excitation"), index("touch_cancel_share")
QUEUE_BID, QUEUE_ASK = index("queue_bid_s"), index("queue_ask_s")

_SOME = 1e-6  # less than this of a decayed count is none


@njit(cache=True)
def level_flow(bid: int, bid_qty: int, ask: int, ask_qty: int, old: tuple[int, int, int, int]) -> int:
    """Return e_n in lots: the change of demand less the change of supply at one level (Cont et al. 2014).

    `old` is (bid, bid_qty, ask, ask_qty) before; a price of 0 means that the level is missing, with 0 lots.
    """
    old_bid, old_bid_qty, old_ask, old_ask_qty = old
    e = 0
    if bid >= old_bid:
        e += bid_qty
    if bid <= old_bid:
        e -= old_bid_qty
    if old_ask == 0 or 0 < ask <= old_ask:
        e -= ask_qty
    if ask == 0 or 0 < old_ask <= ask:
        e += old_ask_qty
    return e


@njit(cache=True)
def multi_level_flow(f: Any) -> int:
    """Return the sum of e_n over the best levels, from the levels before and after a change."""
    total = 0
    for i in range(MULTI):
        bid = f.bids[i, 0] if i < f.n_bids else 0
        bid_qty = f.bids[i, 1] if i < f.n_bids else 0
        ask = f.asks[i, 0] if i < f.n_asks else 0
        ask_qty = f.asks[i, 1] if i < f.n_asks else 0
        old_bid = f.old_bids[i, 0] if i < f.n_old_bids else 0
        old_bid_qty = f.old_bids[i, 1] if i < f.n_old_bids else 0
        old_ask = f.old_asks[i, 0] if i < f.n_old_asks else 0
        old_ask_qty = f.old_asks[i, 1] if i < f.n_old_asks else 0
        total += level_flow(bid, bid_qty, ask, ask_qty, (old_bid, old_bid_qty, old_ask, old_ask_qty))
    return total


@njit(cache=True)
def _queue(qty: int, removed: float) -> float:
    """Return the seconds that `qty` lots take to leave at the decayed rate."""
    if removed * (RATE_10S * MOST_S) <= qty:
        return MOST_S
    return qty / (removed * RATE_10S)


@njit(cache=True)
def refresh_touch(f: Any) -> None:
    """Set what depends on the best sizes and on what left them."""
    s = f.flow
    removed = s.removed_bid + s.removed_ask
    f.x[CANCEL_SHARE] = (removed - s.lots_10s) / removed if removed > _SOME and removed > s.lots_10s else 0.0
    if f.mid2 > 0:
        f.x[QUEUE_BID] = _queue(f.bid_qty, s.removed_bid)
        f.x[QUEUE_ASK] = _queue(f.ask_qty, s.removed_ask)
        refresh_queues(f)


@njit(cache=True)
def take_touch(f: Any, bid: int, bid_qty: int, ask: int, ask_qty: int, notional: float) -> None:
    """Take in that the best quotes change to these, before `f` holds them; `notional` is e_n in quote currency."""
    s = f.flow
    s.ofi_250ms += notional
    f.x[OFI_250MS] = s.ofi_250ms
    if bid < f.bid_px:
        s.removed_bid += f.bid_qty
    elif bid == f.bid_px and bid_qty < f.bid_qty:
        s.removed_bid += f.bid_qty - bid_qty
    if ask > f.ask_px:
        s.removed_ask += f.ask_qty
    elif ask == f.ask_px and ask_qty < f.ask_qty:
        s.removed_ask += f.ask_qty - ask_qty
    queue_change(f.bid_queue, bid - f.bid_px, bid_qty, f.bid_qty)
    queue_change(f.ask_queue, f.ask_px - ask, ask_qty, f.ask_qty)
    if bid + ask != f.mid2:
        s.last_move_ns = f.now_ns
        f.x[SINCE_MOVE] = 0.0


@njit(cache=True)
def _refresh_trades(f: Any) -> None:
    """Set the features of decayed trade sums."""
    s = f.flow
    f.x[FLOW_250MS] = s.flow_250ms
    f.x[LARGE_FLOW] = s.large_10s
    some = f.trades_10s > _SOME
    f.x[TRADE_IMBALANCE] = f.flow_10s / f.notional_10s if some else 0.0
    f.x[EXCITATION] = s.trades_250ms * (RATE_250MS / RATE_10S) / f.trades_10s if some else 0.0


@njit(cache=True)
def _volume_bucket(f: Any, bought: float, sold: float) -> None:
    """Take a trade's notional into the running volume bucket; set vpin when it is full."""
    s = f.flow
    if s.bucket_size == 0.0:
        s.bucket_size = BUCKET_TRADES * f.notional_10s / f.trades_10s
    s.bucket_bought += bought
    s.bucket_sold += sold
    total = s.bucket_bought + s.bucket_sold
    if total < s.bucket_size:
        return
    at = s.volume_at
    s.volume_gap[at] = abs(s.bucket_bought - s.bucket_sold)
    s.volume_sum[at] = total
    s.volume_at = at + 1 if at + 1 < VOLUME_BUCKETS else 0
    s.bucket_size = 0.0
    s.bucket_bought = 0.0
    s.bucket_sold = 0.0
    gaps = 0.0
    volume = 0.0
    for i in range(VOLUME_BUCKETS):
        gaps += s.volume_gap[i]
        volume += s.volume_sum[i]
    f.x[VPIN] = gaps / volume if volume > 0.0 else 0.0


@njit(cache=True)
def take_large(f: Any, notional: float, signed: float) -> None:
    """Count a large print, before the trade is in the means it is compared with."""
    if f.trades_10s > _SOME and notional * f.trades_10s >= LARGE * f.notional_10s:
        f.flow.large_10s += signed


@njit(cache=True)
def take_trade(f: Any, price: int, qty: int, sell: int, notional: float) -> None:
    """Take in a trade after the core's sums did."""
    s = f.flow
    sign = -1 if sell else 1
    s.flow_250ms += sign * notional
    s.trades_250ms += 1.0
    s.lots_10s += qty
    if sell:
        s.run = min(s.run, 0) - 1
        queue_trade(f.bid_queue, price, qty, f.bid_qty)
    else:
        s.run = max(s.run, 0) + 1
        queue_trade(f.ask_queue, price, qty, f.ask_qty)
    take_print(f, notional, sign * notional)
    s.last_trade_ns = f.now_ns
    f.x[RUN] = s.run
    f.x[SINCE_TRADE] = 0.0
    _volume_bucket(f, 0.0 if sell else notional, notional if sell else 0.0)
    if f.mid2 > 0:
        s.effective += 2e4 * sign * (2 * price - f.mid2) / f.mid2
        s.effective_n += 1.0
        f.x[EFFECTIVE] = s.effective / s.effective_n
    at = f.grid & (PENDING - 1)
    s.pending_n[at] += 1
    s.pending_sign[at] += sign
    s.pending_px[at] += sign * price
    _refresh_trades(f)


@njit(cache=True)
def _judge(f: Any, missed: int) -> None:
    """Give the trades of a second ago their realised spread at the mid now; those of missed TICKs get none."""
    s = f.flow
    for i in range(1, min(missed, PENDING - 1) + 1):
        s.pending_n[(f.grid - REALISED_TICKS - 1 - i) & (PENDING - 1)] = 0
    at = (f.grid - REALISED_TICKS - 1) & (PENDING - 1)
    n = s.pending_n[at]
    if n > 0 and f.mid2 > 0:
        s.realised += 2e4 * (2 * s.pending_px[at] - f.mid2 * s.pending_sign[at]) / f.mid2
        s.realised_n += n
    at = f.grid & (PENDING - 1)
    s.pending_n[at] = 0
    s.pending_sign[at] = 0
    s.pending_px[at] = 0


@njit(cache=True)
def _since(now_ns: int, last_ns: int) -> float:
    """Return seconds, at most 60; `last_ns` is 0 for never."""
    return min((now_ns - last_ns) * 1e-9, MOST_S) if last_ns > 0 else MOST_S


@njit(cache=True)
def flow_tick(f: Any, n: int) -> None:
    """Step to a TICK, `n` TICKs after the last one; the core has stepped `f.grid` and its sums."""
    s = f.flow
    factor = power(DECAY_250MS, n)
    s.flow_250ms = decayed(s.flow_250ms, factor)
    s.trades_250ms = decayed(s.trades_250ms, factor)
    s.ofi_250ms = decayed(s.ofi_250ms, factor)
    s.ofi_5_1s = decayed(s.ofi_5_1s, power(DECAY_1S, n))
    factor = power(DECAY_10S, n)
    s.large_10s = decayed(s.large_10s, factor)
    s.lots_10s = decayed(s.lots_10s, factor)
    s.removed_bid = decayed(s.removed_bid, factor)
    s.removed_ask = decayed(s.removed_ask, factor)
    queue_tick(f.bid_queue, factor)
    queue_tick(f.ask_queue, factor)
    prints_tick(f, n)
    s.effective = decayed(s.effective, factor)
    s.effective_n = decayed(s.effective_n, factor)
    s.realised = decayed(s.realised, factor)
    s.realised_n = decayed(s.realised_n, factor)
    _judge(f, n - 1)
    f.x[EFFECTIVE] = s.effective / s.effective_n if s.effective_n > _SOME else 0.0
    f.x[REALISED] = s.realised / s.realised_n if s.realised_n > _SOME else 0.0
    f.x[OFI_250MS] = s.ofi_250ms
    f.x[OFI_5_1S] = s.ofi_5_1s
    f.x[SINCE_TRADE] = _since(f.now_ns, s.last_trade_ns)
    f.x[SINCE_MOVE] = _since(f.now_ns, s.last_move_ns)
    if f.x[SINCE_TRADE] >= MOST_S:
        s.run = 0
        f.x[RUN] = 0.0
    _refresh_trades(f)
    refresh_touch(f)


@njit(cache=True)
def flow_forget(s: Any) -> None:
    """Void a FLOW_STATE: what was counted belongs to another instrument."""
    s.flow_250ms = 0.0
    s.trades_250ms = 0.0
    s.ofi_250ms = 0.0
    s.ofi_5_1s = 0.0
    s.large_10s = 0.0
    s.lots_10s = 0.0
    s.removed_bid = 0.0
    s.removed_ask = 0.0
    s.effective = 0.0
    s.effective_n = 0.0
    s.realised = 0.0
    s.realised_n = 0.0
    _zero(s.pending_n)
    _zero(s.pending_sign)
    _zero(s.pending_px)
    s.run = 0
    s.last_trade_ns = 0
    s.last_move_ns = 0
    s.bucket_size = 0.0
    s.bucket_bought = 0.0
    s.bucket_sold = 0.0
    s.volume_at = 0
    for i in range(VOLUME_BUCKETS):
        s.volume_gap[i] = 0.0
        s.volume_sum[i] = 0.0


@njit(cache=True)
def _zero(values: np.ndarray) -> None:
    for i in range(len(values)):
        values[i] = 0
