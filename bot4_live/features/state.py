"""The state of the fast features: one flat dtype, and the constants it is stepped by."""

from __future__ import annotations

from decimal import Decimal, localcontext

import numpy as np

from bot4_live.clock import TICK_NS
from bot4_live.features.registry import CAPACITY

RING = 512  # TICKs of mids kept: 5 s and some, a power of two
LEVELS = 10
MULTI = 5  # levels of the multi-level order flow imbalance
BUCKET_TICKS = 25  # 250 ms
BUCKETS = 240  # 60 s of Kyle's regression
MIN_BUCKETS = 20
BAR_TICKS = 100  # the shorter bars; the longer are 5 of them
BARS = 64  # bars kept, a power of two above the longest window
WINDOW_BARS = 60
REALISED_TICKS = 100  # a realised spread looks 1 s ahead of its trade
PENDING = 128  # TICKs of trades that wait for it, a power of two
VOLUME_BUCKETS = 50
BUCKET_TRADES = 20.0  # mean trades of notional in a volume bucket
LARGE = 5.0  # a large print is that many mean trades, a wall that many mean levels
WALL_LEVELS = 50
MIN_WALL_LEVELS = 10
WALL_TICKS = 10  # walls are looked for every 100 ms
MOST_S = 60.0  # times are capped there
FASTEST_STEP, SLOWEST_STEP = 0.5, 0.05  # of the running quantiles of print sizes, by the number of prints


def decay(half_life_s: str) -> float:
    """Return 2**(-10 ms / half-life), rounded once from decimals: the same bits on every machine."""
    with localcontext() as context:
        context.prec = 40
        exponent = Decimal(TICK_NS) / Decimal(10**9) / Decimal(half_life_s)
        return float((-exponent * Decimal(2).ln()).exp())


def rate(half_life_s: str) -> float:
    """Return what turns a decayed count into events a second: (1 - decay) / 10 ms."""
    return (1.0 - decay(half_life_s)) * 1e9 / TICK_NS


DECAY_1S, DECAY_5S, DECAY_10S = decay("1"), decay("5"), decay("10")
DECAY_BUCKET = decay("0.4")  # volatility: half-life 10 s, stepped once a bucket of 25 TICKs
DECAY_250MS, DECAY_60S = decay("0.25"), decay("60")
DECAY_LOOK = decay("1")  # half-life 10 s, stepped once a look of 10 TICKs
RATE_250MS, RATE_1S, RATE_5S, RATE_10S = rate("0.25"), rate("1"), rate("5"), rate("10")
FLUSH = 1e-30
MAX_BUCKET_LOTS = 1 << 27  # keeps the integer sums of Kyle's regression inside int64

# Bars of one length. Prices are doubled mids (mid2); ring places are the bar's number modulo BARS.
BAR_STATE = np.dtype(
    [
        ("n", "<i8"),  # bars of the history, 0 after it was broken
        ("open", "<i8"),  # of the running bar; 0 while no mid was seen
        ("high", "<i8"),
        ("low", "<i8"),
        ("lots", "<i8"),
        ("value", "<f8"),  # ticks * lots traded
        ("opens", "<i8", (BARS,)),
        ("highs", "<i8", (BARS,)),
        ("lows", "<i8", (BARS,)),
        ("closes", "<i8", (BARS,)),
        ("volumes", "<i8", (BARS,)),
        ("values", "<f8", (BARS,)),
        ("spreads", "<i8", (BARS,)),
        ("sorted", "<i8", (BARS,)),  # scratch of the median
        ("ema_12", "<f8"),
        ("ema_26", "<f8"),
        ("ema_60", "<f8"),
        ("signal", "<f8"),
        ("gain", "<f8"),
        ("loss", "<f8"),
        ("range", "<f8"),
        ("median", "<f8"),  # of the spreads, 0 before the first bar
    ],
    align=True,
)

# Trades and order flow: decayed sums and what waits for a later mid.
FLOW_STATE = np.dtype(
    [
        ("flow_250ms", "<f8"),
        ("trades_250ms", "<f8"),
        ("ofi_250ms", "<f8"),
        ("ofi_5_1s", "<f8"),
        ("large_10s", "<f8"),
        ("lots_10s", "<f8"),
        ("removed_bid", "<f8"),  # lots that left the best bid, decayed
        ("removed_ask", "<f8"),
        ("effective", "<f8"),
        ("effective_n", "<f8"),
        ("realised", "<f8"),
        ("realised_n", "<f8"),
        ("pending_n", "<i8", (PENDING,)),  # trades by TICK, and their sums of sign and sign * price
        ("pending_sign", "<i8", (PENDING,)),
        ("pending_px", "<i8", (PENDING,)),
        ("run", "<i8"),
        ("last_trade_ns", "<i8"),  # 0 = none yet
        ("last_move_ns", "<i8"),
        ("bucket_size", "<f8"),  # notional that ends the running volume bucket, 0 = none began
        ("bucket_bought", "<f8"),
        ("bucket_sold", "<f8"),
        ("volume_at", "<i8"),  # next place in the rings of volume buckets
        ("volume_gap", "<f8", (VOLUME_BUCKETS,)),  # |buys - sells|
        ("volume_sum", "<f8", (VOLUME_BUCKETS,)),
    ],
    align=True,
)

