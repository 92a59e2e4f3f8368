"""What steers `step` and how it changes: session, instrument, settings, model swap, slow features, budget."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from bot4_live.engine_state import PARAMS, REQUIRED_PARAMS, SLOW
from bot4_live.events import Kind
from bot4_live.execution.account import rescale_lots
from bot4_live.execution.orders import start_session
from bot4_live.instrument import E8
from bot4_live.kernels import from_bits
from bot4_live.market.book import book_clear
from bot4_live.settings import PARAM_IDS

_INSTRUMENT, _PARAMS, _SWAP = int(Kind.INSTRUMENT), int(Kind.PARAMS), int(Kind.MODEL_SWAP)
_SLOW, _BUDGET = int(Kind.SLOW_FEATURE), int(Kind.BUDGET)
_KNOWN_PARAMS = len(PARAM_IDS)


@njit(cache=True)
def on_session(s: Any, h: Any) -> None:
    """Begin a session: order epoch, clock and shift; HOLD is on until reconciled. The caller voids the book."""
    s.counters.sessions += 1
    s.instrument.chosen = 0  # the first INSTRUMENT names the traded one
    s.shift_ns = h.a
    s.speed_milli = h.b
    s.hold = 1
    s.predicted = 0
    s.prediction = 0.0
    s.quoter.next_ns = s.now_ns
    s.risk.tokens_ns = s.now_ns
    start_session(s.orders, h.c)


@njit(cache=True)
def _on_instrument(s: Any, h: Any, slots: np.ndarray) -> None:
    """Take in an instrument version. Another tick or lot voids the book and rescales what is held: HOLD until
    reconciled. Orders keep the prices they were sent with: whoever says the change has them cancelled before.
    """
    i = s.instrument
    tick = slots[0, 0]
    lot = slots[0, 1]
    if tick <= 0 or lot <= 0 or tick * lot % E8 != 0 or slots[1, 0] > slots[1, 1]:
        s.counters.malformed += 1
        return
    if i.known == 1 and (tick != i.tick_e8 or lot != i.lot_e8 or h.instrument != i.id):
        book_clear(s.book)
        s.hold = 1
        if h.instrument != i.id:
            s.mid2 = 0
        else:  # the position keeps its value until the book is back
            s.mid2 = s.mid2 * i.tick_e8 // tick
            rescale_lots(s.account, i.lot_e8, lot)
    i.known = 1
    i.chosen = 1
    i.id = h.instrument
    i.version = h.inst_version
    i.tick_e8 = tick
    i.lot_e8 = lot
    i.unit_e8 = tick * lot // E8
    i.min_qty = slots[1, 0]
    i.max_qty = slots[1, 1]
    i.min_notional_e8 = slots[2, 0]
    i.maker_fee_e8 = slots[2, 1]
    i.taker_fee_e8 = slots[3, 0]


@njit(cache=True)
def _on_params(s: Any, slots: np.ndarray) -> None:
    """Take in settings; ids that this source does not know are counted and left out."""
    for k in range(slots.shape[0]):
        value = from_bits(slots[k, 1])
        if 0 <= slots[k, 0] < min(_KNOWN_PARAMS, PARAMS) and -np.inf < value < np.inf:
            s.params[slots[k, 0]] = value
            s.params_mask |= 1 << slots[k, 0]
        else:
            s.counters.unknown_params += 1
    s.params_known = 1 if s.params_mask & REQUIRED_PARAMS == REQUIRED_PARAMS else 0


@njit(cache=True)
def _on_swap(s: Any, h: Any, slots: np.ndarray) -> None:
    """Switch to the model in slot `a`, when it holds the named bundle; without it there is no forecast."""
    s.predicted = 0
    s.prediction = 0.0
    s.model = -1
    s.model_use = 0
    s.model_version = h.b
    slot = h.a
    if not 0 <= slot < s.digest.shape[0]:
        s.counters.malformed += 1
        return
    for k in range(4):
        if s.digest[slot, k] != slots[k >> 1, k & 1]:
            s.counters.model_missing += 1
            return
    s.model = slot
    s.model_use = 1 if h.c != 0 else 0


@njit(cache=True)
def _on_slow(s: Any, h: Any, slots: np.ndarray) -> None:
    """Take in a slow value; an older one than the known changes nothing, nor does what is not a number."""
    value = from_bits(slots[0, 1])
    if not 0 <= h.a < SLOW:
        s.counters.malformed += 1
        return
    v = s.slow[h.a]
    older = v.known == 1 and (slots[0, 0] < v.event_ns or (slots[0, 0] == v.event_ns and h.b < v.created_ns))
    if older or not -np.inf < value < np.inf:
        s.counters.slow_refused += 1
        return
    v.known = 1
    v.event_ns = slots[0, 0]
    v.created_ns = h.b
    v.value = value


@njit(cache=True)
def on_config(s: Any, h: Any, slots: np.ndarray) -> None:
    """Take in a configuration event (INSTRUMENT, PARAMS, MODEL_SWAP, SLOW_FEATURE, BUDGET)."""
    kind = h.kind
    if kind == _INSTRUMENT:
        _on_instrument(s, h, slots)
    elif kind == _PARAMS:
        _on_params(s, slots)
    elif kind == _SWAP:
        _on_swap(s, h, slots)
    elif kind == _SLOW:
        _on_slow(s, h, slots)
    elif kind == _BUDGET:
        s.risk.budget = 1
        s.risk.budget_rate = h.a
        s.risk.budget_burst = h.b
