"""`bot4 db`: the schema of the database behind the services profile."""

from __future__ import annotations

import json

import click


@click.group("db")
def command() -> None:
    """Prepare and inspect the database of the services profile.

    Where it is: BOT4_PLATFORM__POSTGRES__HOST, _PORT, _USER, _PASSWORD, _DATABASE. With TimescaleDB on the server the
    candles are continuous aggregates; on plain PostgreSQL they are views (docs/timescale.md).
    """


@command.command("migrate")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def migrate(as_json: bool) -> None:
    """Create the databases and apply the migrations that are pending.

    Safe to run again and from two places at once; a migration that fails leaves nothing of itself.
    """
    from bot4_platform.settings import platform_settings
    from bot4_platform.timescale.migrate import migrate as run

    def tell(line: str) -> None:
        click.echo(line, err=True)

    _show(run(platform_settings().postgres, progress=tell), as_json)


@command.command("status")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def status(as_json: bool) -> None:
    """Show which migrations the database has and which are pending."""
    from bot4_platform.settings import platform_settings
    from bot4_platform.timescale.migrate import read_status

    _show(read_status(platform_settings().postgres), as_json)


def _show(found: object, as_json: bool) -> None:
    from bot4_platform.timescale.migrate import Status

    assert isinstance(found, Status)
    if as_json:
        names = {"applied": [item.name for item in found.applied], "pending": [item.name for item in found.pending]}
        click.echo(json.dumps({"engine": found.engine, **names}))
        return
    click.echo(f"engine: {found.engine}")
    for item in found.applied:
        click.echo(f"  applied  {item.name}")
    for item in found.pending:
        click.echo(f"  pending  {item.name}")
    if found.pending:
        click.echo("run `bot4 db migrate`")
