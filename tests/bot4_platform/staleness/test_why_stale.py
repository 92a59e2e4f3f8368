"""`bot4 why-stale` over a real journal and lake of which one source stops."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from click.testing import CliRunner, Result

from bot4_live.events import Kind, Source, header_of, new_record
from bot4_live.journal.layout import SegmentHeader
from bot4_live.journal.segment import SegmentWriter
from bot4_live.settings import Settings
from bot4_platform.commands.why_stale import command
from bot4_platform.lake import Lake
from bot4_platform.partitions import MarketDay
from bot4_platform.run import materialize
from bot4_platform.staleness.journal_head import newest_events
from bot4_platform.staleness.rules import AS_INPUTS, RULES, rule_of
from bot4_platform.tables import TABLES

MARKET = "binance_usdm:BTCUSDT"
TODAY = MarketDay("2024-08-08", MARKET)
START = 1_723_161_600 * 10**9 - 400 * 10**9
SHIFT = 72_000_000 * 10**9 + 123_000_000
TICKS = ["raw_segments", "trades", "quotes", "depth", "quarantine"]


def ask(settings: Settings, now_ns: int, *more: str) -> Result:
    """Run the command as of an engine time."""
    now = datetime.fromtimestamp(now_ns / 1e9, UTC).isoformat()
    return CliRunner().invoke(command, ["--var", str(settings.var), "--account", settings.account, "--now", now, *more])


def test_one_source_stops(settings: Settings, maker: Any) -> None:
    maker.session(START, 60)
    materialize(TICKS, [TODAY], settings).raise_for_failure()
    end = START + SHIFT + 60 * 10**9
    fresh = json.loads(ask(settings, end + 10**9, "--json").stdout)
    stale = {row["name"] for row in fresh["stale"]}
    assert not stale & {*TICKS, "journal", "sealed_segments"}
    assert "online_slow_features" in stale, "never computed"

    day_later = ask(settings, end + 2 * 86_400 * 10**9, "--json")
    assert day_later.exit_code == 1
    found = json.loads(day_later.stdout)
    first = found["causes"][0]
    assert (first["name"], first["scope"]) == ("journal", MARKET)
    assert {"sealed_segments", "trades", "quotes", "depth"} <= {item["name"] for item in first["holds_up"]}
    row = next(row for row in found["stale"] if row["name"] == "trades")
    assert row["age_s"] == pytest.approx(2 * 86_400, abs=2)
    assert row["causes"] == [{"name": "journal", "scope": MARKET}]
    assert found["trading_is_held_up"]

    text = ask(settings, end + 2 * 86_400 * 10**9).stdout
    assert "journal (binance_usdm:BTCUSDT): the journal ends at" in text
    assert "holds up" in text
    assert "trading reads it" in text

    # The journal goes on, the platform does not run: now the ledger of segments is to blame.
    maker.session(START + 2 * 86_400 * 10**9, 30, seed=1, update_id=9_000_000, trade_id=9_000_000, name="s2")
    found = json.loads(ask(settings, end + 2 * 86_400 * 10**9, "--json").stdout)
    row = next(row for row in found["stale"] if row["name"] == "trades")
    assert [cause["name"] for cause in row["causes"]] == ["raw_segments"]
    why = next(cause["why"] for cause in found["causes"] if cause["name"] == "raw_segments")
    assert "was not computed since" in why


def test_a_source_that_stops_is_named_with_what_it_answered(settings: Settings) -> None:
    lake, now = Lake(settings.lake_dir), TODAY.start_ns + 86_400 * 10**9
    spec = TABLES["news_items"]
    filled = {name: {"String": "x", "Int64": 1, "Float64": 0.5}[kind] for name, kind in spec.columns.items()}
    row = filled | {"event_ns": TODAY.start_ns, "created_ns": TODAY.start_ns}
    lake.write("news_items", TODAY.day, "news:ALL", pl.DataFrame([row], schema=spec.schema()))
    refused = {"id": "1", "source": "news", "rule": "html", "reason": "a page of HTML came", "raw": b"<",
               "raw_bytes": 1, "first_seen": now}  # fmt: skip
    quarantine = pl.DataFrame([refused], schema=TABLES["source_quarantine"].schema())
    lake.write("source_quarantine", TODAY.day, "news:ALL", quarantine)
    found = json.loads(ask(settings, now, "--json").stdout)
    cause = next(cause for cause in found["causes"] if cause["name"] == "news_items")
    assert cause["scope"] == "news:ALL"
    assert cause["why"].endswith("its last answer was quarantined: html, a page of HTML came")
    early = json.loads(ask(settings, TODAY.start_ns + 3_600 * 10**9, "--json").stdout)
    assert "news_items" not in {row["name"] for row in early["stale"]}


def test_an_exchange_clock_is_moved_to_the_engines(settings: Settings, maker: Any) -> None:
    """Profiles carry original exchange time; a replayed session's engine clock is years ahead of it."""
    maker.session(START, 60)
    lake = Lake(settings.lake_dir)
    spec = TABLES["minute_profiles"]
    minute = (START + 30 * 10**9) // (60 * 10**9) * 60 * 10**9
    row = dict.fromkeys(spec.columns, 1) | {"minute_ns": minute}
    lake.write("minute_profiles", *TODAY, pl.DataFrame([row], schema=spec.schema()))
    found = json.loads(ask(settings, START + SHIFT + 60 * 10**9, "--json").stdout)
    assert "minute_profiles" not in {row["name"] for row in found["stale"]}
    found = json.loads(
        ask(settings, minute + SHIFT + RULES["minute_profiles"].limit_s * 10**9 + 10**9, "--json").stdout
    )
    assert "minute_profiles" in {row["name"] for row in found["stale"]}


