"""The instruments of the lake: intervals in which tick, lot, fees and filters of a market held.

Sightings come from the journal's INSTRUMENT events, or from a venue's listing (`observe`). Equal ones in a row are one
version; it holds until a different one is seen. Venues publish no history of their filters, so the first version that
was seen of a market is taken to have held before too: `seen_ns` says since when it is known.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bot4_live.events import HEADER_SIZE, MARKET_KINDS, Kind
from bot4_live.instrument import E8, Instrument
from bot4_live.journal.reader import Segment
from bot4_live.market.venues.symbols import canonical
from bot4_platform.journal_source import archived, read, seals
from bot4_platform.lake import Lake, Written
from bot4_platform.tables.instruments import INSTRUMENTS, RULES

if TYPE_CHECKING:
    import polars as pl

SIGHTINGS, TABLE = "instrument_sightings", "instruments"
JOURNAL = "journal"


class UnknownInstrument(ValueError):
    """No version of a market's instrument is known."""


@dataclass(frozen=True)
class Instruments:
    """Versions of instruments by market, each market's in order of time."""

    versions: dict[str, list[tuple[int, Instrument]]]  # (valid_from_ns, instrument)

    @classmethod
    def of(cls, lake: Lake) -> Instruments:
        """Return the lake's; an empty one where the table was not written."""
        return cls.of_table(lake.read(TABLE)) if lake.exists(TABLE) else cls({})

    @classmethod
    def of_table(cls, table: pl.DataFrame) -> Instruments:
        """Return those of the table `instruments`."""
        found: dict[str, list[tuple[int, Instrument]]] = {}
        for row in table.iter_rows(named=True):
            found.setdefault(row["market"], []).append((row["valid_from_ns"], _instrument(row)))
        return cls(found)

    def at(self, market: str, ns: int) -> Instrument:
        """Return what held at a time (ns since 1970, exchange time). Raises UnknownInstrument."""
        held = [instrument for start, instrument in self.versions.get(market, []) if start <= ns]
        if not held:
            known = ", ".join(sorted(self.versions)) or "none"
            raise UnknownInstrument(
                f"the lake knows no instrument of {market} (known: {known}): record that market, or take its "
                "listing over from the venue, then materialize the asset instruments"
            )
        return held[-1]


def observe(lake: Lake, instruments: Iterable[Instrument], seen_ns: int, source: str) -> int:
    """Keep what a venue's listing says now, for the next `instruments`; return how many sightings are new."""
    rows = [
        {"market": one.market, "seen_ns": seen_ns, "source": source} | {name: getattr(one, name) for name in RULES}
        for one in instruments
    ]
    return keep(lake, rows)


def keep(lake: Lake, rows: list[dict[str, Any]]) -> int:
    """Add sightings to the lake, each once; return how many were new."""
    import polars as pl

    if not rows:
        return 0
    added = lake.append(SIGHTINGS, "", "", pl.DataFrame(rows, schema=INSTRUMENTS[SIGHTINGS].schema())).rows
    lake.compact(SIGHTINGS, "", "")
    return added


def refresh(lake: Lake) -> tuple[pl.DataFrame, Written]:
    """Write the table of all sightings; return it and what was written."""
    table = intervals(lake.read(SIGHTINGS))
    return table, lake.write(TABLE, "", "", table)


def journaled(journal_dir: Path) -> list[dict[str, Any]]:
    """Return the sightings of a journal's sealed segments, in log order; only segments with such events are read.

    Those of segments in the archive were kept while they lay here.
    """
    found = []
    for seal in seals(journal_dir):
        if seal.kinds.get(Kind.INSTRUMENT) and not archived(seal):
            found += _sightings(read(seal))
    return found


