"""Checks of the tick tables, read back from the files that were written."""

import dagster as dg

from bot4_platform.checks import market_check
from bot4_platform.partitions import market_day
from bot4_platform.resources import Bot4Resource

STALE_NS = 5 * 60 * 10**9
EVENTS = ("trades", "quotes", "depth", "funding", "liquidations", "tickers")


@market_check(
    asset="trades",
    description="Trade ids are unique, prices and quantities positive, every trade lies within its exchange day.",
    blocking=True,
)
def trades_are_sound(context: dg.AssetCheckExecutionContext, bot4: Bot4Resource) -> dg.AssetCheckResult:
    """Count the rows that break a rule."""
    part = market_day(context)
    frame = bot4.lake().read("trades", *part)
    return verdict(
        rows=frame.height,
        duplicate_ids=frame.height - frame["trade_id"].n_unique(),
        not_positive=frame.filter((frame["price"] <= 0) | (frame["qty"] <= 0)).height,
        other_day=frame.filter((frame["exch_ns"] < part.start_ns) | (frame["exch_ns"] >= part.end_ns)).height,
    )


@market_check(
    asset="trades",
    description="Freshness of the data: the lake reaches the newest sealed event of the market (or the day's end) "
    "within 5 minutes. The age of the last materialization says nothing about that.",
)
def data_reaches_the_journal(context: dg.AssetCheckExecutionContext, bot4: Bot4Resource) -> dg.AssetCheckResult:
    """Compare the newest event in the lake with what the journal has."""
    from bot4_platform.journal_source import seals
    from bot4_platform.reporting import when

    part = market_day(context)
    lake, folder = bot4.lake(), bot4.settings().journal_dir
    events = [name for name in EVENTS if lake.exists(name, *part)]
    newest = [lake.read(name, *part, columns=["exch_ns"])["exch_ns"].max() for name in events]
    last_event = max((int(value) for value in newest if isinstance(value, int)), default=part.start_ns)
    sealed = max((seal.last_recv_ns - seal.shift_ns for seal in seals(folder, part.market)), default=part.start_ns)
    lag_ns = min(sealed, part.end_ns) - last_event
    return dg.AssetCheckResult(
        passed=lag_ns <= STALE_NS,
        metadata={
            "dagster/last_updated_timestamp": dg.MetadataValue.timestamp(last_event / 1e9),
            "newest_event": when(last_event),
            "newest_sealed": when(sealed),
            "lag_s": lag_ns / 1e9,
        },
    )


@market_check(
    asset="quotes", description="No quote is crossed or empty: 0 < bid < ask, sizes positive.", blocking=True
)  # fmt: skip
def quotes_are_sound(context: dg.AssetCheckExecutionContext, bot4: Bot4Resource) -> dg.AssetCheckResult:
    """Count the quotes that break a rule."""
    frame = bot4.lake().read("quotes", *market_day(context))
    return verdict(
        rows=frame.height,
        crossed=frame.filter(frame["bid_px"] >= frame["ask_px"]).height,
        not_positive=frame.filter((frame["bid_px"] <= 0) | (frame["bid_qty"] <= 0) | (frame["ask_qty"] <= 0)).height,
    )


@market_check(
    asset="depth", description="Diffs carry ids in order (first <= last, previous < last), each diff once.",
    blocking=True,
)  # fmt: skip
def depth_ids_hold(context: dg.AssetCheckExecutionContext, bot4: Bot4Resource) -> dg.AssetCheckResult:
    """Count broken ids; breaks of the chain are shown, since a reconnect makes one."""
    frame = bot4.lake().read("depth", *market_day(context))
    breaks = (frame["prev_id"] != frame["last_id"].shift(1)).fill_null(False).sum()
    return verdict(
        rows=frame.height,
        duplicates=frame.height - frame.select("last_id", "exch_ns").n_unique(),
        wrong_order=frame.filter(
            (frame["first_id"] > frame["last_id"]) | (frame["prev_id"] >= frame["last_id"])
        ).height,
        shown={"breaks_of_the_chain": int(breaks)},
    )


@market_check(
    asset="quarantine", description="The table has exactly the frames that the seals of the receive day count.",
    blocking=True,
)  # fmt: skip
def quarantine_is_complete(context: dg.AssetCheckExecutionContext, bot4: Bot4Resource) -> dg.AssetCheckResult:
    """Compare with the seals."""
    from bot4_live.events import Kind
    from bot4_platform.journal_source import count, seals

    part = market_day(context)
    rows = bot4.lake().read("quarantine", *part).height
    sealed = sum(
        count(seal, Kind.QUARANTINE, part.market)
        for seal in seals(bot4.settings().journal_dir, part.market)
        if seal.receive_day == part.day
    )
    return dg.AssetCheckResult(passed=rows == sealed, metadata={"rows": rows, "sealed": sealed})


def verdict(*, rows: int, shown: dict[str, int] | None = None, **broken: int) -> dg.AssetCheckResult:
    """Return the result of a check that counted broken rows: passed when every count is 0."""
    return dg.AssetCheckResult(passed=not any(broken.values()), metadata={"rows": rows} | broken | (shown or {}))
