"""`bot4 quarantine`: frames that the feed refused, and releasing those that were refused wrongly."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bot4_platform.commands.common import account_options, settings_of

if TYPE_CHECKING:
    from bot4_live.settings import Settings

SHOWN = 90


@click.group("quarantine")
@account_options
@click.pass_context
def command(context: click.Context, account: str | None, var: Path | None) -> None:
    """List, show and release frames that the feed refused.

    The lake's quarantine has each refused frame with its bytes, the rule that caught it and when it came. A release
    writes an override (who, why) into a chained trail and rebuilds ticks and candles of that partition; features and
    training keep the feed's verdict, and nothing is edited in place. `revoke` takes it back.
    """
    context.obj = settings_of(account, var)


@command.command("list")
@click.option("--market", help="Only of this market (venue:SYMBOL).")
@click.option("--day", help="Only what was received on this UTC day (YYYY-MM-DD).")
@click.option("--rule", help="Only what this rule caught, such as OUTLIER.")
@click.option("--state", type=click.Choice(["held", "released"]), help="Only what is held, or released.")
@click.option("--last", type=click.IntRange(min=1), default=50, show_default=True, help="The newest so many.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.pass_obj
def listing(
    settings: Settings, market: str | None, day: str | None, rule: str | None, state: str | None, last: int,
    as_json: bool,
) -> None:  # fmt: skip
    """List refused frames, the newest last."""
    from bot4_platform.quarantine.frames import readable
    from bot4_platform.quarantine.release import quarantined
    from bot4_platform.reporting import when

    rows = [
        row
        for row in quarantined(settings, market, day)
        if (rule is None or row["rule"] == rule.upper()) and state in (None, row["state"])
    ]
    if as_json:
        click.echo(json.dumps({"count": len(rows), "frames": [plain(row) for row in rows[-last:]]}))
        return
    for row in rows[-last:]:
        click.echo(
            f"{row['seq']:>12}  {when(row['first_seen'])}  {row['market']}  {row['rule']:<18} {row['state']:<9}"
            f"{readable(row['raw'], SHOWN)}"
        )
    click.echo(f"{len(rows):,} frames" + (f", the newest {last} shown" if len(rows) > last else ""))


@command.command("show")
@click.argument("seq", type=int)
@click.option("--market", help="The market, where several have a frame of that seq.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.pass_obj
def show(settings: Settings, seq: int, market: str | None, as_json: bool) -> None:
    """Show a frame whole: its bytes, what it would be as a tick, and who released or took it back."""
    from bot4_platform.quarantine.frames import NotReleasable, readable
    from bot4_platform.quarantine.overrides import history
    from bot4_platform.quarantine.release import find, outcome
    from bot4_platform.reporting import when

    row = find(settings, seq, market)
    lines = history(settings, row["market"], seq)
    try:
        tick = outcome(settings, row)
        would: dict[str, Any] = {"table": tick.table, "day": tick.day, "row": tick.row}
    except NotReleasable as refused:
        would = {"refused": str(refused)}
    if as_json:
        told = [{k: line[k] for k in ("event", "by", "time", "why")} for line in lines]
        click.echo(json.dumps(plain(row) | {"as_a_tick": would, "history": told}))
        return
    click.echo(f"{row['market']} seq {seq}, received {when(row['first_seen'])}: {row['rule']}, {row['state']}")
    click.echo(readable(row["raw"], 4000))
    if "refused" in would:
        click.echo(f"cannot be released: {would['refused']}")
    else:
        click.echo(f"as a tick of {would['table']} on {would['day']}: {would['row']}")
    for line in lines:
        click.echo(f"{line['time']}  {line['event']}  by {line['by']}: {line['why']}")


@command.command("release")
@click.argument("seqs", nargs=-1, required=True, type=int)
@click.option("--why", required=True, help="Why it was refused wrongly; kept with the release.")
@click.option("--who", help="Who releases it [operator:USER].")
@click.option("--market", help="The market, where several have a frame of that seq.")
@click.pass_obj
def release(settings: Settings, seqs: tuple[int, ...], why: str, who: str | None, market: str | None) -> None:
    """Release frames by their seq: they enter ticks and candles.

    Refused, with the reason and nothing changed, when a frame cannot be parsed, could not be a tick, or is there
    already; and taken back when the rebuilt partition fails a blocking check.
    """
    from bot4_live.safety.audit import operator
    from bot4_platform.quarantine.release import find
    from bot4_platform.quarantine.release import release as put

    _said(put(settings, [find(settings, seq, market) for seq in seqs], who or operator(), why), "released")


@command.command("revoke")
@click.argument("seqs", nargs=-1, required=True, type=int)
@click.option("--why", required=True, help="Why the release is taken back.")
@click.option("--who", help="Who takes it back [operator:USER].")
@click.option("--market", help="The market, where several have a frame of that seq.")
@click.pass_obj
def revoke(settings: Settings, seqs: tuple[int, ...], why: str, who: str | None, market: str | None) -> None:
    """Take releases back: ticks and candles are as the feed judged again."""
    from bot4_live.safety.audit import operator
    from bot4_platform.quarantine.release import find
    from bot4_platform.quarantine.release import revoke as take_back

    _said(take_back(settings, [find(settings, seq, market) for seq in seqs], who or operator(), why), "taken back")


def _said(parts: list[Any], what: str) -> None:
    names = ", ".join(f"{part.market} on {part.day}" for part in parts)
    click.echo(f"{what}; rebuilt ticks and candles of {names}" if parts else "nothing to do: it is so already")


def plain(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row for JSON, its bytes in base64 (they may be anything)."""
    return {key: value for key, value in row.items() if key != "raw"} | {
        "raw_base64": base64.b64encode(row["raw"]).decode()
    }
