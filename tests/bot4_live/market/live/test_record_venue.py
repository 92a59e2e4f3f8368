"""`bot4 record --venue`: each venue's protocol on loopback into a journal whose books its own words prove."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import sys
import time
from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest
from aiohttp import WSCloseCode, web
from click.testing import CliRunner

from bot4_live.commands.feeds import command as feeds
from bot4_live.commands.record import command as record
from bot4_live.events import Flag, Kind
from bot4_live.journal.client import JournalClient
from bot4_live.journal.reader import Journal
from bot4_live.market.capture import read_capture
from bot4_live.market.feed_status import read
from bot4_live.market.live.listings import Relisting, VenueRest, instruments_of
from bot4_live.market.recording import Limits, record_venue
from bot4_live.market.verify_journal import verify_journal
from bot4_live.settings import Settings, load

pytestmark = pytest.mark.capture


@pytest.fixture
def settings(tmp_path):
    made = Settings(var=tmp_path, account=f"venue{os.getpid()}", journal={"segment_mb": 8})
    yield made
    for path in made.shm_dir.glob("*"):
        path.unlink()
    with contextlib.suppress(FileNotFoundError):
        made.shm_dir.rmdir()


def digits(venue):
    return {name: (found.price_digits, found.qty_digits) for name, found in venue.instruments}


def counted():
    """Return limits, and what was told last: `frames` of the connections that are open, `live` books."""
    told = SimpleNamespace(frames=0, live=0, times=0)

    def tell(frames, live, *_):
        told.frames, told.live, told.times = frames, live, told.times + 1

    return Limits(progress=tell), told


def subscribed(venue):
    return sum(len({name for _, name in client.subscribed}) for client in venue.clients)


@pytest.mark.parametrize("name", ["kraken", "okx", "deribit", "coinbase"])
async def test_a_venue_is_recorded_and_its_books_are_proven(serve_venue, settings, wait_until, name):
    async with serve_venue(name, 400) as (venue, url):
        limits = Limits()
        told = []
        limits.progress = lambda *now: told.append(now)
        recording = asyncio.create_task(
            record_venue(settings, name, digits(venue), settings.journal_dir, limits, url=url)
        )
        await wait_until(lambda: recording.done() or subscribed(venue) >= len(venue.names), 60)
        await venue.play(0.5)
        await wait_until(lambda: not any(client.queue.qsize() for client in venue.clients))
        frames = told[-1][0] if told else 0
        await wait_until(
            lambda: told and told[-1][0] > frames and (shown := read(settings.shm_dir)) and shown.age_s < 5
        )
        said = read(settings.shm_dir).content
        limits.stop.set()
        result = await asyncio.wait_for(recording, 60)
    assert (said["role"], said["pools"][0]["venue"]) == ("record", name)
    assert {book["market"] for book in said["books"]} == {found.market for _, found in venue.instruments}
    assert read(settings.shm_dir) is None
    assert result.counts["frames"] > 100
    assert result.counts["quarantined"] == {}
    proof = verify_journal(settings.journal_dir)
    assert proof.ok, proof
    assert proof.gaps == 0
    assert proof.diffs == sum(len(truth) for key, truth in venue.truth.items() if key != "trades")
    (segment,) = Journal(settings.journal_dir).segments()
    assert sorted(segment.header.markets.values()) == sorted(found.market for _, found in venue.instruments)
    assert {one["name"] for one in segment.header.instruments} == set(venue.names)


@pytest.mark.slow  # tests/bot4_live/market/test_record.py kills the same recorder at the exchange
async def test_a_recorder_killed_and_started_again_goes_on_in_its_journal(serve_venue, settings, wait_until):
    """Real processes; what the first had published is all there, and the second's books are right again."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("BOT4_")}
    environment |= {name: os.environ[name] for name in ("BOT4_CACHE_DIR",) if name in os.environ}
    environment |= {"BOT4_VAR": str(settings.var), "BOT4_ACCOUNT": settings.account}
    async with serve_venue("okx", 400) as (venue, url):
        names = [f"--symbol={name}={p},{q}" for name, (p, q) in digits(venue).items()]
        command = [sys.executable, "-m", "bot4_live", "record", "--venue", "okx", "--url", url, *names, "--json"]
        command += ["--rotate-s", "1", "--segment-mb", "4"]

        async def start():
            process = await asyncio.create_subprocess_exec(
                *command, env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
            )
            await wait_until(lambda: process.returncode is not None or subscribed(venue) >= len(venue.names), 60)
            assert process.returncode is None, await process.communicate()
            return process

        first = await start()
        playing = asyncio.create_task(venue.play(6.0))
        await wait_until(lambda: (one := read(settings.shm_dir)) and one.content["written"]["sealed"] > 1, 60)
        shown = CliRunner(env=environment).invoke(feeds, ["--json"])
        assert [one["state"] for one in json.loads(shown.stdout)["processes"]] == ["running"]
        first.kill()
        await first.communicate()
        dead = read(settings.shm_dir)
        assert dead.state == "dead"
        await wait_until(lambda: not venue.clients)
        second = await start()
        await playing
        await asyncio.sleep(0.3)
        second.terminate()
        out, err = await asyncio.wait_for(second.communicate(), 60)
        assert second.returncode == 0, err
    said = json.loads(out)
    assert (said["stopped"], said["source"]) == (True, "okx")
    assert said["first_seq"] > dead.content["written"]["last_seq"]
    segments = list(Journal(settings.journal_dir).segments(sealed_only=True))
    assert len(segments) == len(Journal(settings.journal_dir).paths())
    seqs = [int(seq) for segment in segments for seq in segment.headers["seq"]]
    assert seqs == list(range(1, said["last_seq"] + 1)), "an event is missing or doubled"
    proof = verify_journal(settings.journal_dir)
    assert proof.ok, proof
    assert proof.stale >= 9  # each of three books: two starts and an end


