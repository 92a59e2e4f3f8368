"""In which ticks and lots a file is counted: the lake's for the market, or those its owner gives."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from bot4_live.instrument import E8, Instrument, to_e8
from bot4_platform import instruments
from bot4_platform.lake import Lake
from bot4_platform.own_history.layout import decimals

if TYPE_CHECKING:
    import polars as pl


Versions = list[tuple[int, Instrument]]  # (valid_from_ns, instrument), in order


def versions_of(lake: Lake, market: str, tick: str | None, lot: str | None) -> Versions:
    """Return the instruments that a market's history is counted by; steps that are given become the lake's.

    Raises ValueError when nothing is known of the market and nothing given, or when both are and differ.
    """
    known = instruments.Instruments.of(lake)
    if market in known.versions:
        for _, held in known.versions[market]:
            for name, given, step in (("tick", tick, held.tick_e8), ("lot", lot, held.lot_e8)):
                if given is not None and to_e8(given) != step:
                    raise ValueError(
                        f"--{name} {given}: the lake counts {market} in {name}s of {step / E8:.{decimals(step)}f}; "
                        "leave it out, or import under another market's name"
                    )
        return known.versions[market]
    if tick is None or lot is None:
        raise ValueError(
            f"the lake knows no instrument {market}: give --tick and --lot, the smallest steps of its prices and "
            "quantities (e.g. --tick 0.01 --lot 0.00001)"
        )
    tick_e8, lot_e8 = to_e8(tick), to_e8(lot)
    if tick_e8 <= 0 or lot_e8 <= 0:
        raise ValueError(f"--tick {tick} --lot {lot}: both are above 0")
    venue, _, symbol = market.partition(":")
    made = Instrument(
        id=0, version=1, venue=venue, symbol=symbol, tick_e8=tick_e8, lot_e8=lot_e8,
        price_digits=decimals(tick_e8), qty_digits=decimals(lot_e8),
    )  # fmt: skip
    instruments.observe(lake, [made], 0, "import")
    instruments.refresh(lake)
    return [(0, made)]


def by_version(rows: pl.DataFrame, at: pl.Series, versions: Versions) -> Iterator[tuple[Instrument, pl.DataFrame]]:
    """Yield the rows of each version that held at their time (`at`, ns; null counts as the first one's)."""
    import polars as pl

    number = pl.Series([start for start, _ in versions]).search_sorted(at.fill_null(0), side="right").clip(1) - 1
    for index, (_, instrument) in enumerate(versions):
        held = rows.filter(number == index)
        if not held.is_empty():
            yield instrument, held
