"""The pairs of markets whose basis is computed, by day."""

import dagster as dg

from bot4_platform.beta import beta
from bot4_platform.checks import OWNERS
from bot4_platform.defs.candles.models import WHOLE_DAY
from bot4_platform.defs.candles.steps import BASIS
from bot4_platform.partitions import DAYS, MarketDay
from bot4_platform.resources import Bot4Resource


@dg.asset(
    deps=[dg.AssetDep("mids_250ms", partition_mapping=WHOLE_DAY), "instruments"],
    partitions_def=DAYS,
    group_name="cross_market",
    owners=OWNERS,
    kinds={"parquet", "polars"},
    code_version="1",
    description="Pairs of markets (BOT4_PLATFORM__BASIS) of which both have mids on the day, with their ticks in 1e-8: "
    "what makes mids in ticks comparable.",
)
def basis_pairs(context: dg.AssetExecutionContext, bot4: Bot4Resource) -> dg.MaterializeResult:
    """Write the pairs of one day."""
    from bot4_platform.basis import pairs_of
    from bot4_platform.reporting import table, written
    from bot4_platform.settings import platform_settings

    part, lake = MarketDay(str(context.partition_key), BASIS), bot4.lake()
    wanted = platform_settings().basis
    frame = pairs_of(lake, part.day, wanted)
    there = set(frame.select("base", "quote").iter_rows())
    return dg.MaterializeResult(
        metadata=written(lake.write("basis_pairs", *part, frame))
        | {"pairs": table(frame.columns, frame.iter_rows())}
        | {"without_mids": ", ".join(f"{a} - {b}" for a, b in wanted if (a, b) not in there) or "none"}
    )


with beta():

    @dg.asset_check(
        asset="basis_pairs",
        description="A market has one tick, in whatever pair it is, and no pair is of a market with itself.",
        blocking=True,
        partitions_def=DAYS,
    )
    def pairs_are_comparable(context: dg.AssetCheckExecutionContext, bot4: Bot4Resource) -> dg.AssetCheckResult:
        """Count what breaks a rule."""
        frame = bot4.lake().read("basis_pairs", str(context.partition_key), BASIS)
        ticks = {*frame.select("base", "base_tick_e8").iter_rows(), *frame.select("quote", "quote_tick_e8").iter_rows()}
        several = len(ticks) - len({market for market, _ in ticks})
        itself = frame.filter(frame["base"] == frame["quote"]).height
        return dg.AssetCheckResult(
            passed=not several and not itself, metadata={"several_ticks": several, "with_itself": itself}
        )
