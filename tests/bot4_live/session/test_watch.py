"""Watched instruments against the simulated exchange: their names, their books, and changes of their filters."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from bot4_live.clock import MarketClock
from bot4_live.events import Kind, StaleCause, header_of
from bot4_live.instrument import BTCUSDT_USDM
from bot4_live.market.public import PublicApi
from bot4_live.runner import Options, Runner
from bot4_live.session.watch import Watch, watched_instruments
from bot4_live.settings import Settings, load
from bot4_live.settings_errors import WrongSettings
from bot4_live.simulation.exchange import Exchange
from bot4_live.simulation.further import LISTED, listings
from bot4_live.simulation.payloads import exchange_info
from bot4_live.simulation.server import Server
from bot4_live.simulation.source import generated_source

NAMES = ("SOLUSDT", "ETHUSDT")
INFO = exchange_info([BTCUSDT_USDM, *(one.instrument(n) for n, one in enumerate(LISTED, 1))], 0)


class Rows:
    """Takes what a session's core would take."""

    def __init__(self, clock: MarketClock) -> None:
        self.clock = clock
        self.records: list[np.ndarray] = []
        self.journal = SimpleNamespace(room=True, append_raw=lambda *_: len(self.records))

    def on_watched(self, record: np.ndarray) -> None:
        self.records.append(record.copy())

    def of(self, kind: Kind) -> list[np.void]:
        return [head for record in self.records if (head := header_of(record))["kind"] == kind]


async def until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, what
        await asyncio.sleep(0.005)


@asynccontextmanager
async def watching() -> AsyncIterator[tuple[Watch, Rows, Exchange, list[str]]]:
    """Watch two symbols of an exchange in which the market runs ten times as fast."""
    exchange = Exchange(generated_source(3, 120.0), {}, {}, speed_milli=10_000, also=listings(",".join(NAMES)))
    async with Server(exchange) as server, PublicApi(server.rest_url, "BTCUSDT") as public:
        rows = Rows(MarketClock(exchange.now_ns(), time.monotonic_ns(), 10_000))
        remarks: list[str] = []
        info = exchange_info(exchange.instruments, exchange.now_ms())
        watched = watched_instruments(Settings(watch=",".join(NAMES)), info, BTCUSDT_USDM)
        watch = Watch(
            watched, rows, server.ws_url, public.depth,  # type: ignore[arg-type]
            quiet=lambda: False, remark=remarks.append,
        )  # fmt: skip
        task = asyncio.create_task(watch.run())
        try:
            await until(lambda: all(core.live for core in watch.cores.values()), "the books are not in use")
            yield watch, rows, exchange, remarks
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def test_their_records_carry_their_numbers_and_their_books_are_the_exchanges() -> None:
    async with watching() as (watch, rows, exchange, _):
        assert [core.instrument.id for core in watch.cores.values()] == [1, 2]
        exchange.set_clock(speed_milli=None, paused=True, until_ns=None)
        exchange.catch_up()
        for name, core in watch.cores.items():
            book = exchange.further[name.upper()].book
            await until(lambda c=core, b=book: c.last_update_id == b.last_id, "not all diffs came")
            assert core.counts.quarantined == {}
            assert core.counts.stale[StaleCause.GAP] == 0
        assert {int(header_of(record)["instrument"]) for record in rows.records} == {1, 2}
        status = watch.pool.status()
        assert [row.name for row in status.connections] == ["watch-0"]
        assert {channel.name for channel in status.connections[0].channels} >= {"depth ethusdt", "depth solusdt"}