class CoinM:
    """COIN-M over loopback: the capture's frames in today's time, its snapshot by REST, and the listing."""

    NAME = "BTCUSD_PERP"

    def __init__(self, path, most):
        frames = [raw for _, raw in zip(range(most), (raw for _, raw in read_capture(path)), strict=False)]
        self.snapshot = next(raw for raw in frames if b"lastUpdateId" in raw[:200])
        self.frames = [raw for raw in frames if b"lastUpdateId" not in raw[:200]]
        last = max(int(found) for raw in frames for found in re.findall(rb'"E":(\d{13})', raw))
        self.shift = time.time_ns() // 1_000_000 - last
        self.asked = Counter()
        self.count = len(self.frames) + 2
        self.tick = "0.1"
        self.listed = 0

    def now(self, raw):
        return re.sub(rb'"([ET])":(\d{13})', lambda m: b'"%s":%d' % (m[1], int(m[2]) + self.shift), raw)

    def liquidation(self, contracts):
        at = time.time_ns() // 1_000_000
        order = {"s": self.NAME, "ps": "BTCUSD", "S": "SELL", "o": "LIMIT", "f": "IOC", "q": contracts, "p": "60000.0"}
        order |= {"ap": "60000.0", "X": "FILLED", "l": contracts, "z": contracts, "T": at}
        return {"stream": "btcusd_perp@forceOrder", "data": {"e": "forceOrder", "E": at, "o": order}}

    async def stream(self, request):
        socket = web.WebSocketResponse(max_msg_size=0)
        await socket.prepare(request)
        self.asked.update(request.query["streams"].split("/"))
        for raw in self.frames:
            await socket.send_str(self.now(raw).decode())
        for contracts in ("9", "10"):  # of 100 USD each
            await socket.send_str(json.dumps(self.liquidation(contracts)))
        with contextlib.suppress(asyncio.CancelledError):
            await socket.receive()
        await socket.close(code=WSCloseCode.GOING_AWAY)
        return socket

    async def info(self, _):
        self.listed += 1
        filters = [
            {"filterType": "PRICE_FILTER", "tickSize": self.tick},
            {"filterType": "LOT_SIZE", "stepSize": "1"},
        ]
        return web.json_response({"symbols": [{"symbol": self.NAME, "contractSize": 100, "filters": filters}]})

    async def depth(self, request):
        assert (request.query["symbol"], request.query["limit"]) == (self.NAME, "1000")
        return web.Response(body=self.now(self.snapshot))


@contextlib.asynccontextmanager
async def serving(routes):
    app = web.Application()
    app.add_routes(routes)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


