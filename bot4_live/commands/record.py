"""`bot4 record`: a market into the journal, from a capture or from the exchange."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from bot4_live.settings import Settings


VENUES = (
    "binance_usdm", "binance_spot", "binance_coinm", "kraken", "okx", "coinbase", "deribit", "kraken_orders",
    "coinbase_orders",
)  # fmt: skip


@dataclass(frozen=True)
class _Job:
    settings: Settings
    journal: Path
    until_ns: int | None


@click.command("record")
@click.option("--venue", type=click.Choice(VENUES), default=VENUES[0], show_default=True, help="Whose market.")
@click.option(
    "--symbol", "symbols", multiple=True, metavar="NAME[=PRICE,SIZE]",
    help="An instrument by the venue's name; may be repeated. PRICE,SIZE: its decimals, else the venue is asked.",
)  # fmt: skip
@click.option("--public", is_flag=True, help="Connect to the venue itself, for public market data only.")
@click.option("--url", help="WebSocket address instead of the venue's; one that is not local needs --public.")
@click.option("--rest-url", help="REST address instead of the venue's; one that is not local needs --public.")
@click.option("--capture", type=click.Path(path_type=Path), help="Import this capture instead of recording live.")
@click.option("--keep-whole", is_flag=True, help="Import what is whole of a damaged capture.")
@click.option("--journal", type=click.Path(path_type=Path), help="Journal folder [the account's].")
@click.option("--seconds", type=click.FloatRange(min=0, min_open=True), help="Stop after this much real time.")
@click.option("--until", help="Stop at this original market time: ns since 1970, or ISO 8601 in UTC.")
@click.option("--segment-mb", type=int, help="Begin a new segment at this size, MiB [BOT4_JOURNAL__SEGMENT_MB].")
@click.option("--rotate-s", type=int, help="And every so many seconds of market time [BOT4_JOURNAL__ROTATE_S].")
@click.option("--fsync", help="When it is made durable: batch, interval, rotation [BOT4_JOURNAL__FSYNC].")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object at the end.")
def command(
    venue: str,
    symbols: tuple[str, ...],
    public: bool,
    url: str | None,
    rest_url: str | None,
    capture: Path | None,
    keep_whole: bool,
    journal: Path | None,
    seconds: float | None,
    until: str | None,
    segment_mb: int | None,
    rotate_s: int | None,
    fsync: str | None,
    as_json: bool,
) -> None:
    """Journal a market from a venue or a capture.

    Without more it records the simulated exchange of BOT4_REST_URL and BOT4_WS_URL, in its market time. With --public
    it takes public market data from a venue: `bot4 record --venue kraken --symbol BTC/USD --symbol ETH/USD --public`;
    no key is used, but for kraken_orders and coinbase_orders, which send every order by its id (level 3) and want a
    token or key from the environment: a missing one is named. It ends when --seconds or --until are over, or SIGINT or
    SIGTERM ask it to; the journal is sealed either way, and the next recording goes on in it. `bot4 feeds` shows how it
    goes.
    """
    from bot4_live.settings import load

    given = {"segment_mb": segment_mb, "rotate_s": rotate_s, "fsync": fsync}
    own = {name: value for name, value in given.items() if value is not None}
    settings = load(**({"journal": own} if own else {}))
    job = _Job(settings, journal or settings.journal_dir, _market_time(until))
    live = bool(symbols or public or url or rest_url or venue != VENUES[0])
    if capture is not None:
        if seconds is not None:
            raise click.UsageError("--seconds is real time; a capture is imported at once: use --until")
        if live:
            raise click.UsageError("a capture says itself of which venue it is; leave out --venue and its options")
        result = _import(job, capture, keep_whole)
    elif live:
        if not symbols:
            raise click.UsageError(f"which instruments of {venue}? name at least one with --symbol")
        names = dict(map(_symbol, symbols))
        result = _record(job, seconds, venue=venue, names=names, url=url, rest_url=rest_url, public=public)
    else:
        result = _record(job, seconds)
    _clear()
    if as_json:
        click.echo(json.dumps(result | {"journal": str(job.journal)}))
    else:
        _summary(result, job.journal)


def _symbol(text: str) -> tuple[str, tuple[int, int] | None]:
    name, equals, digits = text.partition("=")
    if not name:
        raise click.UsageError(f"--symbol {text!r} names no instrument")
    if not equals:
        return name, None
    price, _, size = digits.partition(",")
    if not (price.isdecimal() and size.isdecimal() and int(price) <= 8 and int(size) <= 8):
        raise click.UsageError(f"--symbol {text}: expected decimals of price and size, each 0 to 8, e.g. {name}=1,8")
    return name, (int(price), int(size))


def _import(job: _Job, capture: Path, keep_whole: bool) -> dict[str, Any]:
    capture.stat()  # a wrong path is said before the compiled code is loaded
    from bot4_live.instrument import BTCUSDT_USDM
    from bot4_live.market.import_capture import import_capture, instrument_in
    from bot4_live.market.venues.verify import venue_of

    venue = venue_of(capture) if not keep_whole else None
    stopped: list[int] = []
    with _signals(lambda: stopped.append(1)):
        result = import_capture(
            capture,
            job.journal,
            BTCUSDT_USDM if venue is not None else instrument_in(capture, keep_whole=keep_whole),
            account=job.settings.account,
            venue=venue,
            keep_whole=keep_whole,
            until_ns=job.until_ns,
            liquidation_usd=job.settings.liquidation_usd,
            settings=job.settings.public(),
            progress=lambda n: _tell(f"{n:,} frames imported"),
            stop=lambda: bool(stopped),
        )
    if result.damage:
        _clear()
        click.echo(f"bot4: {result.damage}", err=True)
    return asdict(result) | {"source": f"capture:{capture.name}", "stopped": bool(stopped)}


def _record(job: _Job, seconds: float | None, **venue: Any) -> dict[str, Any]:
    import uvloop

    from bot4_live.instrument import BTCUSDT_USDM
    from bot4_live.market.feed_core import FeedCore
    from bot4_live.market.recording import Limits, record_exchange, record_venue

    if not venue and job.settings.symbol != BTCUSDT_USDM.symbol:
        raise ValueError(f"only {BTCUSDT_USDM.symbol} can be recorded of the exchange, not {job.settings.symbol}")
    FeedCore(BTCUSDT_USDM, lambda _: None)  # compiled now: with the first frames it would keep the loop from reading

    async def main() -> dict[str, Any]:
        limits = Limits(seconds, job.until_ns, progress=lambda *now: _tell(_line(*now)))
        with _signals(limits.stop.set, asyncio.get_running_loop()):
            if venue:
                result = await record_venue(job.settings, journal_dir=job.journal, limits=limits, **venue)
            else:
                result = await record_exchange(job.settings, BTCUSDT_USDM, job.journal, limits)
        return asdict(result) | {"stopped": limits.stop.is_set()}

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as loop:
        return loop.run(main())


@contextlib.contextmanager
def _signals(act: Any, loop: asyncio.AbstractEventLoop | None = None) -> Iterator[None]:
    """Let SIGINT and SIGTERM ask for a clean stop; a second one of them interrupts as usual."""
    before: dict[int, Any] = {}
    for number in (int(signal.SIGINT), int(signal.SIGTERM)):
        before[number] = signal.getsignal(number)

        def handler(got: int, _frame: object) -> None:
            signal.signal(got, before[got])
            if loop is not None:
                loop.call_soon_threadsafe(act)
            else:
                act()

        signal.signal(number, handler)
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)


def _market_time(text: str | None) -> int | None:
    if text is None:
        return None
    if text.isdigit():
        return int(text)
    try:
        moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        raise click.UsageError(f"--until {text}: expected ns since 1970 or a time like 2024-08-09T00:00:00") from None
    if moment.tzinfo is None:
        moment = datetime.fromisoformat(text + "+00:00")
    return int(moment.timestamp()) * 1_000_000_000 + moment.microsecond * 1000


def _line(frames: int, live: int, books: int, market_ns: int) -> str:
    from datetime import UTC

    at = datetime.fromtimestamp(market_ns / 1e9, UTC).strftime("%Y-%m-%d %H:%M:%S")
    return f"{at}  {frames:,} frames  {live} of {books} books live"


def _tell(text: str) -> None:
    if sys.stderr.isatty():
        click.echo(f"\r\033[K{text}", nl=False, err=True)


def _clear() -> None:
    if sys.stderr.isatty():
        click.echo("\r\033[K", nl=False, err=True)


def _summary(result: dict[str, Any], journal: Path) -> None:
    counts = result["counts"]
    click.echo(f"{counts['frames']:,} frames from {result['source']} in {journal}, up to seq {result['last_seq']:,}")
    for name, n in counts["events"].items():
        click.echo(f"  {name:<16} {n:>10,}")
    for name, n in counts["quarantined"].items():
        click.echo(f"  quarantined: {name:<16} {n:>10,}")
    for name, n in counts["stale"].items():
        click.echo(f"  book stale: {name:<16} {n:>10,}")
