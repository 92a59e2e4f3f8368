"""Each suite as a blocking check of its table: a partition that fails stops what would be made of it."""

import dagster as dg

from bot4_platform.checks import day_check, market_check
from bot4_platform.partitions import market_day
from bot4_platform.quality.suites import SUITES, Suite
from bot4_platform.resources import Bot4Resource


def checks() -> list[dg.AssetChecksDefinition]:
    """Return the check of every suite."""
    return [_check(suite) for suite in SUITES]


def _check(suite: Suite) -> dg.AssetChecksDefinition:
    count, decorate = len(suite.expectations), day_check if suite.by_day else market_check

    @decorate(
        asset=suite.table,
        name=f"{suite.name}_suite",
        description=f"Great Expectations: {suite.about} {count} expectations; Data Docs say why each is there.",
        blocking=True,
    )
    def run(context: dg.AssetCheckExecutionContext, bot4: Bot4Resource) -> dg.AssetCheckResult:
        """Judge one partition."""
        from bot4_platform.quality.judge import judge
        from bot4_platform.reporting import table

        lake = bot4.lake()
        if suite.by_day:
            parts = [part for part in lake.partitions(suite.table) if part[0] == context.partition_key]
        else:
            parts = [market_day(context)]
        found = judge(suite, suite.frame(lake, parts))
        rows = [("passed" if one.met else "FAILED", one.expected, one.found, one.why) for one in found.findings]
        return dg.AssetCheckResult(
            passed=found.success,
            metadata={
                "rows_judged": found.rows,
                "passed": found.passed,
                "failed": "\n".join(found.failed),
                "expectations": table(("", "expectation", "found", "why"), rows),
            },
        )

    return run