def test_the_model_in_use_ages_by_what_it_was_trained_on(settings: Settings) -> None:
    settings.models_dir.mkdir(parents=True)
    digest = "a" * 64
    now = START + SHIFT
    current = {"digest": digest, "version": 3, "alias": "champion", "baseline": False}
    (settings.models_dir / "current.json").write_text(json.dumps(current))
    result = CliRunner().invoke(command, ["--var", str(settings.var), "--account", settings.account])
    assert isinstance(result.exception, ValueError)
    assert "names a bundle that is not there" in str(result.exception)
    folder = settings.models_dir / "sha256" / digest
    folder.mkdir(parents=True)
    limit = RULES["champion"].limit_s * 10**9
    for until, is_stale in ((now - limit + 10**9, False), (now - limit - 10**9, True)):
        (folder / "bundle.json").write_text(json.dumps({"evidence": {"train_until_ns": until}}))
        found = json.loads(ask(settings, now, "--json").stdout)
        assert ("champion" in {row["name"] for row in found["stale"]}) is is_stale


def test_an_empty_account_says_that_nothing_was_recorded(settings: Settings) -> None:
    result = ask(settings, START)
    assert result.exit_code == 1
    assert "the journal has no data" in result.stdout
    assert CliRunner().invoke(command, ["--now", "soon"]).exit_code == 2


def test_the_newest_event_is_read_from_the_tail_of_a_segment_that_is_still_written(settings: Settings) -> None:
    header = SegmentHeader(
        account="test", session="s", first_seq=1, market="several", shift_ns=0, speed_milli=1000, start_market_ns=0,
        start_mono_ns=0, order_epoch=1, source_hash="0" * 64, lock_hash="0" * 64, cpu="test", schema=1,
        instruments=[{"id": 0, "market": MARKET}, {"id": 1, "market": "kraken:XBTUSD"}],
    )  # fmt: skip
    settings.journal_dir.mkdir(parents=True)
    writer = SegmentWriter(settings.journal_dir, header, 8 << 20)
    for seq in range(1, 30_001):  # 2.4 MB: the other market's one event lies beyond the last MiB
        record = new_record(Kind.TRADE if seq % 3 else Kind.TICK, 1)
        head = header_of(record)
        head["seq"], head["recv_ns"], head["source"] = seq, seq * 1000, Source.MARKET_STREAM
        head["instrument"] = 1 if seq == 10 else 0
        writer.append(record.tobytes())
    writer.flush()
    path = next(settings.journal_dir.glob("seg-*.b4j"))
    expected = {MARKET: 29_999_000, "kraken:XBTUSD": 10_000}
    assert newest_events(path) == expected
    writer.close()
    assert newest_events(path) == expected
    with pytest.raises(ValueError, match="not a journal segment"):
        newest_events(Path(__file__))


def test_every_table_of_the_lake_has_a_time_by_which_it_ages() -> None:
    timeless = {name for name, table in TABLES.items() if table.partitioned and rule_of(name, table.columns) is None}
    assert timeless <= AS_INPUTS
    for name, rule in RULES.items():
        if name in TABLES:
            assert TABLES[name].columns[rule.column] == "Int64", name
        assert rule.limit_s > 0
