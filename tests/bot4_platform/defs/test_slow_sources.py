"""The slow sources as assets: from the local servers into the lake, checked, backfilled; one line when one is off."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest

from bot4_live.settings import Settings
from bot4_platform.defs.sources.automation import slow_sources_schedule
from bot4_platform.defs.sources.common import asked
from bot4_platform.lake import Lake
from bot4_platform.run import RunSummary, materialize
from bot4_platform.settings import platform_settings
from bot4_platform.sources.local.__main__ import environment
from bot4_platform.sources.switched import ASSETS, assets_off, switched_on
from bot4_platform.tables import TABLES

DAYS = ("2024-08-08", "2024-08-09")
MARKET = "binance_usdm:BTCUSDT"
ALL = [name for names in ASSETS.values() for name in names]


@pytest.fixture
def no_source_is_on(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Take away what the environment sets."""
    for name in ("ETHEREUM__URL", "NEWS__FEEDS", "SOCIAL__URL", "MACRO__KEY"):
        monkeypatch.delenv(f"BOT4_PLATFORM__SOURCES__{name}", raising=False)
    platform_settings.cache_clear()
    yield
    monkeypatch.undo()
    platform_settings.cache_clear()


@pytest.fixture(scope="module")
def served() -> Iterator[None]:
    """Set the sources to the local servers."""
    with ExitStack() as stack, pytest.MonkeyPatch.context() as patch:
        for name, value in environment(stack, DAYS[0], seed=3, hours=0.3).items():
            patch.setenv(name, value)
        platform_settings.cache_clear()
        yield
    platform_settings.cache_clear()


@pytest.fixture(scope="module")
def read(served: None, tmp_path_factory: pytest.TempPathFactory) -> tuple[Settings, RunSummary]:
    """Materialize a day."""
    settings = Settings(var=tmp_path_factory.mktemp("slow") / "var", account="test")
    return settings, materialize(ALL, [(DAYS[0], MARKET)], settings)


@pytest.mark.slow
def test_days_are_backfilled_and_again_the_same(served: None, tmp_path: Path) -> None:
    settings = Settings(var=tmp_path / "var", account="test")
    parts = [(day, MARKET) for day in DAYS]
    assert materialize(ALL, parts, settings).success
    lake = Lake(settings.lake_dir)
    paths = [lake.path(name, *part) for name in ALL for part in lake.partitions(name)]
    before = {path: path.read_bytes() for path in paths}
    assert {day for name in ALL for day, _ in lake.partitions(name)} == set(DAYS)
    assert materialize(ALL, parts, settings).success
    assert {path: path.read_bytes() for path in paths} == before


def test_everything_is_there_and_sound(read: tuple[Settings, RunSummary]) -> None:
    settings, summary = read
    assert summary.failed_steps == {}
    assert summary.failed_checks == []
    assert sorted(summary.materialized) == sorted(ALL)
    assert summary.asset_checks_passed >= len(ALL) + 3
    lake = Lake(settings.lake_dir)
    for name in ALL:
        frame = lake.read(name, DAYS[0])
        assert frame.height > 0, name
        assert frame["id"].n_unique() == frame.height
        assert dict(frame.schema) == dict(TABLES[name].schema())
        assert (frame["created_ns"] >= frame["event_ns"]).all()
        key = lake.partitions(name)[0][1]
        assert key.partition(":")[0] in ("ethereum", "news", "social", "fred")


def test_signals_are_the_sums_of_their_rows(read: tuple[Settings, RunSummary]) -> None:
    lake = Lake(read[0].lake_dir)
    signals = lake.read("onchain_signals", DAYS[0])
    first, last = int(signals["event_ns"].min()) - 900 * 10**9, int(signals["event_ns"].max())  # type: ignore[arg-type]
    of_them = pl.col("event_ns").is_between(first, last, closed="left")
    transfers = lake.read("onchain_transfers", DAYS[0]).filter(of_them)
    supply = lake.read("stablecoin_supply", DAYS[0]).filter(of_them)
    for flow in ("inflow", "outflow", "between"):
        assert signals[f"{flow}_cents"].sum() == transfers.filter(pl.col("flow") == flow)["usd_cents"].sum()
    assert signals["net_inflow_cents"].sum() == signals["inflow_cents"].sum() - signals["outflow_cents"].sum()
    assert signals["minted_cents"].sum() == supply.filter(pl.col("kind") == "mint")["usd_cents"].sum() > 0
    assert signals["whales"].sum() == transfers.height > 10
    # Known when the last of its blocks was: with the confirmations, 13 minutes after the quarter at the latest.
    late = signals["created_ns"] - signals["event_ns"]
    assert late.is_between(0, 13 * 60 * 10**9).all()
    social = lake.read("social_signals", DAYS[0])
    posts = lake.read("social_posts", DAYS[0])
    everything = social.filter(pl.col("coin") == "ALL")
    assert everything["posts"].sum() == posts.filter(pl.col("spam") == "").height
    assert everything["spam"].sum() == posts.filter(pl.col("spam") != "").height > 0
    assert social["sentiment"].drop_nulls().is_between(-1, 1).all()
    news = lake.read("news_signals", DAYS[0])
    assert news["stories"].sum() == lake.read("news_items", DAYS[0]).height
    assert news["impact"].sum() == pytest.approx(lake.read("news_items", DAYS[0])["impact"].sum())


