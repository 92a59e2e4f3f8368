"""The watchdog's client: signing, the venue's clock, retries, and secrets that stay secret."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot4_live.safety.exchange_clock import ExchangeClock
from bot4_live.safety.venue import OrderUnknown, Position, SafetyVenue, VenueError, VenueUnreachable

KEY, SECRET = "watchdog-key", "watchdog-secret"
MS = 1_000_000


@given(st.sampled_from([0.25, 1.0, 4.0, 8.0, 10.0]), st.integers(300, 8000), st.integers(0, 3))
def test_the_clock_learns_the_pace(speed: float, apart_ms: int, jitter_ms: int) -> None:
    now = [0]
    clock = ExchangeClock(lambda: now[0])
    for _ in range(4):
        clock.sample(10_000 + int(now[0] * speed / MS), now[0] - jitter_ms * MS, now[0] + jitter_ms * MS)
        now[0] += apart_ms * MS
    error_ms = abs(clock.now_ms() - (10_000 + now[0] * speed / MS))
    assert error_ms <= 3 + apart_ms * 0.02 * max(1, speed)
    if speed == 1.0:
        assert clock.rate == 1.0


def test_a_clock_that_was_never_read_says_so() -> None:
    with pytest.raises(ValueError, match="never read"):
        ExchangeClock().now_ms()


@pytest.fixture
def venue(small_venue: Any) -> Iterator[SafetyVenue]:
    client = SafetyVenue(small_venue.url, KEY, SECRET)
    yield client
    client.close()


def test_a_changed_pace_is_found_by_the_venue_s_refusal(small_venue: Any, venue: SafetyVenue) -> None:
    assert venue.open_orders() == []
    small_venue._start -= 3600  # the market jumps by an hour
    assert venue.positions() == []
    assert small_venue.names().count("GET /fapi/v1/time") == 2


def test_a_wrong_key_is_the_venue_s_error_without_secrets(small_venue: Any) -> None:
    venue = SafetyVenue(small_venue.url, KEY, "wrong-secret")
    with pytest.raises(VenueError, match=r"refused \(400, -1022\)") as caught:
        venue.cancel_all("BTCUSDT")
    venue.close()
    for text in (str(caught.value), repr(caught.value), repr(venue), repr(venue.twin())):
        assert "wrong-secret" not in text
        assert KEY not in text
        assert "signature=" not in text


def test_an_order_is_sent_once(small_venue: Any, venue: SafetyVenue) -> None:
    small_venue.position = Decimal(1)
    position = venue.positions()[0]
    assert position == Position("BTCUSDT", Decimal(1), Decimal("60000.0"))
    small_venue.drop_after = ["POST /fapi/v1/order"]
    with pytest.raises(OrderUnknown, match="b4k-1"):
        venue.reduce_only_ioc(position, Decimal("59000.0"), "b4k-1")
    assert small_venue.names().count("POST /fapi/v1/order") == 1
    assert venue.query("BTCUSDT", "b4k-1")["status"] == "FILLED"
    with pytest.raises(VenueError, match="-2022"):
        venue.reduce_only_ioc(position, Decimal("59000.0"), "b4k-2")


@pytest.mark.parametrize(
    ("status", "body"),
    [(408, b'{"code": -1007, "msg": "Timeout"}'), (400, b'{"code": -1006}'), (503, b""), (200, b"<html>")],
)
def test_an_answer_that_decides_nothing_is_no_refusal(
    small_venue: Any, venue: SafetyVenue, status: int, body: bytes
) -> None:
    small_venue.position = Decimal(1)
    position = venue.positions()[0]
    small_venue.answer_after["POST /fapi/v1/order"] = (status, body)
    with pytest.raises(OrderUnknown, match="b4k-1"):
        venue.reduce_only_ioc(position, Decimal("59000.0"), "b4k-1")
    assert venue.query("BTCUSDT", "b4k-1")["status"] == "FILLED"
    assert small_venue.names().count("POST /fapi/v1/order") == 1


def test_an_idle_connection_that_was_shut_is_opened_again(small_venue: Any, venue: SafetyVenue) -> None:
    venue.sync_time()
    small_venue.drop_after = ["GET /fapi/v1/time"]
    assert venue.sync_time() > 0


def test_large_positions_are_cut_to_what_one_order_may(small_venue: Any, venue: SafetyVenue) -> None:
    small_venue.position = Decimal("300")
    venue.reduce_only_ioc(venue.positions()[0], Decimal("59000.0"), "b4k-1")
    assert small_venue.position == Decimal("180")


def test_a_twin_knows_the_venue_and_has_a_connection_of_its_own(small_venue: Any, venue: SafetyVenue) -> None:
    tick = venue.filters("BTCUSDT").tick
    venue.sync_time()
    twin = venue.twin()
    asked = len(small_venue.names())
    assert twin.filters("BTCUSDT").tick == tick
    assert twin.open_orders() == []
    assert small_venue.names()[asked:] == ["GET /fapi/v1/openOrders"]
    twin.close()
    assert venue.open_orders() == []
    assert repr(SafetyVenue("http://[::1]:8411", KEY, SECRET).twin()) == "SafetyVenue(::1:8411)"


def test_filters_are_asked_again_and_kept_when_nobody_answers(
    small_venue: Any, venue: SafetyVenue, monkeypatch: pytest.MonkeyPatch
) -> None:
    tick = venue.filters("BTCUSDT").tick
    venue.filters("BTCUSDT")
    assert small_venue.names().count("GET /fapi/v1/exchangeInfo") == 1
    monkeypatch.setattr("bot4_live.safety.venue.FILTERS_S", 0.0)
    assert venue.filters("BTCUSDT").tick == tick
    assert small_venue.names().count("GET /fapi/v1/exchangeInfo") == 2
    small_venue.answer_after["GET /fapi/v1/exchangeInfo"] = (503, b"")
    assert venue.filters("BTCUSDT").tick == tick
    assert small_venue.names().count("GET /fapi/v1/exchangeInfo") == 3


def test_an_unknown_symbol_and_missing_endpoints(venue: SafetyVenue) -> None:
    assert venue.cancel_algo("BTCUSDT") is False
    with pytest.raises(VenueError, match="does not list DOGEUSDT"):
        venue.filters("DOGEUSDT")


def test_nobody_there_is_one_clear_line() -> None:
    with pytest.raises(VenueUnreachable, match=r"127\.0\.0\.1:9 does not answer"):
        SafetyVenue("http://127.0.0.1:9", KEY, SECRET).open_orders()
    with pytest.raises(ValueError, match="not a REST endpoint"):
        SafetyVenue("ws://127.0.0.1:9", KEY, SECRET)