def intervals(sightings: pl.DataFrame) -> pl.DataFrame:
    """Return the table `instruments` of all sightings; of two at one time the last source by name is kept."""
    import polars as pl

    ordered = sightings.sort("market", "seen_ns", "source").unique(["market", "seen_ns"], keep="last")
    ordered = ordered.sort("market", "seen_ns").with_columns(pl.struct(list(RULES)).alias("_rules"))
    changed = (pl.col("_rules") != pl.col("_rules").shift(1).over("market")).fill_null(True)
    first = pl.int_range(pl.len()).over("market") == 0
    names = {market: _common_name(market) for market in sightings["market"].unique()}
    versions = ordered.filter(changed | first).with_columns(
        pl.int_range(1, pl.len() + 1).over("market").alias("version"),
        pl.when(pl.int_range(pl.len()).over("market") == 0)
        .then(pl.lit(0, pl.Int64))
        .otherwise(pl.col("seen_ns"))
        .alias("valid_from_ns"),
        pl.col("seen_ns").shift(-1).over("market").alias("valid_to_ns"),
        pl.col("market").replace_strict(names, default=None, return_dtype=pl.String).alias("instrument"),
    )
    spec = INSTRUMENTS[TABLE]
    return spec.conform(versions.select(list(spec.columns)))


def problems(table: pl.DataFrame, markets: Iterable[str]) -> list[str]:
    """Return what is wrong: intervals that overlap, leave a gap or are empty, rules that cannot be, markets without."""
    found = []
    for (market,), rows in table.sort("market", "version").group_by(["market"], maintain_order=True):
        ends = [*rows["valid_from_ns"].to_list()[1:], None]
        for row, end in zip(rows.iter_rows(named=True), ends, strict=True):
            name = f"{market} version {row['version']}"
            if row["valid_to_ns"] != end:
                found.append(f"{name} holds until {row['valid_to_ns']}, the next one from {end}")
            if end is not None and end <= row["valid_from_ns"]:
                found.append(f"{name} holds for no time")
            if min(row["tick_e8"], row["lot_e8"], row["contract_e8"], row["max_qty"] - row["min_qty"]) <= 0:
                found.append(f"{name} has a tick, lot, contract or range of quantities that cannot be")
        if rows["valid_from_ns"][0] != 0:
            found.append(f"{market}: nothing holds before {rows['valid_from_ns'][0]}")
    return found + [f"{market} has ticks and no instrument" for market in sorted(set(markets) - set(table["market"]))]


def _common_name(market: str) -> str:
    venue, _, symbol = market.partition(":")
    return canonical(venue, symbol)


def _sightings(segment: Segment) -> list[dict[str, Any]]:
    """Return a segment's. A version holds from the exchange time of the market's next event, else from its arrival."""
    heads, shift = segment.headers, segment.header.shift_ns
    markets = segment.header.markets
    said = {int(one["id"]): one for one in segment.header.instruments}
    body = segment.buffer[: segment.buffer.size // 16 * 16].view(np.int64).reshape(-1, 2)
    events = np.isin(heads["kind"], MARKET_KINDS) & (heads["exch_ns"] != 0)
    found = []
    for row in np.flatnonzero(heads["kind"] == Kind.INSTRUMENT):
        number = int(heads["instrument"][row])
        if number not in markets:
            continue
        slots = body[(int(segment.offsets[row]) + HEADER_SIZE) // 16 :][:5].tolist()
        later = np.flatnonzero(events[row:] & (heads["instrument"][row:] == number))
        arrived = int(heads["recv_ns"][row])
        seen = int(heads["exch_ns"][row + later[0]]) if later.size else arrived
        (tick, lot), (least, most), (notional, maker), (taker, price_digits), (qty_digits, funding) = slots
        of = said.get(number, {})
        found.append(
            {
                "market": markets[number], "seen_ns": seen - shift, "source": JOURNAL, "tick_e8": tick, "lot_e8": lot,
                "min_qty": least, "max_qty": most, "min_notional_e8": notional, "maker_fee_e8": maker,
                "taker_fee_e8": taker, "price_digits": price_digits, "qty_digits": qty_digits,
                "contract_e8": int(of.get("contract_e8", E8)), "inverse": bool(of.get("inverse", False)),
                "funding_interval_s": funding,
            }
        )  # fmt: skip
    return found


def _instrument(row: dict[str, Any]) -> Instrument:
    venue, _, symbol = row["market"].partition(":")
    return Instrument(
        id=0, version=row["version"], venue=venue, symbol=symbol, **{name: row[name] for name in RULES}
    )  # fmt: skip
