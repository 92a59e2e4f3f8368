"""The online store: what the runner's feeder reads. One asset writes it."""

from typing import TYPE_CHECKING

import dagster as dg

from bot4_platform.checks import OWNERS
from bot4_platform.partitions import MARKETS
from bot4_platform.resources import Bot4Resource

if TYPE_CHECKING:
    from bot4_platform.feature_store.online import SlowRow


@dg.asset(
    deps=["slow_features"],
    group_name="features",
    owners=OWNERS,
    kinds={"feast", "sqlite"},
    code_version="1",
    pool="online_store",
    description="The newest slow features of each market in Feast's online store, by the one writer there is: an older "
    "row never wins, a correction is a microsecond newer. An insufficient fit is a null, never a number.",
)
def online_slow_features(context: dg.AssetExecutionContext, bot4: Bot4Resource) -> dg.MaterializeResult:
    """Write what is newest in the lake, where it is newer than what is served."""
    from bot4_platform.feature_store.online import write
    from bot4_platform.feature_store.store import open_store
    from bot4_platform.reporting import table, when

    settings = bot4.settings()
    store = open_store(settings)
    rows, served = [], 0
    for market in MARKETS.get_partition_keys():
        row = newest(bot4, market)
        if row is None:
            rows.append((market, "-", "nothing", "-"))
            continue
        action = write(store, settings, row)
        served += len(row.known())
        rows.append((market, when(row.event_ns), action, ", ".join(f"{k} {v:.6g}" for k, v in row.known().items())))
    return dg.MaterializeResult(
        metadata={
            "served_values": served,
            "markets": table(("market", "event", "action", "values"), rows),
            "path": dg.MetadataValue.path(str(settings.online_store)),
        }
    )


@dg.asset_check(
    asset="online_slow_features",
    description="Read by the runner's own codec, the store holds the lake's newest values, or newer ones.",
    blocking=True,
)
def online_store_is_current(context: dg.AssetCheckExecutionContext, bot4: Bot4Resource) -> dg.AssetCheckResult:
    """Read the store as the feeder does and compare."""
    from bot4_platform.feature_store.online import SECOND_NS, stored

    settings = bot4.settings()
    problems, values = [], 0
    for market in MARKETS.get_partition_keys():
        row = newest(bot4, market)
        if row is None:
            continue
        at, found = stored(settings, market)
        values += len(found)
        second = row.event_ns // SECOND_NS * SECOND_NS
        if at < second or (at == second and found != row.known()):
            problems.append(f"{market}: stored {found} at {at}, the lake has {row.known()} at {row.event_ns}")
    return dg.AssetCheckResult(passed=not problems, metadata={"values": values, "problems": "; ".join(problems)})


def newest(bot4: Bot4Resource, market: str) -> "SlowRow | None":
    """Return the newest slow features of a market in original exchange time, None when the lake has none."""
    from bot4_live.settings import SLOW_FEATURES
    from bot4_platform.feature_store.online import SlowRow, shift_at
    from bot4_platform.journal_source import seals

    lake = bot4.lake()
    for day, _ in reversed(lake.partitions("slow_features", market)):
        frame = lake.read("slow_features", day, market)
        if frame.height:
            row = frame.sort("event_ns", "created_ns").row(-1, named=True)
            shift = shift_at(seals(bot4.settings().journal_dir, market), row["event_ns"])
            values = {name: row[name] for name in SLOW_FEATURES.values()}
            return SlowRow(market, row["event_ns"] - shift, row["created_ns"] - shift, values)
    return None
