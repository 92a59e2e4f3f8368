"""`bot4 bus`: the journal's events as topics, published to Kafka or followed from here."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bot4_platform.commands.common import account_options, settings_of, show

if TYPE_CHECKING:
    from bot4_platform.bus.bridge import Bridge

TOPICS = ("MarketData", "Signals", "Orders", "Fills", "Risk", "System")


@click.group("bus")
def command() -> None:
    """Follow the journal's events as topics, here or through Kafka.

    The topics are MarketData, Signals, Orders, Fills, Risk and System. A bridge follows the journal of a session or a
    recording while it is written; the engine knows nothing of it. Without brokers (BOT4_PLATFORM__BUS__BROKERS) `tail`
    runs the bridge in its own process; with them one `publish` an account feeds Kafka, and any number of consumers
    follow. Order holds within a market (MarketData) or an account (all others). Messages come at least once; an event
    is named by its account and seq. docs/bus.md describes the messages.
    """


@command.command()
@account_options
@click.option("--from", "begin", type=click.IntRange(min=1), help="Publish again from this event on.")
@click.option("--once", is_flag=True, help="End when the journal is published and acknowledged.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object at the end.")
def publish(account: str | None, var: Path | None, begin: int | None, once: bool, as_json: bool) -> None:
    """Publish an account's journal to Kafka, until SIGINT or SIGTERM.

    Goes on behind the last acknowledged event, also after kill -9. While no broker answers it waits, ever longer, and
    catches up: the journal is the buffer. One process an account publishes; a second one is refused.
    """
    from bot4_platform.bus.service import kafka_bridge, until_signalled
    from bot4_platform.bus.service import publish as run
    from bot4_platform.settings import platform_settings

    settings, bus = settings_of(account, var), platform_settings().bus
    if not bus.brokers:
        raise click.ClickException(
            "there are no brokers to publish to: set BOT4_PLATFORM__BUS__BROKERS=host:port, or follow the journal from "
            "here with `bot4 bus tail`"
        )
    if once and not any(settings.journal_dir.glob("seg-*.b4j")):
        raise click.ClickException(f"there is no journal in {settings.journal_dir} to publish: record or trade first")
    with until_signalled() as stop:
        bridge = kafka_bridge(settings, bus, begin)
        run(bridge, stop, _tell, once=once)
    _tell(bridge, "")
    counts = bridge.counts
    if as_json:
        click.echo(json.dumps(vars(counts) | {"complete": not bridge.waiting}))
    else:
        show()
        click.echo(
            f"published {counts.messages:,} messages; every event up to {counts.acknowledged_seq:,} is acknowledged "
            f"({counts.omitted} too large, header only; {counts.restarts} fresh starts)"
        )


@command.command()
@click.argument("topics", nargs=-1, type=click.Choice(TOPICS, case_sensitive=False))
@account_options
@click.option("--from-start", is_flag=True, help="Begin with the oldest message there is, not with what is new.")
@click.option("--group", help="Go on where this group stopped; members of one group share the partitions.")
@click.option(
    "--into", type=click.Path(path_type=Path, file_okay=False),
    help="Append to <topic>-<partition>.jsonl in this folder, each message once, whatever is killed; wants --group.",
)  # fmt: skip
@click.option("--limit", type=click.IntRange(min=1), help="End after this many messages.")
@click.option("--idle", type=click.FloatRange(min=0.1), help="End when nothing came for so many seconds.")
def tail(
    topics: tuple[str, ...], account: str | None, var: Path | None, from_start: bool, group: str | None,
    into: Path | None, limit: int | None, idle: float | None,
) -> None:  # fmt: skip
    """Print TOPICS as JSON lines, until SIGINT or SIGTERM; without any, all but MarketData.

    Prices are ticks, quantities lots, times ns, each by its name. What cannot be read is put aside with its reason in
    var/<account>/bus/quarantine.jsonl.

    \b
    bot4 bus tail Orders Fills | jq -c '[.kind, .order_id, .price]'
    bot4 bus tail MarketData --from-start --limit 10
    bot4 bus tail Fills --group bookkeeping --into fills/
    """
    import re

    from bot4_platform.bus.files import JsonFiles, JsonLines
    from bot4_platform.bus.service import consume, source_of, until_signalled
    from bot4_platform.settings import platform_settings

    if into and not group:
        raise click.UsageError("--into wants --group NAME: what it has must be remembered under a name")
    if group is not None and not re.fullmatch(r"[A-Za-z0-9._-]{1,60}", group):
        raise click.UsageError("--group takes letters, digits, dots, underscores and hyphens, 60 at most")
    if group and from_start:
        raise click.UsageError("--group goes on where it stopped; --from-start is for a look without a group")
    if group and limit and not into:
        raise click.UsageError("--limit is for a look without a group, whose further messages would be lost to it")
    settings, bus = settings_of(account, var), platform_settings().bus
    sink = JsonFiles(into) if into else JsonLines(sys.stdout.buffer, limit)
    wanted = topics or TOPICS[1:]
    with until_signalled() as stop, source_of(settings, bus, wanted, group, from_start=from_start) as source:
        taken = consume(source, sink, settings, stop, limit=limit, idle_s=idle)
    if taken.quarantined:
        click.echo(
            f"{taken.quarantined} messages could not be read: see {settings.root}/bus/quarantine.jsonl", err=True
        )


def _tell(bridge: Bridge, trouble: str) -> None:
    """Show how far a bridge is, on a terminal; trouble always."""
    text = f"published {bridge.counts.messages:,}, acknowledged up to event {bridge.counts.acknowledged_seq:,}"
    show(f"{text}{'; ' if trouble else ''}{trouble}")
    if trouble and not sys.stderr.isatty():
        click.echo(trouble, err=True)
