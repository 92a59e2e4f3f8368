"""`bot4 kill`: what the button does, from a shell."""

from __future__ import annotations

import json
import sys

import click


@click.command()
@click.option("--json", "as_json", is_flag=True, help="print the kill's record as JSON")
def command(as_json: bool) -> None:
    """Stop trading now: cancel all, flatten, confirm.

    Asks nothing. The watchdog executes it; where none answers within a second, this command does. Exit code 1 when
    it could not be confirmed that no order and no position is left.
    """
    from bot4_live import settings as configuration
    from bot4_live.safety.operator import Operator

    record = Operator(configuration.load(), create=True).kill(lambda text: click.echo(f"kill: {text}", err=True))
    if as_json:
        click.echo(json.dumps(record))
    elif record.get("confirmed"):
        click.echo(
            f"no order and no position left: flat after {record['flat_ms']:.0f} ms, {record['kill_ms']:.0f} ms in all"
        )
        click.echo("trading stays off until: bot4 mode rearm --confirm ACCOUNT")
    if not record.get("confirmed"):
        click.echo("NOT confirmed: orders or a position may be left at the venue; look there now", err=True)
        sys.exit(1)
