"""`bot4 replay`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click


@click.command()
@click.argument("journal", type=click.Path(path_type=Path))
@click.option(
    "--models", type=click.Path(path_type=Path), help="Folder of model bundles (default: `models` beside the journal)."
)
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def command(journal: Path, models: Path | None, as_json: bool) -> None:
    """Run a journal's events through the engine and compare the commands.

    Exits with 1 when they differ, and names the first event whose commands do.
    """
    from bot4_live.replay import replay

    result = replay(journal, models, progress=lambda line: click.echo(line, err=True))
    if as_json:
        click.echo(json.dumps(result.as_dict()))
    else:
        verdict = "identical" if result.identical else f"DIFFERENT from seq {result.first_difference} on"
        click.echo(f"{result.events} events, {result.commands} commands ({result.journaled} journaled): {verdict}")
        click.echo(f"sha256 {result.sha256}")
    if not result.identical:
        sys.exit(1)
