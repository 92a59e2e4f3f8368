"""What each event does to the engine: session, hold, modes, book, configuration, account."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from bot4_live import engine_events as ev
from bot4_live.engine import Engine
from bot4_live.events import Field, Flag, Kind, Mode, StaleCause, header_of, new_record, slots_of, value_slot
from bot4_live.execution.orders import OrderState
from bot4_live.instrument import BTCUSDT_USDM, Instrument
from bot4_live.settings import StrategyParams


def kinds(commands: list[np.ndarray]) -> list[Kind]:
    return [Kind(int(header_of(c)["kind"])) for c in commands]


def quoted(rig: Any) -> tuple[int, int]:
    """Let a started rig quote and have both orders accepted; return their ids."""
    rig.start()
    rig.wait(10)
    orders = list(rig.engine.orders())
    assert [o.side for o in orders] == [1, -1]
    for order in orders:
        rig.push(ev.record(Kind.SEND_ATTEMPT, 0, order.id, int(Kind.CMD_NEW)))
        rig.report(Kind.ORDER_ACCEPTED, order.id)
    return orders[0].id, orders[1].id


def test_nothing_leaves_before_everything_is_there(rig: Any) -> None:
    assert rig.engine.holding
    assert rig.engine.mode == Mode.PAUSE
    rig.configure()
    assert rig.wait(300) == []
    rig.snapshot()
    assert rig.wait(300) == []
    rig.push(ev.mode(0, Mode.NORMAL))
    assert rig.wait(300) == []
    assert kinds(rig.push(ev.hold(0, False))) == [Kind.CMD_NEW, Kind.CMD_NEW]


def test_a_command_record_says_what_caused_it(rig: Any) -> None:
    rig.start(epoch=5)
    bid, ask = rig.log.commands
    seq = rig.log.events[-1]
    for index, command in enumerate((bid, ask)):
        head = header_of(command)
        assert (int(head["length"]), int(head["crc"]), int(head["schema"]), int(head["source"])) == (80, 0, 1, 10)
        assert int(head["seq"]) == int(header_of(seq)["seq"])
        assert int(head["recv_ns"]) == int(header_of(seq)["recv_ns"])
        assert (int(head["instrument"]), int(head["inst_version"])) == (0, 1)
        assert (int(head["a"]), int(head["b"]), int(head["c"])) == ((5 << 32) | (index + 1), 0, index)
    assert int(header_of(bid)["flags"]) == Flag.POST_ONLY
    assert int(header_of(ask)["flags"]) == Flag.POST_ONLY | Flag.SELL
    assert slots_of(bid).tolist() == [[599_868, 4]]
    assert slots_of(ask).tolist() == [[600_133, 4]]


def test_a_quote_stays_within_the_hysteresis_and_moves_past_it(rig: Any) -> None:
    quoted(rig)
    rig.quote(600_004, 600_005)
    assert rig.wait(200) == []
    rig.quote(600_010, 600_011)
    moved = rig.wait(100)
    assert kinds(moved) == [Kind.CMD_CANCEL, Kind.CMD_NEW, Kind.CMD_CANCEL, Kind.CMD_NEW]
    rig.quote(600_030, 600_031)
    assert rig.wait(100) == []  # the replacements are not acknowledged yet


def test_quotes_are_evaluated_every_requote_ms(rig: Any) -> None:
    rig.start(requote_ms=250.0)
    before = rig.engine.counters["decisions"]
    rig.wait(1_000)
    assert rig.engine.counters["decisions"] - before == 4


def test_stale_book_pulls_the_quotes_at_once_and_a_snapshot_brings_them_back(rig: Any) -> None:
    bid, ask = quoted(rig)
    stale = rig.push(ev.record(Kind.BOOK_STALE, 0, StaleCause.GAP))
    assert kinds(stale) == [Kind.CMD_CANCEL, Kind.CMD_CANCEL]
    assert {int(header_of(c)["a"]) for c in stale} == {bid, ask}
    rig.quote(600_000, 600_001)  # a best quote alone does not make a book
    assert rig.wait(200) == []
    rig.report(Kind.ORDER_CANCELED, bid)
    rig.report(Kind.ORDER_CANCELED, ask)
    rig.update += 5
    rig.snapshot()
    assert kinds(rig.wait(100)) == [Kind.CMD_NEW, Kind.CMD_NEW]


def test_pause_cancels_what_rests_and_opens_nothing(rig: Any) -> None:
    quoted(rig)
    assert kinds(rig.push(ev.mode(0, Mode.PAUSE))) == [Kind.CMD_CANCEL, Kind.CMD_CANCEL]
    assert rig.wait(1_000) == []
    assert rig.engine.denials == {}  # the strategy does not even ask


def test_emergency_is_one_cancel_all_and_then_silence(rig: Any) -> None:
    bid, _ = quoted(rig)
    rig.fill(bid, 1, 4, 4, sell=False)
    assert kinds(rig.push(ev.mode(0, Mode.EMERGENCY))) == [Kind.CMD_CANCEL_ALL]
    assert rig.push(ev.mode(0, Mode.EMERGENCY)) == []
    assert rig.wait(10_000) == []
    assert {o.state for o in rig.engine.orders()} == {OrderState.PENDING_CANCEL}
    rig.push(ev.record(Kind.SUPPRESSED, 0, 0, 1, int(Kind.CMD_CANCEL_ALL)))
    assert {o.state for o in rig.engine.orders()} == {OrderState.ACCEPTED}


def test_reduce_unwinds_with_reduce_only_orders(rig: Any) -> None:
    bid, ask = quoted(rig)
    rig.fill(bid, 1, 4, 4, sell=False)
    commands = rig.push(ev.mode(0, Mode.REDUCE))
    # The ask could have opened a short: it is replaced by one that cannot, at the best price.
    assert kinds(commands) == [Kind.CMD_CANCEL]
    assert int(header_of(commands[0])["a"]) == ask
    assert rig.engine.denials == {"NOT_REDUCING": 1}  # both together could do more than unwind
    rig.report(Kind.ORDER_CANCELED, ask)
    (new,) = rig.wait(100)
    assert int(header_of(new)["flags"]) == Flag.SELL | Flag.POST_ONLY | Flag.REDUCE_ONLY
    assert slots_of(new).tolist() == [[600_001, 4]]
    rig.fill(int(header_of(new)["a"]), 2, 4, 4, sell=True)
    assert rig.engine.account["position"] == 0
    assert rig.wait(500) == []


def test_session_voids_the_book_and_holds_and_live_orders_become_unknown(rig: Any) -> None:
    bid, ask = quoted(rig)
    assert rig.push(ev.session(0, epoch=2, shift_ns=5, speed_milli=4_000)) == []
    assert rig.engine.holding
    assert not rig.engine.features_valid
    assert {o.state for o in rig.engine.orders()} == {OrderState.UNKNOWN}
    rig.update += 1
    rig.snapshot()
    rig.push(ev.hold(0, False))
    assert rig.wait(500) == []  # their fate is not known: nothing is placed beside them
    rig.report(Kind.ORDER_EXPIRED, bid)
    (new,) = rig.wait(100)
    assert int(header_of(new)["a"]) == (2 << 32) | 1  # the new epoch
    rig.report(Kind.ORDER_ADOPTED, ask)
    assert kinds(rig.wait(100)) in ([], [Kind.CMD_CANCEL, Kind.CMD_NEW])


def test_hold_pulls_quotes_and_releases(rig: Any) -> None:
    quoted(rig)
    assert kinds(rig.push(ev.hold(0, True))) == [Kind.CMD_CANCEL, Kind.CMD_CANCEL]
    assert rig.wait(300) == []


def test_an_adopted_order_is_managed_like_our_own(rig: Any) -> None:
    rig.start(quoting=0.0)
    stray = ev.record(Kind.ORDER_ADOPTED, 0, (1 << 32) | 77, 5, 1, slots=1)
    slots_of(stray)[0] = (599_000, 3)
    rig.push(stray)
    (cancel,) = rig.wait(100)
    assert (int(header_of(cancel)["kind"]), int(header_of(cancel)["a"])) == (Kind.CMD_CANCEL, (1 << 32) | 77)
    assert rig.wait(4_000) == []
    assert kinds(rig.wait(1_200)) == [Kind.CMD_CANCEL]  # without an answer it is asked again


def test_a_suppressed_order_frees_its_place_and_is_tried_again(rig: Any) -> None:
    rig.start()
    first, second = (int(header_of(c)["a"]) for c in rig.log.commands)
    assert rig.wait(300) == []
    for order_id in (first, second):
        rig.push(ev.record(Kind.SUPPRESSED, 0, order_id, 1, int(Kind.CMD_NEW)))
    assert kinds(rig.wait(100)) == [Kind.CMD_NEW, Kind.CMD_NEW]


def test_money_is_counted_in_integers(rig: Any) -> None:
    bid, ask = quoted(rig)
    rig.fill(bid, 1, 3, 3, sell=False, fee=700)
    rig.fill(ask, 2, 2, 2, sell=True, fee=-100)
    rig.fill(ask, 2, 2, 2, sell=True, fee=-100)
    account = rig.engine.account
    unit = BTCUSDT_USDM.unit_e8
    cash = (-3 * 599_868 + 2 * 600_133) * unit
    assert account["position"] == 1
    assert account["cash_e8"] == cash
    assert account["fees_e8"] == 600
    assert account["equity_e8"] == cash + 1_200_001 * unit // 2 - 600
    counters = rig.engine.counters
    assert (counters["fills"], counters["duplicate_fills"], counters["foreign_fills"]) == (2, 1, 0)


def position(lots: int, entry_e8: int, venue_ns: int) -> np.ndarray:
    return ev.record(Kind.POSITION, 0, lots, entry_e8, venue_ns)


def test_the_venue_position_is_the_truth_on_hold_and_only_noted_otherwise(rig: Any) -> None:
    rig.start()
    rig.push(position(25, 60_000 * 10**8, 1))
    assert (rig.engine.account["position"], rig.engine.account["venue_position"]) == (0, 25)
    rig.push(ev.hold(0, True))
    rig.push(position(25, 60_000 * 10**8, 1))
    account = rig.engine.account
    assert (account["position"], account["corrections"]) == (25, 1)
    # 25 lots of 60 USDT, entered at 60,000.00 and marked at 60,000.05
    assert account["cash_e8"] == -25 * 60 * 10**8
    assert account["equity_e8"] == 125_000  # 25 lots of 0.001 x 0.05
    rig.push(position(0, 0, 2))
    account = rig.engine.account
    assert account["position"] == 0
    assert account["equity_e8"] == 125_000  # removed at mid: nothing more is made by it


def test_a_fill_older_than_the_venue_position_is_in_it_already(rig: Any) -> None:
    bid, _ = quoted(rig)
    rig.push(ev.hold(0, True))
    rig.push(position(3, 59_986 * 10**8, 1_000))
    for trade, exch_ns in ((1, 900), (2, 1_000), (3, 1_001)):
        record = ev.record(Kind.ORDER_FILL, 0, bid, trade, 9, slots=2)
        slots_of(record)[:] = [(599_868, 1), (trade, 10)]
        header_of(record)["exch_ns"] = exch_ns
        rig.push(record)
    account = rig.engine.account
    assert (account["position"], account["covered_fills"], account["fees_e8"]) == (4, 2, 30)


def test_records_flagged_invalid_are_skipped(rig: Any) -> None:
    rig.start()
    before = rig.engine.quotes
    record = ev.record(Kind.BOOK_TICKER, 0, 900, slots=2)
    slots_of(record)[:] = [(700_000, 5), (700_001, 5)]
    header_of(record)["flags"] = Flag.INVALID
    rig.push(record)
    rig.wait(200)
    assert rig.engine.counters["invalid"] == 1
    assert rig.engine.quotes == before


@pytest.mark.parametrize("kind", [Kind.DEPTH_SNAPSHOT, Kind.BOOK_TICKER, Kind.TRADE, Kind.POSITION, Kind.ORDER_FILL])
def test_an_unknown_instrument_version_is_counted_and_skipped(rig: Any, kind: Kind) -> None:
    rig.start()
    state = rig.engine.state
    books = state["book"].tobytes(), state["account"].tobytes()
    rig.push(ev.record(kind, 0, 1, 1, 1, slots=4), version=2)
    assert rig.engine.counters["unknown_instrument"] == 1
    assert (state["book"].tobytes(), state["account"].tobytes()) == books


def test_another_tick_size_voids_the_book_and_holds(rig: Any) -> None:
    quoted(rig)
    finer = Instrument(**{**BTCUSDT_USDM.__dict__, "version": 2, "tick_e8": 10**6})
    rig.push(finer.record(0), version=2)
    assert rig.engine.holding
    assert rig.engine.quotes["bid"] > 0  # of the last evaluation
    assert kinds(rig.wait(100)) == [Kind.CMD_CANCEL, Kind.CMD_CANCEL]
    assert rig.engine.quotes["bid"] == 0


def test_gaps_repeats_and_time_that_goes_back_are_counted(rig: Any) -> None:
    rig.start()
    last, now = rig.engine.last_seq, rig.now

    def send(seq: int, recv_ns: int) -> None:
        record = ev.record(Kind.CLOCK_OFFSET, recv_ns)
        header_of(record)["seq"] = seq
        rig.engine.step(record)

    send(last + 1, now)
    send(last + 5, now - 10)
    send(last + 5, now)
    send(last + 2, now)
    counters = rig.engine.counters
    assert (counters["seq_gaps"], counters["seq_repeats"], counters["time_backwards"]) == (1, 2, 1)
    assert rig.engine.last_seq == last + 5


def test_malformed_and_unknown_records_are_counted_and_skipped(rig: Any) -> None:
    rig.start()
    rig.push(ev.record(Kind.TRADE, 0))  # without its slot
    broken = ev.record(Kind.DEPTH_DIFF, 0, 101, 103, slots=2)
    slots_of(broken)[0] = (100, 7)  # more bids than rows
    rig.push(broken)
    rig.push(ev.record(Kind.MODE, 0, 9))
    rig.push(ev.record(Kind.SLOW_FEATURE, 0, 99, slots=1))
    rig.push(ev.record(61, 0))
    rig.push(ev.record(Kind.NOTE, 0))
    counters = rig.engine.counters
    assert (counters["malformed"], counters["unknown_kind"]) == (4, 1)
    assert rig.engine.mode == Mode.NORMAL
    with pytest.raises(ValueError, match="whole"):
        rig.engine.step(new_record(Kind.TICK)[:60])
    long = new_record(Kind.TICK)
    header_of(long)["length"] = 80
    with pytest.raises(ValueError, match="whole"):
        rig.engine.step(long)


def test_funding_liquidations_and_tickers_change_nothing(rig: Any) -> None:
    rig.start()
    rig.wait(10)
    before = rig.engine.state.copy()
    values = [value_slot(Field.FUNDING_RATE, "-0.0001"), value_slot(Field.MARK_PRICE, "60000.12345678")]
    for kind, first in ((Kind.FUNDING, []), (Kind.LIQUIDATION, [(600_000, 3)]), (Kind.TICKER, [])):
        record = ev.record(kind, int(before["now_ns"][0]), slots=len(first) + len(values))
        slots_of(record)[:] = [*first, *values]
        assert rig.push(record) == []
    after = rig.engine.state
    assert int(after["counters"]["events"][0] - before["counters"]["events"][0]) == 3
    for name in after.dtype.names:
        if name not in ("counters", "last_seq", "now_ns"):
            assert after[name].tobytes() == before[name].tobytes(), name
    for name in ("unknown_kind", "malformed", "unknown_instrument", "invalid"):
        assert rig.engine.counters[name] == 0, name


def test_settings_come_only_by_events_and_a_part_of_them_is_not_enough() -> None:
    engine = Engine()
    record = ev.params(0, StrategyParams(gamma=0.3))
    some = ev.record(Kind.PARAMS, 0, slots=3)
    slots_of(some)[:] = slots_of(record)[:3]
    header_of(some)["seq"] = 1
    engine.step(some)
    assert engine.state["params_known"][0] == 0
    header_of(record)["seq"] = 2
    engine.step(record)
    assert engine.state["params_known"][0] == 1
    assert engine.state["params"][0, 0] == 0.3
    unknown = ev.record(Kind.PARAMS, 0, slots=2)
    slots_of(unknown)[:] = [(31, 0), (0, int(np.float64("nan").view(np.int64)))]
    header_of(unknown)["seq"] = 3
    engine.step(unknown)
    assert engine.counters["unknown_params"] == 2
    assert engine.state["params"][0, 0] == 0.3


def test_a_budget_narrows_the_order_rate(rig: Any) -> None:
    rig.configure()
    rig.push(ev.budget(0, 1, 1))
    rig.push(ev.mode(0, Mode.NORMAL))
    rig.snapshot()
    assert kinds(rig.push(ev.hold(0, False))) == [Kind.CMD_NEW]
    assert rig.engine.denials == {"ORDER_RATE": 1}
    assert rig.engine.counters["risk_rejections.ORDER_RATE"] == 1
    assert kinds(rig.wait(900)) == []
    assert kinds(rig.wait(200)) == [Kind.CMD_NEW]


def slow(rig: Any, key: int, value: float, age_s: float = 60.0, created: int = 0) -> None:
    rig.push(ev.slow_feature(0, key, value, rig.now - int(age_s * 1e9), created))


def test_a_slow_value_changes_a_command(make_rig: Any) -> None:
    def prices(value: float | None) -> list[list[list[int]]]:
        rig = make_rig().configure()
        if value is not None:
            slow(rig, 0, value)
        rig.push(ev.mode(0, Mode.NORMAL))
        rig.snapshot()
        return [slots_of(c).tolist() for c in rig.push(ev.hold(0, False))]

    plain, calm, wild = prices(None), prices(6e-5), prices(6e-4)
    assert plain == calm  # both at the floor of fee and adverse selection
    assert wild[0][0][0] < plain[0][0][0]
    assert wild[1][0][0] > plain[1][0][0]
    assert prices(7e-4) != wild


def test_slow_values_expire_and_older_ones_change_nothing(rig: Any) -> None:
    rig.start(slow_ttl_s=100.0)
    slow(rig, 0, 6e-4, age_s=99.0)
    slow(rig, 0, 9e-4, age_s=150.0)  # arrives later, speaks of an earlier time
    rig.wait(100)
    assert rig.engine.quotes["sigma"] == 6e-4
    assert rig.engine.counters["slow_refused"] == 1
    rig.wait(1_000)
    assert rig.engine.quotes["sigma"] == 5e-5


def test_another_tick_and_lot_keep_what_the_position_is_worth(traded: Any) -> None:
    rig = traded(seed=3, steps=120)
    rig.push(ev.hold(rig.now, False))
    before = dict(rig.engine.account)
    equity, mid2 = int(rig.engine.account["equity_e8"]), int(rig.engine.state["mid2"][0])
    assert before["position"] != 0
    finer = replace(BTCUSDT_USDM, version=2, tick_e8=BTCUSDT_USDM.tick_e8 // 10, lot_e8=BTCUSDT_USDM.lot_e8 // 10)
    rig.push(finer.record(rig.now), version=2)
    assert int(rig.engine.account["position"]) == 10 * before["position"]
    assert int(rig.engine.state["mid2"][0]) == 10 * mid2
    assert int(rig.engine.account["equity_e8"]) == equity
    assert int(rig.engine.state["bid"][0]) == int(rig.engine.state["ask"][0]) == 0
    assert int(rig.engine.state["hold"][0]) == 1
