"""`bot4 live` with something missing: one line, and nothing was begun: no order, no journal, no order epoch."""

from __future__ import annotations

import contextlib
import shutil
import socket
import time

import numpy as np
import pytest

from bot4_live.features.registry import FEATURES
from bot4_live.models.bundle import GOLDEN_ROWS, BundleInfo, full_rows, write
from bot4_live.models.current import Current, write_current
from bot4_live.models.layout import new_slot
from bot4_live.models.linear import LinearModel
from bot4_live.models.predict import predict_rows

pytestmark = pytest.mark.system


@contextlib.contextmanager
def watched(account, tmp_path):
    with account.running("watchdog", log=tmp_path / "watchdog.err") as (process, ready):
        assert ready, (tmp_path / "watchdog.err").read_text()
        yield process


def nothing_began(account):
    return not account.settings.journal_dir.exists() and not (account.settings.state_dir / "order_epoch").exists()


def put_champion(models_dir):
    """Write a small linear champion and return the folder of its bundle."""
    names = tuple(feature.name for feature in FEATURES[:2])
    model = LinearModel(names, (0.5, -0.25), (0.0, 0.0), (1.0, 1.0))
    rows = np.random.default_rng(3).normal(size=(GOLDEN_ROWS, 2))
    slot = new_slot()
    model.fill(slot)
    scores = predict_rows(slot[0], full_rows(names, rows))
    info = BundleInfo("small", 1, "linear", names, "mid_return_bp", 10**9)
    digest = write(models_dir, info, model.encode(), rows, scores)
    write_current(models_dir, Current(digest, 1))
    return models_dir / "sha256" / digest


def _tamper(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


# Every way to spoil a bundle is in the tests of bundles; these are what an operator meets.
SPOIL = {
    "no current.json": (lambda models, bundle: (models / "current.json").unlink(), "current.json is missing"),
    "current.json is no JSON": (lambda models, bundle: (models / "current.json").write_text("{"), "promote a model"),
    "no bundle": (lambda models, bundle: shutil.rmtree(bundle), "is missing in"),
    "the model was changed": (lambda models, bundle: _tamper(bundle / "linear.json"), "linear.json was changed"),
}


def test_a_model_that_cannot_be_used(trader, tmp_path):
    with watched(trader, tmp_path):
        for name, (spoil, words) in SPOIL.items():
            shutil.rmtree(trader.settings.models_dir, ignore_errors=True)
            spoil(trader.settings.models_dir, put_champion(trader.settings.models_dir))
            done = trader.run("live") if name == "no bundle" else trader.here("live")
            assert done.code == 1, name
            said = done.err.strip().splitlines()
            assert "Traceback" not in done.err, (name, done.err)
            assert said[-1].startswith("bot4: "), (name, done.err)
            assert words in said[-1], (name, done.err)
            assert nothing_began(trader), name


def test_no_watchdog(trader):
    trader.here("live", "--no-model").refused("no watchdog guards account bad; start `bot4 watchdog` first")
    assert nothing_began(trader)


def test_a_watchdog_that_was_killed(trader, tmp_path):
    with watched(trader, tmp_path) as process:
        process.kill()
        process.wait()
        time.sleep(1.1)  # a heart that stands still for a second
        trader.here("live", "--no-model").refused("start `bot4 watchdog` again")
    assert nothing_began(trader)


def last_line(done):
    """Return the refusal after the progress that starting makes."""
    assert done.code == 1, (done.out, done.err)
    assert "Traceback" not in done.err, done.err
    return done.err.strip().splitlines()[-1]


def test_no_keys_an_absent_exchange_and_wrong_keys(trader, tmp_path):
    trader.here("live", "--no-model", BOT4_API_SECRET="").refused("no API key; set BOT4_API_KEY and BOT4_API_SECRET")
    with watched(trader, tmp_path):
        with socket.socket() as nobody:
            nobody.bind(("127.0.0.1", 0))
            url = f"http://127.0.0.1:{nobody.getsockname()[1]}"
            line = last_line(trader.run("live", "--no-model", BOT4_REST_URL=url))
        assert line.startswith(f"bot4: no exchange answers at {url}")
        assert "bot4 exchange" in line
        assert nothing_began(trader)
        for name in ("BOT4_API_KEY", "BOT4_API_SECRET"):
            done = trader.run("live", "--no-model", "--seconds", 8, **{name: "wrongwrong"})
            line = last_line(done)
            assert "BOT4_API_KEY and BOT4_API_SECRET" in line, done.err
            assert "wrongwrong" not in done.err
            assert nothing_began(trader), name


@pytest.mark.slow  # tests/system/live has a quicker sample
def test_two_runners_of_one_account(trader, tmp_path):
    with watched(trader, tmp_path), trader.running("live", "--no-model", "--seconds", 60) as (process, ready):
        assert ready is not None
        trader.run("live", "--no-model").refused(f"process {process.pid} already trades account bad; stop it first")
        trader.run("record", "--seconds", 1).refused("already writes this account's journal")
        assert process.poll() is None
