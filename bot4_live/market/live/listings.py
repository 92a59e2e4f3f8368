"""A venue's public REST: what its instruments are (digits, contracts), and Binance's depth snapshots.

Documented calls, none of which was tried against a live venue from here: Binance `exchangeInfo` and `depth` (spot,
USD-M, COIN-M), Kraken `AssetPairs`, OKX `public/instruments`, Coinbase `market/products` (Advanced Trade) and
`products` (Exchange), Deribit `public/get_instrument`. Requests are claimed from the budget that all processes share;
weights are Binance's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from decimal import Decimal, InvalidOperation
from typing import Any, NamedTuple
from urllib.parse import quote

import orjson

from bot4_live.execution.rest_budget import Priority
from bot4_live.instrument import Instrument, to_e8
from bot4_live.market.live.pool import VENUES
from bot4_live.market.numbers import decimals
from bot4_live.market.public import PublicRest
from bot4_live.market.venues.contracts import Contract, binance_coinm_contract, deribit_contract, okx_contract
from bot4_live.market.venues.registry import COINS, Instruments
from bot4_live.market.venues.symbols import canonical

DEPTH_LEVELS = 1000
Digits = tuple[int, int]  # of prices and of quantities


class Listed(NamedTuple):
    """What a venue says of an instrument: tick and lot as it writes them, and the worth of size 1."""

    tick: str
    lot: str
    contract: Contract = COINS


@dataclass(frozen=True)
class Listing:
    """Where a venue says what an instrument is. `read(answer, name)` finds it; KeyError for none."""

    url: str
    path: Callable[[str], str]
    read: Callable[[Any, str], Listed]
    weight: int = 1
    depth: str = ""  # path of Binance's snapshots
    depth_weight: int = 20


def _binance(answer: Any, name: str) -> Listed:
    row = next((row for row in answer["symbols"] if row["symbol"] == name), None)
    if row is None:
        raise KeyError(name)
    filters = {one["filterType"]: one for one in row["filters"]}
    return Listed(filters["PRICE_FILTER"]["tickSize"], filters["LOT_SIZE"]["stepSize"])


def _coinm(answer: Any, name: str) -> Listed:
    listed = _binance(answer, name)
    row = next(row for row in answer["symbols"] if row["symbol"] == name)
    return listed._replace(contract=binance_coinm_contract(row))


def _unit(digits: int) -> str:
    return f"{Decimal(1).scaleb(-digits):f}"


def _kraken(answer: Any, name: str) -> Listed:
    for row in answer["result"].values():
        # The listing still says XBT/USD where v2 says BTC/USD.
        if name == row["wsname"] or canonical("kraken", name) == canonical("kraken", row["wsname"]):
            return Listed(_unit(row["pair_decimals"]), _unit(row["lot_decimals"]))
    raise KeyError(name)


def _okx_path(name: str) -> str:
    parts = name.split("-")
    kind = {2: "SPOT", 5: "OPTION"}.get(len(parts), "SWAP" if parts[-1] == "SWAP" else "FUTURES")
    family = f"&instFamily={'-'.join(parts[:2])}" if kind == "OPTION" else ""
    return f"/api/v5/public/instruments?instType={kind}&instId={quote(name)}{family}"


def _okx(answer: Any, name: str) -> Listed:
    row = next((row for row in answer["data"] if row["instId"] == name), None)
    if row is None:
        raise KeyError(name)
    return Listed(row["tickSz"], row["lotSz"], okx_contract(row))


def _deribit(answer: Any, name: str) -> Listed:
    row = answer["result"]
    tick, lot = (f"{Decimal(str(row[name])):f}" for name in ("tick_size", "min_trade_amount"))
    return Listed(tick, lot, deribit_contract(row))


_LISTINGS: dict[str, Listing] = {
    "binance_usdm": Listing(
        "https://fapi.binance.com", lambda _: "/fapi/v1/exchangeInfo", _binance, depth="/fapi/v1/depth"
    ),
    "binance_coinm": Listing(
        "https://dapi.binance.com", lambda _: "/dapi/v1/exchangeInfo", _coinm, depth="/dapi/v1/depth"
    ),
    "binance_spot": Listing(
        "https://api.binance.com", lambda name: f"/api/v3/exchangeInfo?symbol={quote(name)}", _binance, weight=20,
        depth="/api/v3/depth", depth_weight=50,
    ),
    "kraken": Listing("https://api.kraken.com", lambda _: "/0/public/AssetPairs", _kraken),
    "kraken_v1": Listing("https://api.kraken.com", lambda _: "/0/public/AssetPairs", _kraken),
    "okx": Listing("https://www.okx.com", _okx_path, _okx),
    "deribit": Listing(
        "https://www.deribit.com", lambda name: f"/api/v2/public/get_instrument?instrument_name={quote(name)}", _deribit
    ),
    "coinbase": Listing(
        "https://api.coinbase.com", lambda name: f"/api/v3/brokerage/market/products/{quote(name)}",
        lambda row, _: Listed(row["price_increment"], row["base_increment"]),
    ),
    "coinbase_exchange": Listing(
        "https://api.exchange.coinbase.com", lambda name: f"/products/{quote(name)}",
        lambda row, _: Listed(row["quote_increment"], row["base_increment"]),
    ),
}  # fmt: skip


LISTINGS = _LISTINGS | {
    f"{name}_orders": _LISTINGS[of] for name, of in (("kraken", "kraken"), ("coinbase", "coinbase_exchange"))
}


class VenueRest(PublicRest):
    """The public REST of one venue."""

    def __init__(self, venue: str, url: str | None = None, *, timeout_s: float = 10.0) -> None:
        """Name the venue; `url` is its public address unless given."""
        self.venue, self.listing = venue, LISTINGS[venue]
        super().__init__(url or self.listing.url, timeout_s=timeout_s)
        self._answers: dict[str, Any] = {}

    async def depth(self, symbol: str) -> bytes:
        """Return Binance's raw depth snapshot of a symbol."""
        path = f"{self.listing.depth}?symbol={quote(symbol.upper())}&limit={DEPTH_LEVELS}"
        return await self.claimed(path, self.listing.depth_weight, Priority.SNAPSHOT)

    async def fetch(self, path: str) -> bytes:
        """Return the answer of a path, a snapshot of orders."""
        return await self.claimed(path, 1, Priority.SNAPSHOT)

    def forget(self) -> None:
        """Ask anew for what is listed."""
        self._answers.clear()

    async def listed(self, name: str) -> Listed:
        """Return what the venue says of an instrument. Raises ValueError when it has none such."""
        path = self.listing.path(name)
        if path not in self._answers:
            body = await self.claimed(path, self.listing.weight, Priority.QUERY)
            try:
                self._answers[path] = orjson.loads(body)
            except orjson.JSONDecodeError:
                raise ValueError(f"{self.url}{path}: no JSON: {body[:80]!r}") from None
        try:
            listed = self.listing.read(self._answers[path], name)
            if Decimal(listed.tick) <= 0 or Decimal(listed.lot) <= 0:
                raise InvalidOperation
        except (KeyError, IndexError, TypeError, ValueError, InvalidOperation):
            raise ValueError(
                f"{self.venue} does not list {name} at {self.url}; check its name, or give its digits: "
                f"--symbol {name}=PRICE_DIGITS,SIZE_DIGITS"
            ) from None
        return listed


