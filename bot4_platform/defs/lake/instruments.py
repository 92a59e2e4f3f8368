"""Instruments with the intervals in which they held, and the check on them."""

import dagster as dg

from bot4_platform.checks import OWNERS
from bot4_platform.operations.steps import GLUE
from bot4_platform.resources import Bot4Resource


@dg.asset(
    deps=["raw_segments"],
    group_name="lake",
    owners=OWNERS,
    kinds={"journal", "parquet"},
    code_version="1",
    automation_condition=GLUE,
    description="Tick, lot, fees and filters of every market in versions, each with the interval in which it held: "
    "from the journal's INSTRUMENT events and from venues' listings. Integers mean something only with them. Sightings "
    "are kept, so that a version outlives the segments that it was journaled in.",
)
def instruments(context: dg.AssetExecutionContext, bot4: Bot4Resource) -> dg.MaterializeResult:
    """Take in what is new and write the intervals."""
    from bot4_platform import instruments as known
    from bot4_platform.reporting import table, when, written

    lake = bot4.lake()
    new = known.keep(lake, known.journaled(bot4.settings().journal_dir))
    if not lake.exists(known.SIGHTINGS):
        raise dg.Failure(
            f"no sealed segment in {bot4.settings().journal_dir} names an instrument: record a market first, "
            "or end the session that records it so that its last segment is sealed"
        )
    frame, result = known.refresh(lake)
    context.log.info(f"{new} new sightings, {frame.height} versions of {frame['market'].n_unique()} markets")
    shown = [
        (row["market"], row["version"], when(row["seen_ns"]), row["tick_e8"] / 1e8, row["lot_e8"] / 1e8,
         row["min_notional_e8"] / 1e8, row["maker_fee_e8"] / 1e4, row["taker_fee_e8"] / 1e4, row["source"])
        for row in frame.iter_rows(named=True)
    ]  # fmt: skip
    header = ("market", "version", "seen", "tick", "lot", "min notional", "maker bp", "taker bp", "source")
    return dg.MaterializeResult(
        metadata=written(result)
        | {"new_sightings": new, "markets": frame["market"].n_unique(), "versions": table(header, shown)}
    )


@dg.asset_check(
    asset=instruments,
    description="At every time exactly one version of a market holds, its rules can be, and no market has ticks "
    "without an instrument.",
    blocking=True,
)
def intervals_hold(bot4: Bot4Resource) -> dg.AssetCheckResult:
    """Compare neighbours, and markets with the tick tables."""
    from bot4_platform import instruments as known

    lake = bot4.lake()
    ticks = {market for name in ("trades", "quotes", "depth") for _, market in lake.partitions(name)}
    found = known.problems(lake.read(known.TABLE), ticks)
    return dg.AssetCheckResult(
        passed=not found, metadata={"problems": len(found), "first": "; ".join(found[:10]), "markets": len(ticks)}
    )
