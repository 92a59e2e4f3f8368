"""ccxt, an independent client, finds a Binance USD-M futures exchange here."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import ccxt.async_support as ccxt
import pytest

SYMBOL = "BTC/USDT:USDT"


@asynccontextmanager
async def ccxt_client(client: Any, key: str = "runner-key", secret: str = "runner-secret") -> AsyncIterator[Any]:
    exchange = ccxt.binanceusdm(
        {"apiKey": key, "secret": secret, "enableRateLimit": False,
         "options": {"fetchCurrencies": False, "adjustForTimeDifference": True, "fetchMargins": False}}
    )  # fmt: skip
    for name, url in list(exchange.urls["api"].items()):
        if name.startswith("fapi"):
            exchange.urls["api"][name] = client.server.rest_url + "/fapi/" + url.rpartition("/fapi/")[2]
        else:
            exchange.urls["api"][name] = "http://127.0.0.1:9"  # nothing else may be asked
    try:
        yield exchange
    finally:
        await exchange.close()


async def test_market_data(serve) -> None:
    async with serve() as client, ccxt_client(client) as exchange:
        markets = await exchange.load_markets()
        market = markets[SYMBOL]
        assert market["precision"] == {"amount": 0.001, "price": 0.1, "base": 1e-08, "quote": 1e-08}
        assert (market["swap"], market["linear"], market["settle"], market["active"]) == (True, True, "USDT", True)
        assert market["limits"]["cost"]["min"] == 100
        book = await exchange.fetch_order_book(SYMBOL, 20)
        assert len(book["bids"]) == len(book["asks"]) == 20
        assert book["bids"][0][0] < book["asks"][0][0]
        own = client.server.exchange.venue.book
        assert book["bids"][0] == [own.bids.best / 10, own.bids.at(own.bids.best) / 1000]
        assert book["nonce"] == own.last_id
        assert abs(await exchange.fetch_time() - client.server.exchange.now_ms()) < 1000
        quotes = await exchange.fetch_bids_asks([SYMBOL])
        bid, ask = await client.quote()
        assert (quotes[SYMBOL]["bid"], quotes[SYMBOL]["ask"]) == (bid / 10, ask / 10)
        trades = await exchange.fetch_trades(SYMBOL, limit=5)
        assert len(trades) == 5


async def test_orders_positions_and_balance(serve) -> None:
    async with serve() as client, ccxt_client(client) as exchange:
        await exchange.load_markets()
        bid, ask = await client.quote()
        resting = await exchange.create_order(SYMBOL, "limit", "buy", 0.01, (bid - 10) / 10, {"postOnly": True})
        assert resting["status"] == "open"
        assert resting["timeInForce"] in ("GTX", "PO")
        assert [order["id"] for order in await exchange.fetch_open_orders(SYMBOL)] == [resting["id"]]
        found = await exchange.fetch_order(resting["id"], SYMBOL)
        assert (found["price"], found["amount"], found["filled"]) == ((bid - 10) / 10, 0.01, 0.0)
        cancelled = await exchange.cancel_order(resting["id"], SYMBOL)
        assert cancelled["status"] == "canceled"
        with pytest.raises(ccxt.OrderNotFound):
            await exchange.cancel_order(resting["id"], SYMBOL)
        with pytest.raises(ccxt.OrderNotFound):
            await exchange.fetch_order("1", SYMBOL)
        with pytest.raises(ccxt.InvalidOrder, match="-5022"):
            await exchange.create_order(SYMBOL, "limit", "buy", 0.01, ask / 10, {"postOnly": True})

        bought = await exchange.create_order(SYMBOL, "market", "buy", 0.02)
        assert (await exchange.fetch_order(bought["id"], SYMBOL))["status"] == "closed"
        (position,) = await exchange.fetch_positions([SYMBOL])
        assert (position["side"], position["contracts"]) == ("long", 0.02)
        trades = await exchange.fetch_my_trades(SYMBOL)
        assert sum(trade["amount"] for trade in trades) == pytest.approx(0.02)
        assert position["entryPrice"] == pytest.approx(trades[0]["price"], rel=1e-4)
        balance = await exchange.fetch_balance()
        fees = sum(trade["fee"]["cost"] for trade in trades)
        assert fees > 0
        assert balance["USDT"]["total"] == pytest.approx(10_000 - fees, abs=1e-2)
        assert balance["USDT"]["used"] > 0

        for step in (5, 6, 7):
            await exchange.create_order(SYMBOL, "limit", "buy", 0.01, (bid - step) / 10)
        assert len(await exchange.fetch_open_orders(SYMBOL)) == 3
        await exchange.cancel_all_orders(SYMBOL)
        assert await exchange.fetch_open_orders(SYMBOL) == []
        await exchange.create_order(SYMBOL, "market", "sell", 0.02, None, {"reduceOnly": True})
        assert await exchange.fetch_positions([SYMBOL]) == []
        with pytest.raises(ccxt.ExchangeError, match="-2022"):
            await exchange.create_order(SYMBOL, "market", "sell", 0.02, None, {"reduceOnly": True})
        closed = await exchange.fetch_orders(SYMBOL)
        assert len(closed) == 6
        await exchange.set_leverage(10, SYMBOL)


async def test_refusals_reach_ccxt_with_their_codes(serve) -> None:
    async with serve() as client:
        async with ccxt_client(client, secret="wrong") as exchange:
            await exchange.load_markets()
            with pytest.raises(ccxt.AuthenticationError):
                await exchange.fetch_balance()
        async with ccxt_client(client, key="stranger") as exchange:
            with pytest.raises(ccxt.AuthenticationError):
                await exchange.fetch_balance()
        async with ccxt_client(client) as exchange:
            await exchange.load_markets()
            bid, _ = await client.quote()
            with pytest.raises(ccxt.ExchangeError, match="-2019"):
                await exchange.create_order(SYMBOL, "limit", "buy", 100, (bid - 10) / 10)
            with pytest.raises(ccxt.ExchangeError, match="-4164"):
                await exchange.create_order(SYMBOL, "limit", "buy", 0.001, (bid - 10) / 10)
