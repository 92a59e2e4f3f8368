"""The way out against the simulated exchange in process: what a runner has, less market, engine and journal."""

from __future__ import annotations

import asyncio
import time

import pytest
from pydantic import SecretStr

from bot4_live.clock import MarketClock
from bot4_live.engine_events import record, session
from bot4_live.events import Flag, Kind, header_of, slots_of
from bot4_live.execution.dispatch import Dispatcher
from bot4_live.execution.exchange_time import ExchangeTime
from bot4_live.execution.gateways.binance_usdm import Gateway
from bot4_live.execution.ledger import Ledger
from bot4_live.execution.order_id import pack
from bot4_live.execution.reconcile import Reconciler
from bot4_live.execution.rest import RestClient
from bot4_live.instrument import BTCUSDT_USDM
from bot4_live.simulation.accounts import make_accounts
from bot4_live.simulation.exchange import Exchange
from bot4_live.simulation.faults import FaultPlan
from bot4_live.simulation.server import Server
from bot4_live.simulation.source import generated_source

KEYS = {"key": {"secret": "secret", "account": "paper", "balance": "100000"}}


@pytest.fixture(scope="session")
def generated():
    return generated_source(11, 90.0)


class OpenGate:
    """A gate that a test closes by setting `cause`."""

    def __init__(self):
        self.cause = 0

    def admit(self, kind, flags=0):
        return self.cause


class Bench:
    """Ledger, dispatcher and reconciler over a real REST client; the log is a list."""

    def __init__(self, server, rest):
        self.server, self.exchange, self.rest = server, server.exchange, rest
        self.log, self.ledger, self.gate, self.gateway = [], Ledger(), OpenGate(), Gateway(BTCUSDT_USDM)
        self.dispatcher = Dispatcher(rest, self.gateway, self.gate, self.ledger, self.emit)
        self.reconciler = Reconciler(rest, self.gateway, self.ledger, self.dispatcher, self.emit)
        self.emit(session(0, 1))
        self.sequence = 0

    def emit(self, item):
        kind = int(header_of(item)["kind"])
        if Kind.POSITION <= kind <= Kind.CANCEL_REJECTED and not self.ledger.admits(item):
            return
        header_of(item)["recv_ns"] = self.rest.time.clock.now_ns()
        self.log.append(item)
        self.ledger.apply(item)

    def kinds(self, order_id=None):
        heads = [header_of(item) for item in self.log]
        return [Kind(int(h["kind"])) for h in heads if order_id is None or int(h["a"]) == order_id]

    def last(self, kind):
        return next(item for item in reversed(self.log) if header_of(item)["kind"] == kind)

    @property
    def best(self):
        book = self.exchange.venue.book
        return book.best(bids=True)[0], book.best(bids=False)[0]

    def command(self, price, qty=4, flags=0, epoch=1):
        self.sequence += 1
        made = record(Kind.CMD_NEW, 0, pack(epoch, self.sequence), slots=1)
        header_of(made)["flags"] = flags
        slots_of(made)[0] = (price, qty)
        return made, pack(epoch, self.sequence)

    def new(self, price, qty=4, flags=Flag.POST_ONLY):
        made, order_id = self.command(price, qty, flags)
        self.ledger.apply(made)
        self.dispatcher.submit(made)
        return order_id

    def cancel(self, order_id):
        self.dispatcher.submit(record(Kind.CMD_CANCEL, 0, order_id))

    async def until(self, condition, timeout_s=5.0):
        async with asyncio.timeout(timeout_s):
            while not condition():
                await asyncio.sleep(0.005)

    def fault(self, **plan):
        self.exchange.set_faults(FaultPlan(**plan))

    def venue_orders(self):
        return {order.client_id: order for order in self.exchange.venue.orders("paper")}


@pytest.fixture
async def bench(generated):
    keys, accounts = make_accounts(KEYS, generated.instrument)
    async with Server(Exchange(generated, keys, accounts)) as server:
        clock = MarketClock(server.exchange.now_ns(), time.monotonic_ns())
        client = RestClient(
            server.rest_url, SecretStr("key"), SecretStr("secret"), ExchangeTime(clock), 250, timeout_s=1.0
        )
        async with client as rest:
            await rest.sync_time()
            made = Bench(server, rest)
            yield made
            await made.dispatcher.close()
