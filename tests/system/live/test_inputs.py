"""What steers a running session from outside: slow features, the champion, the control mode."""

from __future__ import annotations

import json
import sqlite3
import struct
import subprocess
import time

import numpy as np
import pytest

from bot4_live.events import Kind, Mode, bits_float, header_of, slots_of
from bot4_live.features.registry import FEATURES
from bot4_live.feeder import TABLE, entity_key
from bot4_live.journal.reader import Journal
from bot4_live.models.bundle import BundleInfo, full_rows, write
from bot4_live.models.current import Current, write_current
from bot4_live.models.layout import new_slot
from bot4_live.models.linear import LinearModel
from bot4_live.models.predict import predict_rows
from bot4_live.replay import replay

from .conftest import BOT4, PATIENT, SPEED, TIGHT, read_line

pytestmark = pytest.mark.system


def put_slow(path, event_s, **values):
    """Store slow features as Feast's SQLite store does."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with sqlite3.connect(path) as connection:
        connection.execute(
            f"CREATE TABLE IF NOT EXISTS {TABLE} (entity_key BLOB, feature_name TEXT, value BLOB, value_text TEXT, "
            "vector_value BLOB, event_ts timestamp, created_ts timestamp, PRIMARY KEY(entity_key, feature_name))"
        )
        for name, value in values.items():
            connection.execute(
                f"INSERT OR REPLACE INTO {TABLE} (entity_key, feature_name, value, event_ts) VALUES (?,?,?,?)",
                (entity_key("binance_usdm:BTCUSDT"), name, b"\x29" + struct.pack("<d", value), event_s),
            )
    connection.close()


def spreads(stack):
    """Return (seq, kind, value): the slow values that came in and the half spreads of quotes, in log order."""
    found, sides = [], {}
    for record in Journal(stack.settings.journal_dir).records():
        head = header_of(record)
        if head["kind"] == Kind.SLOW_FEATURE:
            found.append(("slow", int(head["a"]), bits_float(int(slots_of(record)[0, 1]))))
        elif head["kind"] == Kind.CMD_NEW:
            sides[bool(head["flags"] & 1)] = int(slots_of(record)[0, 0])
            if len(sides) == 2:
                found.append(("spread", 0, sides[True] - sides[False]))
    return found


def test_a_slow_feature_changed_in_the_store_changes_the_commands(stack):
    clock = _clock(stack)
    event_s = (clock["market_ns"] - clock["shift_ns"]) // 10**9 - 5
    store = stack.settings.online_store
    put_slow(store, event_s, garch_sigma=5e-5, intensity_a=1.0, intensity_k=20_000.0)
    process, ready, _ = stack.start_runner(BOT4_FEEDER_POLL_S="0.1")
    assert ready, stack.log("live")
    stack.wait(lambda: len(stack.exchange.orders(stack.account)) > 10, 20, "no orders")
    stack.wait(lambda: _count(stack, Kind.SLOW_FEATURE) == 3, 10, "the slow features did not come in")
    quoted = len(stack.exchange.orders(stack.account))
    stack.wait(lambda: len(stack.exchange.orders(stack.account)) > quoted + 10, 20, "no orders")
    put_slow(store, event_s + 1, intensity_k=500.0)  # far orders are filled too: quote wider
    stack.wait(lambda: _count(stack, Kind.SLOW_FEATURE) == 4, 10, "the change did not come in")
    time.sleep(1.0)
    stack.wait(lambda: stack.control("open_orders") > 0, 20, "no order rests")
    stack.stop_runner(process)
    report = json.loads(next(stack.settings.state_dir.glob("latency-*.json")).read_text())
    assert report["counters"]["online_features"] == 4
    told = spreads(stack)
    turn = next(i for i, item in enumerate(told) if item == ("slow", 2, 500.0))
    before = [value for what, _, value in told[:turn] if what == "spread"]
    after = [value for what, _, value in told[turn + 4 :] if what == "spread"]
    assert before
    assert after
    assert np.median(after) > 3 * np.median(before)
    assert replay(stack.settings.journal_dir).identical


def bundle(models_dir, version, intercept):
    name = FEATURES[0].name
    model = LinearModel((name,), (0.0,), (0.0,), (1.0,), intercept)
    rows = np.linspace(-1, 1, 100).reshape(100, 1)
    slot = new_slot()
    model.fill(slot)
    scores = predict_rows(slot[0], full_rows((name,), rows))
    info = BundleInfo(f"constant-{version}", version, "linear", (name,), "mid_return_bp", 10**9)
    return write(models_dir, info, model.encode(), rows, scores)


def start_with_model(stack):
    process = stack._spawn(["live", "--seconds", "120"], TIGHT | PATIENT)
    return process, read_line(process, 60, "trading")


def test_the_champion_is_swapped_while_trading_and_a_broken_one_is_not(stack):
    models = stack.settings.models_dir
    first, second = bundle(models, 1, 0.0), bundle(models, 2, 1.5)
    write_current(models, Current(first, 1, "champion", True))
    process, ready = start_with_model(stack)
    assert ready, stack.log("live")
    assert (ready["model_version"], ready["model_alias"]) == (1, "champion")
    (models / "current.json").write_text('{"digest": "no')
    stack.wait(lambda: "current.json" in stack.log("live"), 20, "the broken file was not noticed")
    assert process.poll() is None
    write_current(models, Current(second, 2, "champion", False))
    written_ns = _clock(stack)["market_ns"]
    stack.wait(lambda: _count(stack, Kind.MODEL_SWAP) >= 2, 20, "the champion was not swapped")
    stack.stop_runner(process)
    swaps = [
        header_of(r) for r in Journal(stack.settings.journal_dir).events() if header_of(r)["kind"] == Kind.MODEL_SWAP
    ]
    assert [(int(h["b"]), int(h["c"])) for h in swaps] == [(1, 0), (2, 1)]
    assert swaps[0]["a"] != swaps[1]["a"]
    assert int(swaps[1]["recv_ns"]) - written_ns < 3 * SPEED * 10**9, "the swap took more than three seconds"
    assert replay(stack.settings.journal_dir).identical


def _clock(stack):
    return json.loads(stack.exchange._read(f"{stack.exchange.rest}/bot4/clock"))


def _count(stack, kind):
    return sum(int((part.headers["kind"] == kind).sum()) for part in Journal(stack.settings.journal_dir).segments())


def test_pause_pulls_the_quotes(stack):
    process, ready, _ = stack.start_runner(patient=True)
    assert ready, stack.log("live")
    stack.wait(lambda: stack.exchange.open_orders(stack.account), 20, "no order rests")
    subprocess.run([*BOT4, "mode", "pause"], env=stack.environment, check=True, capture_output=True)
    stack.wait(lambda: not stack.exchange.open_orders(stack.account), 5, "PAUSE left orders in the book")
    before = len(stack.exchange.orders(stack.account))
    time.sleep(0.5)
    assert len(stack.exchange.orders(stack.account)) == before
    stack.stop_runner(process)
    modes = [
        int(header_of(r)["a"])
        for r in Journal(stack.settings.journal_dir).events()
        if header_of(r)["kind"] == Kind.MODE
    ]
    assert modes == [Mode.NORMAL, Mode.PAUSE]


@pytest.mark.slow  # the main job presses the button too
def test_the_kill_leaves_no_order_and_no_position(stack):
    process, ready, _ = stack.start_runner(patient=True)
    assert ready, stack.log("live")
    stack.wait(lambda: stack.exchange.position_lots(stack.account) != 0, 60, "no fill came")
    killed = subprocess.run([*BOT4, "kill"], env=stack.environment, capture_output=True, text=True, timeout=30)
    assert killed.returncode == 0, killed.stdout + killed.stderr
    assert stack.exchange.position_lots(stack.account) == 0
    assert stack.exchange.open_orders(stack.account) == []
    assert process.wait(10) != 0
    after, line, _ = stack.start_runner()
    assert line is None
    assert after.wait(10) == 1
    assert "is stopped" in stack.log("live")
    assert "bot4 mode rearm" in stack.log("live")
