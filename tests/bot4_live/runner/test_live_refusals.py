"""`bot4 live` says in one line what keeps it from trading, and leaves nothing behind."""

from __future__ import annotations

import os
import shutil

import click
import pytest
from click.testing import CliRunner

from bot4_live.cli import SUMMARIES
from bot4_live.clock import boottime_ns
from bot4_live.commands.live import command
from bot4_live.safety.control import CONTROL_FILE, RUN_MAGIC, ControlBlock, RunnerState
from bot4_live.settings import Settings


@pytest.fixture
def account(tmp_path, monkeypatch):
    for name in [name for name in os.environ if name.startswith("BOT4_") and name != "BOT4_CACHE_DIR"]:
        monkeypatch.delenv(name)
    for name, value in {
        "VAR": str(tmp_path), "ACCOUNT": "refused", "API_KEY": "k", "API_SECRET": "s",
        "REST_URL": "http://127.0.0.1:9", "WS_URL": "ws://127.0.0.1:9",
    }.items():  # fmt: skip
        monkeypatch.setenv(f"BOT4_{name}", value)
    settings = Settings()
    yield settings
    shutil.rmtree(settings.shm_dir, ignore_errors=True)


@pytest.fixture
def guarded(account):
    """A control block as a running watchdog leaves it."""
    block = ControlBlock.create(account.shm_dir / CONTROL_FILE)
    for name, value in {"flag": RUN_MAGIC, "arming_epoch": 1, "watchdog_beat_ns": boottime_ns()}.items():
        block.set(name, value)
    return block


def refusal(*arguments):
    result = CliRunner().invoke(command, arguments, standalone_mode=False)
    assert result.exception is not None, result.output
    assert isinstance(result.exception, (OSError, ValueError, click.ClickException)), repr(result.exception)
    text = str(result.exception)
    assert "\n" not in text
    return text


def test_help_begins_with_the_listed_summary():
    assert (command.help or "").splitlines()[0] == SUMMARIES["live"]


def test_an_endpoint_elsewhere(account, monkeypatch):
    monkeypatch.setenv("BOT4_REST_URL", "https://192.0.2.1")
    assert "is not loopback" in refusal("--no-model")
    monkeypatch.setenv("BOT4_REST_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("BOT4_WS_URL", "wss://192.0.2.1")
    assert refusal("--no-model").startswith("BOT4_WS_URL: 192.0.2.1 is not loopback")


def test_no_key(account, monkeypatch):
    monkeypatch.setenv("BOT4_API_SECRET", "")
    assert refusal("--no-model").startswith("no API key; set BOT4_API_KEY")


def test_spinning_on_too_few_cores(account, monkeypatch):
    monkeypatch.setenv("BOT4_TRANSPORT", "spin")
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        assert refusal("--no-model").startswith("BOT4_TRANSPORT=spin never sleeps: it takes one of 4 cores")
        monkeypatch.setenv("BOT4_SPIN_FORCE", "1")
        assert "start `bot4 watchdog` first" in refusal("--no-model")
    finally:
        os.sched_setaffinity(0, before)


def test_no_watchdog(account):
    assert "start `bot4 watchdog` first" in refusal("--no-model")


def test_a_watchdog_that_is_gone(account, guarded):
    guarded.set("watchdog_beat_ns", boottime_ns() - 5_000_000_000)
    assert "is not running; start `bot4 watchdog` again" in refusal("--no-model")


def test_a_stopped_account(account, guarded):
    guarded.set("flag", 0)
    guarded.set("mode", 3)
    text = refusal("--no-model")
    assert "is stopped (mode EMERGENCY)" in text
    assert "bot4 mode rearm --confirm refused" in text


def gone_on_purpose(block):
    """What keeps the watchdog from taking a refusal for the death of a runner."""
    return (block.get("runner_pid"), block.get("runner_state"), block.get("disconnected")) == (
        0, RunnerState.STOPPED, 1,
    )  # fmt: skip


def test_no_model(account, guarded):
    text = refusal()
    assert "current.json is missing" in text
    assert "--no-model" in text
    assert gone_on_purpose(guarded)


def test_no_exchange(account, guarded):
    assert "no exchange answers at http://127.0.0.1:9" in refusal("--no-model")
    assert not account.journal_dir.exists()
    assert not (account.state_dir / "order_epoch").exists()
    assert gone_on_purpose(guarded)


def test_two_ends(account):
    assert "not both" in refusal("--seconds", "1", "--until-market-ns", "5")


def test_an_unknown_setting(account, monkeypatch):
    monkeypatch.setenv("BOT4_SYMBOLS", "BTCUSDT")
    assert refusal().startswith("unknown setting BOT4_SYMBOLS")
