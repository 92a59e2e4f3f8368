"""The report's section on sources outside the market: what each gave, and flows and news beside each other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bot4_platform.demo import charts
from bot4_platform.demo.report import paragraph, table
from bot4_platform.lake import Lake

if TYPE_CHECKING:
    import polars as pl

COUNTED = {
    "onchain_transfers": "whale transfers",
    "dex_swaps": "DEX swaps",
    "stablecoin_supply": "mints and burns",
    "news_items": "news stories",
    "social_posts": "posts",
    "macro_observations": "macro values and revisions",
}


def section(lake: Lake) -> list[tuple[str, str, str]]:
    """Return the section, none when no source was read."""
    found = {name: lake.read(name) for name in COUNTED if lake.partitions(name)}
    if not found:
        return []
    text = paragraph(
        "From stand-ins on this machine that speak each source's protocol: an Ethereum node, RSS and Atom feeds, a "
        "Mastodon server, ALFRED. Every row says when it could be known: after the chain's confirmations, a feed's "
        "lag, a release's instant. What could not become a row is in the table source_quarantine, with its reason."
    )
    rows = [(COUNTED[name], frame.height, _lag(frame)) for name, frame in found.items()]
    text += table(("source", "rows", "known after, s (median)"), rows, digits=0)
    signals = lake.read("onchain_signals") if lake.partitions("onchain_signals") else None
    if signals is not None and signals.height:
        quarters = signals.sort("event_ns").tail(8)
        shown = [
            (name[-5:], whales, *(cents / 1e8 for cents in money))
            for name, whales, *money in quarters.select(
                "id", "whales", "inflow_cents", "outflow_cents", "net_inflow_cents", "minted_cents", "burned_cents"
            ).rows()
        ]
        header = ("quarter", "whales", "into exchanges, M$", "out of them", "net", "minted", "burned")
        text += table(header, shown, digits=1)
    if "news_items" in found:
        top = found["news_items"].sort("impact", "id", descending=[True, False]).head(5)
        names = dict(top.select("title", "impact").rows())
        text += paragraph("The stories with the largest impact, a prior by declared rules:")
        text += charts.bars(names, "impact, 0 to 1", digits=2)
    return [("sources", "Beyond the market", text)]


def _lag(frame: pl.DataFrame) -> float:
    median = (frame["created_ns"] - frame["event_ns"]).median()
    return float(median) / 1e9 if isinstance(median, (int, float)) else 0.0
