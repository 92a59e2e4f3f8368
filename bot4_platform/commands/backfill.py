"""`bot4 backfill`: assets for a range of days, resumable."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bot4_platform.commands.common import account_options, settings_of, show

if TYPE_CHECKING:
    from bot4_platform.operations.backfill import Progress

SHOWN = 10


@click.command("backfill")
@click.argument("selection")
@click.option("--from", "first", required=True, help="First UTC day, e.g. 2024-08-08.")
@click.option("--to", "last", required=True, help="Last UTC day, included.")
@click.option("--market", "markets", multiple=True, help="venue:SYMBOL; may come several times [all of the settings].")
@click.option("--again", is_flag=True, help="Make also what this backfill made before.")
@account_options
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(
    selection: str, first: str, last: str, markets: tuple[str, ...], again: bool, account: str | None, var: Path | None,
    as_json: bool,
) -> None:  # fmt: skip
    """Make assets for a range of days, and go on where it stopped.

    SELECTION is in Dagster's syntax. Partitions run one after the other, in this process and without a daemon, each as
    a run of its own that `bot4 platform` shows; then what is not partitioned runs once. A partition that fails is told
    and the rest goes on. Called again, also after kill -9, it makes what is not made yet; a new version of an asset's
    code makes all of it anew. Market days that nobody recorded are passed over. Exit code 1 when something failed.

    \b
    bot4 backfill 'group:"lake" or group:"candles"' --from 2024-08-01 --to 2024-08-31
    bot4 backfill '+key:"features"' --from 2024-08-08 --to 2024-08-08 --market binance_usdm:BTCUSDT
    """
    from bot4_platform.operations.backfill import backfill, days_between
    from bot4_platform.settings import platform_settings

    settings = settings_of(account, var)
    days = days_between(first, last)
    found = backfill(selection, days, markets or platform_settings().markets, settings, again=again, progress=_tell)
    show()
    if as_json:
        click.echo(json.dumps(vars(found) | {"complete": found.complete}))
    else:
        click.echo(
            f"{len(found.made)} of {found.parts} parts made in {found.seconds:.0f} s, {len(found.done_before)} were "
            f"there, {len(found.without_data)} were not recorded, {len(found.failed)} failed"
        )
        for name in found.failed_checks[:SHOWN]:
            click.echo(f"  check failed: {name}")
        for name, why in list(found.failed.items())[:SHOWN]:
            click.echo(f"  {name}: {why}")
        if found.failed:
            click.echo("what failed is tried again by the same command")
    if not found.complete:
        sys.exit(1)


def _tell(progress: Progress) -> None:
    """Show how far it is; a line a part where nobody looks at a terminal."""
    left = f", {progress.left_s:.0f} s left" if progress.left_s is not None else ""
    text = f"{progress.done}/{progress.parts} {progress.current} {progress.step}{left}"
    show(text)
    if not progress.step and not sys.stderr.isatty():
        click.echo(text, err=True)
