"""Settings: from the environment, checked, and what is wrong with them in words."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from pydantic import ValidationError

from bot4_live.settings import PARAM_IDS, Settings, StrategyParams, load
from bot4_live.settings_errors import WrongSettings, unknown, variables
from bot4_platform.settings import PlatformSettings, platform_settings

SECRET = (
    "api_key", "api_secret", "watchdog_api_key", "watchdog_api_secret", "exchange_token", "coinbase_key",
    "coinbase_secret", "coinbase_passphrase", "kraken_ws_token",
)  # fmt: skip


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch):
    for name in [name for name in os.environ if name.startswith("BOT4_")]:
        monkeypatch.delenv(name)


def wrong(monkeypatch, **settings):
    for name, value in settings.items():
        monkeypatch.setenv(f"BOT4_{name}", value)
    with pytest.raises(WrongSettings) as error:
        load()
    return error.value.lines


def test_paper_on_loopback_is_the_default():
    settings = load()
    assert settings.account == "paper"
    assert settings.rest_url.startswith("http://127.0.0.1:")
    assert settings.ws_url.startswith("ws://127.0.0.1:")
    assert all(getattr(settings, name).get_secret_value() == "" for name in SECRET)


def test_the_environment_sets_and_a_call_overrides(monkeypatch, tmp_path):
    monkeypatch.setenv("BOT4_ACCOUNT", "mine")
    monkeypatch.setenv("BOT4_VAR", str(tmp_path))
    monkeypatch.setenv("BOT4_STRATEGY__GAMMA", "0.25")
    assert (load().account, load().strategy.gamma) == ("mine", 0.25)
    assert load().journal_dir == tmp_path / "mine" / "journal"
    assert load(account="other").account == "other"
    monkeypatch.setenv("BOT4_STRATEGY", '{"urgency": 3}')
    assert (load().strategy.urgency, load().strategy.gamma) == (3.0, 0.25)


def test_variables_that_others_read_are_no_unknown_settings(monkeypatch):
    for name in ("BOT4_CACHE_DIR", "BOT4_SHARED_DATA", "BOT4_CRASH_AT", "BOT4_PLATFORM__DAY_START"):
        monkeypatch.setenv(name, "x")
    load()


def test_var_is_absolute(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert load(var=Path("here")).var == tmp_path / "here"


@pytest.mark.parametrize(
    ("settings", "lines"),
    [
        ({"FOO": "1"}, ["unknown setting BOT4_FOO; known are: BOT4_ACCOUNT,"]),
        ({"STRATEGY__GAMA": "1"}, ["unknown setting BOT4_STRATEGY__GAMA; did you mean BOT4_STRATEGY__GAMMA?"]),
        ({"STRATEGY__FOO": "1"}, ["unknown setting BOT4_STRATEGY__FOO; known are: BOT4_STRATEGY__ADVERSE"]),
        ({"ACCOUNT__X": "1"}, ["unknown setting BOT4_ACCOUNT__X; BOT4_ACCOUNT has no settings of its own"]),
        ({"STRATEGY": "abc"}, ["BOT4_STRATEGY is not JSON; give an object, or single values such as"]),
        ({"STRATEGY": '{"foo": 1}'}, ["unknown setting BOT4_STRATEGY__FOO; known are:"]),
        ({"STRATEGY__GAMMA": "-1"}, ["BOT4_STRATEGY__GAMMA=-1: must be greater than 0 (risk aversion"]),
        ({"STRATEGY__MAX_POSITION_NOTIONAL": "inf"}, ["BOT4_STRATEGY__MAX_POSITION_NOTIONAL=inf: must be a finite"]),
        ({"STRATEGY__SIGMA": "nan"}, ["BOT4_STRATEGY__SIGMA=nan: must be a finite number"]),
        ({"ACCOUNT": "../x"}, ["BOT4_ACCOUNT=../x: must match pattern"]),
        ({"PROFILE": "cloud"}, ["BOT4_PROFILE=cloud: must be 'embedded' or 'services'"]),
        ({"REST_URL": "hello"}, ["BOT4_REST_URL=hello: no address of this kind; give one such as http://127.0.0.1"]),
        ({"REST_URL": "http://127.0.0.1:99999"}, ["BOT4_REST_URL=http://127.0.0.1:99999: no address (Port out of"]),
        ({"WS_URL": "http://127.0.0.1:1"}, ["BOT4_WS_URL=http://127.0.0.1:1: no address of this kind; give one such"]),
        (
            {"RECV_WINDOW_MS": "5", "STRATEGY__URGENCY": "x", "COUNTDOWN_MS": "1"},
            ["BOT4_RECV_WINDOW_MS=5: must be gr", "BOT4_COUNTDOWN_MS=1: must be gr", "BOT4_STRATEGY__URGENCY=x: must"],
        ),
        ({"TRANSPORT": "fast"}, ["BOT4_TRANSPORT=fast: must be 'async' or 'spin' (how the market is received"]),
        ({"LOOP_CPU": "-1"}, ["BOT4_LOOP_CPU=-1: must be greater than or equal to 0 (core of the session's loop"]),
        ({"LOOP_CPU": "first"}, ["BOT4_LOOP_CPU=first: must be a valid integer"]),
        ({"JOURNAL__RING_MB": "1"}, ["BOT4_JOURNAL__RING_MB=1: must be greater than or equal to 33 (shared memory"]),
        ({"FEEDER_RING_KB": "99999"}, ["BOT4_FEEDER_RING_KB=99999: must be less than or equal to 65536 (shared"]),
    ],
    ids=lambda value: "+".join(value) if isinstance(value, dict) else "",
)
def test_each_wrong_setting_is_one_line(monkeypatch, settings, lines):
    said = wrong(monkeypatch, **settings)
    assert len(said) == len(lines)
    for line, expected in zip(said, lines, strict=True):
        assert line.startswith(expected)
        assert "\n" not in line


def test_the_value_of_a_secret_is_in_no_line(monkeypatch):
    with pytest.raises(WrongSettings) as error:
        load(api_key=17)
    (line,) = error.value.lines
    assert line.startswith("BOT4_API_KEY: ")
    assert "17" not in line


def test_secrets_are_not_shown(monkeypatch):
    for name in SECRET:
        monkeypatch.setenv(f"BOT4_{name.upper()}", f"hidden-{name}")
    settings = load()
    assert "hidden" not in repr(settings)
    assert "hidden" not in str(settings.public())
    assert not set(SECRET) & set(settings.public())
    assert settings.api_secret.get_secret_value() == "hidden-api_secret"


def test_what_is_meant_is_guessed_within_its_group():
    known = variables(Settings, "BOT4_")
    assert len(known) == len(set(known))
    for name in known:
        assert unknown(f"{name}X", known) == f"unknown setting {name}X; did you mean {name}?"
    assert "BOT4_STRATEGY__" not in unknown("BOT4_ZZZZ", known).replace("BOT4_STRATEGY__...", "")
    assert "BOT4_SYMBOL" not in unknown("BOT4_STRATEGY__ZZZZ", known)


@pytest.mark.parametrize(
    ("name", "value", "line"),
    [
        ("FOO", "1", "unknown setting BOT4_PLATFORM__FOO; known are: BOT4_PLATFORM__BASIS, BOT4_PLATFORM__DAY_START"),
        ("DAY_STAR", "1", "unknown setting BOT4_PLATFORM__DAY_STAR; did you mean BOT4_PLATFORM__DAY_START?"),
        ("DAY_START", "soon", "BOT4_PLATFORM__DAY_START=soon: must be a valid date"),
        ("MARKETS", "x", "BOT4_PLATFORM__MARKETS is not JSON; give a list"),
        ("MARKETS", '["x"]', "BOT4_PLATFORM__MARKETS=x: must match pattern"),
        ("MARKETS", "[]", "BOT4_PLATFORM__MARKETS=[]: Tuple should have at least 1 item"),
    ],
)
def test_the_platforms_settings(monkeypatch, name, value, line):
    monkeypatch.setenv(f"BOT4_PLATFORM__{name}", value)
    platform_settings.cache_clear()
    try:
        with pytest.raises(WrongSettings) as error:
            platform_settings()
    finally:
        platform_settings.cache_clear()
    (said,) = error.value.lines
    assert said.startswith(line)


def test_every_parameter_of_the_strategy_has_an_id():
    assert set(PARAM_IDS) == set(StrategyParams.model_fields)
    assert sorted(PARAM_IDS.values()) == list(range(len(PARAM_IDS)))
    assert [number for number, _ in StrategyParams().pairs()] == [PARAM_IDS[n] for n in StrategyParams.model_fields]


@pytest.mark.parametrize("model", [Settings, StrategyParams, PlatformSettings])
def test_settings_are_frozen(model):
    name = next(iter(model.model_fields))
    made = model()
    with pytest.raises(ValidationError, match="frozen"):
        setattr(made, name, getattr(made, name))