# What lies behind the best price of a side: kept, because a best quote changes only the size in front of it.
SIDE_STATE = np.dtype(
    [
        ("lots_3", "<i8"),  # of the levels 2 .. 3, 2 .. 5, 2 .. 10
        ("lots_5", "<i8"),
        ("lots_10", "<i8"),
        ("value_5", "<i8"),  # sum of (price - best) * lots of the levels 2 .. 5
        ("squares", "<f8"),  # sum of lots^2 of the levels 2 .. 10
        ("weighted", "<f8"),  # sum of lots / (distance from mid in half ticks) of the same
        ("last_px", "<i8"),
    ],
    align=True,
)

WALL_STATE = np.dtype(
    [
        ("px", "<i8"),  # the wall at the last look, 0 = none
        ("qty", "<i8"),
        ("reach", "<i8"),  # how far trades and the best price came towards it since then
        ("withdrawn", "<f8"),  # notional, decayed
    ],
    align=True,
)

# An order of no size that joined the best price of a side when that became the best, or when the one before it filled.
QUEUE_STATE = np.dtype(
    [
        ("px", "<i8"),  # where it rests, 0 = nowhere
        ("traded", "<i8"),  # lots traded there since the last TICK that the best size does not show yet
        ("ahead", "<f8"),  # lots before it
        ("left", "<f8"),  # times the best price moved away from such an order, decayed
    ],
    align=True,
)

PRINT_STATE = np.dtype(
    [
        ("n", "<i8"),  # prints the quantiles have seen
        ("q50", "<f8"),  # running quantiles of notional, 0 before the first print
        ("q95", "<f8"),
        ("flow", "<f8"),  # buys - sells of prints from q95 on, decayed
        ("excess", "<f8"),  # sum of notional / q95 of those prints, decayed, and their number
        ("excess_n", "<f8"),
        ("count", "<i8"),  # prints since the last look
        ("weight", "<f8"),  # of the looks, and the sums of counts and their squares, decayed
        ("counts", "<f8"),
        ("squares", "<f8"),
    ],
    align=True,
)

FEATURE_STATE = np.dtype(
    [
        ("x", "<f8", (CAPACITY,)),
        ("valid", "<i8"),
        ("now_ns", "<i8"),  # receive time of the last event taken in
        ("grid", "<i8"),  # last TICK, counted in 10 ms
        ("instrument", "<i8"),
        ("tick", "<f8"),  # quote currency of one tick, 0 before INSTRUMENT
        ("lot", "<f8"),  # base currency of one lot
        ("mid2", "<i8"),  # best bid + best ask in ticks, 0 while the book is not usable
        ("bid_px", "<i8"),
        ("bid_qty", "<i8"),
        ("ask_px", "<i8"),
        ("ask_qty", "<i8"),
        ("ring", "<i8", (RING,)),  # mid2 at each TICK, 0 where there was none
        ("flow_1s", "<f8"),
        ("flow_10s", "<f8"),
        ("trades_5s", "<f8"),
        ("trades_10s", "<f8"),
        ("notional_10s", "<f8"),
        ("ofi_1s", "<f8"),
        ("quotes_1s", "<f8"),
        ("bucket_mid2", "<i8"),  # mid2 when the running bucket began, 0 = the bucket does not count
        ("bucket_lots", "<i8"),  # net aggressor lots in it
        ("var_sum", "<f8"),
        ("var_weight", "<f8"),
        ("bucket_at", "<i8"),  # next place in the ring of buckets
        ("bucket_n", "<i8"),  # partial sums of the buckets in the window
        ("sx", "<i8"),
        ("sy", "<i8"),
        ("sxx", "<i8"),
        ("sxy", "<i8"),
        ("bucket_x", "<i8", (BUCKETS,)),
        ("bucket_y", "<i8", (BUCKETS,)),
        ("bucket_used", "<i8", (BUCKETS,)),
        ("n_bids", "<i8"),
        ("n_asks", "<i8"),
        ("bids", "<i8", (LEVELS, 2)),  # the best levels as (price, lots)
        ("asks", "<i8", (LEVELS, 2)),
        ("n_old_bids", "<i8"),  # the same before the last change, for the order flow of each level
        ("n_old_asks", "<i8"),
        ("old_bids", "<i8", (LEVELS, 2)),
        ("old_asks", "<i8", (LEVELS, 2)),
        ("bid_side", SIDE_STATE),
        ("ask_side", SIDE_STATE),
        ("flow", FLOW_STATE),
        ("bars_1s", BAR_STATE),
        ("bars_5s", BAR_STATE),
        ("bid_wall", WALL_STATE),
        ("ask_wall", WALL_STATE),
        ("bid_queue", QUEUE_STATE),
        ("ask_queue", QUEUE_STATE),
        ("prints", PRINT_STATE),
        ("deep", "<i8", (WALL_LEVELS, 2)),  # scratch of the search for walls
    ],
    align=True,
)


def new_state() -> np.ndarray:
    """Return a fresh state: an array of shape (1,) of FEATURE_STATE; kernels take its element `[0]`."""
    return np.zeros(1, FEATURE_STATE)