@pytest.mark.parametrize(
    ("asset", "check", "change"),
    [
        ("chain_blocks", "blocks_link", lambda f: f.filter(pl.int_range(pl.len()) != 3)),
        ("chain_blocks", "rows_are_sound", lambda f: f.with_columns(created_ns=pl.col("event_ns") - 1)),
        ("onchain_transfers", "rows_are_on_the_chain", lambda f: f.with_columns(block_hash=pl.lit("0x0"))),
        ("onchain_transfers", "rows_are_sound", lambda f: pl.concat([f, f.head(1)])),
        ("dex_swaps", "rows_are_sound", lambda f: f.with_columns(amount1=pl.col("amount0"))),
        ("stablecoin_supply", "rows_are_sound", lambda f: f.with_columns(usd_cents=pl.lit(0, pl.Int64))),
        ("onchain_signals", "rows_are_sound", lambda f: f.with_columns(net_inflow_cents=pl.col("whales") + 1)),
        ("news_items", "rows_are_sound", lambda f: f.with_columns(impact=pl.lit(1.5))),
        ("social_posts", "rows_are_sound", lambda f: f.with_columns(author=pl.lit("@somebody"))),
        ("macro_observations", "nothing_is_known_before_its_release",
         lambda f: f.with_columns(created_ns=pl.col("created_ns") - 1)),
        ("macro_observations", "rows_are_sound", lambda f: f.with_columns(value=pl.lit(float("inf")))),
    ],
)  # fmt: skip
def test_a_check_sees_what_it_is_for(
    read: tuple[Settings, RunSummary], tmp_path: Path, asset: str, check: str, change: Callable[[Any], Any]
) -> None:
    from bot4_platform.defs import sources
    from bot4_platform.resources import Bot4Resource

    found = {
        (key.asset_key.to_user_string(), key.name): one
        for one in sources.definitions().asset_checks or []
        for key in one.check_keys
    }
    source, lake = Lake(read[0].lake_dir), Lake(Settings(var=tmp_path, account="test").lake_dir)
    function = found[(asset, check)].op.compute_fn.decorated_fn

    def passed() -> bool:
        context = dg.build_asset_check_context()
        return bool(function(_Day(context, DAYS[0]), Bot4Resource(var=str(tmp_path), account="test")).passed)

    for name in (asset, "chain_blocks", "onchain_transfers", "dex_swaps", "stablecoin_supply"):
        for day, key in source.partitions(name):
            lake.write(name, day, key, source.read(name, day, key))
    assert passed()
    for day, key in source.partitions(asset):
        if source.read(asset, day, key).height:
            path = lake.path(asset, day, key)
            change(source.read(asset, day, key)).write_parquet(path)
    assert not passed()


class _Day:
    """The context of a check on one partition."""

    def __init__(self, context: Any, day: str) -> None:
        self._context, self.partition_key = context, day

    def __getattr__(self, name: str) -> Any:
        return getattr(self._context, name)


@pytest.mark.parametrize(
    ("name", "variable"),
    [("ethereum", "ETHEREUM__URL"), ("news", "NEWS__FEEDS"), ("social", "SOCIAL__URL"), ("macro", "MACRO__KEY")],
)
@pytest.mark.usefixtures("no_source_is_on")
def test_a_source_that_is_off_says_how_to_switch_it_on(name: str, variable: str) -> None:
    line = rf"{name} is off: set BOT4_PLATFORM__SOURCES__{variable}; nothing else is affected$"
    with pytest.raises(dg.Failure, match=line) as caught, asked(name, 1.0):
        pass
    assert caught.value.allow_retries is False


@pytest.mark.slow
@pytest.mark.usefixtures("no_source_is_on")
def test_that_line_is_what_the_run_shows(tmp_path: Path) -> None:
    summary = materialize(["news_items"], [(DAYS[0], MARKET)], Settings(var=tmp_path / "var", account="test"))
    (why,) = summary.failed_steps.values()
    assert why.endswith("news is off: set BOT4_PLATFORM__SOURCES__NEWS__FEEDS; nothing else is affected")
    assert summary.seconds < 15  # not tried again


@pytest.mark.usefixtures("no_source_is_on")
def test_the_schedule_asks_for_what_is_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def requests(at: datetime) -> list[Any]:
        platform_settings.cache_clear()
        return list(slow_sources_schedule(dg.build_schedule_context(scheduled_execution_time=at)))

    noon = datetime(2024, 8, 9, 12, 15, tzinfo=UTC)
    (skip,) = requests(noon)
    assert isinstance(skip, dg.SkipReason)
    monkeypatch.setenv("BOT4_PLATFORM__SOURCES__SOCIAL__URL", "https://social.example")
    monkeypatch.setenv("BOT4_PLATFORM__SOURCES__MACRO__KEY", "k")
    assert [(one.tags["bot4/source"], one.partition_key) for one in requests(noon)] == [
        ("social", "2024-08-09"), ("macro", "2024-08-09"),
    ]  # fmt: skip
    night = requests(datetime(2024, 8, 9, 0, 15, tzinfo=UTC))
    assert {one.partition_key for one in night} == {"2024-08-08", "2024-08-09"}
    assert len({one.run_key for one in night}) == 4
    assert switched_on(platform_settings().sources) == ["social", "macro"]
    off = assets_off(platform_settings().sources)
    assert {"news_items", "chain_blocks", "onchain_signals"} <= off
    assert off.isdisjoint({"social_posts", "macro_observations"})
