"""One-minute candles by dbt: its models are the assets, its tests their checks."""

import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import dagster as dg
from dagster_dbt import DagsterDbtTranslator

from bot4_platform import dbt_runner
from bot4_platform.checks import OWNERS, market_check
from bot4_platform.lake import Written
from bot4_platform.partitions import MARKET_DAYS, MarketDay, market_day
from bot4_platform.resources import Bot4Resource

MARTS = ("candles_1m",)


class Translator(DagsterDbtTranslator):
    """What dbt does not say: group, owners, and a description without the SQL (it is in the repository)."""

    def get_group_name(self, dbt_resource_props: Mapping[str, Any]) -> str:
        """Return the group of all dbt models."""
        return "candles"

    def get_owners(self, dbt_resource_props: Mapping[str, Any]) -> list[str]:
        """Return the owners of all dbt models."""
        return OWNERS

    def get_description(self, dbt_resource_props: Mapping[str, Any]) -> str:
        """Return the description given in the project."""
        return str(dbt_resource_props["description"])


MANIFEST = dbt_runner.read_manifest()
TRANSLATOR = Translator()
MODELS = {
    name: TRANSLATOR.get_asset_spec(MANIFEST, name, None)
    for name, node in MANIFEST["nodes"].items()
    if node["resource_type"] == "model"
}
CHECKS = {
    name: found
    for name, node in MANIFEST["nodes"].items()
    if node["resource_type"] == "test"
    for spec in MODELS.values()
    if (found := TRANSLATOR.get_asset_check_spec(spec, MANIFEST, name, None))
}


@dg.multi_asset(
    name="dbt_candles", specs=list(MODELS.values()), check_specs=list(CHECKS.values()), partitions_def=MARKET_DAYS
)
def candles(context: dg.AssetExecutionContext, bot4: Bot4Resource) -> Iterator[Any]:
    """Run dbt on the partition; a mart goes into the lake only when every test passed."""
    part, lake = market_day(context), bot4.lake()
    staged = lake.stage("dbt", *part).with_suffix("")
    staged.mkdir()
    try:
        with lake.pinned(*part, tables=["trades"]) as pin:  # dbt reads by file names
            outcomes = dbt_runner.build(pin, staged, *part, target_path=bot4.settings().root / "dbt")
        for outcome in outcomes:
            if outcome.unique_id in CHECKS:
                spec = CHECKS[outcome.unique_id]
                yield dg.AssetCheckResult(
                    asset_key=spec.asset_key,
                    check_name=spec.name,
                    passed=outcome.ok,
                    metadata={"status": outcome.status, "failing_rows": outcome.failures, "message": outcome.message},
                )
        broken = [outcome for outcome in outcomes if not outcome.ok]
        if broken:
            lines = "; ".join(f"{found.unique_id} {found.status}: {found.message}" for found in broken)
            raise dg.Failure(f"dbt: {len(broken)} of {len(outcomes)} nodes did not pass: {lines}")
        for outcome in outcomes:  # in order of completion, so what is upstream comes first
            if outcome.unique_id in MODELS:
                key = MODELS[outcome.unique_id].key
                name = key.path[-1]
                metadata = publish(lake, staged / f"{name}.parquet", name, part) if name in MARTS else {}
                yield dg.MaterializeResult(asset_key=key, metadata=metadata)
    finally:
        shutil.rmtree(staged, ignore_errors=True)


def publish(lake: Any, built: Path, name: str, part: MarketDay) -> dict[str, Any]:
    """Bring a mart into the lake's types and order, publish it, and return its metadata."""
    import polars as pl

    from bot4_platform.reporting import table, when, written

    # Of a result without rows dbt-duckdb's external materialization makes a file with one row of nulls.
    frame = pl.read_parquet(built).filter(~pl.all_horizontal(pl.all().is_null()))
    result: Written = lake.write(name, *part, frame)
    shown = [
        (when(row["minute_ns"])[11:16], row["open"], row["high"], row["low"], row["close"], row["volume"])
        for row in frame.head(15).iter_rows(named=True)
    ]
    return written(result) | {
        "trades": int(frame["trades"].sum()),
        "candles": table(("minute (UTC)", "open", "high", "low", "close", "lots"), shown),
        "columns": dg.MetadataValue.json(json.loads(json.dumps({k: str(v) for k, v in frame.schema.items()}))),
    }


@market_check(
    asset="candles_1m",
    description="A second opinion in Polars: the same open, high, low, close, volume and VWAP from the trades.",
    blocking=True,
)
def candles_agree_with_trades(context: dg.AssetCheckExecutionContext, bot4: Bot4Resource) -> dg.AssetCheckResult:
    """Rebuild the candles from the ticks and compare every cell."""
    import polars as pl

    part, lake = market_day(context), bot4.lake()
    qty, price = pl.col("qty"), pl.col("price")
    wanted = (
        lake.read("trades", *part)
        .sort("exch_ns", "trade_id")
        .group_by((pl.col("exch_ns") // 60_000_000_000 * 60_000_000_000).alias("minute_ns"), maintain_order=True)
        .agg(
            price.first().alias("open"),
            price.max().alias("high"),
            price.min().alias("low"),
            price.last().alias("close"),
            qty.sum().alias("volume"),
            (price * qty).sum().alias("vwap_num"),
            qty.sum().alias("vwap_den"),
            pl.len().cast(pl.Int64).alias("trades"),
        )
    )
    found = lake.read("candles_1m", *part)
    return dg.AssetCheckResult(
        passed=found.equals(wanted), metadata={"candles": found.height, "expected": wanted.height}
    )
