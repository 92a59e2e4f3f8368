"""Other venues than Binance USD-M, by scripted servers with the shapes that their documentation and ccxt show."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from bot4_live.clock import day_start_ns
from bot4_platform.lake import Lake
from bot4_platform.sources.errors import SourceRefused
from bot4_platform.sources.exchange.candles import fetch_candles
from bot4_platform.sources.exchange.client import HistoryClient, Units
from bot4_platform.sources.exchange.funding import fetch_funding
from bot4_platform.sources.exchange.trades import fetch_trades
from bot4_platform.sources.hosts import Hosts
from bot4_platform.sources.settings import HttpSettings
from tests.http_script import Answer, Script

DAY = "2024-08-09"
START_MS = day_start_ns(DAY) // 10**6
NOW_MS = START_MS + 3 * 60_000
POLICY = HttpSettings(per_s=1000, first_wait_s=0.001)


def told(value: Any) -> list[Answer]:
    return [Answer(json.dumps(value).encode())]


def asked(script: Script, path: str) -> list[dict[str, list[str]]]:
    return [parse_qs(urlsplit(one).query) for one in script.asked if urlsplit(one).path == path]


@pytest.fixture
def spot(script: Script) -> HistoryClient:
    filters = [
        {"filterType": "PRICE_FILTER", "minPrice": "0.01", "maxPrice": "1000000", "tickSize": "0.01000000"},
        {"filterType": "LOT_SIZE", "minQty": "0.00001", "maxQty": "9000", "stepSize": "0.00001000"},
    ]
    symbol = {
        "symbol": "BTCUSDT", "status": "TRADING", "baseAsset": "BTC", "baseAssetPrecision": 8, "quoteAsset": "USDT",
        "quotePrecision": 8, "quoteAssetPrecision": 8, "orderTypes": ["LIMIT"], "isSpotTradingAllowed": True,
        "isMarginTradingAllowed": False, "filters": filters, "permissions": ["SPOT"],
    }  # fmt: skip
    script.by_path = {
        "/api/v3/exchangeInfo": told({"serverTime": NOW_MS, "rateLimits": [], "symbols": [symbol]}),
        "/api/v3/time": told({"serverTime": NOW_MS}),
    }
    return HistoryClient("binance_spot:BTCUSDT", POLICY, endpoint=script.url, hosts=Hosts())


def test_binance_spot(script: Script, spot: HistoryClient, tmp_path: Path) -> None:
    lake, market = Lake(tmp_path), "binance_spot:BTCUSDT"
    assert spot.units(market) == Units(1_000_000, 1_000, 1_000)
    rows = [
        [START_MS + n * 60_000, "61000.01", "61000.02", "60999.99", "61000.00", "1.23456", 0, "0", 1, "0", "0", "0"]
        for n in (0, 2)
    ]
    script.by_path["/api/v3/klines"] = told(rows)
    done = fetch_candles(lake, spot, DAY, market)
    assert (done.added, [(gap.minutes, gap.cause) for gap in done.gaps]) == (2, [(1, "unconfirmed")])
    frame = lake.read("history_candles_1m", DAY, market)
    assert frame.select("open", "low", "volume").rows()[0] == (6_100_001, 6_099_999, 123_456)
    (question,) = asked(script, "/api/v3/klines")
    assert (question["startTime"], question["endTime"], question["limit"]) == (
        [str(START_MS)], [str(NOW_MS - 1)], ["3"],
    )  # fmt: skip
    first = [{"a": n, "p": "61000.01", "q": "0.00005", "f": n, "l": n, "T": START_MS + n, "m": True} for n in (7, 8)]
    script.by_path["/api/v3/aggTrades"] = [*told(first), *told([])]
    assert fetch_trades(lake, spot, DAY, market).added == 2
    assert [page.get("fromId") for page in asked(script, "/api/v3/aggTrades")] == [None, ["9"]]
    assert lake.read("history_trades", DAY, market).select("price", "qty", "sell").rows() == [(6_100_001, 5, True)] * 2
    assert fetch_funding(lake, spot, DAY, market).rates == [], "spot has none, and an empty partition says so"
    spot.close()


def test_okx_swaps(script: Script, tmp_path: Path) -> None:
    lake, market = Lake(tmp_path), "okx:BTCUSDTSWAP"
    swap = {
        "instId": "BTC-USDT-SWAP", "instType": "SWAP", "instFamily": "BTC-USDT", "uly": "BTC-USDT", "settleCcy": "USDT",
        "ctVal": "0.01", "ctValCcy": "BTC", "ctMult": "1", "ctType": "linear", "tickSz": "0.1", "lotSz": "0.01",
        "minSz": "0.01", "state": "live", "baseCcy": "", "quoteCcy": "", "expTime": "", "listTime": "1548133413000",
        "optType": "", "lever": "100", "stk": "",
    }  # fmt: skip
    script.by_path = {
        "/api/v5/public/instruments": [*told({"code": "0", "data": []}), *told({"code": "0", "data": [swap]})],
        "/api/v5/public/time": told({"code": "0", "data": [{"ts": str(NOW_MS)}]}),
    }
    client = HistoryClient(market, POLICY, endpoint=script.url, hosts=Hosts())
    client.exchange.options["fetchMarkets"] = {"types": ["spot", "swap"]}
    rows = [
        [str(START_MS + n * 60_000), "61000.1", "61000.2", "60999.9", "61000", "301", "3.01", "0", "1"]
        for n in (2, 1, 0)
    ]
    script.by_path["/api/v5/market/history-candles"] = told({"code": "0", "msg": "", "data": rows})
    done = fetch_candles(lake, client, DAY, market)
    assert (done.added, done.gaps, client.page) == (3, [], 300)
    assert client.units(market) == Units(10_000_000, 1_000_000, 10_000), "a lot is 0.01 contracts of 0.01 BTC"
    assert (
        lake.read("history_candles_1m", DAY, market).select("open", "close", "volume").rows()
        == [(610_001, 610_000, 30_100)] * 3
    )
    rate = {
        "instType": "SWAP",
        "instId": "BTC-USDT-SWAP",
        "fundingRate": "0",
        "realizedRate": "0.0000123456789",
        "fundingTime": str(START_MS),
    }
    script.by_path["/api/v5/public/funding-rate-history"] = told({"code": "0", "msg": "", "data": [rate]})
    assert fetch_funding(lake, client, DAY, market).rates == [(START_MS, "0.0000123456789")]
    assert lake.read("history_funding", DAY, market).select("rate", "rate_decimals").rows() == [(123_456_789, 13)]
    with pytest.raises(SourceRefused, match="does not give its past trades by id"):
        fetch_trades(lake, client, DAY, market)
    later = [[str(START_MS + 86_400_000 + n * 60_000), *rows[0][1:]] for n in range(3)]
    script.by_path["/api/v5/market/history-candles"] = told({"code": "0", "msg": "", "data": later})
    script.by_path["/api/v5/public/time"] = told({"code": "0", "data": [{"ts": str(NOW_MS + 10 * 86_400_000)}]})
    short = fetch_candles(lake, client, "2024-08-08", market)
    assert [(gap.minutes, gap.cause) for gap in short.gaps] == [(1440, "out_of_reach")]
    client.close()
