"""Bad frames in the real capture: what can be released enters ticks and candles, and nothing else ever changes."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from click.testing import CliRunner, Result

from bot4_live.market.import_capture import import_capture
from bot4_live.safety import audit
from bot4_live.settings import Settings
from bot4_platform.commands.quarantine import command
from bot4_platform.lake import Lake
from bot4_platform.partitions import MarketDay
from bot4_platform.quarantine import overrides
from bot4_platform.quarantine.frames import as_judged
from bot4_platform.run import materialize

pytestmark = pytest.mark.capture

TODAY = MarketDay("2024-08-08", "binance_usdm:BTCUSDT")
LINES = 10_000
AT = 8_000
ASSETS = [
    "raw_segments", "trades", "quotes", "depth", "quarantine", "stg_trades", "candles_1m", "mids_250ms",
]  # fmt: skip


def trade(symbol: str = "BTCUSDT", **fields: Any) -> bytes:
    """Return a frame of a trade."""
    data = {"e": "trade", "s": symbol, "X": "MARKET", "m": False} | fields
    return json.dumps({"stream": "btcusdt@trade", "data": data}, separators=(",", ":")).encode()


@dataclass(frozen=True)
class Account:
    """An account whose journal holds the capture's beginning with bad frames in it."""

    settings: Settings
    late_id: int

    @property
    def lake(self) -> Lake:
        """Return its lake."""
        return Lake(self.settings.lake_dir)

    def call(self, *arguments: str) -> Result:
        """Run `bot4 quarantine`."""
        return CliRunner().invoke(
            command, ["--var", str(self.settings.var), "--account", self.settings.account, *arguments]
        )

    def seq(self, rule: str) -> str:
        """Return the seq of the one frame that a rule caught."""
        frames = json.loads(self.call("list", "--rule", rule, "--json").stdout)["frames"]
        assert len(frames) == 1
        return str(frames[0]["seq"])

    def files(self, *tables: str) -> dict[str, bytes]:
        """Return the bytes of every file of these tables."""
        return {
            str(path): path.read_bytes()
            for name in tables
            for path in sorted((self.lake.root / name).rglob("*.parquet"))
        }


@pytest.fixture(scope="module")
def account(usdm_capture: Path, tmp_path_factory: pytest.TempPathFactory, parse_dbt: Callable[[Path], None]) -> Account:
    """Import the capture's first minute with four bad frames, and materialize it once."""
    folder = tmp_path_factory.mktemp("release")
    settings = Settings(var=folder / "var", account="test")
    with gzip.open(usdm_capture) as file:
        lines = list(islice(file, LINES))
    first_id = min(json.loads(line.split(b" ", 1)[1])["data"]["t"] for line in lines if b"@trade" in line)
    local = int(lines[AT].split(b" ", 1)[0])
    now_ms = local // 10**6
    price = next(json.loads(line.split(b" ", 1)[1])["data"]["p"] for line in lines[AT:] if b"@trade" in line)
    bad = [
        # A trade that a stalled connection delivered 61 s late: refused for its time, and real.
        trade(E=now_ms - 61_000, T=now_ms - 61_000, t=first_id - 1, p=price, q="0.010"),
        trade(E=now_ms, T=now_ms, t=first_id - 2, p="six", q="0.010"),
        trade(E=now_ms, T=now_ms, t=first_id - 3, p="1000.00", q="0.010"),
        b"<html>502</html>",
    ]
    extra = [b"%d %s\n" % (local, raw) for raw in bad]
    capture = folder / "capture.gz"
    with gzip.open(capture, "wb", compresslevel=1) as out:
        out.writelines([*lines[:AT], *extra, *lines[AT:]])
    import_capture(capture, settings.journal_dir, account="test")
    parse_dbt(settings.root / "dbt")
    materialize(ASSETS, [TODAY], settings).raise_for_failure()
    return Account(settings, first_id - 1)


def test_frames_are_listed_with_their_rule_and_bytes(account: Account) -> None:
    listed = account.call("list")
    assert listed.exit_code == 0, listed.output
    assert "4 frames" in listed.stdout
    for text in ("TIME_OUT_OF_RANGE", "BAD_NUMBER", "OUTLIER", "NOT_JSON", "<html>502</html>", "held"):
        assert text in listed.stdout
    shown = account.call("show", account.seq("TIME_OUT_OF_RANGE"))
    assert f"'trade_id': {account.late_id}" in shown.stdout
    assert "as a tick of trades on 2024-08-08" in shown.stdout


