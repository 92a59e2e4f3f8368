"""The kill against a venue that has real order state, and fails in every way a venue fails."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from bot4_live.clock import boottime_ns
from bot4_live.safety.control import KillState
from bot4_live.safety.flatten import COLLARS, collared_price
from bot4_live.safety.kill import Hooks, Kill, Report
from bot4_live.safety.venue import Position, SafetyVenue

KEY, SECRET = "watchdog-key", "watchdog-secret"


def kill_of(
    venue: SafetyVenue, *, window_ms: int = 40, budget_s: float = 5.0, stop: Callable[[], str] = lambda: "killed"
) -> tuple[Kill, list[int]]:
    states: list[int] = []
    hooks = Hooks(flag=lambda: None, stop_runner=stop, state=states.append)
    report = Report(boottime_ns(), window_ms)
    return Kill(venue, ["BTCUSDT"], hooks, report, budget_ns=int(budget_s * 1e9)), states


def steps(report: Report, name: str) -> list[dict[str, Any]]:
    return [step for step in report.steps if step["step"] == name]


def test_orders_and_position_are_gone_and_the_times_are_told(small_venue: Any) -> None:
    small_venue.rest("b4-00000001-00000001")
    small_venue.position = Decimal("0.5")
    kill, states = kill_of(SafetyVenue(small_venue.url, KEY, SECRET))
    report = kill.run()
    assert report.confirmed
    assert (small_venue.orders, small_venue.position) == ({}, 0)
    assert states == [1, 2, 3, 4, 5]
    assert report.flat_ms is not None
    assert report.kill_ms is not None
    assert 0 < report.flat_ms < 40 <= report.kill_ms < 540
    order = steps(report, "order")[0]["result"]
    assert (order["collar"], order["price"], order["status"]) == ("0.001", "59940.0", "FILLED")
    names = small_venue.names()
    assert names.index("DELETE /fapi/v1/allOpenOrders") < names.index("POST /fapi/v1/order")
    assert names[-2:] == ["GET /fapi/v1/openOrders", "GET /fapi/v3/positionRisk"]


def test_the_collar_widens_until_the_book_gives_enough(small_venue: Any) -> None:
    small_venue.asks = [(Decimal(price), Decimal("0.5")) for price in ("60000.1", "60100.0", "60900.0")]
    small_venue.position = Decimal("-1.2")
    report = kill_of(SafetyVenue(small_venue.url, KEY, SECRET))[0].run()
    assert report.confirmed
    assert small_venue.position == 0
    assert [order["result"]["collar"] for order in steps(report, "order")] == ["0.001", "0.003", "0.01"]
    limits = [Decimal(order["result"]["price"]) for order in steps(report, "order")]
    assert limits[0] <= Decimal("60060.1")


def test_an_empty_book_is_never_met_at_any_price(small_venue: Any) -> None:
    small_venue.bids, small_venue.position = [], Decimal(1)
    kill, states = kill_of(SafetyVenue(small_venue.url, KEY, SECRET), budget_s=0.5)
    report = kill.run()
    assert not report.confirmed
    assert states[-1] == KillState.FAILED
    assert min(Decimal(order["result"]["price"]) for order in steps(report, "order")) == Decimal("57000.0")
    small_venue.bids = [(Decimal("59000.0"), Decimal(5))]
    assert kill.run().confirmed  # the same kill, tried again
    assert (report.attempts, small_venue.position) == (2, 0)


def test_bytes_under_way_are_swept_after_recv_window(small_venue: Any) -> None:
    small_venue.position = Decimal(1)

    def stop() -> str:
        def late() -> None:  # what the runner had signed arrives now
            small_venue.rest("b4-00000001-00000009")
            small_venue.position = Decimal("-0.3")

        threading.Timer(0.03, late).start()
        return "killed"

    report = kill_of(SafetyVenue(small_venue.url, KEY, SECRET), window_ms=80, stop=stop)[0].run()
    assert report.confirmed
    assert (small_venue.orders, small_venue.position) == ({}, 0)
    assert report.flat_ms is not None
    assert report.flat_ms < 80


def test_an_order_whose_answer_is_lost_is_asked_about_not_sent_again(small_venue: Any) -> None:
    small_venue.position = Decimal(1)
    small_venue.drop_after = ["POST /fapi/v1/order"]
    report = kill_of(SafetyVenue(small_venue.url, KEY, SECRET))[0].run()
    assert report.confirmed
    assert small_venue.names().count("POST /fapi/v1/order") == 1
    order = steps(report, "order")[0]["result"]
    assert "not known" in order["doubt"]
    assert order["status"] == "FILLED"


def test_lost_answers_elsewhere_are_asked_for_again(small_venue: Any) -> None:
    small_venue.rest("b4-00000001-00000001")
    small_venue.drop_after = [
        "DELETE /fapi/v1/allOpenOrders", "GET /fapi/v3/positionRisk", "GET /fapi/v1/time", "GET /fapi/v1/openOrders",
    ]  # fmt: skip
    report = kill_of(SafetyVenue(small_venue.url, KEY, SECRET))[0].run()
    assert report.confirmed
    assert not small_venue.drop_after


def test_an_unreachable_venue_is_retried_and_then_alarmed() -> None:
    kill, states = kill_of(SafetyVenue("http://127.0.0.1:9", KEY, SECRET), budget_s=0.4)
    began = time.monotonic()
    report = kill.run()
    assert not report.confirmed
    assert states[-1] == KillState.FAILED
    assert time.monotonic() - began < 3
    assert "127.0.0.1:9 does not answer" in steps(report, "cancel-all")[0]["result"]
    assert steps(report, "stop-runner")[0]["result"] == "killed"  # a venue that is down does not save the runner
    assert len(report.steps) < 15  # thousands of equal failures are one line


@pytest.mark.parametrize("speed", [8.0, 0.25])
def test_recv_window_is_counted_in_the_venue_s_time_too(small_venue: Any, speed: float) -> None:
    small_venue.speed = speed
    small_venue.position = Decimal(1)
    report = kill_of(SafetyVenue(small_venue.url, KEY, SECRET), window_ms=60)[0].run()
    assert report.confirmed
    assert report.kill_ms is not None
    assert report.kill_ms >= 60 / min(speed, 1)


def test_a_clock_that_stands_still_does_not_hold_up_the_kill(small_venue: Any) -> None:
    small_venue.speed = 0.0
    report = kill_of(SafetyVenue(small_venue.url, KEY, SECRET))[0].run()
    assert report.confirmed
    assert report.kill_ms is not None
    assert report.kill_ms < 540
    assert "stands still" in steps(report, "wait")[0]["result"]


def test_a_runner_that_cannot_be_killed_does_not_end_the_kill(small_venue: Any) -> None:
    def refuse() -> str:
        raise PermissionError("no right")

    small_venue.position = Decimal(1)
    report = kill_of(SafetyVenue(small_venue.url, KEY, SECRET), stop=refuse)[0].run()
    assert report.confirmed
    assert steps(report, "stop-runner")[0]["result"] == "not killed: no right"


def test_orders_of_other_symbols_are_found_and_cancelled(small_venue: Any) -> None:
    small_venue.rest("manual")
    small_venue.orders["manual"]["symbol"] = "ETHUSDT"
    assert kill_of(SafetyVenue(small_venue.url, KEY, SECRET))[0].run().confirmed
    assert small_venue.orders == {}


class Flaky(SafetyVenue):
    """The real client over a wire that fails as the list says: before or after the request takes effect, or oddly."""

    def __init__(self, venue: Any, faults: list[str]) -> None:
        super().__init__("http://127.0.0.1:1", KEY, SECRET)
        self.venue, self.faults = venue, faults

    def _exchange(self, method: str, path: str, query: str) -> Any:
        fault = self.faults.pop(0) if self.faults else "none"
        if fault == "before":
            raise ConnectionResetError("reset")
        answer = self.venue.answer(f"{method} {path}", query, KEY)
        if fault == "after":
            raise TimeoutError("timed out")
        return {"strange": None} if fault == "strange" else answer


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.sampled_from(["none", "before", "after", "strange"]), max_size=14),
    st.decimals("-2", "2", places=3),
)
@example(["none"] * 4 + ["strange"], Decimal("0.000"))  # the clock, in the wait before the second sweep
def test_no_failure_ends_a_kill_or_turns_the_position(small_venue: Any, faults: list[str], amount: Decimal) -> None:
    from bot4_live.safety.venue import VenueError

    small_venue.orders.clear()
    small_venue.rest("b4-00000001-00000001")
    small_venue.position = amount

    class Wire(Flaky):
        def _exchange(self, method: str, path: str, query: str) -> Any:
            try:
                return super()._exchange(method, path, query)
            except Exception as error:
                if hasattr(error, "status"):
                    raise VenueError(error.status, error.code, str(error)) from None
                raise

    kill = kill_of(Wire(small_venue, faults), window_ms=5, budget_s=20)[0]
    report = kill.run()
    assert report.confirmed
    assert amount * small_venue.position >= 0
    assert (small_venue.orders, small_venue.position) == ({}, 0)


@given(
    st.decimals("-5", "5", places=3).filter(bool),
    st.decimals("100", "90000", places=1),
    st.sampled_from(COLLARS),
)
def test_a_limit_never_exceeds_its_collar(amount: Decimal, bid: Decimal, collar: Decimal) -> None:
    tick = Decimal("0.1")
    position = Position("BTCUSDT", amount, bid)
    price = collared_price(position, (bid, bid + tick), collar, tick)
    assert price % tick == 0
    if amount > 0:
        assert bid * (1 - collar) <= price <= bid
    else:
        assert bid + tick <= price <= (bid + tick) * (1 + collar)
    assert collared_price(position, None, collar, tick) > 0


def test_without_book_and_mark_there_is_no_price() -> None:
    with pytest.raises(ValueError, match="neither"):
        collared_price(Position("BTCUSDT", Decimal(1), Decimal(0)), None, COLLARS[0], Decimal("0.1"))
