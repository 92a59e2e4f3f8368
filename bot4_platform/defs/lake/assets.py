"""Ticks: the journal's market events of one exchange day as Parquet tables, with the quarantine beside."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import dagster as dg

from bot4_platform.beta import beta
from bot4_platform.checks import OWNERS
from bot4_platform.lake import Written
from bot4_platform.partitions import MARKET_DAYS, market_day
from bot4_platform.resources import Bot4Resource

if TYPE_CHECKING:
    import polars as pl

with beta():
    # A day by exchange time may lie in segments received the day before or after.
    NEIGHBOURS = dg.MultiPartitionMapping(
        {
            "day": dg.DimensionPartitionMapping(
                "day",
                dg.TimeWindowPartitionMapping(
                    start_offset=-1, end_offset=1, allow_nonexistent_upstream_partitions=True
                ),
            ),
            "market": dg.DimensionPartitionMapping("market", dg.IdentityPartitionMapping()),
        }
    )

CODE_VERSION = "1"
CLOSE_TAG = "bot4/close"  # on the runs that end a day

DESCRIPTIONS = {
    "trades": "Public trades: price in ticks, quantity in lots, `sell` when the aggressor sold. One row a trade id.",
    "quotes": "Best bid and ask as the venue sent them, each change once.",
    "depth": "Depth diffs, one row a message: first, last and previous update id, levels a side.",
    "quarantine": "Frames that could not become events: the rule that caught them and the raw bytes. "
    "The feed's verdict; nothing is edited in place.",
    "funding": "Funding statements: rates, mark and index price as the venue wrote them (digits and decimals), and the "
    "next funding time.",
    "liquidations": "Liquidations: price in ticks, quantity in lots, `sell` when a long was sold out. Binance sends at "
    "most one a second a symbol: a lower bound.",
    "tickers": "What tickers stated, one row a value, as the venue wrote it (digits and decimals).",
}


@dg.multi_asset(
    name="ticks",
    specs=[
        dg.AssetSpec(
            name,
            deps=[dg.AssetDep("raw_segments", partition_mapping=NEIGHBOURS)],
            group_name="lake",
            owners=OWNERS,
            kinds={"parquet", "polars"},
            code_version=CODE_VERSION,
            description=description,
        )
        for name, description in DESCRIPTIONS.items()
    ],
    partitions_def=MARKET_DAYS,
)
def ticks(context: dg.AssetExecutionContext, bot4: Bot4Resource) -> Iterator[dg.MaterializeResult]:
    """Fold the segments that were sealed since the last run into the day's tables.

    Without a new one everything is read again, but for the daily close, which then only makes one file of the parts.
    """
    from bot4_platform import journal_ticks
    from bot4_platform.journal_source import seals_of, segments
    from bot4_platform.quarantine.frames import with_released
    from bot4_platform.quarantine.overrides import tag
    from bot4_platform.tick_parts import appendable, keys_of, lacking, names_of

    part = market_day(context)
    folder = bot4.settings().journal_dir
    found = seals_of(folder, part)
    lake, closing = bot4.lake(), CLOSE_TAG in context.run.tags
    version = CODE_VERSION + tag(bot4.settings(), part.market)  # another set of released frames makes other ticks
    fresh = lacking(lake, part, found, version)
    used = found if fresh is None else fresh
    frames = journal_ticks.ticks(segments(used), part, folder)
    again = fresh is None or not (fresh or closing) or not appendable(frames)
    if again and len(used) < len(found):
        used = found
        frames = journal_ticks.ticks(segments(used), part, folder)
    if again:
        frames = with_released(bot4.settings(), part, frames)
    for name, frame in frames.items():
        context.log.info(f"{name}: {frame.height} rows from {len(used)} of {len(found)} segments")
        names = names_of(used, version)
        if again:
            result = lake.write(name, *part, frame, sources=names)
        else:
            result = lake.append(name, *part, frame, sources=names, keys=keys_of(name, frame))
            if closing and (compacted := lake.compact(name, *part)):
                result = compacted.written
            frame = lake.read(name, *part)
        shown = {"segments_read": len(used), "segments": len(found), "files": len(lake.files(name, *part))}
        yield dg.MaterializeResult(asset_key=name, metadata=describe(name, frame, result) | shown)


def describe(name: str, frame: "pl.DataFrame", result: Written) -> dict[str, Any]:
    """Return the metadata of one tick table: rows, file, times, and what a reader looks for in it."""
    import numpy as np
    import polars as pl

    from bot4_platform.reporting import line_plot, table, when, written

    metadata = written(result) | {"dagster/row_count": frame.height}
    if frame.is_empty():
        return metadata
    if name == "quarantine":
        counts = frame.group_by("rule").len().sort("rule")
        return metadata | {
            "by_reason": table(("reason", "frames"), counts.iter_rows()),
            **{f"reason/{rule}": count for rule, count in counts.iter_rows()},
        }
    times = frame["exch_ns"]
    first, last = times.to_numpy().min(), times.to_numpy().max()
    metadata |= {"first_event": when(first), "last_event": when(last)}
    if name == "quotes":
        sample = frame.gather_every(max(1, frame.height // 2000))
        seconds = (sample["exch_ns"] - first).to_numpy() / 1e9
        mid = (sample["bid_px"] + sample["ask_px"]).to_numpy() / 2
        metadata["mid_plot"] = line_plot(seconds, {"mid": mid}, "ticks", "mid")
        spread = (frame["ask_px"] - frame["bid_px"]).to_numpy()
        metadata["median_spread_ticks"] = float(np.median(spread))
    if name == "tickers":
        counts = frame.group_by("field").len().sort("field")
        metadata["fields"] = table(("field", "values"), counts.iter_rows())
    if name in ("trades", "liquidations"):
        sides = frame.group_by("sell").agg(pl.len(), pl.col("qty").sum()).sort("sell")
        metadata["sides"] = table(
            ("aggressor", name, "lots"), [("sold" if s else "bought", n, q) for s, n, q in sides.iter_rows()]
        )
    return metadata
