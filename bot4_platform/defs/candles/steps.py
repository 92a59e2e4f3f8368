"""dbt's models as assets: one run of dbt a step and partition; a mart goes into the lake when its tests passed."""

import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from typing import Any

import dagster as dg

from bot4_platform import dbt_assets, dbt_runner
from bot4_platform.defs.candles.models import Step, step_of
from bot4_platform.defs.candles.publish import publish
from bot4_platform.partitions import DAYS, MARKET_DAYS, MarketDay, market_day
from bot4_platform.resources import Bot4Resource

CANDLES, MARTS, CROSS_MARKET = step_of("candles"), step_of("marts"), step_of("cross_market")
BASIS = "basis:ALL"  # the key of tables that are of no one market


def run(
    context: dg.AssetExecutionContext,
    bot4: Bot4Resource,
    step: Step,
    part: MarketDay,
    markets: Sequence[str] = (),
) -> Iterator[Any]:
    """Build the selected models on a partition; publish each mart that passed, and fail when one did not.

    What a failed model or test holds up is skipped by dbt; other marts are published.
    """
    lake = bot4.lake()
    keys, checks = context.selected_asset_keys, context.selected_asset_check_keys
    names = [spec.key.path[-1] for spec in step.models.values() if spec.key in keys]
    staged = lake.stage("dbt", *part).with_suffix("")
    staged.mkdir()
    try:
        with ExitStack() as stack:
            root = lake.root
            if not markets:  # dbt reads by file names: what it reads holds still
                root = stack.enter_context(lake.pinned(*part, tables=dbt_assets.sources_of(names)))
            outcomes = dbt_runner.build(
                root, staged, *part, target_path=bot4.settings().root / "dbt", select=names, markets=markets
            )
        for outcome in outcomes:
            spec = step.checks.get(outcome.unique_id)
            if spec is not None and spec.key in checks and outcome.status != "skipped":
                yield _check(spec, outcome)
        held_up = _held_up(step, outcomes)
        for outcome in outcomes:  # in order of completion, so what is upstream comes first
            model = step.models.get(outcome.unique_id)
            if model is not None and model.key in keys and outcome.unique_id not in held_up:
                name = model.key.path[-1]
                metadata = publish(lake, staged / f"{name}.parquet", name, part) if name in step.marts else {}
                metadata |= {"sql_seconds": outcome.sql_seconds, "dbt_seconds": outcome.seconds}
                yield dg.MaterializeResult(asset_key=model.key, metadata=metadata)
        broken = [outcome for outcome in outcomes if not outcome.ok]
        if broken:
            lines = "; ".join(f"{found.unique_id} {found.status}: {found.message}" for found in broken)
            raise dg.Failure(f"dbt: {len(broken)} of {len(outcomes)} nodes did not pass: {lines}")
    finally:
        shutil.rmtree(staged, ignore_errors=True)


def _check(spec: dg.AssetCheckSpec, outcome: dbt_runner.Outcome) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        asset_key=spec.asset_key,
        check_name=spec.name,
        passed=outcome.ok,
        metadata={"status": outcome.status, "failing_rows": outcome.failures, "message": outcome.message},
    )


def _held_up(step: Step, outcomes: Iterable[dbt_runner.Outcome]) -> set[str]:
    """Return the models that may not be published: not built, or one of their tests failed."""
    of_key = {spec.key: name for name, spec in step.models.items()}
    found = set()
    for outcome in outcomes:
        if not outcome.ok:
            spec = step.checks.get(outcome.unique_id)
            found.add(outcome.unique_id if spec is None else of_key[spec.asset_key])
    return found


@dg.multi_asset(
    name="dbt_candles",
    specs=list(CANDLES.models.values()),
    check_specs=list(CANDLES.checks.values()),
    partitions_def=MARKET_DAYS,
    can_subset=True,
)
def candles(context: dg.AssetExecutionContext, bot4: Bot4Resource) -> Iterator[Any]:
    """Candles of all intervals and the trade flow."""
    yield from run(context, bot4, CANDLES, market_day(context))


@dg.multi_asset(
    name="dbt_marts",
    specs=list(MARTS.models.values()),
    check_specs=list(MARTS.checks.values()),
    partitions_def=MARKET_DAYS,
    can_subset=True,
)
def marts(context: dg.AssetExecutionContext, bot4: Bot4Resource) -> Iterator[Any]:
    """Funding, liquidations, spread, depth and liquidity."""
    yield from run(context, bot4, MARTS, market_day(context))


@dg.multi_asset(
    name="dbt_basis",
    specs=list(CROSS_MARKET.models.values()),
    check_specs=list(CROSS_MARKET.checks.values()),
    partitions_def=DAYS,
    can_subset=True,
)
def basis(context: dg.AssetExecutionContext, bot4: Bot4Resource) -> Iterator[Any]:
    """The basis between the pairs of markets that both have mids on the day."""
    part = MarketDay(str(context.partition_key), BASIS)
    pairs = bot4.lake().read("basis_pairs", *part, columns=["base", "quote"])
    markets = sorted({*pairs["base"], *pairs["quote"]})
    if not markets:
        context.log.info("no pair of markets has mids on this day; pairs are named in BOT4_PLATFORM__BASIS")
    yield from run(context, bot4, CROSS_MARKET, part, markets)