async def test_binance_is_asked_for_its_listing_and_its_snapshots(shared_data, settings, wait_until):
    """The contract is in the listing too: 10 of 100 USD are worth the 1000 USD from which on one is marked."""
    settings = settings.model_copy(update={"liquidation_usd": 1000.0})
    venue = CoinM(shared_data / "captures" / "binance_coinm" / "btcusd_perp_20240808.gz", 3_000)
    routes = [web.get("/stream", venue.stream), web.get("/dapi/v1/exchangeInfo", venue.info)]
    async with serving([*routes, web.get("/dapi/v1/depth", venue.depth)]) as port:
        limits, told = counted()
        recording = asyncio.create_task(
            record_venue(
                settings,
                "binance_coinm",
                {venue.NAME: None},
                settings.journal_dir,
                limits,
                url=f"ws://127.0.0.1:{port}",
                rest_url=f"http://127.0.0.1:{port}",
            )
        )
        await wait_until(lambda: recording.done() or told.frames >= venue.count, 60)
        limits.stop.set()
        result = await asyncio.wait_for(recording, 60)
    assert {stream.partition("@")[2] for stream in venue.asked} >= {"depth@100ms", "bookTicker", "trade"}
    assert result.counts["quarantined"] == {}
    proof = verify_journal(settings.journal_dir)
    assert proof.ok, proof
    assert proof.compared > 100
    (segment,) = Journal(settings.journal_dir).segments()
    assert segment.header.market == "binance_coinm:BTCUSD_PERP"
    assert int((segment.headers["kind"] == Kind.DEPTH_DIFF).sum()) == proof.diffs
    liquidations = segment.headers[segment.headers["kind"] == Kind.LIQUIDATION]
    assert (liquidations["flags"] & Flag.LARGE != 0).tolist() == [False, True]


async def test_a_listing_that_changes_is_followed_under_the_next_version(shared_data, settings, wait_until):
    """The tick becomes finer while it is recorded: the book begins anew under version 2, and is proven as before."""
    settings = settings.model_copy(update={"instrument_check_s": 0.1})
    venue = CoinM(shared_data / "captures" / "binance_coinm" / "btcusd_perp_20240808.gz", 1_500)
    routes = [web.get("/stream", venue.stream), web.get("/dapi/v1/exchangeInfo", venue.info)]
    async with serving([*routes, web.get("/dapi/v1/depth", venue.depth)]) as port:
        limits, told = counted()
        urls = {"url": f"ws://127.0.0.1:{port}", "rest_url": f"http://127.0.0.1:{port}"}
        recording = asyncio.create_task(
            record_venue(settings, "binance_coinm", {venue.NAME: None}, settings.journal_dir, limits, **urls)
        )
        await wait_until(lambda: recording.done() or (told.frames >= venue.count and venue.listed > 2), 60)
        venue.tick = "0.01"
        await wait_until(lambda: recording.done() or told.frames < venue.count, 60)
        await wait_until(lambda: recording.done() or told.frames >= venue.count, 60)
        limits.stop.set()
        result = await asyncio.wait_for(recording, 60)
    assert result.reconnects == 1
    assert result.counts["quarantined"] == {}
    (segment,) = Journal(settings.journal_dir).segments()
    heads = segment.headers
    told = segment.headers[heads["kind"] == Kind.INSTRUMENT]
    assert told["inst_version"].tolist() == [1, 2]
    market = heads[np.isin(heads["kind"], (Kind.DEPTH_SNAPSHOT, Kind.DEPTH_DIFF, Kind.BOOK_TICKER, Kind.TRADE))]
    first, later = (
        market["inst_version"][market["seq"] < told["seq"][1]],
        market["inst_version"][market["seq"] > told["seq"][1]],
    )
    assert set(first) == {1}
    assert set(later) == {2}
    assert len(later) > 500
    proof = verify_journal(settings.journal_dir)
    assert proof.ok, proof
    assert proof.compared > 50


async def test_a_recording_ends_in_time_however_often_its_listing_changes(shared_data, settings):
    """The time that is left goes on through every change."""
    settings = settings.model_copy(update={"instrument_check_s": 0.05})
    venue = CoinM(shared_data / "captures" / "binance_coinm" / "btcusd_perp_20240808.gz", 1_500)

    async def info(request):
        venue.tick = "0.1" if venue.listed % 2 else "0.01"
        return await venue.info(request)

    routes = [web.get("/stream", venue.stream), web.get("/dapi/v1/exchangeInfo", info)]
    async with serving([*routes, web.get("/dapi/v1/depth", venue.depth)]) as port:
        urls = {"url": f"ws://127.0.0.1:{port}", "rest_url": f"http://127.0.0.1:{port}"}
        limits = Limits(seconds=1.0)
        recording = record_venue(settings, "binance_coinm", {venue.NAME: None}, settings.journal_dir, limits, **urls)
        await asyncio.wait_for(recording, 30)


