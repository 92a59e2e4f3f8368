"""One venue's history through ccxt, with our own requests, retries and checks.

ccxt drops what it cannot read: a price that is none becomes None, a row without a time is left out, a page of HTML an
empty list. So the rows are taken before that, as the venue sent them, and each is parsed by ccxt and checked by us.
Numbers stay texts (`number = str`; fractions in JSON too), so that no float comes between the venue and our ticks.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from urllib.parse import urlsplit

from bot4_live.execution.rest_budget import RestBudget
from bot4_live.instrument import to_e8
from bot4_platform.sources.errors import BadPage, Retry, SourceRefused
from bot4_platform.sources.exchange.session import ExchangeSession
from bot4_platform.sources.exchange.venues import BUDGETED, PAGE, Venue, plain, venue_of
from bot4_platform.sources.hosts import HOSTS, Hosts
from bot4_platform.sources.http import SHOWN, retrying
from bot4_platform.sources.settings import HttpSettings

MS = 1_000_000


@dataclass(frozen=True)
class Units:
    """What a market is counted in, 1e-8: prices of the quote currency, quantities of the base or of contracts.

    Volumes of candles ccxt gives in the base currency everywhere: `volume_e8` is a lot in it where contracts have a
    size in it, and 1e-8 of it where they are worth a sum of the quote currency (inverse).
    """

    tick_e8: int
    lot_e8: int
    volume_e8: int


class HistoryClient:
    """The history of one venue's markets. All its calls raise SourceUnavailable, SourceRefused and BadPage."""

    def __init__(
        self,
        market: str,
        policy: HttpSettings,
        *,
        endpoint: str = "",
        budget: bool = True,
        hosts: Hosts = HOSTS,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Be the client of the venue of `market`; with `endpoint` nothing else is ever asked."""
        import ccxt

        self._errors = ccxt
        self.venue: Venue = venue_of(market)
        self.policy, self.endpoint, self._sleep = policy, endpoint, sleep
        own = self.venue.name == BUDGETED and budget
        self.exchange: Any = getattr(ccxt, self.venue.ccxt)(
            {"number": str, "enableRateLimit": not own, "timeout": int(policy.timeout_s * 1000)}
        )
        self.exchange.options["fetchCurrencies"] = False  # needs a key
        if self.venue.ccxt == "binance":
            self.exchange.options["fetchMarkets"] = {"types": ["spot"]}
        if endpoint:
            self.exchange.urls["api"] = _moved(self.exchange.urls["api"], endpoint)
            self.exchange.enableRateLimit = False  # its pace is ours
        self._budget = RestBudget(endpoint or _first(self.exchange.urls["api"])) if own else None
        self.session = ExchangeSession(policy, self._budget, hosts=hosts, sleep=sleep)
        self.exchange.session = self.session
        self.exchange.on_json_response = _exact_json
        self._rows: list[Any] | None = None
        for name in ("parse_ohlcvs", "parse_trades", "parse_funding_rate_histories"):
            setattr(self.exchange, name, self._take)

    @property
    def requests(self) -> int:
        """Return how many requests were made."""
        return self.session.asked

    @property
    def page(self) -> int:
        """Return how many candles the venue gives a page."""
        kinds = self.exchange.features or {}
        swap = (kinds.get("swap") or {}).get("linear") or {}
        found = [kind.get("fetchOHLCV") for kind in (kinds.get("spot"), swap) if kind]
        limits = [one["limit"] for one in found if one and one.get("limit")]
        return 1000 if self.venue.name.startswith("binance_") else min(limits, default=PAGE)

    def symbol(self, market: str) -> dict[str, Any]:
        """Return ccxt's market of ours. Raises ValueError when the venue does not list it."""
        wanted = plain(market.partition(":")[2])
        markets = self._call(self.exchange.load_markets)
        found = [one for one in markets.values() if plain(one["id"]) == wanted] or [
            one for one in markets.values() if wanted in _other_names(one)
        ]
        if not found:
            raise ValueError(f"{self.venue.name} lists no {market.partition(':')[2]} (ccxt has {len(markets)} markets)")
        return min(found, key=lambda one: not one.get("spot"))

    def units(self, market: str) -> Units:
        """Return tick and lot as the venue lists them now."""
        found = self.symbol(market)
        precision = found["precision"]
        if self.exchange.precisionMode != self._errors.TICK_SIZE or None in (precision["price"], precision["amount"]):
            raise ValueError(
                f"{self.venue.name} does not say the tick of {market}; its history cannot be counted in it"
            )
        lot = Decimal(str(precision["amount"]))
        size = Decimal(str(found.get("contractSize") or 1))
        volume_e8 = 1 if found.get("inverse") else to_e8(lot * size)
        return Units(to_e8(str(precision["price"])), to_e8(lot), volume_e8)

    def now_ns(self) -> int:
        """Return the venue's time, by which a candle is over and a row is of the future; ours where it says none."""
        if not self.exchange.has["fetchTime"]:
            return time.time_ns()
        told = self._call(self.exchange.fetch_time)
        if not isinstance(told, int) or not 0 < told < 1 << 43:
            raise BadPage("schema", "the venue's time is no time", repr(told).encode())
        return told * MS

    def candles(self, market: str, first_ms: int, to_ms: int) -> tuple[list[Any], Callable[[Any], Any]]:
        """Return the rows of one page of minutes, first_ms <= open time < to_ms, and what parses one."""
        found = self.symbol(market)
        limit = (to_ms - first_ms) // 60_000
        rows = self._page(
            lambda: self.exchange.fetch_ohlcv(found["symbol"], "1m", first_ms, limit, {"until": to_ms - 1})
        )
        return rows, lambda raw: self.exchange.parse_ohlcv(raw, found)

    def trades(
        self, market: str, *, since_ms: int | None = None, from_id: str = ""
    ) -> tuple[list[Any], Callable[[Any], Any]]:
        """Return the rows of one page of trades, from a time or an id on, and their parser."""
        found = self.symbol(market)
        more = {self.venue.from_id: from_id} if from_id else {}
        rows = self._page(
            lambda: self.exchange.fetch_trades(found["symbol"], since_ms, self.venue.trades_page, dict(more))
        )
        return rows, lambda raw: self.exchange.parse_trade(raw, found)

    def funding(self, market: str, first_ms: int, to_ms: int) -> tuple[list[Any], Callable[[Any], Any]]:
        """Return the rows of the funding settled at first_ms <= time < to_ms, and their parser."""
        found = self.symbol(market)
        rows = self._page(
            lambda: self.exchange.fetch_funding_rate_history(found["symbol"], first_ms, 100, {"until": to_ms - 1})
        )

        def parse(raw: Any) -> Any:
            parsed = "fundingRate" in raw and "timestamp" in raw  # of a venue where ccxt parses as it goes
            known = raw if parsed else self.exchange.parse_funding_rate_history(raw)
            return {"at_ms": known["timestamp"], "rate": known["fundingRate"]}

        return rows, parse

    def pays_funding(self, market: str) -> bool:
        """Return whether the market is a perpetual of a venue that lists its past funding."""
        return bool(self.exchange.has.get("fetchFundingRateHistory") and self.symbol(market).get("swap"))

    def close(self) -> None:
        """Close its connections."""
        self.session.close()
        if self._budget is not None:
            self._budget.close()

    def _take(self, rows: Any, *_: Any, **__: Any) -> list[Any]:
        """Stand for ccxt's parsing of a page: keep the rows as they came."""
        if not isinstance(rows, list):
            raise BadPage("schema", f"a page of rows is a list, not {type(rows).__name__}", repr(rows).encode()[:SHOWN])
        self._rows = rows
        return []

    def _page(self, fetch: Callable[[], Any]) -> list[Any]:
        def whole() -> list[Any]:
            self._rows = None
            found = fetch()
            return self._rows if self._rows is not None else found

        return self._call(whole)

    def _call(self, call: Callable[[], Any]) -> Any:
        errors, name = self._errors, self.venue.name

        def attempt() -> Any:
            try:
                return call()
            except (errors.RateLimitExceeded, errors.DDoSProtection):
                raise Retry(f"{name} asks for silence") from None
            except (errors.NetworkError, errors.ExchangeNotAvailable) as error:
                raise Retry(f"{name} does not answer ({type(error).__name__})") from None
            except errors.BadSymbol as error:
                raise SourceRefused(f"{name} refuses: {_line(error)}", 400) from None
            except errors.BaseError as error:
                raise SourceRefused(f"{name} refuses the request: {_line(error)}", 0) from None
            except (TypeError, KeyError, IndexError, AttributeError) as error:  # ccxt on a page it does not expect
                last = f"{type(error).__name__}: {error}"
                raise BadPage("schema", f"the page is not as ccxt knows it ({last})", b"") from None

        return retrying(name, attempt, self.policy, self._sleep)


def _other_names(market: dict[str, Any]) -> tuple[str, str]:
    """Return what else a venue's market is called: Kraken's altname, and base and quote."""
    info = market["info"] if isinstance(market["info"], dict) else {}
    return plain(str(info.get("altname", ""))), plain(f"{market['base']}{market['quote']}")


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]


def _exact_json(body: str) -> Any:
    return json.loads(body, parse_float=str, parse_constant=str)


def _first(urls: Any) -> str:
    return urls if isinstance(urls, str) else _first(urls.get("fapiPublic") or next(iter(urls.values())))


def _moved(urls: Any, endpoint: str) -> Any:
    """Return ccxt's addresses with another host."""
    if isinstance(urls, str):
        return endpoint.rstrip("/") + urlsplit(urls).path
    return {name: _moved(url, endpoint) for name, url in urls.items()}
