"""A seeded market in Binance USD-M's wire format: for everyone who has no capture.

`generate` yields `(local_ns, frame)` like a recorded capture: diff depth every 50 ms, bookTicker at each change of
the best quotes, trades, and one REST snapshot that arrives after the diff that bridges it. The book is one ladder a
side; everything said about it (quotes, diffs, trades, snapshot) is read from that ladder, so the stream proves itself
under `bot4 verify-book`. The same seed gives the same bytes.
"""

from __future__ import annotations

import gzip
from collections.abc import Iterable, Iterator
from pathlib import Path
from random import Random

from bot4_live.clock import MS
from bot4_live.instrument import BTCUSDT_USDM, Instrument
from bot4_live.simulation.ladder import Ladder
from bot4_live.simulation.processes import BOOK, BUY, Arrivals, Volatility

START_NS = 1_723_204_800_000_000_000  # 2024-08-09 12:00:00 UTC
WINDOW_NS = 50 * MS  # of the diff stream
SNAPSHOT_AT_NS = 230 * MS  # the snapshot is of this age ...
SNAPSHOT_SENT_NS = 340 * MS  # ... and arrives then, after its bridging diff
FIRST_ID = 5_123_200_000_000
FIRST_TRADE = 5_267_000_000
LEVELS = 400  # a side at the start; a snapshot (1,000) always holds the whole book
FEWEST = 200
SIZE = 1500  # lots at the touch, on average
MARKET_ORDERS, BOOK_CHANGES = 2.0, 110.0  # a second, unprovoked; market orders of a side
TEXTS = 20_000  # numbers whose text is remembered


def generate(
    seed: int,
    *,
    duration_s: float = 3600.0,
    start_ns: int = START_NS,
    instrument: Instrument = BTCUSDT_USDM,
    price: float = 61_800.0,
    pace: float = 1.0,
) -> Iterator[tuple[int, bytes]]:
    """Yield (local receive ns, frame) for `duration_s` of market time, in order of arrival.

    `pace` is by how much livelier the market is than the usual one.
    A frame's event time is never later than its receive time. Raises ValueError for a duration that is not positive.
    """
    if not duration_s > 0:
        raise ValueError(f"duration must be positive, not {duration_s}")
    return GeneratedMarket(seed, start_ns, instrument, price, pace).frames(round(duration_s * 1e9))