async def test_while_the_journal_has_no_room_nothing_is_read_and_nothing_is_lost(
    shared_data, settings, wait_until, monkeypatch
):
    room = []
    monkeypatch.setattr(JournalClient, "room", property(lambda _: bool(room)))
    venue = CoinM(shared_data / "captures" / "binance_coinm" / "btcusd_perp_20240808.gz", 500)
    routes = [web.get("/stream", venue.stream), web.get("/dapi/v1/exchangeInfo", venue.info)]
    async with serving([*routes, web.get("/dapi/v1/depth", venue.depth)]) as port:
        urls = {"url": f"ws://127.0.0.1:{port}", "rest_url": f"http://127.0.0.1:{port}"}
        limits, told = counted()
        recording = asyncio.create_task(
            record_venue(settings, "binance_coinm", {venue.NAME: None}, settings.journal_dir, limits, **urls)
        )
        await wait_until(lambda: recording.done() or venue.asked, 60)
        told.times = 0
        await wait_until(lambda: recording.done() or told.times == 3, 60)
        assert told.frames == 0
        room.append(True)
        await wait_until(lambda: recording.done() or told.frames >= venue.count, 60)
        limits.stop.set()
        await asyncio.wait_for(recording, 60)
    assert verify_journal(settings.journal_dir).gaps == 0


async def test_a_listing_that_ends_hides_no_change_of_the_others():
    def pair(name, decimals):
        return {"wsname": name, "pair_decimals": decimals, "lot_decimals": 8}

    listed = {"a": pair("XBT/USD", 1), "b": pair("ETH/USD", 2)}

    async def say(_):
        return web.json_response({"result": listed})

    names = {"BTC/USD": None, "ETH/USD": None, "SOL/USD": (3, 2)}
    async with (
        serving([web.get("/0/public/AssetPairs", say)]) as port,
        VenueRest("kraken", f"http://127.0.0.1:{port}") as rest,
    ):
        before = await instruments_of("kraken", names, rest)
        relist = Relisting(rest, names, before)
        assert not await relist.changed()
        del listed["a"]
        listed["b"] = pair("ETH/USD", 9)  # more than can be kept
        assert not await relist.changed()
        listed["b"] = pair("ETH/USD", 3)
        assert await relist.changed()
    assert [(one.symbol, one.version, one.price_digits) for one in relist.found] == [("ETH-USD", 2, 3)]
    for name in ("BTC/USD", "SOL/USD"):
        assert relist.instruments.get(name) == before.get(name)


async def test_orders_are_recorded_with_a_key_from_the_environment(order_flow, settings, wait_until, monkeypatch):
    """Level 3 of Coinbase: signed, begun with a fetched snapshot, journaled as a book that its chain proves."""
    flow = order_flow.Flow(7)
    market, clients, signed, sent = order_flow.Coinbase(flow, compact=False), [], [], 1

    async def stream(request):
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        signed.append(json.loads((await socket.receive()).data))
        await socket.send_str('{"type":"subscriptions","channels":[]}')
        clients.append(socket)
        await socket.receive()
        return socket

    async def book(_):
        return web.Response(body=market.snapshot())

    secret = "c2VjcmV0IG9mIGEgdGVzdA=="
    limits, told = counted()
    async with serving([web.get("/", stream), web.get(f"/products/{order_flow.NAME}/book", book)]) as port:
        urls = {"url": f"ws://127.0.0.1:{port}/", "rest_url": f"http://127.0.0.1:{port}"}
        names = {order_flow.NAME: (1, 1)}
        with pytest.raises(ValueError, match="BOT4_COINBASE_KEY, BOT4_COINBASE_SECRET, BOT4_COINBASE_PASSPHRASE"):
            await record_venue(settings, "coinbase_orders", names, settings.journal_dir, limits, **urls)
        for name, value in (("KEY", "a key"), ("SECRET", secret), ("PASSPHRASE", "a phrase")):
            monkeypatch.setenv(f"BOT4_COINBASE_{name}", value)
        settings = load(var=settings.var, account=settings.account, journal=settings.journal)
        recording = asyncio.create_task(
            record_venue(settings, "coinbase_orders", names, settings.journal_dir, limits, **urls)
        )
        await wait_until(lambda: recording.done() or told.live, 60)
        for _ in range(300):
            for frame in market.frames(flow.step()):
                await clients[0].send_str(frame.decode())
                sent += 1
        await wait_until(lambda: recording.done() or told.frames >= sent, 60)
        limits.stop.set()
        result = await asyncio.wait_for(recording, 60)
    assert signed[0]["key"] == "a key"
    assert {"signature", "passphrase", "timestamp"} <= signed[0].keys()
    assert result.counts["quarantined"] == {}
    proof = verify_journal(settings.journal_dir)
    assert proof.diffs > 100
    assert proof.ok, proof
    assert proof.links == proof.links_unbroken > 100
    assert proof.gaps == 0
    written = b"".join(path.read_bytes() for path in settings.var.rglob("*") if path.is_file())
    assert not [word for word in (secret, "a phrase", signed[0]["signature"]) if word.encode() in written]


