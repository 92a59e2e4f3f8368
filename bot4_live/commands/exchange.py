"""`bot4 exchange`: the simulated exchange in a process of its own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from bot4_live.simulation.exchange import Exchange

FILE = click.Path(path_type=Path)


@click.command("exchange")
@click.option("--capture", type=FILE, help="Recorded market: `<ns> <json>` lines of Binance USD-M, plain or gzip.")
@click.option("--seed", type=int, help="Generated market of this seed (without a capture; 1 by default).")
@click.option("--duration", type=float, default=3600.0, show_default=True, help="Of a generated market, seconds.")
@click.option("--also", default="0", help="Further symbols to follow: how many, or names (ETHUSDT,...); generated.")
@click.option("--past-days", type=click.IntRange(0, 3660), default=90, show_default=True, help="Of generated past.")
@click.option("--outages", is_flag=True, help="Put seeded outages into the generated past: minutes without candles.")
@click.option("--candles", type=FILE, help="Past candles from a CSV file: `time_ms,open,high,low,close,volume`.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--allow-remote", is_flag=True, help="Permit a host that is not loopback.")
@click.option("--port", type=click.IntRange(0, 65535), default=8411, show_default=True, help="0 takes any free one.")
@click.option("--speed", type=click.FloatRange(0.001, 1000), default=1.0, show_default=True, help="Of market time.")
@click.option("--paused", is_flag=True, help="Begin with market time standing still.")
@click.option("--from-ns", type=int, help="Begin here: original exchange time.")
@click.option("--until-ns", type=int, help="Pause there by itself: original exchange time.")
@click.option("--shift-ms", type=int, help="Added to every event time; by default the market begins now.")
@click.option("--accounts", type=FILE, help="JSON {api_key: {secret, account, balance}}.")
@click.option("--bad-frames", type=FILE, help="JSON list of {after_frame, raw, reason} to send between good frames.")
@click.option("--faults", type=FILE, help="JSON of faults to commit (see bot4_live/simulation/faults.py).")
@click.option("--weight-limit", type=click.IntRange(1), help="Request weight a minute before 429.")
def command(
    capture: Path | None,
    seed: int | None,
    duration: float,
    also: str,
    past_days: int,
    outages: bool,
    candles: Path | None,
    host: str,
    allow_remote: bool,
    port: int,
    speed: float,
    paused: bool,
    from_ns: int | None,
    until_ns: int | None,
    shift_ms: int | None,
    accounts: Path | None,
    bad_frames: Path | None,
    faults: Path | None,
    weight_limit: int | None,
) -> None:
    """Serve the simulated exchange (Binance USD-M's protocol) on loopback.

    When it listens, one line of JSON on stdout gives `rest`, `ws`, `port`, `shift_ns`, `market_ns` and `symbol`. It
    runs until SIGINT or SIGTERM. Market time is changed at POST /bot4/clock with the token of BOT4_EXCHANGE_TOKEN.
    """
    import asyncio

    from bot4_live.simulation import bad_frames as bad
    from bot4_live.simulation.accounts import load_accounts
    from bot4_live.simulation.exchange import Exchange
    from bot4_live.simulation.faults import FaultPlan
    from bot4_live.simulation.further import listings
    from bot4_live.simulation.source import capture_source, generated_source

    if capture is not None and seed is not None:
        raise click.UsageError("give --capture or --seed, not both")
    if not _is_loopback(host) and not allow_remote:
        raise click.ClickException(f"{host} is not loopback; add --allow-remote to serve others than this machine")
    source = capture_source(capture) if capture is not None else generated_source(seed or 1, duration)
    keys, held = load_accounts(accounts, source.instrument) if accounts is not None else ({}, {})
    exchange = Exchange(
        source,
        keys,
        held,
        speed_milli=round(speed * 1000),
        paused=paused,
        from_ns=from_ns,
        until_ns=until_ns,
        shift_ms=shift_ms,
        bad_frames=bad.load(bad_frames) if bad_frames is not None else None,
        faults=FaultPlan.load(faults) if faults is not None else None,
        weight_limit=weight_limit,
        also=listings(also),
        also_seed=seed or 1,
        past_days=past_days,
        outage_seed=(seed or 1) if outages else None,
        candles=candles,
    )
    asyncio.run(_serve(exchange, host, port))


def _is_loopback(host: str) -> bool:
    from ipaddress import ip_address

    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


async def _serve(exchange: Exchange, host: str, port: int) -> None:
    """Serve until a signal, or until the market cannot be read on."""
    import asyncio
    import json
    import os
    import signal

    from bot4_live.simulation.server import Server

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    async with Server(exchange, os.environ.get("BOT4_EXCHANGE_TOKEN", ""), host, port) as server:
        ready = {"rest": server.rest_url, "ws": server.ws_url, "port": server.port, "pid": os.getpid()}
        click.echo(json.dumps(ready | exchange.clock()))
        market = asyncio.create_task(server.wait())
        stopped = asyncio.create_task(stop.wait())
        done, _ = await asyncio.wait({market, stopped}, return_when=asyncio.FIRST_COMPLETED)
        if market in done:
            market.result()
        stopped.cancel()
