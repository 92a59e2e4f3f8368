"""The simulated exchange without its wire: accounts, orders, matching, countdowns, and what users are told."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from bot4_live.clock import MS
from bot4_live.instrument import Instrument
from bot4_live.simulation import payloads
from bot4_live.simulation.accounts import Account, AccountTrade
from bot4_live.simulation.errors import error
from bot4_live.simulation.frames import TRADE, Update
from bot4_live.simulation.instrument_change import rescale_account, rescale_book, rescale_order
from bot4_live.simulation.market_book import MarketBook
from bot4_live.simulation.matching import Matching
from bot4_live.simulation.order_request import OrderRequest, check_filters
from bot4_live.simulation.orders import Order

KEPT_ORDERS = 50_000  # closed orders that queries still find


@dataclass
class _Session:
    """What is kept of one account beside its money."""

    open: dict[int, Order] = field(default_factory=dict)
    orders: OrderedDict[int, Order] = field(default_factory=OrderedDict)
    by_client: dict[str, int] = field(default_factory=dict)
    countdown_ns: int | None = None


class Venue:
    """One instrument, several accounts. Times are exchange time in ns; `outbox` collects (account, user event)."""

    def __init__(self, instrument: Instrument, book: MarketBook, accounts: dict[str, Account], first_id: int) -> None:
        """Open for trading. `first_id` begins order and trade ids: one start must not repeat another's."""
        self.instrument = instrument
        self.book = book
        self.accounts = accounts
        self.matching = Matching(book, self._room, self._fill)
        self.outbox: deque[tuple[str, dict[str, Any]]] = deque()
        self.recent_trades: deque[dict[str, Any]] = deque(maxlen=1000)
        self.now_ns = 0
        self._sessions = {name: _Session() for name in accounts}
        self._last_order = first_id
        self._last_trade = first_id

    @property
    def now_ms(self) -> int:
        """Return exchange time in ms."""
        return self.now_ns // MS

    # The market.

    def on_market(self, update: Update, now_ns: int) -> None:
        """Take in one market message; countdowns due before it come first."""
        self.advance(now_ns)
        if update.kind == TRADE:
            self.recent_trades.append(payloads.public_trade(self.instrument, update, self.now_ms))
            if self.matching.resting:
                self.matching.on_trade(update.price, update.qty, sells=update.sells, now_ns=now_ns)
        else:
            self.book.apply(update)
            if self.matching.resting:
                self.matching.on_book(now_ns)

    def advance(self, now_ns: int) -> None:
        """Move exchange time on and let due countdowns cancel. Time never goes back."""
        while (due := self.next_due_ns()) is not None and due <= now_ns:
            self.now_ns = max(self.now_ns, due)
            for name, session in self._sessions.items():
                if session.countdown_ns is not None and session.countdown_ns <= due:
                    session.countdown_ns = None
                    self.cancel_all(name)
        self.now_ns = max(self.now_ns, now_ns)

    def next_due_ns(self) -> int | None:
        """Return when the next countdown ends, None without one."""
        return min((s.countdown_ns for s in self._sessions.values() if s.countdown_ns is not None), default=None)

    def set_countdown(self, account: str, ms: int) -> None:
        """Cancel all of an account's orders in `ms` of exchange time unless called again; 0 stops it."""
        self._sessions[account].countdown_ns = self.now_ns + ms * MS if ms > 0 else None

    def set_instrument(self, instrument: Instrument) -> None:
        """Go on under a later version of the instrument, whose tick divides the one in force."""
        times = self.instrument.tick_e8 // instrument.tick_e8
        rescale_book(self.book, times)
        self.matching.rescale(times)
        for session in self._sessions.values():
            for order in session.orders.values():
                rescale_order(order, times)
        for account in self.accounts.values():
            rescale_account(account, instrument, times)
        self.instrument = instrument

    # Orders.

    def place(self, account: str, request: OrderRequest) -> Order:
        """Accept an order and match it. Raises ApiError when it is refused: then nothing happened."""
        session = self._sessions[account]
        if request.client_id and self._open_by_client(session, request.client_id) is not None:
            raise error("duplicate")
        check_filters(request, self.instrument, self.book.mid2)
        self._check_account(account, request)
        crosses = request.kind == "MARKET" or self.matching.crosses(buys=request.buys, price=request.price)
        if request.life == "GTX" and crosses:
            raise error("gtx")
        if request.life == "FOK" and self.matching.takeable(buys=request.buys, limit=request.price) < request.qty:
            raise error("fok")
        order = self._accept(account, session, request)
        if crosses:
            self.matching.take(order)
        if order.open:
            if request.kind == "MARKET" or request.life in ("IOC", "FOK") or (crosses and self._room(order) <= 0):
                self._close(order, "EXPIRED")
            else:
                self.matching.rest(order)
        self._trim(account)
        return order

    def _accept(self, account: str, session: _Session, request: OrderRequest) -> Order:
        self._last_order += 1
        order = Order(
            self._last_order,
            request.client_id or f"web_{self._last_order}",
            account,
            request.buys,
            request.kind,
            request.life,
            request.price,
            request.qty,
            request.reduce_only,
            self.now_ms,
            updated_ms=self.now_ms,
        )
        session.open[order.id] = session.orders[order.id] = order
        session.by_client[order.client_id] = order.id
        while len(session.orders) > KEPT_ORDERS:
            self._forget(session)
        self._tell(order, "NEW")
        return order

    def cancel(self, account: str, order_id: int | None, client_id: str) -> Order:
        """Cancel an open order by either id. Raises ApiError -2011 when there is none."""
        order = self._find(account, order_id, client_id)
        if order is None or not order.open:
            raise error("unknown_order")
        self._close(order, "CANCELED")
        return order

    def cancel_all(self, account: str) -> int:
        """Cancel every open order of an account; return how many there were."""
        orders = list(self._sessions[account].open.values())
        for order in orders:
            self._close(order, "CANCELED")
        return len(orders)

    def query(self, account: str, order_id: int | None, client_id: str) -> Order:
        """Return an order, open or closed, by either id. Raises ApiError -2013 when it is not known."""
        order = self._find(account, order_id, client_id)
        if order is None:
            raise error("no_order")
        return order

    def open_orders(self, account: str) -> list[Order]:
        """Return an account's open orders, oldest first."""
        return list(self._sessions[account].open.values())

    def orders(self, account: str) -> Iterator[Order]:
        """Yield an account's orders of any status, oldest first."""
        yield from self._sessions[account].orders.values()

    def available_e8(self, account: str) -> int:
        """Return the money that is not bound by the position and open orders."""
        held = self.accounts[account]
        return (
            held.wallet_e8
            + held.unrealized_e8(self.book.mid2)
            - held.margin_e8(self._exposure(account, 0, 0), self.book.mid2)
        )

    # How it works inside.

    def _find(self, account: str, order_id: int | None, client_id: str) -> Order | None:
        session = self._sessions[account]
        if order_id is None:
            order_id = session.by_client.get(client_id, 0)
        return session.orders.get(order_id)

    def _open_by_client(self, session: _Session, client_id: str) -> Order | None:
        return session.open.get(session.by_client.get(client_id, 0))

    def _check_account(self, account: str, request: OrderRequest) -> None:
        held, session = self.accounts[account], self._sessions[account]
        if request.reduce_only:
            if held.position == 0 or (held.position > 0) == request.buys:
                raise error("reduce_only")
        else:
            buying, selling = (request.qty, 0) if request.buys else (0, request.qty)
            before, after = self._exposure(account, 0, 0), self._exposure(account, buying, selling)
            equity = held.wallet_e8 + held.unrealized_e8(self.book.mid2)
            if after > before and held.margin_e8(after, self.book.mid2) > equity:
                raise error("margin")
        if len(session.open) >= payloads.MAX_ORDERS:
            raise error("max_orders")

    def _exposure(self, account: str, buying: int, selling: int) -> int:
        """Return the largest position, in lots, that open orders and `buying`, `selling` could lead to."""
        position = self.accounts[account].position
        for order in self._sessions[account].open.values():
            if not order.reduce_only:
                if order.buys:
                    buying += order.left
                else:
                    selling += order.left
        return max(abs(position), position + buying, selling - position)

    def _room(self, order: Order) -> int:
        if not order.open:
            return 0
        if not order.reduce_only:
            return order.left
        position = self.accounts[order.account].position
        return min(order.left, max(0, -position if order.buys else position))

    def _fill(self, order: Order, price: int, qty: int, maker: bool) -> None:
        account = self.accounts[order.account]
        fee_e8, realized_e8 = account.fill(buys=order.buys, price=price, qty=qty, maker=maker)
        order.filled += qty
        order.value += price * qty
        order.updated_ms = account.updated_ms = self.now_ms
        order.status = "FILLED" if order.left == 0 else "PARTIALLY_FILLED"
        self._last_trade += 1
        trade = AccountTrade(
            self._last_trade,
            order.id,
            order.client_id,
            order.buys,
            price,
            qty,
            fee_e8,
            realized_e8,
            maker,
            self.now_ms,
        )
        account.trades.append(trade)
        for kind, amount in (("COMMISSION", -fee_e8), ("REALIZED_PNL", realized_e8)):
            if amount:
                account.income.append(
                    {"symbol": self.instrument.symbol, "incomeType": kind, "income": payloads.money(amount),
                     "asset": "USDT", "info": str(trade.id), "time": self.now_ms, "tranId": trade.id,
                     "tradeId": str(trade.id)}
                )  # fmt: skip
        if not order.open:
            self._sessions[order.account].open.pop(order.id, None)
            self.matching.remove(order)
        update = payloads.account_update(account, self.now_ms, self.book.mid2)
        self.outbox.append((order.account, update))
        self._tell(order, "TRADE", trade)
        if order.id in self.matching.resting or not order.open:
            self._trim(order.account)

    def _trim(self, account: str) -> None:
        """Expire resting reduce-only orders that no longer have anything to reduce."""
        for order in list(self._sessions[account].open.values()):
            if order.reduce_only and order.id in self.matching.resting and self._room(order) <= 0:
                self._close(order, "EXPIRED")

    def _close(self, order: Order, status: str) -> None:
        order.status, order.updated_ms = status, self.now_ms
        self._sessions[order.account].open.pop(order.id, None)
        self.matching.remove(order)
        self._tell(order, status)

    def _tell(self, order: Order, what: str, trade: AccountTrade | None = None) -> None:
        update = payloads.order_update(self.instrument, order, what, self.now_ms, trade)
        self.outbox.append((order.account, update))

    def _forget(self, session: _Session) -> None:
        """Drop the oldest closed order."""
        for order_id, order in session.orders.items():
            if not order.open:
                del session.orders[order_id]
                if session.by_client.get(order.client_id) == order_id:
                    del session.by_client[order.client_id]
                return
        raise RuntimeError("more open orders than are kept")  # MAX_ORDERS is far below
