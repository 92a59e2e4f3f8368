"""Further symbols of the simulated exchange, beside the traded one: generated markets that can be followed.

They have books, trades and filters and go by the exchange's clock, but no accounts: an order on one of them is refused.
Nothing is made before its time comes, so that many of them cost little.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from bot4_live.clock import MS
from bot4_live.instrument import E8, Instrument, to_e8
from bot4_live.simulation import payloads
from bot4_live.simulation.frames import TRADE, FrameReader, Update
from bot4_live.simulation.market_book import MarketBook
from bot4_live.simulation.source import Source, generated_source

VENUE = "binance_usdm"
LEAD_NS = 1_000 * MS  # by which they begin before the exchange stands: their books are there with its first moment
TEXTS = 1 << 12  # numbers remembered a market
KEPT_TRADES = 100


@dataclass(frozen=True)
class Listing:
    """A symbol that can be served: its price at the start, tick and lot; made up, of an order as venues list."""

    symbol: str
    price: str
    tick: str
    lot: str
    min_notional: int = 5

    def instrument(self, number: int) -> Instrument:
        """Return its instrument."""
        return Instrument(
            id=number, version=1, venue=VENUE, symbol=self.symbol, tick_e8=to_e8(self.tick), lot_e8=to_e8(self.lot),
            min_notional_e8=self.min_notional * E8, price_digits=_decimals(self.tick), qty_digits=_decimals(self.lot),
        )  # fmt: skip


def _decimals(number: str) -> int:
    return len(number.partition(".")[2])


LISTED = (
    Listing("ETHUSDT", "2600", "0.01", "0.001", 20),
    Listing("SOLUSDT", "150", "0.001", "0.01"),
    Listing("BNBUSDT", "510", "0.01", "0.01"),
    Listing("XRPUSDT", "0.6", "0.00001", "0.1"),
    Listing("DOGEUSDT", "0.1", "0.000005", "1"),
    Listing("ADAUSDT", "0.34", "0.00001", "1"),
    Listing("AVAXUSDT", "21", "0.001", "0.1"),
    Listing("LINKUSDT", "10", "0.001", "0.01"),
    Listing("DOTUSDT", "4.6", "0.0002", "0.1"),
    Listing("LTCUSDT", "60", "0.005", "0.001", 20),
    Listing("BCHUSDT", "330", "0.02", "0.001", 20),
    Listing("TRXUSDT", "0.13", "0.000005", "1"),
    Listing("NEARUSDT", "3.9", "0.0002", "0.1"),
    Listing("UNIUSDT", "6", "0.0005", "0.1"),
    Listing("ATOMUSDT", "4.5", "0.0005", "0.1"),
    Listing("FILUSDT", "3.5", "0.0002", "0.1"),
    Listing("ETCUSDT", "18", "0.001", "0.01", 20),
    Listing("APTUSDT", "5.7", "0.0005", "0.1"),
    Listing("SUIUSDT", "0.9", "0.00005", "0.1"),
    Listing("ARBUSDT", "0.55", "0.00005", "0.1"),
    Listing("OPUSDT", "1.4", "0.0001", "0.1"),
    Listing("INJUSDT", "18", "0.001", "0.1"),
    Listing("SEIUSDT", "0.28", "0.00002", "1"),
    Listing("AAVEUSDT", "95", "0.005", "0.1"),
)


def listings(wanted: str) -> list[Listing]:
    """Return what `--also` asks for: a number of symbols, or their names with commas between. Raises ValueError."""
    if wanted.isdigit():
        if int(wanted) > len(LISTED):
            raise ValueError(f"--also {wanted}: there are {len(LISTED)} further symbols")
        return list(LISTED[: int(wanted)])
    known = {one.symbol: one for one in LISTED}
    found = []
    for name in dict.fromkeys(wanted.split(",")):
        if name not in known:
            raise ValueError(f"--also: no symbol {name!r} here; give a number, or some of {', '.join(known)}")
        found.append(known[name])
    return found


class FurtherMarket:
    """One further symbol: its instrument, its book, its last trades, and its frames as their time comes."""

    def __init__(self, listing: Listing, number: int, seed: int, start_ns: int, end_ns: int) -> None:
        """Be there at `start_ns` and last until `end_ns` (exchange time); `number` is its rank, by which it is livelier
        than those after it, as symbols are: the n-th has 1/n of the traded one's events (Zipf's law).
        """
        self.instrument = listing.instrument(number)
        self.begin_ns = begin_ns = start_ns - LEAD_NS
        self._source: Source = generated_source(
            seed, (end_ns - begin_ns) / 1e9,
            start_ns=begin_ns, instrument=self.instrument, price=float(listing.price), pace=1.0 / (number + 1),
        )  # fmt: skip
        self._reader = FrameReader(self.instrument, texts=TEXTS)
        self.book = MarketBook(self._reader.read(self._source.snapshot))
        self.recent_trades: deque[dict[str, Any]] = deque(maxlen=KEPT_TRADES)

    def frames(self) -> Iterator[tuple[int, bytes, FurtherMarket]]:
        """Yield (exchange time, frame, self)."""
        for local_ns, raw in self._source.frames():
            yield local_ns + self._source.skew_ns, raw, self

    def raw_frames(self) -> Iterator[tuple[int, bytes]]:
        """Return its frames from their start, as (local ns, frame)."""
        return self._source.frames()

    def take(self, raw: bytes, now_ms: int) -> Update:
        """Take in a frame that is sent now, and return what it says."""
        update = self._reader.read(raw)
        if update.kind == TRADE:
            self.recent_trades.append(payloads.public_trade(self.instrument, update, now_ms))
        else:
            self.book.apply(update)
        return update


def open_markets(wanted: Iterable[Listing], traded: Source, seed: int, start_ns: int) -> dict[str, FurtherMarket]:
    """Return the markets by symbol, each of a seed of its own, from `start_ns` to the end of the traded market.

    Raises ValueError for the traded symbol and where the traded market is over too soon.
    """
    end_ns = max(traded.last_ns + traded.skew_ns, start_ns)
    markets = {}
    for number, listing in enumerate(wanted, 1):
        if listing.symbol == traded.instrument.symbol:
            raise ValueError(f"--also names {listing.symbol}, which is the traded symbol")
        markets[listing.symbol] = FurtherMarket(listing, number, seed * 1000 + number, start_ns, end_ns)
    return markets
