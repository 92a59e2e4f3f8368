"""`bot4 bus` without brokers: the journal followed in this process, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import click
import pytest
from click.testing import CliRunner

from bot4_live.settings import Settings
from bot4_platform.bus.bridge import Bridge
from bot4_platform.bus.memory import MemoryBus
from bot4_platform.bus.schema import Topic
from bot4_platform.bus.service import _Publishing, _Watched
from bot4_platform.commands.bus import TOPICS, command
from bot4_platform.settings import platform_settings


@pytest.fixture(autouse=True)
def no_brokers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bot4_platform.settings.platform_settings", platform_settings.__wrapped__)
    for name in ("BROKERS", "PREFIX"):
        monkeypatch.delenv(f"BOT4_PLATFORM__BUS__{name}", raising=False)


def run(settings: Settings, *arguments: str) -> Any:
    return CliRunner().invoke(command, [*arguments, "--var", str(settings.var), "--account", settings.account])


def seen(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_topics_are_printed_from_the_start(log: Any, settings: Settings) -> None:
    log.fill(120)
    done = run(settings, "tail", "fills", "Orders", "--from-start", "--idle", "0.5")
    assert done.exit_code == 0, done.output
    found = seen(done.stdout)
    orders = [(seq, index) for kind, seq, index in log.made if kind not in (4, 35)]
    assert [(one["seq"], one["index"]) for one in found if one["topic"] == "Orders"] == orders
    assert {one["topic"] for one in found} == {"Orders", "Fills"}
    done = run(settings, "tail", "MarketData", "--from-start", "--limit", "3")
    assert [one["kind"] for one in seen(done.stdout)] == ["TRADE"] * 3


def test_a_group_goes_on_where_it_stopped(log: Any, settings: Settings, tmp_path: Path) -> None:
    out = tmp_path / "out"
    for _ in range(3):
        log.fill(60)
        done = run(settings, "tail", *TOPICS, "--group", "g", "--into", str(out), "--idle", "0.4")
        assert done.exit_code == 0, done.output
    found = [one for path in out.glob("*.jsonl") for one in seen(path.read_text())]
    assert sorted((one["seq"], one["index"]) for one in found) == sorted((seq, index) for _, seq, index in log.made)
    assert json.loads((settings.root / "bus" / "group-g.json").read_text())["next_seq"] == log.next_seq


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("publish",), "no brokers to publish to: set BOT4_PLATFORM__BUS__BROKERS"),
        (("tail", "--into", "x"), "--into wants --group"),
        (("tail", "--group", "a/b"), "--group takes letters"),
        (("tail", "--group", "a", "--from-start"), "--from-start is for a look"),
        (("tail", "--group", "a", "--limit", "3"), "--limit is for a look"),
        (("tail", "Gossip"), "Gossip"),
    ],
)
def test_wrong_usage_says_what_to_do(settings: Settings, arguments: tuple[str, ...], says: str) -> None:
    done = run(settings, *arguments)
    assert done.exit_code != 0
    assert says in " ".join(done.output.split())


def test_whatever_stops_the_bridge_is_heard_by_who_follows() -> None:
    class Broken:
        lost_since = None

        def step(self) -> int:
            raise KeyError("market 7")

        def close(self, timeout_s: float) -> None:
            return

    publishing = _Publishing(cast(Bridge, Broken()))
    publishing.start()
    publishing.join()
    with pytest.raises(KeyError, match="market 7"):
        _Watched(MemoryBus().follow("g", ["Fills"]), publishing).poll(1, 0)


def test_no_journal_is_said(settings: Settings) -> None:
    done = run(settings, "tail")
    assert isinstance(done.exception, ValueError)
    assert "no journal" in str(done.exception)


def test_every_option_says_what_it_does() -> None:
    assert isinstance(command, click.Group)
    for one in command.commands.values():
        assert len(one.help or "") > 200
        for parameter in one.params:
            assert not isinstance(parameter, click.Option) or parameter.help, parameter.name
    assert tuple(Topic) == TOPICS
