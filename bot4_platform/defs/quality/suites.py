"""Each suite as a blocking check of its table: a partition that fails stops what would be made of it."""

import dagster as dg

from bot4_platform.checks import market_check
from bot4_platform.partitions import market_day
from bot4_platform.quality.suites import SUITES, Suite
from bot4_platform.resources import Bot4Resource


def checks() -> list[dg.AssetChecksDefinition]:
    """Return the check of every suite."""
    return [_check(suite) for suite in SUITES]


def _check(suite: Suite) -> dg.AssetChecksDefinition:
    count = len(suite.expectations)

    @market_check(
        asset=suite.table,
        name=f"{suite.name}_suite",
        description=f"Great Expectations: {suite.about} {count} expectations; Data Docs say why each is there.",
        blocking=suite.blocking,
    )
    def run(context: dg.AssetCheckExecutionContext, bot4: Bot4Resource) -> dg.AssetCheckResult:
        """Judge one partition."""
        from bot4_platform.quality.judge import judge
        from bot4_platform.reporting import table

        found = judge(suite, suite.frame(bot4.lake(), [market_day(context)]))
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
