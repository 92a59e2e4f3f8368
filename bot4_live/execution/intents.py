"""An operator's INTENT: a change of position asked for by a person, carried out by the ordinary path.

It becomes one IOC order, priced a little through the best opposite price, and passes the risk gate like any other; what
the gate refuses is counted and nothing is sent.
"""

from __future__ import annotations

from typing import Any

from numba import njit

from bot4_live.events import Flag
from bot4_live.execution.commands import new_order
from bot4_live.risk.limits import check

THROUGH_BP = 5  # how far past the best price it may fill, basis points of mid
_IOC = int(Flag.IOC)


@njit(cache=True)
def smallest_lots(s: Any, price: int) -> int:
    """Return the fewest lots that the instrument allows at `price` (ticks)."""
    i = s.instrument
    unit = price * i.unit_e8
    return max(i.min_qty, -(-i.min_notional_e8 // unit) if unit > 0 else 1)


@njit(cache=True)
def on_intent(s: Any, lots: int) -> None:
    """Send one IOC order of `lots` (signed), at least the smallest allowed; nothing for 0."""
    if lots == 0:
        return
    side = 1 if lots > 0 else -1
    slip = (s.mid2 * THROUGH_BP) // (2 * 10_000) + 1
    price = s.ask + slip if side > 0 else s.bid - slip
    qty = max(abs(lots), smallest_lots(s, price))
    if check(s, side, price, qty, _IOC) == 0:
        new_order(s, side, price, qty, _IOC)
