"""Everything the engine knows, as one flat dtype: a snapshot of it is a copy of its bytes.

All zeros is the state before the first event: no book, no instrument, no settings; `Engine` starts it with HOLD on
and mode PAUSE, so that nothing can leave before events say so.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache

import numpy as np

from bot4_live.events import HEADER_SIZE, SLOT_SIZE, Mode
from bot4_live.execution.account import ACCOUNT
from bot4_live.execution.orders import CAPACITY, ORDERS
from bot4_live.features.kernels import FEATURE_STATE
from bot4_live.features.registry import layout_hash as feature_layout_hash
from bot4_live.market.book import BOOK
from bot4_live.models.layout import MODEL
from bot4_live.risk.limits import RISK
from bot4_live.settings import PARAM_IDS

MODEL_SLOTS = 2
PARAMS = 32
SLOW = 16
NEW_BYTES = HEADER_SIZE + SLOT_SIZE
OUT_BYTES = (CAPACITY + 8) * NEW_BYTES  # one event: at most a cancel for every order, a cancel-all and the new quotes
REQUIRED_PARAMS = (1 << 17) - 1  # ids 0 to 16: without each of them nothing is quoted; later ids have defaults
DEFAULT_SLOW_TTL_S = 7_200.0

INSTRUMENT = np.dtype(
    [
        ("known", "<i8"),
        ("id", "<i8"),
        ("version", "<i8"),
        ("tick_e8", "<i8"),
        ("lot_e8", "<i8"),
        ("unit_e8", "<i8"),  # value of one lot at one tick
        ("min_qty", "<i8"),
        ("max_qty", "<i8"),
        ("min_notional_e8", "<i8"),
        ("maker_fee_e8", "<i8"),
        ("taker_fee_e8", "<i8"),
        ("chosen", "<i8"),  # 1 once the session's first INSTRUMENT has come: that one is traded, others are watched
    ]
)
SLOW_VALUE = np.dtype([("known", "<i8"), ("event_ns", "<i8"), ("created_ns", "<i8"), ("value", "<f8")])
QUOTER = np.dtype(
    [
        ("next_ns", "<i8"),  # engine time of the next evaluation
        # the last evaluation; rows: bid, ask; price 0 = no quote wanted
        ("price", "<i8", (2,)),
        ("qty", "<i8", (2,)),
        ("flags", "<i8", (2,)),
        ("reservation", "<f8"),  # ticks
        ("half_spread", "<f8"),  # fraction of mid
        ("inventory", "<f8"),  # position / cap
        ("sigma", "<f8"),  # as used
        ("intensity_k", "<f8"),  # as used
    ]
)
COUNTERS = np.dtype(
    [
        (name, "<i8")
        for name in (
            "events",  # records taken in
            "market_events",
            "ticks",
            "decisions",  # evaluations of the strategy
            "predictions",
            "orders",  # CMD_NEW
            "cancels",  # CMD_CANCEL and CMD_CANCEL_ALL
            "fills",  # distinct
            "invalid",  # flagged by the feed, skipped
            "malformed",  # too short for their kind, or values out of range; skipped
            "unknown_kind",
            "unknown_instrument",  # of an instrument version that is not the current one; skipped
            "seq_gaps",
            "seq_repeats",  # skipped
            "time_backwards",  # receive time before the one before; the later one holds
            "sessions",
            "model_missing",  # MODEL_SWAP to a slot that does not hold that bundle: the baseline is used
            "unknown_params",
            "slow_refused",  # slow values older than the one known, or not a number
            "watched",  # of instruments that are followed but not traded; passed over
        )
    ]
)

STATE = np.dtype(
    [
        ("counters", COUNTERS),
        ("started", "<i8"),  # 1 after the first event
        ("last_seq", "<i8"),
        ("now_ns", "<i8"),  # engine clock: receive time of the last event
        ("mode", "<i8"),
        ("hold", "<i8"),
        ("shift_ns", "<i8"),
        ("speed_milli", "<i8"),
        ("clock_error_ns", "<i8"),
        ("bid", "<i8"),  # best prices while the book is usable, else 0
        ("ask", "<i8"),
        ("mid2", "<i8"),  # last known bid + ask
        ("model", "<i8"),  # slot in use, -1 = none
        ("model_use", "<i8"),  # 1 = the forecast skews quotes
        ("model_version", "<i8"),
        ("predicted", "<i8"),  # 1 = `prediction` belongs to the last market event
        ("prediction", "<f8"),  # bp
        ("params_known", "<i8"),  # 1 once every setting of the first schema has come
        ("params_mask", "<i8"),  # bit by param id
        ("params", "<f8", (PARAMS,)),
        ("slow", SLOW_VALUE, (SLOW,)),
        ("instrument", INSTRUMENT),
        ("account", ACCOUNT),
        ("risk", RISK),
        ("quoter", QUOTER),
        ("orders", ORDERS),
        ("digest", "<i8", (MODEL_SLOTS, 4)),  # sha256 of the bundle in each slot
        ("out_len", "<i8"),  # bytes of commands the last event caused
        ("out_count", "<i8"),
        ("out", "<i8", (OUT_BYTES // 8,)),
        ("features", FEATURE_STATE),
        ("book", BOOK),
        ("models", MODEL, (MODEL_SLOTS,)),
    ],
    align=True,
)


def new_state() -> np.ndarray:
    """Return the state before the first event: an array of shape (1,) of STATE."""
    state = np.zeros(1, STATE)
    state["hold"] = 1
    state["mode"] = Mode.PAUSE
    state["model"] = -1
    state["params"][0, PARAM_IDS["slow_ttl_s"]] = DEFAULT_SLOW_TTL_S
    return state


def _describe(dtype: np.dtype) -> str:
    if dtype.subdtype is not None:
        base, shape = dtype.subdtype
        return f"{shape}{_describe(base)}"
    if dtype.fields is None:
        return dtype.str
    fields = (f"{name}@{offset}:{_describe(kind)}" for name, (kind, offset, *_) in dtype.fields.items())
    return f"{{{','.join(fields)};{dtype.itemsize}}}"


@lru_cache(maxsize=1)
def layout_hash() -> str:
    """Return the sha256 (hex) of the state's layout, the meaning of its feature vector included."""
    return hashlib.sha256(f"{_describe(STATE)}{feature_layout_hash()}".encode()).hexdigest()