COINS = (100_000_000, False)
ANSWERS = {
    # As each venue documents its answer, cut to what is read.
    "kraken": (
        "/0/public/AssetPairs",
        {"result": {"XXBTZUSD": {"wsname": "XBT/USD", "pair_decimals": 1, "lot_decimals": 8}}},
        "BTC/USD", (1, 8), COINS,
    ),
    "okx": (
        "/api/v5/public/instruments", {"data": [{
            "instId": "BTC-USDT-SWAP", "instType": "SWAP", "tickSz": "0.1", "lotSz": "0.01", "ctVal": "0.01",
            "ctMult": "1", "ctType": "linear",
        }]},
        "BTC-USDT-SWAP", (1, 2), (1_000_000, False),
    ),
    "deribit": (
        "/api/v2/public/get_instrument", {
            "result": {
                "tick_size": 0.5, "min_trade_amount": 10, "kind": "future", "instrument_type": "reversed",
                "contract_size": 10,
            }
        },
        "BTC-PERPETUAL", (1, 0), (100_000_000, True),
    ),
    "coinbase": (
        "/api/v3/brokerage/market/products/BTC-USD", {"price_increment": "0.01", "base_increment": "0.00000001"},
        "BTC-USD", (2, 8), COINS,
    ),
}  # fmt: skip


@pytest.mark.parametrize("venue", ANSWERS)
async def test_digits_and_contracts_are_those_that_the_venue_lists(venue):
    path, answer, name, wanted, contract = ANSWERS[venue]

    async def say(_):
        return web.json_response(answer)

    async with serving([web.get(path, say)]) as port, VenueRest(venue, f"http://127.0.0.1:{port}") as rest:
        found = (await instruments_of(venue, {name: None}, rest)).get(name)
        assert (found.price_digits, found.qty_digits) == wanted
        assert (found.contract_e8, found.inverse) == contract
        given = (await instruments_of(venue, {"OTHER": (3, 2)}, rest)).get("OTHER")
        assert (given.price_digits, given.qty_digits, given.tick_e8) == (3, 2, 100_000)
        if venue in ("kraken", "okx"):
            with pytest.raises(
                ValueError, match=r"does not list NO-SUCH at .*--symbol NO-SUCH=PRICE_DIGITS,SIZE_DIGITS"
            ):
                await instruments_of(venue, {"NO-SUCH": None}, rest)
        else:
            answer = {}  # what it says of it is no listing
            with pytest.raises((ValueError, ConnectionError), match=r"does not list|HTTP 404"):
                await instruments_of(venue, {"NO-SUCH": None}, rest)


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--venue", "kraken"], 2, "which instruments of kraken? name at least one with --symbol"),
        (
            ["--venue", "kraken", "--symbol", "BTC/USD"],
            1,
            "wss://ws.kraken.com/v2 is not on this machine; give --public",
        ),
        (
            ["--venue", "kraken", "--symbol", "BTC/USD", "--url", "ws://127.0.0.1:9"],
            1,
            "https://api.kraken.com is not on this machine; give --public",
        ),
        (["--venue", "okx", "--symbol", "BTC-USDT=1,x"], 2, "expected decimals of price and size, each 0 to 8"),
        (["--venue", "okx", "--symbol", "=1,2"], 2, "--symbol '=1,2' names no instrument"),
        (
            ["--venue", "kraken", "--symbol", "BTC/USD=1,8", "--url", "http://127.0.0.1:9"],
            1,
            "'http://127.0.0.1:9' is not the URL of a WebSocket",
        ),
        (["--venue", "okx", "--capture", "x"], 2, "a capture says itself of which venue it is"),
        (["--venue", "binance_spot", "--symbol", "BTCUSDT=2,5"], 1, "wss://stream.binance.com:9443 is not on this"),
        (["--rotate-s", "7"], 1, "BOT4_JOURNAL__ROTATE_S=7: does not divide a day"),
    ],
)
def test_what_is_refused_before_anything_is_opened(tmp_path, monkeypatch, arguments, code, words):
    monkeypatch.setenv("BOT4_VAR", str(tmp_path))
    result = CliRunner().invoke(record, arguments)
    if code == 1:
        assert isinstance(result.exception, ValueError)
        assert words in str(result.exception)
    else:
        assert result.exit_code == code
        assert words in result.output
    assert not (tmp_path / "paper").exists()
