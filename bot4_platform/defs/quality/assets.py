"""Minute profiles of the ticks, and the Data Docs that judge them."""

from collections.abc import Iterator
from typing import Any

import dagster as dg

from bot4_platform.checks import OWNERS, market_check
from bot4_platform.operations.steps import GLUE
from bot4_platform.partitions import MARKET_DAYS, market_day
from bot4_platform.quality.suites import SUITES
from bot4_platform.resources import Bot4Resource


@dg.asset(
    deps=["trades", "quotes", "depth"],
    partitions_def=MARKET_DAYS,
    group_name="quality",
    owners=OWNERS,
    kinds={"parquet", "polars"},
    code_version="1",
    description="One row a minute: counts, spread, range, longest gap between quotes, latency. "
    "Great Expectations judges these, not ten million events.",
)
def minute_profiles(context: dg.AssetExecutionContext, bot4: Bot4Resource) -> dg.MaterializeResult:
    """Profile one market day."""
    from bot4_platform.journal_source import seals_of
    from bot4_platform.quality import profiles
    from bot4_platform.reporting import table, when, written

    part, lake = market_day(context), bot4.lake()
    shift = seals_of(bot4.settings().journal_dir, part)[-1].shift_ns
    trades, quotes, depth = (lake.read(name, *part) for name in ("trades", "quotes", "depth"))
    frame = profiles.minute_profiles(trades, quotes, depth, shift)
    columns = ("trades", "quotes", "diffs", "spread_bp_median", "quote_gap_ms_max", "latency_ms_median")
    shown = [
        (when(row["minute_ns"])[11:16], *(f"{row[name]:.4g}" if row[name] is not None else "-" for name in columns))
        for row in frame.head(15).iter_rows(named=True)
    ]
    return dg.MaterializeResult(
        metadata=written(lake.write("minute_profiles", *part, frame)) | {"minutes": table(("minute", *columns), shown)}
    )


@market_check(
    asset="minute_profiles",
    description="The profiles count every trade, quote and diff of the day once.",
    blocking=True,
)
def profiles_count_everything(context: dg.AssetCheckExecutionContext, bot4: Bot4Resource) -> dg.AssetCheckResult:
    """Compare sums with the tick tables."""
    part, lake = market_day(context), bot4.lake()
    frame = lake.read("minute_profiles", *part)
    sums = {
        table: (int(frame[column].sum()), lake.read(table, *part, columns=["seq"]).height)
        for table, column in (("trades", "trades"), ("quotes", "quotes"), ("depth", "diffs"))
    }
    return dg.AssetCheckResult(
        passed=all(have == rows for have, rows in sums.values()),
        metadata={name: f"{have} of {rows}" for name, (have, rows) in sums.items()},
    )


@dg.asset(
    deps=sorted({suite.table for suite in SUITES}),
    group_name="quality",
    owners=OWNERS,
    kinds={"greatexpectations", "html"},
    code_version="2",
    description="Great Expectations' suites over profiles, samples and slow sources of every table, as pages that read "
    "offline: the newest days of each.",
    automation_condition=GLUE,
    check_specs=[
        dg.AssetCheckSpec(
            "every_expectation_is_met", asset="data_docs", description="No expectation of any suite failed."
        )
    ],
)
def data_docs(context: dg.AssetExecutionContext, bot4: Bot4Resource) -> Iterator[Any]:
    """Judge what is newest in the lake and build the docs."""
    from bot4_platform.quality.data_docs import build
    from bot4_platform.reporting import table
    from bot4_platform.settings import docs_dir

    target = docs_dir(bot4.settings())
    judged = build(bot4.lake(), target)
    rows = [
        (found.suite, "passed" if found.success else "failed", f"{found.passed} of {len(found.findings)}", found.rows)
        for found in judged
    ]
    yield dg.MaterializeResult(
        metadata={
            "docs": dg.MetadataValue.url((target / "index.html").as_uri()),
            "suites": table(("suite", "status", "expectations", "rows"), rows),
        }
    )
    failed = [f"{found.suite}: {text}" for found in judged for text in found.failed]
    yield dg.AssetCheckResult(
        check_name="every_expectation_is_met",
        passed=not failed,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={"suites": len(judged), "expectations": sum(len(f.findings) for f in judged),
                  "failed": "\n".join(failed)},
    )  # fmt: skip


@dg.asset(
    deps=["data_docs", "pass_rates", "feature_drift", "venue_agreement", "quarantine"],
    group_name="quality",
    owners=OWNERS,
    kinds={"html"},
    code_version="1",
    description="One page that reads offline: pass rate with its trend, refused frames by rule, table and venue, "
    "failing expectations with their Data Docs, drift, agreement of venues, and how old everything is.",
)
def quality_page(context: dg.AssetExecutionContext, bot4: Bot4Resource) -> dg.MaterializeResult:
    """Make the page of everything in the lake."""
    from bot4_platform.quality.page.build import build

    path, facts = build(bot4.settings())
    return dg.MaterializeResult(
        metadata={
            "page": dg.MetadataValue.url(path.as_uri()),
            "pass_rate": facts.all.share,
            "frames": facts.all.total,
            "refused": facts.all.refused,
            "days": len(facts.days),
            "stale": len(facts.ages.stale) if facts.ages else 0,
        }
    )


@dg.asset_check(
    asset="quality_page",
    description="The page needs no network, every link of it leads to a file, and its rate is that of the lake.",
)
def page_is_whole(context: dg.AssetCheckExecutionContext, bot4: Bot4Resource) -> dg.AssetCheckResult:
    """Read it back."""
    from bot4_platform.quality.page.verify import problems

    found = problems(bot4.settings())
    return dg.AssetCheckResult(passed=not found, metadata={"problems": "; ".join(found)})