class GeneratedMarket:
    """The state of a generated market: efficient price, ladder, ids, and what the next diff will say."""

    def __init__(self, seed: int, start_ns: int, instrument: Instrument, price: float, pace: float = 1.0) -> None:
        """Build a book around `price` (quote currency)."""
        self.random = Random(seed)
        self.arrivals = Arrivals(self.random, mu=MARKET_ORDERS * pace, book=BOOK_CHANGES * pace)
        self.volatility = Volatility(self.random)
        self.instrument = instrument
        self.now = start_ns
        self.start_ns = start_ns
        self.local = start_ns
        self.efficient = round(price * 100_000_000 / instrument.tick_e8) + 0.5  # in ticks
        self.bids, self.asks = Ladder(bids=True), Ladder(bids=False)
        self.last_id = FIRST_ID
        self.diff_first = 0  # first id since the last diff, 0 when nothing changed
        self.diff_last = FIRST_ID
        self.changed: tuple[set[int], set[int]] = (set(), set())
        self.trade_id = FIRST_TRADE
        self.quote = (0, 0, 0, 0)
        self.out: list[tuple[int, bytes]] = []
        self._prices: dict[int, str] = {}  # texts met before: formatting is the costly part
        self._qtys: dict[int, str] = {}
        self._symbol = instrument.symbol
        self._prefix = f'{{"stream":"{instrument.symbol.lower()}@'
        middle = int(self.efficient)
        for step in range(LEVELS):
            gap = step + int(step * step * self.random.random() / 60)
            for ladder, at in ((self.bids, middle - gap), (self.asks, middle + 1 + gap)):
                ladder.set(at, self._size(step))
        self.quote = self._quote()

    def frames(self, duration_ns: int) -> Iterator[tuple[int, bytes]]:
        """Yield the frames of the next `duration_ns`."""
        end = self.now + duration_ns
        window = self.now + WINDOW_NS
        snapshot: bytes | None = None
        waiting = True
        self._ticker()
        while True:
            seconds, kind = self.arrivals.next(self.volatility.sigma / self.volatility.level)
            at = self.now + max(1, int(seconds * 1e9))
            while window <= min(at, end):
                self.now = window
                self._diff()
                age = window - self.start_ns
                if waiting and snapshot is None and age >= SNAPSHOT_AT_NS:
                    snapshot = self._snapshot()
                if waiting and age >= SNAPSHOT_SENT_NS and snapshot is not None:
                    self._emit(snapshot)
                    waiting = False
                window += WINDOW_NS
                yield from self.out
                self.out.clear()
            if at >= end:
                return
            if waiting and snapshot is None and at - self.start_ns >= SNAPSHOT_AT_NS:
                snapshot = self._snapshot()  # between two diffs, as a REST call falls
            self.now = at
            self.efficient += self.efficient * self.volatility.draw(seconds)
            if kind == BOOK:
                self._change_book()
            else:
                self._market_order(buys=kind == BUY)
            self._refill()
            self._ticker()  # one for all that one event did, as the venue's engine reports it
            if self.out:
                yield from self.out
                self.out.clear()

    # What happens in the market.

    def _change_book(self) -> None:
        """Makers move: stale quotes are pulled, the gap at the touch is joined, sizes change near and deep."""
        random = self.random.random
        bid, ask = self.bids.best, self.asks.best
        if self.efficient > ask + 0.5 or self.efficient < bid - 0.5:
            self._reprice()
            return
        # Fair value above the middle: sellers thin out and buyers join, so that imbalance foretells.
        lean = max(-0.35, min(0.35, (self.efficient - (bid + ask) / 2) * 0.25))
        buying = random() < 0.5 + lean
        if ask - bid > 1 and random() < 0.9:
            self._join()
            return
        draw = random()
        if draw < 0.55:
            self._resize(buying, 0)
        elif draw < 0.85:
            self._resize(buying, int(self.random.expovariate(1 / 12.0)))
        else:  # far makers move several levels at once
            for _ in range(8):
                self._resize(buying, 1 + int(self.random.expovariate(1 / 250.0)))

    def _resize(self, buying: bool, away: int) -> None:
        """Add to the level `away` ticks behind the touch, or cancel some of the other side's."""
        random = self.random.random
        adds = random() < 0.53
        if not adds:
            buying = not buying  # a lean to buyers shows as cancelled offers
        ladder = self.bids if buying else self.asks
        at = (ladder.best - away) if buying else (ladder.best + away)
        held = ladder.at(at)
        if adds:
            self._set(buying, at, held + 1 + int(self.random.expovariate(1 / (SIZE / 4))))
        elif held:
            gone = held if random() < 0.25 and away else 1 + int(held * random() * 0.6)
            self._set(buying, at, max(0, held - gone))

    def _reprice(self) -> None:
        """Fair value left the spread: quotes on its wrong side are taken or pulled and the other side follows."""
        rising = self.efficient > self.asks.best
        ladder = self.asks if rising else self.bids
        for _ in range(30):
            best = ladder.best
            if (best >= self.efficient if rising else best <= self.efficient) or len(ladder) < 2:
                break
            if self.random.random() < 0.35:
                self._trade(best, ladder.at(best), buys=rising)
            self._set(not rising, best, 0)
        if self.random.random() < 0.97:
            self._join()

    def _join(self) -> None:
        """Fill a spread wider than a tick around fair value."""
        bid, ask = self.bids.best, self.asks.best
        fair = max(bid, min(ask - 1, int(self.efficient)))
        if fair > bid:
            self._set(True, fair, self._size(0))
        if fair + 1 < ask:
            self._set(False, fair + 1, self._size(0))

    def _market_order(self, *, buys: bool) -> None:
        """Take from the touch outwards; each level hit gives one to three trades, as makers share it."""
        size = 1 + min(20_000, int(self.random.paretovariate(1.1) * 8))
        self.efficient += 0.35 if buys else -0.35  # permanent impact
        ladder = self.asks if buys else self.bids
        for _ in range(6):
            best = ladder.best
            held = ladder.at(best)
            taken = min(size, held)
            rest = taken
            for _ in range(2):
                part = 1 + int(rest * self.random.random())
                if part < rest and self.random.random() < 0.6:
                    self._trade(best, part, buys=buys)
                    rest -= part
            self._trade(best, rest, buys=buys)
            self._set(not buys, best, held - taken)
            size -= taken
            if size <= 0 or len(ladder) < FEWEST // 2:
                break
        if self.asks.best - self.bids.best > 1 and self.random.random() < 0.8:
            self._join()

    def _refill(self) -> None:
        """Keep both sides deep enough, and no deeper than a snapshot shows."""
        for buying, ladder in ((True, self.bids), (False, self.asks)):
            if len(ladder) < FEWEST:
                outer = ladder.prices[0] if buying else ladder.prices[-1]
                for step in range(1, 20):
                    self._set(buying, outer - 3 * step if buying else outer + 3 * step, self._size(step))
            elif len(ladder) > 900:
                self._set(buying, ladder.prices[0] if buying else ladder.prices[-1], 0)

    def _size(self, away: int) -> int:
        """Return a level's quantity in lots: heavier a little behind the touch."""
        return 1 + int(self.random.expovariate(1.0) * (SIZE + min(away, 40) * SIZE / 40))

    # What is said about it.

    def _set(self, buying: bool, price: int, qty: int) -> None:
        ladder = self.bids if buying else self.asks
        self.last_id += 1 + int(self.random.random() * 40)  # ids are shared with other symbols
        if not self.diff_first:
            self.diff_first = self.last_id
        ladder.set(price, qty)
        self.changed[0 if buying else 1].add(price)

    def _quote(self) -> tuple[int, int, int, int]:
        bid, ask = self.bids.best, self.asks.best
        return bid, self.bids.at(bid), ask, self.asks.at(ask)

    def _ticker(self) -> None:
        quote = self._quote()
        if quote == self.quote and self.last_id != FIRST_ID:
            return
        self.quote = quote
        bid, bid_qty, ask, ask_qty = quote
        at = self.now // MS
        self._emit(
            f'{self._prefix}bookTicker","data":{{"e":"bookTicker","u":{self.last_id},"s":"{self._symbol}",'
            f'"b":"{self._price(bid)}","B":"{self._qty(bid_qty)}","a":"{self._price(ask)}","A":"{self._qty(ask_qty)}",'
            f'"T":{at},"E":{at}}}}}'.encode()
        )

    def _trade(self, price: int, qty: int, *, buys: bool) -> None:
        at, maker_buys = self.now // MS, "false" if buys else "true"
        self.trade_id += 1
        self._emit(
            f'{self._prefix}trade","data":{{"e":"trade","E":{at},"T":{at},"s":"{self._symbol}","t":{self.trade_id},'
            f'"p":"{self._price(price)}","q":"{self._qty(qty)}","X":"MARKET","m":{maker_buys}}}}}'.encode()
        )

    def _diff(self) -> None:
        if not self.diff_first:
            return
        at = self.now // MS
        sides = []
        for ladder, changed in ((self.bids, self.changed[0]), (self.asks, self.changed[1])):
            sides.append(
                ",".join(f'["{self._price(price)}","{self._qty(ladder.at(price))}"]' for price in sorted(changed))
            )
            changed.clear()
        self._emit(
            f'{self._prefix}depth@0ms","data":{{"e":"depthUpdate","E":{at},"T":{at},"s":"{self._symbol}",'
            f'"U":{self.diff_first},"u":{self.last_id},"pu":{self.diff_last},"b":[{sides[0]}],"a":[{sides[1]}]}}}}'.encode()
        )
        self.diff_last, self.diff_first = self.last_id, 0

    def _snapshot(self) -> bytes:
        at = self.now // MS
        bids, asks = (
            ",".join(f'["{self._price(price)}","{self._qty(qty)}"]' for price, qty in ladder.levels())
            for ladder in (self.bids, self.asks)
        )
        return f'{{"lastUpdateId":{self.last_id},"E":{at},"T":{at},"bids":[{bids}],"asks":[{asks}]}}'.encode()

    def _emit(self, frame: bytes) -> None:
        # Arrival: 0.2 to 2 ms of wire, never before what was sent earlier.
        self.local = max(self.local + 100, self.now + 200_000 + int(self.random.random() * 1.8e6))
        self.out.append((self.local, frame))

    def _price(self, ticks: int) -> str:
        text = self._prices.get(ticks)
        if text is None:
            if len(self._prices) > TEXTS:
                self._prices.clear()
            text = self._prices[ticks] = str(self.instrument.price(ticks))
        return text

    def _qty(self, lots: int) -> str:
        text = self._qtys.get(lots)
        if text is None:
            if len(self._qtys) > TEXTS:
                self._qtys.clear()
            text = self._qtys[lots] = str(self.instrument.qty(lots))
        return text


def write_capture(path: Path, frames: Iterable[tuple[int, bytes]]) -> int:
    """Write frames as a capture (`<ns> <json>` lines, gzip; the same frames give the same bytes); return the count."""
    count = 0
    temporary = path.with_name(f".{path.name}.part")
    with (
        temporary.open("wb") as raw,
        gzip.GzipFile(filename="", fileobj=raw, mode="wb", mtime=0, compresslevel=1) as out,
    ):
        for local_ns, frame in frames:
            out.write(b"%d %s\n" % (local_ns, frame))
            count += 1
    temporary.replace(path)
    return count
