"""Fills against a recorded market: takers walk it, makers queue in it, nothing fills twice."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot4_live.instrument import BTCUSDT_USDM
from bot4_live.simulation.accounts import Account
from bot4_live.simulation.errors import ApiError
from bot4_live.simulation.frames import DEPTH, TICKER, TRADE, Update
from bot4_live.simulation.market_book import MarketBook
from bot4_live.simulation.order_request import OrderRequest
from bot4_live.simulation.venue import Venue

MS = 1_000_000
BASE = 1_000_000  # ticks: 100,000.00; a lot of 0.001 is 100 quote there
FUNDS = 10**6 * 10**8


def snapshot(bids: dict[int, int], asks: dict[int, int]) -> Update:
    return Update("snapshot", 0, last=10, bids=list(bids.items()), asks=list(asks.items()))


class Market:
    """A venue with one funded account, fed by hand."""

    def __init__(self, bids: dict[int, int], asks: dict[int, int], *, funds: int = FUNDS) -> None:
        self.account = Account("me", BTCUSDT_USDM, funds)
        self.venue = Venue(BTCUSDT_USDM, MarketBook(snapshot(bids, asks)), {"me": self.account}, 1000)
        self.venue.advance(MS)
        self.id = 10
        self.now = MS

    def diff(self, bids: dict[int, int] | None = None, asks: dict[int, int] | None = None, after_ms: int = 1) -> None:
        self.now += after_ms * MS
        self.id += 1
        update = Update(DEPTH, 0, first=self.id, last=self.id, previous=self.id - 1)
        update.bids, update.asks = list((bids or {}).items()), list((asks or {}).items())
        self.venue.on_market(update, self.now)

    def quote(self, bid: int, bid_qty: int, ask: int, ask_qty: int, after_ms: int = 1) -> None:
        self.now += after_ms * MS
        self.id += 1
        update = Update(TICKER, 0, last=self.id, bids=[(bid, bid_qty)], asks=[(ask, ask_qty)])
        self.venue.on_market(update, self.now)

    def trade(self, price: int, qty: int, *, sells: bool, after_ms: int = 1) -> None:
        self.now += after_ms * MS
        self.venue.on_market(Update(TRADE, 0, trade_id=self.id, price=price, qty=qty, sells=sells), self.now)

    def order(self, buys: bool, price: int, qty: int, life: str = "GTC", **more):
        kind = "LIMIT" if price else "MARKET"
        return self.venue.place(
            "me",
            OrderRequest(
                buys, kind, life, price, qty, **({"reduce_only": False, "client_id": "", "wants_result": True} | more)
            ),
        )


@pytest.fixture
def market() -> Market:
    return Market({BASE - 1: 50, BASE - 2: 30}, {BASE: 20, BASE + 1: 40, BASE + 3: 100})


def test_taker_walks_the_levels_at_their_prices(market: Market) -> None:
    order = market.order(True, BASE + 2, 70)
    assert (order.status, order.filled) == ("PARTIALLY_FILLED", 60), "the level at +3 is beyond its limit"
    assert order.value == 20 * BASE + 40 * (BASE + 1)
    assert [(t.price, t.qty, t.maker) for t in market.account.trades] == [(BASE, 20, False), (BASE + 1, 40, False)]
    assert order.id in market.venue.matching.resting


def test_what_was_taken_is_gone_until_the_level_is_restated(market: Market) -> None:
    assert market.order(True, BASE, 15, "IOC").filled == 15
    assert market.order(True, BASE, 15, "IOC").filled == 5
    assert market.order(True, BASE, 15, "IOC").filled == 0
    market.diff(asks={BASE + 1: 41})
    assert market.order(True, BASE, 15, "IOC").filled == 0, "another level changed, not this one"
    market.diff(asks={BASE: 30})
    assert market.order(True, BASE, 15, "IOC").filled == 15


def test_ioc_expires_fok_and_gtx_leave_no_trace(market: Market) -> None:
    assert market.order(True, BASE, 30, "IOC").status == "EXPIRED"
    market.diff(asks={BASE: 21})
    trades, told = len(market.account.trades), len(market.venue.outbox)
    for life, code in (("FOK", -5021), ("GTX", -5022)):
        with pytest.raises(ApiError) as refused:
            market.order(True, BASE, 30, life)
        assert refused.value.code == code
    assert (len(market.account.trades), len(market.venue.outbox)) == (trades, told)
    assert market.order(True, BASE, 21, "FOK").status == "FILLED"
    assert market.order(True, BASE - 1, 21, "GTX").status == "NEW"


def test_market_order_takes_what_there_is_and_expires(market: Market) -> None:
    order = market.order(True, 0, 500)
    assert (order.filled, order.status) == (160, "EXPIRED")


def test_maker_waits_behind_the_queue(market: Market) -> None:
    order = market.order(True, BASE - 1, 10)
    assert order.ahead == 50
    market.trade(BASE - 1, 30, sells=True)
    assert (order.ahead, order.filled) == (20, 0)
    market.trade(BASE - 1, 24, sells=True)
    assert (order.ahead, order.filled) == (0, 4)
    market.trade(BASE, 100, sells=False)
    assert order.filled == 4, "a buyer does not fill a bid"
    market.trade(BASE - 1, 100, sells=True)
    assert order.status == "FILLED"
    assert all(trade.maker and trade.price == BASE - 1 for trade in market.account.trades)


def test_improving_the_touch_means_being_first() -> None:
    market = Market({BASE - 5: 50}, {BASE: 20})
    order = market.order(True, BASE - 3, 10)
    assert order.ahead == 0
    market.trade(BASE - 5, 4, sells=True)
    assert order.filled == 4, "a trade beyond its price would have met it first, with that trade's volume"


def test_cancellations_ahead_count_in_proportion_and_trades_once(market: Market) -> None:
    order = market.order(True, BASE - 1, 10)
    market.diff(bids={BASE - 1: 100})  # 50 more join behind
    assert order.ahead == 50
    market.diff(bids={BASE - 1: 80}, after_ms=200)  # 20 of 100 cancelled, half of the queue is ours to pass
    assert order.ahead == 40
    market.trade(BASE - 1, 10, sells=True, after_ms=200)
    assert order.ahead == 30
    market.diff(bids={BASE - 1: 70})  # tells of that trade: nothing new
    assert order.ahead == 30
    market.diff(bids={BASE - 1: 5})
    assert order.ahead <= 5, "no more can be ahead than is displayed"


def test_trade_after_its_quote_is_not_counted_twice(market: Market) -> None:
    order = market.order(True, BASE - 1, 10)
    market.diff(bids={BASE - 1: 100})
    market.quote(BASE - 1, 60, BASE, 20, after_ms=500)  # 40 gone: 20 in proportion, until their trade comes
    assert order.ahead == 30
    market.trade(BASE - 1, 40, sells=True)  # ... and here is the trade that did it
    assert (order.ahead, order.filled) == (10, 0)


def test_opposite_touch_at_its_price_fills_it_with_what_is_shown(market: Market) -> None:
    order = market.order(True, BASE - 1, 30)
    market.quote(BASE - 2, 30, BASE - 1, 12)
    assert order.filled == 12
    market.quote(BASE - 2, 31, BASE - 1, 12)
    assert order.filled == 12, "the same offer is not met twice"
    market.quote(BASE - 3, 31, BASE - 2, 50)
    assert (order.filled, order.status) == (30, "FILLED")
    assert {trade.price for trade in market.account.trades} == {BASE - 1}, "a maker fills at its own price"


def test_two_orders_share_a_trade(market: Market) -> None:
    first, second = market.order(True, BASE - 1, 10), market.order(True, BASE - 1, 10)
    market.trade(BASE - 1, 65, sells=True)
    assert (first.filled, second.filled) == (10, 5)


def test_best_quote_newer_than_the_diffs_is_the_touch(market: Market) -> None:
    market.quote(BASE - 1, 50, BASE + 1, 7)
    assert market.order(True, BASE + 1, 10, "IOC").filled == 7
    assert market.order(True, BASE, 10, "GTX").status == "NEW", "the level at the old ask is gone"


def test_reduce_only_never_turns_the_position(market: Market) -> None:
    with pytest.raises(ApiError) as refused:
        market.order(False, BASE - 1, 10, reduce_only=True)
    assert refused.value.code == -2022
    market.order(True, BASE, 15, "IOC")
    resting = market.order(False, BASE + 5, 15, reduce_only=True)
    taken = market.order(False, BASE - 2, 40, "IOC", reduce_only=True)
    assert (taken.filled, taken.status) == (15, "EXPIRED")
    assert market.account.position == 0
    assert resting.status == "EXPIRED", "nothing is left to reduce"


def test_margin_and_notional(market: Market) -> None:
    poor = Market({BASE - 1: 50}, {BASE: 2000}, funds=10 * 10**8)
    with pytest.raises(ApiError) as refused:
        poor.order(True, BASE, 100, "IOC")  # 10,000 quote at leverage 20 needs 500
    assert refused.value.code == -2019
    with pytest.raises(ApiError) as refused:
        market.order(True, BASE - 1, 1)  # 99.9999 quote
    assert refused.value.code == -4164


def test_countdown_cancels_in_exchange_time(market: Market) -> None:
    order = market.order(True, BASE - 2, 10)
    market.venue.set_countdown("me", 1000)
    market.venue.advance(market.now + 999 * MS)
    assert order.open
    market.venue.set_countdown("me", 1000)
    market.venue.advance(market.now + 1500 * MS)
    assert order.open, "it was renewed"
    market.venue.advance(market.now + 2000 * MS)
    assert order.status == "CANCELED"
    assert order.updated_ms == (market.now + 1999 * MS) // MS, "at its own moment, however late one looks"


def test_duplicate_client_id_only_among_open_orders(market: Market) -> None:
    market.order(True, BASE - 2, 10, client_id="b4-1")
    with pytest.raises(ApiError) as refused:
        market.order(True, BASE - 2, 10, client_id="b4-1")
    assert refused.value.code == -4116
    market.venue.cancel("me", None, "b4-1")
    again = market.order(True, BASE - 2, 10, client_id="b4-1")
    assert market.venue.query("me", None, "b4-1") is again


lives = st.sampled_from(["GTC", "IOC", "FOK", "GTX"])
actions = st.lists(
    st.one_of(
        st.tuples(st.just("order"), st.booleans(), st.integers(-6, 6), st.integers(10, 200), lives, st.booleans()),
        st.tuples(st.just("market"), st.booleans(), st.integers(10, 200)),
        st.tuples(st.just("cancel")),
        st.tuples(st.just("trade"), st.integers(-6, 6), st.integers(1, 150), st.booleans()),
        st.tuples(st.just("move"), st.integers(-5, 5), st.integers(1, 80), st.integers(1, 80)),
        st.tuples(st.just("level"), st.booleans(), st.integers(2, 6), st.integers(0, 80)),
    ),
    max_size=40,
)  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(actions)
def test_money_and_quantity_are_conserved(steps) -> None:
    """Cash plus position at cost, plus fees, is what was there; no order fills beyond its quantity or its limit."""
    market = Market({BASE - 1: 50}, {BASE: 50})
    unit = BTCUSDT_USDM.unit_e8
    touch = 0
    for step in steps:
        before = len(market.account.trades)
        volume = None
        if step[0] == "order":
            _, buys, away, qty, life, reduce_only = step
            try:
                market.order(buys, BASE + away, qty, life, reduce_only=reduce_only)
            except ApiError:
                assert len(market.account.trades) == before
        elif step[0] == "market":
            try:
                market.order(step[1], 0, step[2])
            except ApiError:
                assert len(market.account.trades) == before
        elif step[0] == "cancel":
            market.venue.cancel_all("me")
        elif step[0] == "trade":
            _, away, volume, sells = step
            market.trade(BASE + away, volume, sells=sells)
        elif step[0] == "move":
            touch = step[1]
            market.quote(BASE - 1 + touch, step[2], BASE + touch, step[3])
        else:
            _, bids, away, qty = step
            market.diff(**{"bids" if bids else "asks": {BASE + touch + (-1 - away if bids else away): qty}})
        made = list(market.account.trades)[before:]
        if volume is not None:
            assert sum(trade.qty for trade in made) <= volume
        account = market.account
        cash = -sum((t.price if t.buys else -t.price) * t.qty for t in account.trades) * unit
        fees = sum(trade.fee_e8 for trade in account.trades)
        assert fees == account.fees_e8
        assert account.position == sum(t.qty if t.buys else -t.qty for t in account.trades)
        # wallet counts realised profit only; what is open is carried at cost
        assert account.wallet_e8 == FUNDS + cash + account.cost * unit - fees
        if account.position == 0:
            assert account.cost == 0
    for order in market.venue.orders("me"):
        fills = [trade for trade in market.account.trades if trade.order_id == order.id]
        assert sum(trade.qty for trade in fills) == order.filled <= order.qty
        assert order.value == sum(trade.price * trade.qty for trade in fills)
        if order.price:
            assert all(t.price <= order.price if order.buys else t.price >= order.price for t in fills)
        assert (order.id in market.venue.matching.resting) == order.open