async def instruments_of(
    venue: str, names: Mapping[str, Digits | None], rest: VenueRest
) -> Instruments | dict[str, Instrument]:
    """Return the instruments of `names` as `open_pool` takes them; those without digits are asked for.

    Binance's have the venue's tick and lot; those of the others one unit of the last digit, because a venue may change
    its tick and not its digits. Sizes of those that have digits here count as coins. Raises ValueError for what is not
    listed, OSError when the venue does not answer.
    """
    told = {
        name: Listed(_unit(digits[0]), _unit(digits[1])) if digits is not None else await rest.listed(name)
        for name, digits in names.items()
    }
    return _declared(venue, told)


def _declared(venue: str, told: Mapping[str, Listed]) -> Instruments | dict[str, Instrument]:
    """Return the first versions of instruments, numbered in order."""
    feed = VENUES[venue].feed
    if feed is None:
        return {
            name: Instrument(
                id=number, version=1, venue=venue, symbol=name, tick_e8=to_e8(tick), lot_e8=to_e8(lot),
                price_digits=decimals(tick), qty_digits=decimals(lot), contract_e8=contract.contract_e8,
                inverse=contract.inverse,
            )
            for number, (name, (tick, lot, contract)) in enumerate(told.items())
        }  # fmt: skip
    found = Instruments(feed.venue)
    for name, (tick, lot, contract) in told.items():
        found.declare(name, decimals(tick), decimals(lot), contract=contract)
    return found


class Relisting:
    """Asks a venue again what its instruments are."""

    def __init__(
        self, rest: VenueRest, names: Mapping[str, Digits | None], before: Instruments | Mapping[str, Instrument]
    ) -> None:
        """Compare with `before`, which `instruments_of` gave for `names`."""
        self._rest, self._names, self._before = rest, names, before
        self.instruments: Instruments | dict[str, Instrument] = {}  # the new ones, once some have changed
        self.found: list[Instrument] = []  # those that changed, under their next version

    async def changed(self) -> bool:
        """Return whether some have changed. What cannot be asked, or is no longer listed, counts as it was."""
        self._rest.forget()
        before = named(self._before, self._names)
        now = _declared(self._rest.venue, {name: await self._told(name, old) for name, old in before.items()})
        for name, new in named(now, self._names).items():
            old = before[name]
            same = replace(new, version=old.version) == old
            revised = replace(new, version=old.version + (not same))
            if isinstance(now, Instruments):
                now.revise(name, revised)
            else:
                now[name] = revised
            if not same:
                self.found.append(revised)
        self.instruments = now
        return bool(self.found)

    async def _told(self, name: str, old: Instrument) -> Listed:
        if self._names[name] is None:
            with suppress(OSError, ValueError):
                listed = await self._rest.listed(name)
                _declared(self._rest.venue, {name: listed})  # raises for more digits than can be kept
                return listed
        tick, lot = (f"{Decimal(units).scaleb(-8):f}" for units in (old.tick_e8, old.lot_e8))
        return Listed(tick, lot, Contract(old.contract_e8, inverse=old.inverse))


def named(instruments: Instruments | Mapping[str, Instrument], names: Iterable[str]) -> dict[str, Instrument]:
    """Return the instruments of `names` by these names."""
    return {name: found for name in names if (found := instruments.get(name)) is not None}
