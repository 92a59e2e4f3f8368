"""`bot4 history`: exchange history by ccxt into the lake, and what it lacks."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bot4_platform.commands.common import account_options, settings_of, show

if TYPE_CHECKING:
    from bot4_live.settings import Settings
    from bot4_platform.sources.progress import Progress

KINDS = ("candles", "trades", "funding")
MARKET = click.option("--market", help="venue:SYMBOL [the first of BOT4_PLATFORM__MARKETS].")
JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")


@click.group("history")
def command() -> None:
    """Fetch candles, trades and funding of a venue's past; list its gaps.

    Binance USD-M is asked at BOT4_REST_URL, which is the simulated exchange unless you say otherwise; other venues at
    their own addresses, by ccxt. docs/sources.md says what is checked, and what a gap's cause means.
    """


@command.command("fetch")
@MARKET
@click.option("--from", "first", type=click.DateTime(["%Y-%m-%d"]), help="First day, UTC [--days before the last].")
@click.option("--to", "last", type=click.DateTime(["%Y-%m-%d"]), help="Last day, UTC [the venue's yesterday].")
@click.option("--days", type=click.IntRange(1, 3660), default=30, show_default=True, help="How many, without --from.")
@click.option("--kind", "kinds", type=click.Choice(KINDS), multiple=True, help="What; several times [candles].")
@account_options
@JSON
def fetch(
    market: str | None, first: datetime | None, last: datetime | None, days: int, kinds: tuple[str, ...],
    var: Path | None, account: str | None, as_json: bool,
) -> None:  # fmt: skip
    """Bring days of history into the lake; a call that was stopped goes on where it was."""
    from bot4_live.clock import day_of
    from bot4_platform.sources.errors import SourceUnavailable
    from bot4_platform.sources.exchange.backfill import backfill, open_client

    settings, lake, name = _where(var, account, market)
    client = open_client(name, settings)
    try:
        end = last.date() if last else date.fromisoformat(day_of(client.now_ns())) - timedelta(1)
        begin = first.date() if first else end - timedelta(days - 1)
        if begin > end:
            raise click.UsageError(f"--from {begin} is after {end}")
        wanted = [(begin + timedelta(n)).isoformat() for n in range((end - begin).days + 1)]
        done = backfill(lake, client, name, wanted, kinds or ("candles",), tell=_tell)
    except SourceUnavailable as error:
        hint = f" (asked at {client.endpoint}, which is BOT4_REST_URL: is it there?)" if client.endpoint else ""
        raise click.ClickException(f"{error}{hint}") from None
    finally:
        client.close()
        show()
    if as_json:
        click.echo(json.dumps(done.as_dict()))
        return
    click.echo(f"{name}: {wanted[0]} to {wanted[-1]}: {done.rows} new rows by {done.requests} requests")
    click.echo(f"{done.gaps} gaps, {done.rejected} quarantined (`bot4 history gaps` lists the gaps)")


@command.command("gaps")
@MARKET
@click.option("--most", type=click.IntRange(0), default=50, show_default=True, help="Gaps to print; 0 prints all.")
@account_options
@JSON
def gaps(market: str | None, most: int, var: Path | None, account: str | None, as_json: bool) -> None:
    """List the minutes that the candles of a market lack: first, last, how many, why."""
    from bot4_platform.sources.exchange.gaps import report

    _, lake, name = _where(var, account, market)
    found = report(lake, name)
    if as_json:
        rows = [gap.row() for gap in found.gaps]
        head: dict[str, Any] = {"market": name, "days": found.days, "candles": found.candles, "minutes": found.minutes}
        click.echo(json.dumps(head | {"gaps": rows, "unasked_days": list(found.unasked_days)}))
        return
    click.echo(f"{name}: {found.candles} candles of {found.days} days; {len(found.gaps)} gaps, {found.minutes} minutes")
    for gap in found.gaps[: most or None]:
        click.echo(f"  {_minute(gap.first_ns)} to {_minute(gap.last_ns)}  {gap.minutes:>6} min  {gap.cause}")
    if most and len(found.gaps) > most:
        click.echo(f"  ... and {len(found.gaps) - most} more (--most 0)")
    for day in found.unasked_days:
        click.echo(f"  {day} was never fetched")


def _where(var: Path | None, account: str | None, market: str | None) -> tuple[Settings, Any, str]:
    """Return the account's settings, its lake, and the market."""
    from bot4_platform.lake import Lake
    from bot4_platform.settings import platform_settings

    settings = settings_of(account, var)
    return settings, Lake(settings.lake_dir), market or platform_settings().markets[0]


def _minute(ns: int) -> str:
    return f"{datetime.fromtimestamp(ns // 1_000_000_000, UTC):%Y-%m-%d %H:%M}"


def _tell(progress: Progress) -> None:
    show(f"{datetime.now(UTC):%H:%M:%S} {progress}")
