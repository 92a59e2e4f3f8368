"""`bot4 verify-book`: snapshot and diffs against the venue's best quotes."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path

import click


@click.command("verify-book")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(file: Path, as_json: bool) -> None:
    """Prove the order book of a capture against its best quotes.

    FILE is a capture of Binance frames, `<ns> <json>` a line, plain or gzip. After every depth diff the book's best
    bid and ask, price and size, must equal the bookTicker in force at that update id. Tick and lot are inferred from
    the data. Exit code 1 when something differs, a diff is missing or the book is crossed.
    """
    from bot4_live.market.verify import verify_capture

    result = verify_capture(file, progress=_tell)
    if sys.stderr.isatty():
        click.echo("\r\033[K", nl=False, err=True)
    if as_json:
        click.echo(json.dumps(asdict(result) | {"ok": result.ok}))
    else:
        _table(asdict(result))
    if not result.ok:
        sys.exit(1)


def _tell(stage: str, frames: int) -> None:
    """Show progress, on a terminal only."""
    if sys.stderr.isatty():
        click.echo(f"\r\033[K{stage}: {frames:,} frames", nl=False, err=True)


def _table(result: dict[str, object]) -> None:
    mismatch = result.pop("first_mismatch")
    for name, value in result.items():
        shown = f"{value:,.0f}" if isinstance(value, float) else f"{value:,}"
        click.echo(f"{name.replace('_', ' '):<20} {shown:>14}")
    if mismatch is not None:
        click.echo(f"first mismatch: {json.dumps(mismatch)}")
    good = result["compared"] and result["matched"] == result["compared"]
    click.echo("every compared best quote is matched" if good else "the book is NOT proven", err=not good)
