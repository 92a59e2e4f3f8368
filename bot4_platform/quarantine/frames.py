"""From a quarantined frame to the row it would have been: the feed's parser without the feed's judgement.

The parser still decides what a frame says, digit by digit; only the rules about whether to believe it are left to the
person who releases it. What no tick table may hold (a price of 0, a crossed quote, an id that is there already) cannot
be released at all.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bot4_live.clock import day_of
from bot4_live.events import Flag, Kind, header_of, slots_of
from bot4_live.instrument import Instrument
from bot4_live.market.parser import Rejected, parse
from bot4_live.settings import Settings
from bot4_platform.lake import Lake
from bot4_platform.partitions import MarketDay

if TYPE_CHECKING:
    import polars as pl


class NotReleasable(ValueError):
    """A frame that cannot become a tick, with the reason."""


@dataclass(frozen=True)
class Tick:
    """A frame as a row of a tick table; `day` is its exchange day."""

    table: str
    day: str
    row: dict[str, Any]


def readable(raw: bytes, most: int) -> str:
    """Return the first bytes of a frame in ASCII, others escaped; never a control character."""
    return ascii(raw[:most])[2:-1] + (f" ... ({len(raw):,} bytes)" if len(raw) > most else "")


def instrument_of(settings: Settings, market: str, at_ns: int) -> Instrument:
    """Return what a market's numbers meant at a time: by the lake's table or, before it is made, by the journal."""
    import polars as pl

    from bot4_platform.instruments import Instruments, UnknownInstrument, intervals, journaled
    from bot4_platform.tables.instruments import INSTRUMENTS

    lake = Lake(settings.lake_dir)
    try:
        return Instruments.of(lake).at(market, at_ns)
    except UnknownInstrument:
        seen = pl.DataFrame(journaled(settings.journal_dir), schema=INSTRUMENTS["instrument_sightings"].schema())
        return Instruments.of_table(intervals(seen)).at(market, at_ns)


def read_tick(frame: dict[str, Any], market: str, instrument: Instrument) -> Tick:
    """Return the tick that a row of the quarantine holds. Raises NotReleasable with the reason."""
    if not market.startswith("binance_"):
        raise NotReleasable(f"frames of {market} cannot be read alone: the venue's feed carries state between them")
    parsed = parse(frame["raw"], instrument)
    if isinstance(parsed, Rejected):
        raise NotReleasable(f"it cannot be parsed: {parsed.reason.name}, {parsed.detail}")
    head, slots = header_of(parsed), slots_of(parsed)
    kind, shift = int(head["kind"]), frame["recv_ns"] - frame["first_seen"]
    exch_ns = (int(head["exch_ns"]) or frame["recv_ns"]) - shift
    row: dict[str, Any] = {"seq": frame["seq"], "recv_ns": frame["recv_ns"], "exch_ns": exch_ns}
    body = [(int(x), int(y)) for x, y in slots]
    if kind == Kind.TRADE:
        price, qty = body[0]
        _positive(price=price, quantity=qty)
        table = "trades"
        row |= {"trade_id": int(head["a"]), "price": price, "qty": qty, "sell": bool(head["flags"] & Flag.SELL)}
    elif kind == Kind.BOOK_TICKER:
        (bid, bid_qty), (ask, ask_qty) = body
        _positive(bid=bid, ask=ask, bid_size=bid_qty, ask_size=ask_qty)
        if bid >= ask:
            raise NotReleasable(f"its bid of {bid} ticks is not below its ask of {ask}: no such quote enters the lake")
        table = "quotes"
        row |= {"update_id": int(head["a"]), "bid_px": bid, "bid_qty": bid_qty, "ask_px": ask, "ask_qty": ask_qty}
    elif kind == Kind.DEPTH_DIFF:
        previous, n_bids = body[0]
        table = "depth"
        row |= {"first_id": int(head["a"]), "last_id": int(head["b"]), "prev_id": previous, "n_bids": n_bids,
                "n_asks": len(body) - 1 - n_bids}  # fmt: skip
        if previous >= row["last_id"]:
            raise NotReleasable(f"its update {row['last_id']} does not come after the one it names, {previous}")
    else:
        raise NotReleasable(f"it is a {Kind(kind).name.lower()}; only trades, quotes and depth diffs are ticks")
    seen, day = MarketDay(day_of(frame["first_seen"]), market), day_of(exch_ns)
    if day not in {seen.shifted(near).day for near in (-1, 0, 1)}:
        raise NotReleasable(f"its exchange time lies on {day}, it was received on {seen.day}: more than a day off")
    return Tick(table, day, row)


def _positive(**numbers: int) -> None:
    for name, value in numbers.items():
        if value <= 0:
            raise NotReleasable(f"its {name.replace('_', ' ')} is {value}: no such tick enters the lake")


def held(lake: Lake, tick: Tick, market: str) -> bool:
    """Return whether the lake has the event already, by the venue's ids."""
    import polars as pl

    from bot4_platform.journal_ticks import KEYS

    if not lake.exists(tick.table, tick.day, market):
        return False
    keys = KEYS[tick.table] or []
    rows = lake.read(tick.table, tick.day, market, columns=[*keys, "seq"])
    same = pl.all_horizontal([pl.col(name) == tick.row[name] for name in keys])
    return rows.filter(same & (pl.col("seq") != tick.row["seq"])).height > 0


def with_released(settings: Settings, part: MarketDay, frames: dict[str, pl.DataFrame]) -> dict[str, pl.DataFrame]:
    """Return the tick tables of a partition with the released frames whose exchange day it is.

    An event that is there anyway stays as it is. Raises ValueError when a released frame is gone or has other bytes.
    """
    import hashlib

    import polars as pl

    from bot4_platform.journal_ticks import KEYS
    from bot4_platform.quarantine.overrides import released
    from bot4_platform.tables import TABLES

    out, lake = dict(frames), Lake(settings.lake_dir)
    for override in released(settings, part.market).values():
        source = frames["quarantine"] if override.day == part.day else None
        if source is None:
            if abs(MarketDay(override.day, part.market).start_ns - part.start_ns) > 86_400 * 10**9:
                continue
            source = lake.read("quarantine", override.day, part.market)
        rows = source.filter(pl.col("seq") == override.seq)
        if not rows.height or hashlib.sha256(rows["raw"][0]).hexdigest() != override.sha256:
            raise ValueError(
                f"the released frame {override.seq} of {part.market} is not in the quarantine of {override.day} with "
                "the bytes it was released with: `bot4 quarantine revoke` it"
            )
        frame = rows.row(0, named=True)
        tick = read_tick(frame, part.market, instrument_of(settings, part.market, frame["first_seen"]))
        if tick.day == part.day:
            more = pl.DataFrame([tick.row], schema=TABLES[tick.table].schema())
            both = pl.concat([out[tick.table], more])
            out[tick.table] = both.unique(KEYS[tick.table], keep="first", maintain_order=True)
    return out


def as_judged(lake: Lake, part: MarketDay, ticks: pl.DataFrame) -> pl.DataFrame:
    """Return ticks without released frames: the feed's verdict, which features and training keep.

    A released row carries the seq of its quarantine event, which no other row has.
    """
    import polars as pl

    days = [part.shifted(near).day for near in (-1, 0, 1)]
    seqs = [
        lake.read("quarantine", day, part.market, columns=["seq"])["seq"]
        for day in days
        if lake.exists("quarantine", day, part.market)
    ]
    refused = pl.concat(seqs) if seqs else pl.Series("seq", [], pl.Int64)
    return ticks.filter(~pl.col("seq").is_in(refused.implode())) if refused.len() else ticks
