"""Position and money of one account in one instrument, in integers: lots and 1e-8 of the quote currency.

Profit is measured from the start of the journal: `equity = cash + position marked at mid - fees`. Kernels take `a`, a
numba Record of `ACCOUNT`; all zeros is a flat account.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from bot4_live.events import Flag
from bot4_live.instrument import E8

ACCOUNT = np.dtype(
    [
        ("position", "<i8"),  # lots, signed
        ("cash_e8", "<i8"),  # received for sales less paid for purchases
        ("fees_e8", "<i8"),  # paid; rebates are negative
        ("bought", "<i8"),  # lots
        ("sold", "<i8"),
        ("turnover_e8", "<i8"),
        ("truth_ns", "<i8"),  # venue time of the last POSITION that was taken as the truth
        ("venue_position", "<i8"),  # as last reported, whether taken or not
        ("corrections", "<i8"),  # times the truth differed from the sum of fills
        ("covered_fills", "<i8"),  # fills that such a truth already held
        ("wallet_e8", "<i8"),
        ("available_e8", "<i8"),
    ]
)
_SELL = int(Flag.SELL)


@njit(cache=True)
def on_fill(a: Any, h: Any, slots: np.ndarray, unit_e8: int) -> None:
    """Take in a new fill; `unit_e8` is the value of one lot at one tick.

    A fill that happened before the venue's last POSITION is in that position already: it pays its fee only.
    """
    price = slots[0, 0]
    qty = slots[0, 1]
    a.fees_e8 += slots[1, 1]
    a.turnover_e8 += price * qty * unit_e8
    sells = h.flags & _SELL
    if sells:
        a.sold += qty
    else:
        a.bought += qty
    if h.exch_ns != 0 and h.exch_ns <= a.truth_ns:
        a.covered_fills += 1
        return
    if sells:
        a.position -= qty
        a.cash_e8 += price * qty * unit_e8
    else:
        a.position += qty
        a.cash_e8 -= price * qty * unit_e8


@njit(cache=True)
def on_position(a: Any, h: Any, hold: int, lot_e8: int, lot_mark_e8: int) -> None:
    """Take in the venue's position. It is the truth while `hold` is on; otherwise fills are, and it is only noted.

    (A venue sends account update and fill of one trade as two messages: taking both would count it twice.)
    What the truth adds is booked at the venue's entry price, what it removes at `lot_mark_e8` (the last mid value of
    one lot, 0 when never known), so that it makes no profit by itself.
    """
    a.venue_position = h.a
    if hold == 0:
        return
    difference = h.a - a.position
    if difference != 0:
        # entry price of one lot without overflow: e8 price times e8 lot may pass 2**63
        lot_value = (h.b // E8) * lot_e8 + (h.b % E8) * lot_e8 // E8
        if lot_mark_e8 > 0 and abs(h.a) < abs(a.position):
            lot_value = lot_mark_e8
        a.cash_e8 -= difference * lot_value
        a.corrections += 1
        a.position = h.a
    a.truth_ns = max(a.truth_ns, h.c)


@njit(cache=True)
def rescale_lots(a: Any, before_e8: int, lot_e8: int) -> None:
    """Count what is held in lots of another size. What is no whole number of them waits for the venue's POSITION."""
    a.position = a.position * before_e8 // lot_e8
    a.venue_position = a.venue_position * before_e8 // lot_e8
    a.bought = a.bought * before_e8 // lot_e8
    a.sold = a.sold * before_e8 // lot_e8


@njit(cache=True)
def equity_e8(a: Any, mid2: int, unit_e8: int) -> int:
    """Return the profit since the start, marked at mid (`mid2` = bid + ask in ticks) and net of fees."""
    return a.cash_e8 + a.position * mid2 * unit_e8 // 2 - a.fees_e8
