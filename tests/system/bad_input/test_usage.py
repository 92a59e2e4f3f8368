"""Wrong settings, options, endpoints, ports and folders."""

from __future__ import annotations

import socket

import pytest

pytestmark = pytest.mark.system

COMMANDS = [
    ["live"], ["record", "--capture", "x"], ["watchdog"], ["watchdog", "press"], ["kill"], ["mode"], ["doctor"],
    ["platform"], ["demo", "--folder", "FOLDER"],
]  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_an_unknown_setting_stops_every_command(account, tmp_path, command):
    arguments = [str(tmp_path / "demo") if word == "FOLDER" else word for word in command]
    run = account.run if command[0] in ("live", "platform", "demo") else account.here
    done = run(*arguments, BOT4_REST_URI="http://127.0.0.1:1")
    done.refused("unknown setting BOT4_REST_URI; did you mean BOT4_REST_URL?")
    assert account.files() == []
    assert not account.settings.shm_dir.exists()
    assert not (tmp_path / "demo").exists()


def test_each_wrong_setting_is_one_line(account):
    wrong = {"BOT4_RECV_WINDOW_MS": "5", "BOT4_STRATEGY__GAMMA": "-1", "BOT4_API_KEY": "sEcrEt"}
    said = account.here("mode", **wrong).refused(lines=2)
    assert said[0].startswith("bot4: BOT4_RECV_WINDOW_MS=5: must be greater than or equal to 250")
    assert said[1].startswith("bot4: BOT4_STRATEGY__GAMMA=-1: must be greater than 0")


def test_the_platforms_own_settings(account):
    account.run("platform", BOT4_PLATFORM__DAY_START="soon").refused("BOT4_PLATFORM__DAY_START=soon: must be a valid")
    assert account.files() == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["foo"], "bot4: No such command 'foo'. (see `bot4 --help`)"),
        (["live", "--seconds", "x"], "'--seconds': 'x' is not a valid float"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_usage_is_one_line_and_exit_code_2(account, arguments, words):
    account.here(*arguments).refused(words, "--help`)", code=2)


@pytest.mark.parametrize(
    ("command", "name", "host"),
    [
        ("live", "REST_URL", "192.0.2.1"), ("live", "WS_URL", "10.0.0.1:8411"), ("record", "REST_URL", "0.0.0.0"),
        ("record", "WS_URL", "192.0.2.1"),
    ],
)  # fmt: skip
def test_an_endpoint_that_is_not_loopback(account, command, name, host):
    url = ("http://" if name == "REST_URL" else "ws://") + host
    keys = {"BOT4_API_KEY": "k", "BOT4_API_SECRET": "s"}
    run = account.run if (command, name) == ("live", "REST_URL") else account.here
    run(command, **keys, **{f"BOT4_{name}": url}).refused(host.partition(":")[0], "bot4 exchange")
    assert account.files() == []


def test_an_exchange_that_is_not_there(account):
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # taken and not listening: refused at once
        url = f"http://127.0.0.1:{nobody.getsockname()[1]}"
        account.run("record", "--seconds", 1, BOT4_REST_URL=url).refused(url, "is the exchange running?")
    assert account.files() == []


@pytest.mark.parametrize("command", ["exchange", "platform"])
def test_a_busy_port(account, command):
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        port = busy.getsockname()[1]
        seed = ["--seed", "1"] if command == "exchange" else []
        account.run(command, *seed, "--port", port).refused(str(port), "another process holds that port", "--port")
    assert account.files() == []


def test_a_folder_that_is_a_file(account, tmp_path, market):
    (tmp_path / "file").write_text("")
    done = account.here("record", "--capture", market[0], BOT4_VAR=str(tmp_path / "file"))
    done.refused("Not a directory", "set BOT4_VAR to a folder")


@pytest.mark.parametrize("command", [["mode"], ["mode", "pause"], ["mode", "rearm", "--confirm", "bad"]])
def test_no_watchdog_to_ask(account, command):
    account.here(*command).refused("account bad has no watchdog; start one: bot4 watchdog")


def test_a_kill_without_keys(account):
    done = account.run("kill")
    assert done.code == 1
    assert done.err.splitlines() == [
        "kill: no watchdog answers: killing from here",
        "bot4: no API key to kill with: set BOT4_WATCHDOG_API_KEY and BOT4_WATCHDOG_API_SECRET",
    ]


def test_a_watchdog_without_keys(account):
    account.run("watchdog").refused("the watchdog has no API key: set BOT4_WATCHDOG_API_KEY")
    assert account.files() == []
