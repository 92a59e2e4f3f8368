"""Slow signals: sources counted by quarters of an hour, each row known from when the last of what it counts was.

A quarter is emitted when it is over and the source was read past it; before the first thing a source told us we claim
nothing. Dollars are integer cents; averages are ratios at the edge, null where nothing was said.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from bot4_live.clock import DAY_NS, day_start_ns

if TYPE_CHECKING:
    import polars as pl

QUARTER_NS = 15 * 60 * 1_000_000_000
FLOWS = ("inflow", "outflow", "between")


def quarters(day: str, first_ns: int, until_ns: int) -> Iterator[tuple[int, int]]:
    """Yield (begin, end) of the quarters of a day within [first_ns, until_ns]."""
    start = day_start_ns(day)
    for begin in range(start, start + DAY_NS, QUARTER_NS):
        if begin >= first_ns and begin + QUARTER_NS <= until_ns:
            yield begin, begin + QUARTER_NS


def onchain_signals(
    day: str, transfers: pl.DataFrame, swaps: pl.DataFrame, supply: pl.DataFrame, blocks: pl.DataFrame, slot_ns: int
) -> list[dict[str, Any]]:
    """Return the rows of `onchain_signals` for the quarters that the blocks read so far cover."""
    if not blocks.height:
        return []
    at = blocks["event_ns"]
    rows = []
    for begin, end in quarters(day, at[0] - slot_ns + 1, at[-1] + slot_ns):
        moved, traded, made, seen = (_within(frame, begin, end) for frame in (transfers, swaps, supply, blocks))
        if not seen.height:
            continue
        flows = {flow: _cents(moved.filter(moved["flow"] == flow)) for flow in FLOWS}
        kinds = {kind: _cents(made.filter(made["kind"] == kind)) for kind in ("mint", "burn")}
        rows.append(
            _known("onchain", begin, end, seen)
            | {
                "blocks": seen.height, "whales": moved.height, "whale_cents": _cents(moved),
                "inflow_cents": flows["inflow"], "outflow_cents": flows["outflow"],
                "between_cents": flows["between"], "net_inflow_cents": flows["inflow"] - flows["outflow"],
                "minted_cents": kinds["mint"], "burned_cents": kinds["burn"], "swaps": traded.height,
                "swap_cents": _cents(traded),
            }
        )  # fmt: skip
    return rows


def news_signals(day: str, items: pl.DataFrame, until_ns: int, lag_ns: int) -> list[dict[str, Any]]:
    """Return the rows of `news_signals`: stories, the sum of their impact, and their tone weighted by it."""
    rows = []
    first = items["event_ns"].min()
    for begin, end in quarters(day, _quarter(first), until_ns) if isinstance(first, int) else ():
        found = _within(items, begin, end)
        impact = float(found["impact"].sum())
        tone = float((found["impact"] * found["tone"]).sum()) / impact if impact > 0 else None
        worst = found["impact"].max()
        rows.append(
            _known("news", begin, end, found, lag_ns)
            | {
                "stories": found.height, "impact": impact, "largest_impact": worst if isinstance(worst, float) else 0.0,
                "tone": tone,
            }
        )  # fmt: skip
    return rows


def social_signals(day: str, posts: pl.DataFrame, until_ns: int, lag_ns: int) -> list[dict[str, Any]]:
    """Return the rows of `social_signals`, one a quarter and coin (ALL: whatever they speak of); spam only counted."""
    import polars as pl

    rows = []
    first = posts["event_ns"].min()
    coins = ["ALL", *sorted({coin for named in posts["coins"] for coin in named.split(",") if coin})]
    for begin, end in quarters(day, _quarter(first), until_ns) if isinstance(first, int) else ():
        quarter = _within(posts, begin, end)
        for coin in coins:
            of_coin = quarter if coin == "ALL" else quarter.filter(pl.col("coins").str.split(",").list.contains(coin))
            real = of_coin.filter(of_coin["spam"] == "")
            # A loud author counts once: the mean of the authors' means.
            means = real.group_by("author").agg(pl.col("sentiment").mean()).sort("author")["sentiment"]
            mean = float(means.sum()) / means.len() if means.len() else None
            rows.append(
                _known(f"social:{coin}", begin, end, quarter, lag_ns)
                | {
                    "coin": coin, "posts": real.height, "voices": means.len(), "spam": of_coin.height - real.height,
                    "sentiment": mean,
                }
            )  # fmt: skip
    return rows


def _quarter(ns: int) -> int:
    return ns // QUARTER_NS * QUARTER_NS


def _within(frame: pl.DataFrame, begin: int, end: int) -> pl.DataFrame:
    return frame.filter((frame["event_ns"] >= begin) & (frame["event_ns"] < end))


def _cents(frame: pl.DataFrame) -> int:
    return int(frame["usd_cents"].sum())


def _known(name: str, begin: int, end: int, counted: pl.DataFrame, lag_ns: int = 0) -> dict[str, Any]:
    """Return id and times: known when the quarter's last thing was, and not before its end and the source's lag."""
    last = counted["created_ns"].max()
    created = max(end + lag_ns, last if isinstance(last, int) else 0)
    return {
        "id": f"{name}:{datetime.fromtimestamp(begin // 10**9, UTC):%Y-%m-%dT%H:%M}",
        "event_ns": end,
        "created_ns": created,
    }
