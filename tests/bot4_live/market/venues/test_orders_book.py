"""The level-3 book against one plain list of orders."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from bot4_live.market.venues.orders_book import Order, OrdersBook, Place, PriceLevel

IDS = st.sampled_from([f"o{i}" for i in range(12)])
SIGNS = st.sampled_from([1, -1])
PRICES = st.integers(0, 6)
LOTS = st.integers(0, 9)


class AgainstAList(RuleBasedStateMachine):
    """`self.line` holds all orders; whoever queues up anew goes to its end."""

    def __init__(self) -> None:
        super().__init__()
        self.book = OrdersBook()
        self.line: list[Order] = []

    def known(self, order_id: str) -> Order | None:
        return next((order for order in self.line if order.id == order_id), None)

    @rule(order_id=IDS, sign=SIGNS, price=PRICES, qty=LOTS)
    def add(self, order_id: str, sign: int, price: int, qty: int) -> None:
        order = Order(order_id, sign, price, qty)
        fits = self.known(order_id) is None and price > 0 and qty > 0
        assert self.book.add(order) == fits
        if fits:
            self.line.append(order)

    @rule(order_id=IDS)
    def remove(self, order_id: str) -> None:
        order = self.known(order_id)
        assert self.book.remove(order_id) == (order is not None)
        if order is not None:
            self.line.remove(order)

    @rule(order_id=IDS, qty=LOTS)
    def resize(self, order_id: str, qty: int) -> None:
        order = self.known(order_id)
        assert self.book.resize(order_id, qty) == (order is not None)
        if order is None:
            return
        at = self.line.index(order)
        if qty == 0 or qty > order.qty:
            self.line.remove(order)
        if qty > order.qty:
            self.line.append(order._replace(qty=qty))
        elif qty:
            self.line[at] = order._replace(qty=qty)

    @rule(order_id=IDS, price=PRICES, qty=LOTS)
    def move(self, order_id: str, price: int, qty: int) -> None:
        order = self.known(order_id)
        moved = Order(order_id, order.sign if order else 1, price, qty)
        fits = order is not None and price > 0 and qty > 0
        assert self.book.move(moved) == fits
        if order is not None and fits:
            self.line.remove(order)
            self.line.append(moved)

    @rule(depth=st.integers(1, 5))
    def cut(self, depth: int) -> None:
        self.book.cut(depth)
        best = {
            sign: sorted({o.price for o in self.line if o.sign == sign}, key=lambda p: -sign * p)[:depth]
            for sign in (1, -1)
        }
        self.line = [order for order in self.line if order.price in best[order.sign]]

    @rule()
    def clear(self) -> None:
        self.book.clear()
        self.line = []

    @invariant()
    def same(self) -> None:
        assert len(self.book) == len(self.line)
        for sign in (1, -1):
            prices = sorted({o.price for o in self.line if o.sign == sign}, key=lambda p: -sign * p)
            queues = {p: [o for o in self.line if (o.sign, o.price) == (sign, p)] for p in prices}
            assert self.book.levels(sign) == [PriceLevel(p, sum(o.qty for o in q), len(q)) for p, q in queues.items()]
            assert self.book.levels(sign, 2) == self.book.levels(sign)[:2]
            assert self.book.best(sign) == (prices[0] if prices else 0)
            assert list(self.book.orders(sign)) == [o for q in queues.values() for o in q]
            assert list(self.book.orders(sign, 1)) == (queues[prices[0]] if prices else [])
            assert self.book.head(sign) == (queues[prices[0]][0] if prices else None)
            for price in range(7):
                assert self.book.queue(sign, price) == queues.get(price, [])
                assert self.book.lots(sign, price) == sum(o.qty for o in queues.get(price, []))
            for queue in queues.values():
                for n, order in enumerate(queue):
                    ahead, lots = sum(o.qty for o in queue[:n]), sum(o.qty for o in queue)
                    assert self.book.place(order.id) == Place(n, ahead, len(queue), lots)
        for n in range(12):
            order = self.known(f"o{n}")
            assert self.book.get(f"o{n}") == order
            assert (f"o{n}" in self.book) == (order is not None)
            if order is None:
                assert self.book.place(f"o{n}") is None


AgainstAList.TestCase.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)
test_an_orders_book_is_one_plain_list = AgainstAList.TestCase
