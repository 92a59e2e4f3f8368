"""The state of the fast features: one flat dtype, and the constants it is stepped by."""

from __future__ import annotations

from decimal import Decimal, localcontext

import numpy as np

from bot4_live.clock import TICK_NS
from bot4_live.features.registry import CAPACITY

RING = 512  # TICKs of mids kept: 5 s and some, a power of two
LEVELS = 5
BUCKET_TICKS = 25  # 250 ms
BUCKETS = 240  # 60 s of Kyle's regression
MIN_BUCKETS = 20


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
RATE_1S, RATE_5S = rate("1"), rate("5")
FLUSH = 1e-30
MAX_BUCKET_LOTS = 1 << 27  # keeps the integer sums of Kyle's regression inside int64

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
    ],
    align=True,
)


def new_state() -> np.ndarray:
    """Return a fresh state: an array of shape (1,) of FEATURE_STATE; kernels take its element `[0]`."""
    return np.zeros(1, FEATURE_STATE)
