"""The risk gate: each reason can occur, and no accepted order ever breaks a limit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from bot4_live.events import Flag, Mode
from bot4_live.execution import orders
from bot4_live.execution.account import ACCOUNT
from bot4_live.execution.orders import CAPACITY, ORDERS, OrderState
from bot4_live.instrument import BTCUSDT_USDM, E8
from bot4_live.risk.limits import DENIALS, RISK, Denial, check, denial_table
from bot4_live.settings import PARAM_IDS, StrategyParams

# The part of the engine's state that the gate reads, so that the test compiles little.
CONTEXT = np.dtype(
    [
        ("params_known", "<i8"), ("params", "<f8", (32,)), ("mode", "<i8"), ("hold", "<i8"), ("now_ns", "<i8"),
        ("bid", "<i8"), ("ask", "<i8"), ("orders", ORDERS), ("account", ACCOUNT), ("risk", RISK),
        (
            "instrument",
            [(name, "<i8") for name in ("known", "min_qty", "max_qty", "min_notional_e8", "unit_e8")],
        ),
    ]
)  # fmt: skip
POST, REDUCE = int(Flag.POST_ONLY), int(Flag.POST_ONLY | Flag.REDUCE_ONLY)
BID, ASK = 600_000, 600_001  # 60,000.0 USDT: one lot is worth 60 USDT


def context(**params: float) -> np.ndarray:
    """Return a state in which a small post-only order passes."""
    c = np.zeros(1, CONTEXT)
    for key, value in StrategyParams(**params).pairs():
        c["params"][0, key] = value
    c["params_known"], c["bid"], c["ask"], c["mode"] = 1, BID, ASK, Mode.NORMAL
    i = BTCUSDT_USDM
    c["instrument"][0] = (1, i.min_qty, i.max_qty, i.min_notional_e8, i.unit_e8)
    orders.start_session(c["orders"][0], 1)
    return c


def ask(c: np.ndarray, side: int = 1, price: int = 599_900, qty: int = 4, flags: int = POST) -> int:
    return int(check(c[0], side, price, qty, flags))


def fill_table(c: np.ndarray, n: int, side: int = 1, qty: int = 1) -> None:
    for _ in range(n):
        orders.make(c["orders"][0], side, 599_900, qty, POST, 0)


def with_(name: str, value: Any) -> Callable[[np.ndarray], None]:
    def change(c: np.ndarray) -> None:
        c[name] = value

    return change


def param(name: str, value: float) -> Callable[[np.ndarray], None]:
    def change(c: np.ndarray) -> None:
        c["params"][0, PARAM_IDS[name]] = value

    return change


def position(lots: int) -> Callable[[np.ndarray], None]:
    def change(c: np.ndarray) -> None:
        c["account"]["position"] = lots

    return change


def no_tokens(c: np.ndarray) -> None:
    c["risk"]["filled"], c["risk"]["tokens"], c["risk"]["tokens_ns"] = 1, 0.999, c["now_ns"]


def budget(rate: int, burst: int) -> Callable[[np.ndarray], None]:
    def change(c: np.ndarray) -> None:
        c["risk"]["budget"], c["risk"]["budget_rate"], c["risk"]["budget_burst"] = 1, rate, burst

    return change


def nothing(c: np.ndarray) -> None:
    pass


CASES: list[tuple[Denial | None, Callable[[np.ndarray], None], dict[str, int]]] = [
    (None, nothing, {}),
    (None, nothing, {"side": -1, "price": 600_100}),
    (Denial.PAUSED, with_("mode", Mode.PAUSE), {}),
    (Denial.EMERGENCY, with_("mode", Mode.EMERGENCY), {}),
    (Denial.EMERGENCY, with_("mode", Mode.EMERGENCY), {"flags": REDUCE}),
    (Denial.HOLD, with_("hold", 1), {}),
    (Denial.NOT_REDUCING, with_("mode", Mode.REDUCE), {}),
    (Denial.NOT_REDUCING, nothing, {"flags": REDUCE}),
    (Denial.NOT_REDUCING, position(3), {"side": -1, "price": 600_100, "flags": REDUCE}),  # 4 lots would flip 3
    (Denial.NOT_REDUCING, position(4), {"side": 1, "flags": REDUCE}),  # grows
    (None, position(4), {"side": -1, "price": 600_100, "flags": REDUCE}),
    (Denial.NOT_CONFIGURED, with_("params_known", 0), {}),
    (Denial.QUOTING_OFF, param("quoting", 0.0), {}),
    (Denial.NO_BOOK, with_("bid", 0), {}),
    (Denial.NO_BOOK, with_("ask", BID), {}),
    (Denial.MIN_QTY, nothing, {"qty": 0}),
    (Denial.MIN_QTY, nothing, {"qty": -3}),
    (Denial.MAX_QTY, nothing, {"qty": 1_000_001}),
    (Denial.MIN_NOTIONAL, nothing, {"qty": 1}),
    (None, position(1), {"side": -1, "price": 600_100, "qty": 1, "flags": REDUCE}),  # the venue exempts them
    (Denial.ORDER_NOTIONAL, nothing, {"qty": 17}),
    (None, nothing, {"qty": 16}),
    (Denial.POSITION_NOTIONAL, position(80), {}),  # 84 lots = 5,040 USDT over the inventory cap of 5,000
    (None, position(79), {}),
    (None, position(80), {"side": -1, "price": 600_100}),
    (None, position(500), {"side": -1, "price": 600_100}),  # over the cap: shrinking is allowed
    (Denial.POSITION_NOTIONAL, position(-80), {"side": -1, "price": 600_100}),
    (Denial.POSITION_NOTIONAL, param("max_position_notional", 200.0), {}),
    (Denial.POSITION_NOTIONAL, lambda c: fill_table(c, 1, qty=80), {}),  # an open order counts as filled
    (Denial.PRICE_COLLAR, nothing, {"price": 587_999}),
    (None, nothing, {"price": 588_001}),
    (Denial.PRICE_COLLAR, nothing, {"side": -1, "price": 612_001}),
    (Denial.MIN_NOTIONAL, nothing, {"price": 0}),
    (Denial.WOULD_CROSS, nothing, {"price": ASK}),
    (Denial.WOULD_CROSS, nothing, {"side": -1, "price": BID}),
    (None, nothing, {"price": BID}),
    (None, nothing, {"price": ASK, "flags": 0}),
    (Denial.OPEN_ORDERS, lambda c: fill_table(c, 8), {}),
    (None, lambda c: fill_table(c, 7), {}),
    (Denial.ORDER_RATE, no_tokens, {}),
    (Denial.ORDER_RATE, budget(0, 0), {}),  # the smaller one wins
    (Denial.ORDER_RATE, budget(5, 0), {}),
    (None, budget(100, 100), {}),
]


@pytest.mark.parametrize(("reason", "change", "order"), CASES)
def test_each_reason(reason: Denial | None, change: Callable[[np.ndarray], None], order: dict[str, int]) -> None:
    c = context()
    change(c)
    assert ask(c, **order) == (reason or 0)
    denied = {Denial(i): int(n) for i, n in enumerate(c["risk"]["denied"][0]) if n}
    assert denied == ({reason: 1} if reason else {})


@pytest.mark.parametrize("mode", [Mode.PAUSE, Mode.REDUCE])
def test_reduce_only_orders_pass_in_pause_reduce_and_hold(mode: Mode) -> None:
    c = context()
    c["mode"], c["hold"], c["account"]["position"] = mode, 1, -10
    assert ask(c, flags=REDUCE) == 0
    orders.make(c["orders"][0], 1, 599_900, 7, REDUCE, 0)
    assert ask(c, flags=REDUCE) != 0  # with the 7 that are out already it would pass through flat


def test_the_table_of_orders_is_the_last_limit() -> None:
    c = context(max_open_orders=64.0)
    fill_table(c, CAPACITY - 1)
    assert ask(c) == 0
    fill_table(c, 1)
    # Every row is open, so the count refuses first; with a table of fewer rows than the limit it is TABLE_FULL.
    assert ask(c) == Denial.OPEN_ORDERS
    c["params"][0, PARAM_IDS["max_open_orders"]] = 100.0
    assert ask(c) == Denial.TABLE_FULL


def test_every_reason_is_explained_and_tested() -> None:
    assert set(DENIALS) == set(Denial)
    assert {reason for reason, _, _ in CASES if reason} | {Denial.TABLE_FULL} == set(Denial)


def test_the_documented_table_is_the_one_in_the_code() -> None:
    text = (Path(__file__).resolve().parents[3] / "docs" / "denials.md").read_text()
    assert denial_table() in text, "docs/denials.md is old: paste denial_table() into it"


flags = st.sampled_from([0, POST, REDUCE, int(Flag.REDUCE_ONLY)])


@settings(max_examples=400, deadline=None)
@given(
    lots=st.integers(-120, 120),
    resting=st.lists(st.tuples(st.sampled_from([1, -1]), st.integers(1, 60), st.sampled_from(list(OrderState)))),
    side=st.sampled_from([1, -1]),
    price=st.integers(570_000, 630_000),
    qty=st.integers(-5, 60),
    flag=flags,
    mode=st.sampled_from(list(Mode)),
    hold=st.booleans(),
    cap=st.integers(100, 20_000),
    largest=st.integers(100, 3_000),
)
def test_no_accepted_order_breaks_a_limit(
    lots: int, resting: list[tuple[int, int, OrderState]], side: int, price: int, qty: int, flag: int, mode: Mode,
    hold: bool, cap: int, largest: int,
) -> None:  # fmt: skip
    c = context(inventory_cap=float(cap), max_order_notional=float(largest), max_open_orders=6.0)
    c["account"]["position"], c["mode"], c["hold"] = lots, mode, int(hold)
    for its_side, its_qty, state in resting[:10]:
        row = orders.make(c["orders"][0], its_side, 600_000, its_qty, POST, 0)
        c["orders"]["rows"]["state"][0, row] = state
    # What may still fill, counted here by other means than in the kernels.
    live = [(s, q) for s, q, state in resting[:10] if state >= OrderState.PENDING_SEND]
    if ask(c, side, price, qty, flag) != 0:
        return
    assert mode != Mode.EMERGENCY
    after = lots * side + sum(q for s, q in live if s == side) + qty
    reduces = lots * side < 0 and after <= 0
    if mode != Mode.NORMAL or hold or flag & Flag.REDUCE_ONLY:
        assert flag & Flag.REDUCE_ONLY
        assert reduces
    else:
        assert price * qty * BTCUSDT_USDM.unit_e8 <= largest * E8
        assert price * qty * BTCUSDT_USDM.unit_e8 >= BTCUSDT_USDM.min_notional_e8
        assert after <= 0 or after * price * BTCUSDT_USDM.unit_e8 <= min(cap, 10_000) * E8
    assert qty >= 1
    assert abs(2 * price - BID - ASK) <= 0.02 * (BID + ASK)
    assert len(live) < 6
    if flag & Flag.POST_ONLY:
        assert price < ASK if side == 1 else price > BID


class Rate(RuleBasedStateMachine):
    """In every window of T seconds at most burst + rate * T orders pass, whatever the pattern of attempts."""

    def __init__(self) -> None:
        super().__init__()
        self.context = context(max_orders_per_s=5.0, max_open_orders=64.0)
        self.passed: list[int] = []
        self.changed = 0

    @rule(ms=st.integers(0, 3_000))
    def wait(self, ms: int) -> None:
        self.context["now_ns"] += ms * 1_000_000

    @rule(n=st.integers(1, 12))
    def attempt(self, n: int) -> None:
        for _ in range(n):
            if ask(self.context) == 0:
                self.passed.append(int(self.context["now_ns"][0]))

    @rule(rate=st.integers(0, 4), burst=st.integers(0, 8))
    def allocate(self, rate: int, burst: int) -> None:
        """A budget only ever narrows."""
        budget(rate, burst)(self.context)
        self.changed = len(self.passed)

    @invariant()
    def never_over(self) -> None:
        for i, begin in enumerate(self.passed):
            for j in range(i, len(self.passed)):
                seconds = (self.passed[j] - begin) / 1e9
                assert j - i + 1 <= 5 + 5 * seconds + 1e-6
        if self.context["risk"]["budget"][0] and len(self.passed) > self.changed:
            recent = self.passed[self.changed :]
            rate, burst = (int(self.context["risk"][name][0]) for name in ("budget_rate", "budget_burst"))
            seconds = (recent[-1] - recent[0]) / 1e9
            assert len(recent) <= min(burst, 5) + rate * seconds + 1e-6


TestRate = Rate.TestCase
TestRate.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