async def test_while_the_journal_has_no_room_nothing_is_read_and_nothing_is_lost() -> None:
    async with watching() as (watch, rows, exchange, _):
        books = {name: exchange.further[name.upper()].book for name in watch.cores}
        rows.journal.room = False

        async def more(diffs: int) -> None:
            then = {name: book.last_id for name, book in books.items()}
            await until(
                lambda: all(book.last_id > then[name] + diffs for name, book in books.items()), "nothing is sent"
            )

        await more(20)  # what one read of the socket brought is still taken
        known = len(rows.records)
        await more(100)
        assert len(rows.records) == known, "something was read"
        exchange.set_clock(speed_milli=None, paused=True, until_ns=None)
        exchange.catch_up()
        rows.journal.room = True
        for name, core in watch.cores.items():
            await until(lambda c=core, b=books[name]: c.last_update_id == b.last_id, "not all diffs came")
            assert core.counts.stale[StaleCause.GAP] == 0


async def test_who_waits_for_room_can_be_stopped() -> None:
    async with watching() as (watch, rows, exchange, _):
        book = exchange.further["ETHUSDT"].book
        rows.journal.room = False
        last = book.last_id
        await until(lambda: book.last_id > last + 100, "nothing is sent")
        assert watch.cores["ethusdt"].last_update_id < book.last_id


async def test_a_change_of_tick_is_an_event_and_the_book_comes_back() -> None:
    async with watching() as (watch, rows, exchange, remarks):
        core = watch.cores["ethusdt"]
        watch.compare(exchange_info(exchange.instruments, exchange.now_ms()))
        assert rows.of(Kind.INSTRUMENT) == remarks == []
        finer = replace(core.instrument, tick_e8=core.instrument.tick_e8 // 10, price_digits=3)
        watch.compare(exchange_info([finer, exchange.further["SOLUSDT"].instrument], exchange.now_ms()))
        (told,) = rows.of(Kind.INSTRUMENT)
        assert (int(told["instrument"]), int(told["inst_version"])) == (2, 2)
        assert core.counts.stale[StaleCause.INSTRUMENT] == 1
        assert remarks == ["watched: ETHUSDT version 2"]
        await until(lambda: core.live, "the book did not come back")
        snapshots = [int(head["inst_version"]) for head in rows.of(Kind.DEPTH_SNAPSHOT) if head["instrument"] == 2]
        assert snapshots == [1, 2]


async def test_a_symbol_that_is_no_longer_listed_is_said_once() -> None:
    async with watching() as (watch, _, exchange, remarks):
        for _ in range(2):
            watch.compare(exchange_info([exchange.further["SOLUSDT"].instrument], exchange.now_ms()))
        assert remarks == ["watched: ETHUSDT is not listed at this venue; name a symbol that is"]


def test_unknown_symbols_are_one_line() -> None:
    assert watched_instruments(Settings(), INFO, BTCUSDT_USDM) == []
    with pytest.raises(ValueError, match=r"^BOT4_WATCH: NOPEUSDT is not listed at this venue"):
        watched_instruments(Settings(watch="ETHUSDT,NOPEUSDT"), INFO, BTCUSDT_USDM)
    halted: Any = exchange_info([LISTED[0].instrument(1)], 0)
    halted["symbols"][0]["status"] = "SETTLING"
    with pytest.raises(ValueError, match=r"^BOT4_WATCH: ETHUSDT is SETTLING"):
        watched_instruments(Settings(watch="ETHUSDT"), halted, BTCUSDT_USDM)


def test_the_setting_is_a_list_of_symbols(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BOT4_WATCH", "ETHUSDT, SOLUSDT,ETHUSDT")
    assert load().watched == ("ETHUSDT", "SOLUSDT")
    monkeypatch.setenv("BOT4_WATCH", "")
    assert load().watched == ()
    monkeypatch.setenv("BOT4_WATCH", "eth-usdt")
    with pytest.raises(WrongSettings, match=r"BOT4_WATCH.*'eth-usdt' is no symbol"):
        load()


def test_the_traded_symbol_is_not_watched(tmp_path: Any) -> None:
    settings = Settings(var=tmp_path, watch="BTCUSDT", api_key="k", api_secret="s")
    with pytest.raises(ValueError, match="BOT4_WATCH names BTCUSDT, which is traded"):
        Runner(settings, Options()).prepare()
