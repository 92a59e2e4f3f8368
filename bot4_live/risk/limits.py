"""The risk gate inside `step`: every new order passes `check`, and each refusal is counted under its reason.

Every limit holds in the worst case: all open orders of the side are taken as filled, those that are UNKNOWN or being
cancelled too. Where two caps speak of one thing the smaller wins (position: risk limit and inventory cap; order rate:
settings and the account's BUDGET). Orders that only shrink the position are exempt from the notional and position
caps, never from price and rate rules.

`s` is a numba Record with the fields of engine_state.STATE; the kernels use `params`, `instrument`, `orders`,
`account`, `risk`, `bid`, `ask` (0 while the book is not usable), `mode`, `hold` and `now_ns`.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Any

import numpy as np
from numba import njit

from bot4_live.events import Flag, Mode
from bot4_live.execution.orders import free_row, open_count, open_lots
from bot4_live.instrument import E8
from bot4_live.settings import PARAM_IDS


class Denial(IntEnum):
    """Why an order was refused; `DENIALS` says it in words."""

    PAUSED = 1
    EMERGENCY = 2
    HOLD = 3
    NOT_REDUCING = 4
    NOT_CONFIGURED = 5
    QUOTING_OFF = 6
    NO_BOOK = 7
    MIN_QTY = 8
    MAX_QTY = 9
    MIN_NOTIONAL = 10
    ORDER_NOTIONAL = 11
    POSITION_NOTIONAL = 12
    PRICE_COLLAR = 13
    WOULD_CROSS = 14
    OPEN_ORDERS = 15
    ORDER_RATE = 16
    TABLE_FULL = 17


# In the order in which they are checked.
DENIALS: dict[Denial, str] = {
    Denial.EMERGENCY: "mode EMERGENCY lets nothing but cancels out of the engine",
    Denial.PAUSED: "mode PAUSE opens nothing; only reduce-only orders that shrink the position pass",
    Denial.HOLD: "HOLD is on (not reconciled); only reduce-only orders that shrink the position pass",
    Denial.NOT_REDUCING: "mode REDUCE or the reduce-only flag, and the order could do more than shrink the position",
    Denial.NOT_CONFIGURED: "no INSTRUMENT or no PARAMS event has come yet, or no order epoch (SESSION)",
    Denial.QUOTING_OFF: "the setting `quoting` is 0: compute, but send nothing",
    Denial.NO_BOOK: "the book is stale, empty or crossed, so no price can be judged",
    Denial.MIN_QTY: "below the instrument's smallest quantity (or not above 0)",
    Denial.MAX_QTY: "above the instrument's largest quantity",
    Denial.MIN_NOTIONAL: "below the instrument's smallest notional (reduce-only orders are exempt at the venue)",
    Denial.ORDER_NOTIONAL: "above `max_order_notional`",
    Denial.POSITION_NOTIONAL: "position after all open orders of the side would pass `max_position_notional` or "
    "`inventory_cap`",
    Denial.PRICE_COLLAR: "farther from mid than `price_collar`",
    Denial.WOULD_CROSS: "post-only, and the price would cross the best opposite price",
    Denial.OPEN_ORDERS: "`max_open_orders` orders are open",
    Denial.TABLE_FULL: "the order table has no slot left",
    Denial.ORDER_RATE: "the token bucket is empty: `max_orders_per_s`, or the account's BUDGET where that is smaller",
}

N_DENIALS = 32
RISK = np.dtype(
    [
        ("denied", "<i8", (N_DENIALS,)),  # by Denial
        ("tokens", "<f8"),
        ("filled", "<i8"),  # 1 once the bucket was filled
        ("tokens_ns", "<i8"),  # engine time up to which it was filled
        ("budget", "<i8"),  # 1 after a BUDGET event
        ("budget_rate", "<i8"),
        ("budget_burst", "<i8"),
    ]
)

_PAUSE, _EMERGENCY, _REDUCE = int(Mode.PAUSE), int(Mode.EMERGENCY), int(Mode.REDUCE)
_REDUCE_ONLY, _POST_ONLY = int(Flag.REDUCE_ONLY), int(Flag.POST_ONLY)
_D_PAUSED, _D_EMERGENCY, _D_HOLD = int(Denial.PAUSED), int(Denial.EMERGENCY), int(Denial.HOLD)
_D_NOT_REDUCING, _D_NOT_CONFIGURED = int(Denial.NOT_REDUCING), int(Denial.NOT_CONFIGURED)
_D_QUOTING_OFF, _D_NO_BOOK = int(Denial.QUOTING_OFF), int(Denial.NO_BOOK)
_D_MIN_QTY, _D_MAX_QTY, _D_MIN_NOTIONAL = int(Denial.MIN_QTY), int(Denial.MAX_QTY), int(Denial.MIN_NOTIONAL)
_D_ORDER_NOTIONAL, _D_POSITION = int(Denial.ORDER_NOTIONAL), int(Denial.POSITION_NOTIONAL)
_D_PRICE_COLLAR, _D_WOULD_CROSS = int(Denial.PRICE_COLLAR), int(Denial.WOULD_CROSS)
_D_OPEN_ORDERS, _D_ORDER_RATE, _D_TABLE_FULL = int(Denial.OPEN_ORDERS), int(Denial.ORDER_RATE), int(Denial.TABLE_FULL)
_MAX_POSITION, _MAX_ORDER = PARAM_IDS["max_position_notional"], PARAM_IDS["max_order_notional"]
_INVENTORY_CAP, _COLLAR = PARAM_IDS["inventory_cap"], PARAM_IDS["price_collar"]
_MAX_RATE, _MAX_OPEN, _QUOTING = PARAM_IDS["max_orders_per_s"], PARAM_IDS["max_open_orders"], PARAM_IDS["quoting"]


def denial_table() -> str:
    """Return the reasons as a Markdown table (docs/denials.md)."""
    rows = [f"| {reason.value} | `{reason.name}` | {text} |" for reason, text in DENIALS.items()]
    return "\n".join(["| code | reason | an order is refused when |", "|---|---|---|", *rows]) + "\n"


@njit(cache=True)
def position_cap_e8(s: Any) -> float:
    """Return the largest position notional, 1e-8 quote: the smaller of risk limit and inventory cap."""
    return min(s.params[_MAX_POSITION], s.params[_INVENTORY_CAP]) * E8


@njit(cache=True)
def reduces(s: Any, side: int, qty: int) -> bool:
    """Return whether `qty` lots more on `side`, after all open orders of that side, cannot pass through flat."""
    return s.account.position * side < 0 and open_lots(s.orders, side) + qty <= -s.account.position * side


@njit(cache=True)
def _fill_bucket(s: Any) -> None:
    """Add the tokens of the engine time that went by since the last call."""
    r = s.risk
    rate = s.params[_MAX_RATE]
    burst = max(rate, 1.0)
    if r.budget == 1:
        rate = min(rate, float(r.budget_rate))
        burst = min(burst, float(r.budget_burst))
    if r.filled == 0:
        r.filled = 1
        r.tokens = burst
    elif s.now_ns > r.tokens_ns:
        r.tokens += (s.now_ns - r.tokens_ns) * 1e-9 * rate
    r.tokens = min(r.tokens, burst)
    r.tokens_ns = s.now_ns


@njit(cache=True)
def _state_denial(s: Any, side: int, qty: int, flags: int) -> int:
    """Return the first reason that lies in mode, hold and settings; 0 when there is none."""
    if s.mode == _EMERGENCY:
        return _D_EMERGENCY
    shrinks = flags & _REDUCE_ONLY != 0 and reduces(s, side, qty)
    if s.mode == _PAUSE and not shrinks:
        return _D_PAUSED
    if s.hold != 0 and not shrinks:
        return _D_HOLD
    if (s.mode == _REDUCE or flags & _REDUCE_ONLY != 0) and not shrinks:
        return _D_NOT_REDUCING
    if s.instrument.known == 0 or s.params_known == 0 or s.orders.epoch <= 0:
        return _D_NOT_CONFIGURED
    if s.params[_QUOTING] == 0.0:
        return _D_QUOTING_OFF
    return 0


@njit(cache=True)
def _size_denial(s: Any, side: int, price: int, qty: int, flags: int) -> int:
    """Return the first reason that lies in the size; 0 when there is none."""
    if qty < s.instrument.min_qty or qty <= 0:
        return _D_MIN_QTY
    if qty > s.instrument.max_qty:
        return _D_MAX_QTY
    if flags & _REDUCE_ONLY != 0:
        return 0  # `_state_denial` has seen that it shrinks the position
    unit = float(s.instrument.unit_e8)
    notional = float(price) * qty * unit
    if notional < s.instrument.min_notional_e8:
        return _D_MIN_NOTIONAL
    if notional > s.params[_MAX_ORDER] * E8:
        return _D_ORDER_NOTIONAL
    worst = s.account.position * side + open_lots(s.orders, side) + qty
    # Valued at the dearer of the order's price and mid, so that neither a low bid nor a low mid hides it.
    value = max(float(price), 0.5 * (s.bid + s.ask)) * unit
    if worst > 0 and worst * value > position_cap_e8(s):
        return _D_POSITION
    return 0


@njit(cache=True)
def _price_denial(s: Any, side: int, price: int, flags: int) -> int:
    """Return the first reason that lies in the price; 0 when there is none."""
    mid = 0.5 * (s.bid + s.ask)
    if not abs(price - mid) <= s.params[_COLLAR] * mid:
        return _D_PRICE_COLLAR
    if flags & _POST_ONLY != 0 and (price >= s.ask if side > 0 else price <= s.bid):
        return _D_WOULD_CROSS
    return 0


@njit(cache=True)
def _denial(s: Any, side: int, price: int, qty: int, flags: int) -> int:
    reason = _state_denial(s, side, qty, flags)
    if reason != 0:
        return reason
    if s.bid <= 0 or s.ask <= s.bid:
        return _D_NO_BOOK
    reason = _size_denial(s, side, price, qty, flags)
    if reason != 0:
        return reason
    reason = _price_denial(s, side, price, flags)
    if reason != 0:
        return reason
    if open_count(s.orders) >= s.params[_MAX_OPEN]:
        return _D_OPEN_ORDERS
    if free_row(s.orders) < 0:
        return _D_TABLE_FULL
    _fill_bucket(s)
    if s.risk.tokens < 1.0:
        return _D_ORDER_RATE
    s.risk.tokens -= 1.0
    return 0


@njit(cache=True)
def check(s: Any, side: int, price: int, qty: int, flags: int) -> int:
    """Return 0 and take a token when a new order may pass; else count and return the Denial.

    `side` is 1 to buy, -1 to sell; `price` in ticks, `qty` in lots, `flags` of events.Flag.
    """
    reason = _denial(s, side, price, qty, flags)
    if reason != 0:
        s.risk.denied[reason] += 1
    return reason
