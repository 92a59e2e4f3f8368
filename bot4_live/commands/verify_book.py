"""`bot4 verify-book`: the books of a capture or a journal against what their venues say of them."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click


@click.command("verify-book")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--keep-whole", is_flag=True, help="Of a damaged capture of Binance, prove what is whole.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(file: Path, keep_whole: bool, as_json: bool) -> None:
    """Prove the order book of a capture or journal against its best quotes.

    FILE is a journal's folder: the books of its records, of all venues, against its best quotes, the links of its
    updates, and the checksums in its raw log. Or it is a capture, recognised by its content. Binance (`<ns> <json>` a
    line, plain or gzip): after every depth diff the book's best bid and ask, price and size, must equal the bookTicker
    in force at that update id. Other venues: their checksums must be ours, each update must follow the one it names,
    and the best prices of tickers must be those of the book, where these can be ordered. Exit code 1 when something
    differs, an update is missing or a book is crossed.
    """
    file.stat()  # a wrong path is said before the compiled code is loaded
    from bot4_live.market.venues.verify import venue_of, verify_venue_capture
    from bot4_live.market.verify import verify_capture
    from bot4_live.market.verify_journal import verify_journal

    result: Any
    kind = None if file.is_dir() or keep_whole else venue_of(file)
    if file.is_dir():
        result = verify_journal(file, progress=_tell)
    elif kind is not None:
        result = verify_venue_capture(file, kind, progress=_tell)
    else:
        result = verify_capture(file, keep_whole=keep_whole, progress=_tell)
    if sys.stderr.isatty():
        click.echo("\r\033[K", nl=False, err=True)
    if as_json:
        click.echo(json.dumps(asdict(result) | {"ok": result.ok}))
    else:
        best_quotes = kind is None and not file.is_dir()
        proven = (
            "every compared best quote is matched"
            if best_quotes
            else "every checksum, link of ids and best quote that was compared holds"
        )
        _table(asdict(result), proven, good=result.ok)
    if not result.ok:
        sys.exit(1)


def _tell(stage: str, frames: int) -> None:
    """Show progress, on a terminal only."""
    if sys.stderr.isatty():
        click.echo(f"\r\033[K{stage}: {frames:,}", nl=False, err=True)


def _table(result: dict[str, Any], proven: str, *, good: bool) -> None:
    mismatch, damage = result.pop("first_mismatch"), result.pop("damage", None)
    for name, value in result.items():
        shown = "-" if value is None else value if isinstance(value, str) else f"{value:,.0f}"
        click.echo(f"{name.replace('_', ' '):<20} {shown:>14}")
    if damage is not None:
        click.echo(f"damaged: {damage}", err=True)
    if mismatch is not None:
        click.echo(f"first mismatch: {json.dumps(mismatch)}")
    click.echo(proven if good else "the book is NOT proven", err=not good)
