"""Which pairs of markets have a basis on a day, and the ticks that make their mids comparable."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from bot4_platform.instruments import Instruments
from bot4_platform.partitions import MarketDay
from bot4_platform.tables import TABLES

if TYPE_CHECKING:
    import polars as pl

    from bot4_platform.lake import Lake


def tick_e8(instruments: Instruments, part: MarketDay) -> int:
    """Return the tick of a market on a day, in 1e-8 of the quote currency.

    Raises ValueError when it is not known, or changed within the day: the day's ticks are then no one unit.
    """
    first, last = (instruments.at(part.market, ns).tick_e8 for ns in (part.start_ns, part.end_ns - 1))
    if first != last:
        raise ValueError(
            f"the tick of {part.market} changed on {part.day} from {first} to {last} e-8: its mids cannot be compared "
            "that day, take the pair out of BOT4_PLATFORM__BASIS for it"
        )
    return first


def pairs_of(lake: Lake, day: str, wanted: Sequence[tuple[str, str]]) -> pl.DataFrame:
    """Return the table `basis_pairs` of a day: those of `wanted` (base, quote) whose markets both have mids.

    Raises ValueError as `tick_e8` does.
    """
    import polars as pl

    there = [pair for pair in wanted if all(lake.exists("mids_250ms", day, market) for market in pair)]
    instruments = Instruments.of(lake)
    ticks = {market: tick_e8(instruments, MarketDay(day, market)) for pair in there for market in pair}
    rows = [(base, quote, ticks[base], ticks[quote]) for base, quote in there]
    return pl.DataFrame(rows, schema=TABLES["basis_pairs"].schema(), orient="row")