@pytest.mark.parametrize(
    ("rule", "reason"), [("BAD_NUMBER", "cannot be parsed: BAD_NUMBER"), ("NOT_JSON", "cannot be parsed: NOT_JSON")]
)
def test_what_cannot_be_parsed_is_refused_with_the_reason(account: Account, rule: str, reason: str) -> None:
    before = account.files("trades", "candles_1m", "quarantine")
    result = account.call("release", account.seq(rule), "--why", "it looks fine")
    assert isinstance(result.exception, ValueError)
    assert reason in str(result.exception)
    assert account.files("trades", "candles_1m", "quarantine") == before
    assert reason in account.call("show", account.seq(rule)).stdout


def test_a_released_frame_is_a_tick_and_can_be_taken_back(account: Account) -> None:
    lake, seq = account.lake, account.seq("TIME_OUT_OF_RANGE")
    trades, candles = lake.read("trades", *TODAY), lake.read("candles_1m", *TODAY)
    quarantine, kept = lake.read("quarantine", *TODAY), account.files("raw_segments", "mids_250ms")
    result = account.call("release", seq, "--who", "ada", "--why", "the connection had stalled")
    assert result.exit_code == 0, result.output
    after = lake.read("trades", *TODAY)
    assert after.height == trades.height + 1
    row = after.filter(pl.col("trade_id") == account.late_id).row(0, named=True)
    assert row["seq"] == int(seq)
    assert row["recv_ns"] - row["exch_ns"] > 60 * 10**9
    assert after.filter(pl.col("seq") != int(seq)).equals(trades)
    assert lake.read("candles_1m", *TODAY)["trades"].sum() == candles["trades"].sum() + 1
    # What the feed judged stays: the quarantine's rows, what features are made of, the journal.
    assert as_judged(lake, TODAY, after).equals(trades)
    assert account.files("raw_segments", "mids_250ms") == kept
    assert lake.read("quarantine", *TODAY).equals(quarantine)
    assert "released" in account.call("list", "--state", "released").stdout
    line = overrides.history(account.settings, TODAY.market, int(seq))[-1]
    assert (line["event"], line["by"], line["why"]) == (overrides.RELEASED, "ada", "the connection had stalled")

    again = account.files("trades", "candles_1m")
    assert "nothing to do" in account.call("release", seq, "--why", "once more").stdout
    materialize(["trades"], [TODAY], account.settings).raise_for_failure()
    assert account.lake.read("trades", *TODAY).equals(after), "a rebuild keeps what is released"
    assert account.files("candles_1m").items() <= again.items()
    assert len(overrides.history(account.settings, TODAY.market, int(seq))) == 1

    result = account.call("revoke", seq, "--why", "a mistake")
    assert result.exit_code == 0, result.output
    assert lake.read("trades", *TODAY).equals(trades)
    assert lake.read("candles_1m", *TODAY).equals(candles)
    assert "nothing to do" in account.call("revoke", seq, "--why", "again").stdout
    assert audit.verify(overrides.trail(account.settings)).fault is None


@pytest.mark.slow
def test_a_release_that_the_suites_refuse_is_taken_back(account: Account) -> None:
    trades, seq = account.lake.read("trades", *TODAY), account.seq("OUTLIER")
    result = account.call("release", seq, "--why", "who knows")
    assert isinstance(result.exception, ValueError)
    assert "trades:trade_minutes_suite" in str(result.exception)
    assert account.lake.read("trades", *TODAY).equals(trades)
    assert overrides.released(account.settings) == {}
    assert [line["event"] for line in overrides.history(account.settings, TODAY.market, int(seq))] == [
        overrides.RELEASED,
        overrides.REVOKED,
    ]


def test_a_trail_that_was_edited_is_not_believed(account: Account, tmp_path: Path) -> None:
    settings = Settings(var=tmp_path, account="other")
    row = {"seq": 5, "rule": "OUTLIER", "raw": b"{}"}
    assert overrides.release(settings, row, TODAY.market, TODAY.day, "ada", "because")
    path = overrides.trail(settings)
    path.write_text(path.read_text().replace("because", "of course"))
    with pytest.raises(ValueError, match="its content was changed"):
        overrides.released(settings)
