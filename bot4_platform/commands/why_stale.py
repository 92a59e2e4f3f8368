"""`bot4 why-stale`: what is old, why, and what it holds up."""

from __future__ import annotations

import json
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import click

from bot4_platform.commands.common import account_options, settings_of


@click.command("why-stale")
@account_options
@click.option("--now", help="Judge as of this UTC time (ISO 8601), of the engine's clock, instead of now.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(account: str | None, var: Path | None, now: str | None, as_json: bool) -> None:
    """Say what data are old, why, and what they hold up.

    Goes by the time of the data, never by when an asset last ran: the journal's events and seals, the newest row of
    each lake table, the event times that the online store serves, and until when the model in use was trained. The
    cause is sought upstream in the asset graph: a source that stopped, a segment that was not sealed, an asset that
    was not computed though its inputs go on. How old each may be is declared in bot4_platform/staleness/rules.py.
    Dagster need not run.

    Exit code 1 when something that trading reads is stale: the journal's market, the online features, the model.
    """
    from bot4_platform.staleness.report import as_dict, lines, look

    settings = settings_of(account, var)
    report = look(settings, time.time_ns() if now is None else moment(now))
    if as_json:
        click.echo(json.dumps(as_dict(report)))
    else:
        for line in lines(report):
            click.echo(line)
    if report.blocks_trading:
        sys.exit(1)


def moment(text: str) -> int:
    """Return an ISO 8601 time, UTC unless it says otherwise, in ns. Raises ValueError (through click) for others."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise click.BadParameter(f"{text!r} is not a time; write 2024-08-08T12:00:00", param_hint="--now") from None
    found = found.replace(tzinfo=UTC) if found.tzinfo is None else found
    return int(found.timestamp()) * 10**9 + found.microsecond * 1000
