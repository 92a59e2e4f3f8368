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


@dataclass(frozen=True)
class _Job:
    settings: Settings
    journal: Path
    until_ns: int | None


@click.command("record")
@click.option("--capture", type=click.Path(path_type=Path), help="Import this capture instead of recording live.")
@click.option("--keep-whole", is_flag=True, help="Import what is whole of a damaged capture.")
@click.option("--journal", type=click.Path(path_type=Path), help="Journal folder [the account's].")
@click.option("--seconds", type=click.FloatRange(min=0, min_open=True), help="Stop after this much real time.")
@click.option("--until", help="Stop at this original market time: ns since 1970, or ISO 8601 in UTC.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object at the end.")
def command(
    capture: Path | None,
    keep_whole: bool,
    journal: Path | None,
    seconds: float | None,
    until: str | None,
    as_json: bool,
) -> None:
    """Journal a market from a venue or a capture.

    Without --capture it records the exchange of BOT4_REST_URL and BOT4_WS_URL (loopback only for now) until
    --seconds or --until are over, or SIGINT or SIGTERM ask it to stop; the journal is sealed either way.
    """
    from bot4_live.settings import load

    settings = load()
    job = _Job(settings, journal or settings.journal_dir, _market_time(until))
    if capture is not None:
        if seconds is not None:
            raise click.UsageError("--seconds is real time; a capture is imported at once: use --until")
        result = _import(job, capture, keep_whole)
    else:
        result = _record(job, seconds)
    _clear()
    if as_json:
        click.echo(json.dumps(result | {"journal": str(job.journal)}))
    else:
        _summary(result, job.journal)


def _import(job: _Job, capture: Path, keep_whole: bool) -> dict[str, Any]:
    from bot4_live.market.import_capture import import_capture
    from bot4_live.market.venues.verify import venue_of

    stopped: list[int] = []
    with _signals(lambda: stopped.append(1)):
        result = import_capture(
            capture,
            job.journal,
            account=job.settings.account,
            venue=venue_of(capture) if not keep_whole else None,
            keep_whole=keep_whole,
            until_ns=job.until_ns,
            settings=job.settings.public(),
            progress=lambda n: _tell(f"{n:,} frames imported"),
            stop=lambda: bool(stopped),
        )
    if result.damage:
        _clear()
        click.echo(f"bot4: {result.damage}", err=True)
    return asdict(result) | {"source": f"capture:{capture.name}", "stopped": bool(stopped)}


def _record(job: _Job, seconds: float | None) -> dict[str, Any]:
    from bot4_live.instrument import BTCUSDT_USDM
    from bot4_live.market.recording import record_exchange

    if job.settings.symbol != BTCUSDT_USDM.symbol:
        raise ValueError(f"only {BTCUSDT_USDM.symbol} can be recorded for now, not {job.settings.symbol}")

    async def main() -> dict[str, Any]:
        stop = asyncio.Event()
        with _signals(stop.set, asyncio.get_running_loop()):
            result = await record_exchange(
                job.settings,
                BTCUSDT_USDM,
                job.journal,
                seconds=seconds,
                until_ns=job.until_ns,
                stop=stop,
                progress=lambda core, ns: _tell(_line(core.counts.as_dict(), core.live, ns)),
            )
        return asdict(result) | {"stopped": stop.is_set()}

    return asyncio.run(main())


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


def _line(counts: dict[str, Any], live: bool, market_ns: int) -> str:
    from datetime import UTC

    at = datetime.fromtimestamp(market_ns / 1e9, UTC).strftime("%Y-%m-%d %H:%M:%S")
    return f"{at}  {counts['frames']:,} frames  book {'live' if live else 'stale'}"


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
