"""A level-3 book: every resting order by its id, in the order of its queue; price levels are derived from it.

Priority is price, then time: an order that is added, moved to another price, or made larger stands last in its level's
queue; one that is made smaller keeps its place. What a place in the queue is worth is for others to say; here it is
exact: how many orders and lots are ahead.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple


class Order(NamedTuple):
    """A resting order. `sign` is 1 for bids, -1 for asks; price in ticks, qty in lots."""

    id: str
    sign: int
    price: int
    qty: int


class Place(NamedTuple):
    """Where an order stands in its level's queue: what is ahead of it, and all that is there, itself included."""

    orders_ahead: int
    lots_ahead: int
    orders: int
    lots: int


class PriceLevel(NamedTuple):
    """What rests at one price."""

    price: int
    lots: int
    orders: int


@dataclass(eq=False)
class _Queue:
    """The orders of one price, first in line first (a dict keeps the order of insertion), and their lots."""

    orders: dict[str, Order]
    lots: int = 0


class _Side:
    def __init__(self, sign: int) -> None:
        self.sign = sign
        self.keys: list[int] = []  # -price for bids, price for asks: ascending is best first
        self.queues: dict[int, _Queue] = {}

    def queue(self, price: int) -> _Queue:
        key = -self.sign * price
        queue = self.queues.get(key)
        if queue is None:
            queue = self.queues[key] = _Queue({})
            insort(self.keys, key)
        return queue

    def leave(self, order: Order) -> None:
        key = -self.sign * order.price
        queue = self.queues[key]
        del queue.orders[order.id]
        queue.lots -= order.qty
        if not queue.orders:
            del self.queues[key]
            del self.keys[bisect_left(self.keys, key)]


class OrdersBook:
    """Orders of one instrument. Methods that change it return False, and change nothing, where it contradicts them."""

    def __init__(self) -> None:
        """Begin empty."""
        self._orders: dict[str, Order] = {}
        self._sides = {1: _Side(1), -1: _Side(-1)}

    def __len__(self) -> int:
        """Return the number of orders."""
        return len(self._orders)

    def __contains__(self, order_id: str) -> bool:
        """Return whether an order rests here."""
        return order_id in self._orders

    def clear(self) -> None:
        """Remove all orders."""
        self._orders.clear()
        self._sides = {1: _Side(1), -1: _Side(-1)}

    def get(self, order_id: str) -> Order | None:
        """Return a resting order, None when it is not here."""
        return self._orders.get(order_id)

    def add(self, order: Order) -> bool:
        """Put an order last in the queue of its price; False for an id that is here, and for no lots or no price."""
        if order.id in self._orders or order.qty <= 0 or order.price <= 0:
            return False
        queue = self._sides[order.sign].queue(order.price)
        queue.orders[order.id] = order
        queue.lots += order.qty
        self._orders[order.id] = order
        return True

    def remove(self, order_id: str) -> bool:
        """Take an order out; False when it is not here."""
        order = self._orders.pop(order_id, None)
        if order is None:
            return False
        self._sides[order.sign].leave(order)
        return True

    def resize(self, order_id: str, qty: int) -> bool:
        """Set what is left of an order. Smaller keeps its place, larger goes last, 0 removes; False when not here."""
        order = self._orders.get(order_id)
        if order is None:
            return False
        if qty <= 0 or qty > order.qty:
            self.remove(order_id)
            return qty <= 0 or self.add(order._replace(qty=qty))
        queue = self._sides[order.sign].queue(order.price)
        queue.lots += qty - order.qty
        queue.orders[order_id] = self._orders[order_id] = order._replace(qty=qty)
        return True

    def move(self, order: Order) -> bool:
        """Give an order that is here another price: it stands last there. False when it is not here."""
        return order.price > 0 and order.qty > 0 and self.remove(order.id) and self.add(order)

    def place(self, order_id: str) -> Place | None:
        """Return where an order stands, None when it is not here. Costs a walk over those ahead of it."""
        order = self._orders.get(order_id)
        if order is None:
            return None
        queue = self._sides[order.sign].queue(order.price)
        ahead = lots = 0
        for other in queue.orders.values():
            if other.id == order_id:
                break
            ahead += 1
            lots += other.qty
        return Place(ahead, lots, len(queue.orders), queue.lots)

    def queue(self, sign: int, price: int) -> list[Order]:
        """Return the orders at a price, first in line first."""
        queue = self._sides[sign].queues.get(-sign * price)
        return list(queue.orders.values()) if queue is not None else []

    def lots(self, sign: int, price: int) -> int:
        """Return the lots at a price."""
        queue = self._sides[sign].queues.get(-sign * price)
        return queue.lots if queue is not None else 0

    def levels(self, sign: int, n: int | None = None) -> list[PriceLevel]:
        """Return up to `n` levels of a side, all without, best first."""
        side = self._sides[sign]
        found = ((key, side.queues[key]) for key in side.keys[:n])
        return [PriceLevel(-sign * key, queue.lots, len(queue.orders)) for key, queue in found]

    def best(self, sign: int) -> int:
        """Return the best price of a side, 0 when it is empty."""
        keys = self._sides[sign].keys
        return -sign * keys[0] if keys else 0

    def head(self, sign: int) -> Order | None:
        """Return the order that is next to be filled on a side, None when it is empty."""
        return next(self.orders(sign), None)

    def orders(self, sign: int, levels: int | None = None) -> Iterator[Order]:
        """Yield the orders of a side by priority, those of its best `levels` prices only when given."""
        side = self._sides[sign]
        for key in islice(side.keys, levels):
            yield from side.queues[key].orders.values()

    def cut(self, depth: int) -> None:
        """Keep the `depth` best prices of each side."""
        for side in self._sides.values():
            for key in side.keys[depth:]:
                for order_id in side.queues.pop(key).orders:
                    del self._orders[order_id]
            del side.keys[depth:]
