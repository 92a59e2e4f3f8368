"""`bot4 mode`: show the control mode, ask for another, re-arm."""

from __future__ import annotations

import json
import sys

import click

ACTIONS = ("show", "pause", "reduce", "normal", "rearm")


@click.command()
@click.argument("action", type=click.Choice(ACTIONS), default="show")
@click.option("--reason", default="", help="why; goes into the audit trail")
@click.option("--confirm", default="", metavar="ACCOUNT", help="authorises rearm: the account's name")
@click.option("--json", "as_json", is_flag=True, help="print JSON")
def command(action: str, reason: str, confirm: str, as_json: bool) -> None:
    """Show or change the control mode; re-arm after an emergency.

    PAUSE opens nothing; REDUCE only shrinks; both are at once and stay until `normal` is asked for, which waits for a
    cooldown. After EMERGENCY only `rearm` helps. Exit code 1 when refused.
    """
    from bot4_live import settings as configuration
    from bot4_live.clock import boottime_ns
    from bot4_live.events import Mode
    from bot4_live.safety.operator import Operator

    settings = configuration.load()
    operator = Operator(settings)
    if action == "show":
        status = operator.status()
        if not operator.watched() or not status:
            raise click.ClickException(f"account {settings.account} has no watchdog; start one: bot4 watchdog")
        if as_json:
            click.echo(json.dumps(status))
            return
        click.echo(f"{status['mode']}  ({status['reason']}; by {status['by']}; arming epoch {status['arming_epoch']})")
        left = (status["normal_barred_until_ns"] - boottime_ns()) / 1e9
        if status["mode"] in ("REDUCE", "PAUSE"):
            way = "returns to NORMAL by itself" if status["returns_to_normal"] else "NORMAL may be asked for"
            click.echo(f"{way} {f'after {left:.0f} s of calm' if left > 0 else 'now'}")
        for warning in status["warnings"].values():
            click.echo(f"warning: {warning}")
        return
    if action == "rearm":
        answer = operator.rearm(confirm, reason)
    else:
        answer = operator.change_mode(Mode[action.upper()], reason)
    click.echo(json.dumps(answer) if as_json else answer["text"])
    if not answer["granted"]:
        sys.exit(1)
