"""A change of tick or filters in the middle of a session, as venues announce and do it."""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from decimal import Decimal
from typing import Any

from bot4_live.instrument import Instrument, to_e8
from bot4_live.simulation.accounts import Account
from bot4_live.simulation.ladder import Ladder
from bot4_live.simulation.market_book import MarketBook
from bot4_live.simulation.orders import Order

FIELDS = ("tick", "min_notional", "min_qty", "max_qty")


def read_change(values: Any, now: Instrument) -> Instrument:
    """Return the instrument's next version: any of `tick`, `min_notional`, `min_qty`, `max_qty`, as text.

    The tick can only become finer, a whole part of the one in force: then every price known is one of the new ones.
    Raises ValueError.
    """
    if not isinstance(values, dict) or not values or not set(values) <= set(FIELDS):
        raise ValueError(f"expected a JSON object with any of {', '.join(FIELDS)}")
    for name, value in values.items():
        if not isinstance(value, str):
            raise ValueError(f'{name} must be text, e.g. "0.01", not {value!r}')
    try:
        new = {name: to_e8(value) for name, value in values.items()}
    except ArithmeticError:
        raise ValueError(f"not a number among {values!r}") from None
    if min(new.values()) <= 0:
        raise ValueError("tick and filters must be more than 0")
    tick = new.get("tick", now.tick_e8)
    if now.tick_e8 % tick:
        raise ValueError(f"tick {values['tick']} does not divide the one in force, {now.price(1)}")
    changed = replace(
        now,
        version=now.version + 1,
        tick_e8=tick,
        price_digits=max(now.price_digits, _decimals(tick)),
        min_notional_e8=new.get("min_notional", now.min_notional_e8),
        min_qty=new.get("min_qty", now.min_qty * now.lot_e8) // now.lot_e8,
        max_qty=new.get("max_qty", now.max_qty * now.lot_e8) // now.lot_e8,
    )
    if not 0 < changed.min_qty <= changed.max_qty:
        raise ValueError("min_qty must be at least one lot and not above max_qty")
    changed.unit_e8  # noqa: B018 - raises for a tick too fine to count money in 1e-8
    return changed


def _decimals(tick_e8: int) -> int:
    exponent = (Decimal(tick_e8).scaleb(-8)).normalize().as_tuple().exponent
    return max(0, -int(exponent))


def rescale_book(book: MarketBook, times: int) -> None:
    """Count a book's prices in ticks that are `times` as fine."""
    for ladder in (book.bids, book.asks):
        _rescale_ladder(ladder, times)
    bid, bid_qty, ask, ask_qty = book.quote
    book.quote = bid * times, bid_qty, ask * times, ask_qty


def _rescale_ladder(ladder: Ladder, times: int) -> None:
    ladder.prices = [price * times for price in ladder.prices]
    ladder.qty = {price * times: qty for price, qty in ladder.qty.items()}


def rescale_order(order: Order, times: int) -> None:
    """Count an order's price and value in finer ticks."""
    order.price *= times
    order.value *= times


def rescale_account(account: Account, instrument: Instrument, times: int) -> None:
    """Count an account's position and past trades in finer ticks; money stays what it is."""
    account.instrument = instrument
    account.cost *= times
    account.trades = deque((replace(t, price=t.price * times) for t in account.trades), maxlen=account.trades.maxlen)
