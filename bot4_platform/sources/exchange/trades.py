"""One day of public trades, page by page, made durable as it goes on.

Pages go on after the last id, so that nothing is lost or doubled at a page's edge; a venue that cannot do so (most give
only their latest trades, whatever time they are asked for) is refused, not trusted. What is fetched lies in a spool
beside the tables, a file for every few pages, until the day's partition is written; how far it is, is read from there:
kill -9 costs at most those few pages.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bot4_live.clock import DAY_NS, day_start_ns
from bot4_platform import staging
from bot4_platform.lake import Lake, Written
from bot4_platform.sources.errors import BadPage, SourceRefused, SourceUnavailable
from bot4_platform.sources.exchange.candles import MS, opened
from bot4_platform.sources.exchange.client import HistoryClient, Units
from bot4_platform.sources.exchange.rows import TradeRow, count, trade_parts, trade_rules
from bot4_platform.sources.http import SHOWN
from bot4_platform.sources.progress import Progress, Tell, silent
from bot4_platform.sources.publication import TRADES as LAG
from bot4_platform.sources.quarantine import quarantine
from bot4_platform.sources.state import locked
from bot4_platform.sources.validation import Checked, Rejected, check_rows, raw_bytes, rejected_page

if TYPE_CHECKING:
    import polars as pl

TRADES = "history_trades"
SPOOL = ".spool"
QUIET_MS = 3_600_000  # how far a page without trades moves on: what Binance looks ahead from a time


@dataclass(frozen=True)
class TradeDay:
    """What a fetch left of a day."""

    trades: Written
    added: int
    rejected: int
    requests: int
    missing_ids: int  # between the first and the last: Binance numbers without holes


def fetch_trades(
    lake: Lake, client: HistoryClient, day: str, market: str, *, pages: int = 20, tell: Tell = silent
) -> TradeDay:
    """Bring the trades of a day into the lake; go on where an earlier call stopped.

    Raises as `fetch_candles`, and SourceRefused for a venue that gives no past trades by id.
    """
    import polars as pl

    if not client.venue.from_id:
        raise SourceRefused(
            f"{client.venue.name} does not give its past trades by id; of the venues known here Binance's markets do", 0
        )
    begun = client.requests
    units, now_ns = opened(lake, client, day, market)
    first, to = day_start_ns(day), min(day_start_ns(day) + DAY_NS, now_ns)
    with locked(lake, TRADES, day, market):
        spool = Spool(lake.root / SPOOL / TRADES / day / market.replace(":", "_"))
        known = [lake.read(TRADES, day, market)] if lake.exists(TRADES, day, market) else []
        before = sum(frame.height for frame in known)
        known += spool.read()
        reader = _Reader(client, market, units, (first, to), now_ns)
        reader.go_on_after(known)
        rejected = 0
        while not reader.done:
            fresh: list[dict[str, object]] = []
            bad: list[Rejected] = []
            stopped = None
            for _ in range(pages):
                if reader.done:
                    break
                try:
                    found = reader.page()
                except BadPage as page:
                    stopped = page
                    bad.append(rejected_page(page))
                    break
                fresh += [_trade(row, units, now_ns) for row in found.rows]
                bad += found.rejected
            quarantine(lake, f"{client.venue.name}_trades", day, market, bad, now_ns=now_ns)
            rejected += len(bad)
            known.append(spool.add(fresh))
            if stopped is not None:
                raise SourceUnavailable(
                    f"{client.venue.name}: {stopped}; the page is quarantined, the next run asks for it again"
                )
            rows = sum(frame.height for frame in known)
            hours = max(0, reader.at_ms * MS - first) // 3_600_000_000_000
            tell(Progress(f"{market} trades {day}", min(24, hours), 24, rows, client.requests - begun, rejected))
        frame = pl.concat(known).unique("id", keep="first", maintain_order=True) if known else spool.add([])
        written = lake.write(TRADES, day, market, frame)
        spool.remove()
    return TradeDay(written, frame.height - before, rejected, client.requests - begun, missing_ids(frame["id"]))


def missing_ids(ids: pl.Series) -> int:
    """Return how many numbers lack between the first and the last of ids that have no holes."""
    import polars as pl

    numbers = ids.cast(pl.Int64)
    low, high = numbers.min(), numbers.max()
    return high - low + 1 - numbers.n_unique() if isinstance(low, int) and isinstance(high, int) else 0


class Spool:
    """Trades of an unfinished day in numbered files, each whole."""

    def __init__(self, folder: Path) -> None:
        """Be the spool in a folder that need not exist."""
        self.folder = folder

    def read(self) -> list[pl.DataFrame]:
        """Return what is there, in order."""
        import polars as pl

        return [pl.read_parquet(path) for path in sorted(self.folder.glob("*.parquet"))]

    def add(self, rows: list[dict[str, object]]) -> pl.DataFrame:
        """Make rows durable as the next file; return them as a frame."""
        import polars as pl

        from bot4_platform.tables import TABLES

        frame = pl.DataFrame(rows, TABLES[TRADES].schema())
        if rows:
            self.folder.mkdir(parents=True, exist_ok=True)
            number = len(list(self.folder.glob("*.parquet")))
            staged = self.folder / f"{number:06}.part"
            frame.write_parquet(staged, compression="snappy")
            staging.publish(staged, staged.with_suffix(".parquet"))
        return frame

    def remove(self) -> None:
        """Forget it: the day is in the lake."""
        shutil.rmtree(self.folder, ignore_errors=True)


class _Reader:
    """Reads a day's pages in order: the first by time, the others by id."""

    def __init__(self, client: HistoryClient, market: str, units: Units, span: tuple[int, int], now_ns: int) -> None:
        self._client, self._market, self._units, self._now = client, market, units, now_ns
        self._first_ms, self._to_ms = span[0] // MS, -(-span[1] // MS)
        self.at_ms, self._last_id = self._first_ms, -1
        self.done = self._first_ms >= self._to_ms

    def go_on_after(self, known: list[pl.DataFrame]) -> None:
        """Begin after what is known already."""
        import polars as pl

        rows = pl.concat(frames) if (frames := [frame for frame in known if frame.height]) else None
        if rows is not None:
            last_ns, last_id = rows["event_ns"].max(), rows["id"].cast(pl.Int64).max()
            assert isinstance(last_ns, int)
            assert isinstance(last_id, int)
            self.at_ms, self._last_id = last_ns // MS, last_id

    def page(self) -> Checked[TradeRow]:
        """Return the next page's rows of the day, and move on. Raises BadPage, and then the page is still the next."""
        by_id = self._last_id >= 0
        if by_id:
            raws, parse = self._client.trades(self._market, from_id=str(self._last_id + 1))
        else:
            raws, parse = self._client.trades(self._market, since_ms=self.at_ms)
        found = check_rows(
            raws, TradeRow, now_ns=self._now, event_ns=lambda row: row.timestamp * MS,
            rules=trade_rules(self._units), parse=lambda raw: trade_parts(parse(raw)),
        )  # fmt: skip
        if found.rejected and not found.rows and not by_id:
            why = f"no row of the first page can be read ({found.rejected[0].reason})"
            raise BadPage(found.rejected[0].rule, why, raw_bytes(raws)[:SHOWN])
        fresh = [row for row in found.rows if row.timestamp >= self._first_ms]
        self._move(fresh, len(raws), by_id=by_id)
        return Checked([row for row in fresh if row.timestamp < self._to_ms], found.rejected)

    def _move(self, fresh: list[TradeRow], came: int, *, by_id: bool) -> None:
        if fresh:
            self.at_ms = max(row.timestamp for row in fresh)
            self._last_id = max(int(row.id) for row in fresh)
        elif by_id and came:  # a page of which nothing could be kept
            self._last_id += came
        elif by_id:
            self.done = True
        else:
            self.at_ms += QUIET_MS
        self.done = self.done or self.at_ms >= self._to_ms


def _trade(row: TradeRow, units: Units, now_ns: int) -> dict[str, object]:
    event = row.timestamp * MS
    return {
        "id": row.id, "event_ns": event, "created_ns": LAG.created_ns(event, max(event, now_ns), backfill=True),
        "price": count(row.price, units.tick_e8), "qty": count(row.amount, units.lot_e8), "sell": row.side == "sell",
        "tick_e8": units.tick_e8, "lot_e8": units.lot_e8,
    }  # fmt: skip
