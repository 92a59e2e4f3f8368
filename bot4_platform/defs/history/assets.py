"""Exchange history as assets, one partition a UTC day and market; backfill as many as you like, in any order."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import dagster as dg

from bot4_platform.checks import OWNERS
from bot4_platform.defs.sources.common import teller
from bot4_platform.operations.steps import SOURCE
from bot4_platform.partitions import MARKET_DAYS, MarketDay, market_day
from bot4_platform.resources import Bot4Resource

if TYPE_CHECKING:
    from bot4_platform.sources.exchange.client import HistoryClient

POOL = "exchange_history"  # one at a time: the venue counts requests by address
COMMON: dict[str, Any] = {"group_name": "history", "owners": OWNERS, "kinds": {"ccxt", "parquet"}, "code_version": "1"}


@contextmanager
def _client(part: MarketDay, bot4: Bot4Resource) -> "Iterator[HistoryClient]":
    """Connect to the partition's venue. What it refuses is no use to try again."""
    from bot4_platform.sources.errors import SourceRefused
    from bot4_platform.sources.exchange.backfill import open_client

    client = open_client(part.market, bot4.settings())
    try:
        yield client
    except SourceRefused as error:
        raise dg.Failure(str(error), allow_retries=False) from None
    finally:
        client.close()


@dg.multi_asset(
    name="history_candles",
    specs=[
        dg.AssetSpec(
            "history_candles_1m",
            description="One-minute candles of the venue's own history by ccxt, in ticks and lots. Kept apart from "
            "candles_1m, which are of our journal. Only what the lake lacks is asked for.",
            **COMMON,
        ),
        dg.AssetSpec(
            "history_gaps",
            description="Every minute that history_candles_1m lacks, as runs with a cause: unconfirmed, venue (asked "
            "again later, still nothing), quarantined. Nothing is ever filled.",
            **COMMON,
        ),
    ],
    partitions_def=MARKET_DAYS,
    pool=POOL,
    retry_policy=SOURCE,
)
def history_candles(context: dg.AssetExecutionContext, bot4: Bot4Resource) -> Iterator[dg.MaterializeResult]:
    """Fetch the closed minutes of the day."""
    from bot4_platform.reporting import line_plot, table, when, written
    from bot4_platform.settings import platform_settings
    from bot4_platform.sources.exchange.candles import fetch_candles

    part, lake = market_day(context), bot4.lake()
    confirm_s = platform_settings().sources.history.confirm_after_s
    with _client(part, bot4) as client:
        done = fetch_candles(lake, client, *part, confirm_after_s=confirm_s)
    missing = sum(gap.minutes for gap in done.gaps)
    context.log.info(f"{done.added} new candles by {done.requests} requests; {missing} minutes missing")
    frame = lake.read("history_candles_1m", *part)
    metadata = written(done.candles) | {"new": done.added, "requests": done.requests} | by_rule(done.rejected)
    if frame.height:
        seconds = (frame["minute_ns"] - frame["minute_ns"][0]).to_numpy() / 1e9
        metadata["close_plot"] = line_plot(seconds, {"close": frame["close"].to_numpy()}, "ticks", "close")
    yield dg.MaterializeResult(asset_key="history_candles_1m", metadata=metadata)
    shown = [
        (when(gap.first_ns)[:16], when(gap.last_ns)[:16], gap.minutes, gap.cause, gap.asked) for gap in done.gaps[:100]
    ]
    yield dg.MaterializeResult(
        asset_key="history_gaps",
        metadata=written(done.gap_table)
        | {"missing_minutes": missing, "gaps": table(("first", "last", "minutes", "cause", "asked"), shown)},
    )


@dg.asset(
    partitions_def=MARKET_DAYS, pool=POOL, retry_policy=SOURCE,
    description="Public trades of the venue's own history by ccxt (Binance: aggregate trades), price in ticks, "
    "quantity in lots. A day that was interrupted goes on after its last id.",
    **COMMON,
)  # fmt: skip
def history_trades(context: dg.AssetExecutionContext, bot4: Bot4Resource) -> dg.MaterializeResult:
    """Fetch the trades of the day, page by page."""
    from bot4_platform.reporting import written
    from bot4_platform.settings import platform_settings
    from bot4_platform.sources.exchange.trades import fetch_trades

    part = market_day(context)
    pages = platform_settings().sources.history.spool_requests
    with _client(part, bot4) as client:
        done = fetch_trades(bot4.lake(), client, *part, pages=pages, tell=teller(context))
    return dg.MaterializeResult(
        metadata=written(done.trades)
        | {"new": done.added, "requests": done.requests, "missing_ids": done.missing_ids, "quarantined": done.rejected}
    )


@dg.asset(
    partitions_def=MARKET_DAYS, pool=POOL, retry_policy=SOURCE,
    description="Funding rates settled on the day, as the venue's history has them: digits and decimals, exact. Known "
    "a minute after the settlement. A market without funding has an empty partition.",
    **COMMON,
)  # fmt: skip
def history_funding(context: dg.AssetExecutionContext, bot4: Bot4Resource) -> dg.MaterializeResult:
    """Fetch the funding of the day."""
    from bot4_platform.reporting import table, when, written
    from bot4_platform.sources.exchange.funding import fetch_funding

    part = market_day(context)
    with _client(part, bot4) as client:
        done = fetch_funding(bot4.lake(), client, *part)
    rates = [(when(at_ms * 10**6)[:16], rate) for at_ms, rate in done.rates]
    return dg.MaterializeResult(
        metadata=written(done.funding)
        | {"requests": done.requests, "quarantined": done.rejected, "rates": table(("settled", "rate"), rates)}
    )


def by_rule(rejected: list[Any]) -> dict[str, Any]:
    """Return how much was quarantined, in all and by rule."""
    rules = sorted({item.rule for item in rejected})
    counts = {f"quarantined/{rule}": sum(item.rule == rule for item in rejected) for rule in rules}
    return {"quarantined": len(rejected)} | counts
