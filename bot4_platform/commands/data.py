"""`bot4 data`: a user's own history into the lake and out of it."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bot4_platform.commands.common import account_options, settings_of, show

if TYPE_CHECKING:
    from bot4_platform.lake import Lake
    from bot4_platform.own_history.importing import Report

KIND = click.Choice(["candles", "trades", "quotes"])


@click.group("data")
def command() -> None:
    """Import and export history files: candles, trades, quotes.

    CSV (also .csv.gz), Parquet and Feather, in the one schema that docs/data.md describes.
    """


@command.command("import")
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--kind", type=KIND, required=True, help="What the rows are.")
@click.option("--market", required=True, help="venue:SYMBOL, e.g. binance_spot:ETHBTC.")
@click.option("--interval", help="Of candles: 1m, 5m, 1h, 1d ...")
@click.option("--tick", help="Smallest step of a price, where the lake does not know the instrument.")
@click.option("--lot", help="Smallest step of a quantity, likewise.")
@click.option("--map", "mapped", multiple=True, metavar="OURS=THEIRS", help="A column by another name; repeatable.")
@click.option("--time-format", help="strftime pattern of the time, where it is neither ISO 8601 nor an epoch.")
@click.option("--skip-lines", type=click.IntRange(0), default=0, help="Lines of a CSV before its header.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@account_options
def import_command(
    file: Path, kind: str, market: str, interval: str | None, tick: str | None, lot: str | None,
    mapped: tuple[str, ...], time_format: str | None, skip_lines: int, as_json: bool, account: str | None,
    var: Path | None,
) -> None:  # fmt: skip
    """Take a history file into the lake.

    Decimals become ticks and lots exactly: a row with a digit more than the instrument has is rejected. Rejected rows
    go into the table source_quarantine with their line and a reason, gaps between candles are reported and never
    filled, and importing a file again adds nothing. Exit code 1 when no row was good.
    """
    from bot4_platform.own_history.importing import Source, import_file
    from bot4_platform.own_history.layout import KINDS, interval_s
    from bot4_platform.own_history.steps import versions_of

    if (kind == "candles") != (interval is not None):
        raise click.UsageError("--interval goes with candles, and candles need it (e.g. --interval 1m)")
    columns = dict(_pair(text) for text in mapped)
    unknown = sorted(set(columns) - set(KINDS[kind].columns))
    if unknown:
        raise click.UsageError(f"--map {unknown[0]}=...: {kind} have the columns {', '.join(KINDS[kind].columns)}")
    lake = _lake(account, var)
    source = Source(
        file, kind, _market(market), columns, interval_s(interval) if interval else 0, time_format, skip_lines
    )
    report = import_file(lake, source, versions_of(lake, market, tick, lot), now_ns=time.time_ns(), progress=_tell)
    _tell("", 1.0)
    if as_json:
        click.echo(json.dumps(report.as_dict()))
    else:
        _show(report)
    if not (report.new or report.already_there):
        raise click.ClickException(f"{file}: no row of it could be imported")


@command.command("export")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--kind", type=KIND, required=True, help="What the rows are.")
@click.option("--market", required=True, help="venue:SYMBOL.")
@click.option("--interval", help="Of candles: 1m, 5m, 1h, 1d ...")
@click.option("--from", "first", default="", help="First day, YYYY-MM-DD.")
@click.option("--to", "last", default="9999", help="Last day, YYYY-MM-DD.")
@account_options
def export_command(
    file: Path, kind: str, market: str, interval: str | None, first: str, last: str, account: str | None,
    var: Path | None,
) -> None:  # fmt: skip
    """Write imported history to FILE, by its name's end as CSV, Parquet or Feather.

    Importing it again gives the same rows, and exporting those the same bytes.
    """
    from bot4_platform.own_history.exporting import export_file
    from bot4_platform.own_history.layout import interval_s

    if (kind == "candles") != (interval is not None):
        raise click.UsageError("--interval goes with candles, and candles need it (e.g. --interval 1m)")
    rows = export_file(
        _lake(account, var), file, kind, _market(market), interval_s=interval_s(interval) if interval else 0,
        first_day=first, last_day=last, progress=_tell,
    )  # fmt: skip
    _tell("", 1.0)
    click.echo(f"{file}: {rows:,} rows")


def _lake(account: str | None, var: Path | None) -> Lake:
    from bot4_platform.lake import Lake

    return Lake(settings_of(account, var).lake_dir)


def _market(text: str) -> str:
    import re

    from bot4_platform.settings import MARKET

    if not re.fullmatch(MARKET, text):
        raise click.UsageError(f"--market {text}: write venue:SYMBOL, e.g. binance_spot:ETHBTC")
    return text


def _pair(text: str) -> tuple[str, str]:
    ours, equal, theirs = text.partition("=")
    if not (ours and equal and theirs):
        raise click.UsageError(f"--map {text}: write OURS=THEIRS, e.g. time=date")
    return ours, theirs


def _show(report: Report) -> None:
    click.echo(
        f"{report.file}: {report.rows:,} rows, {report.new:,} new in {report.table} of {report.market}, "
        f"{report.already_there:,} already there, {report.repeated:,} repeated"
    )
    if report.first:
        click.echo(f"from {report.first} to {report.last}, {report.days:,} days")
    if report.gaps:
        click.echo(f"{len(report.gaps):,} gaps, {report.missing:,} candles missing (none is filled); the first:")
        for gap in report.gaps[:5]:
            click.echo(f"  {gap.missing:,} after {gap.after}")
    if report.rejected:
        counts = ", ".join(f"{rule} {count:,}" for rule, count in sorted(report.rejected.items()))
        click.echo(f"rejected, kept in source_quarantine: {counts}; the first:")
        for line in report.examples:
            click.echo(f"  {line}")


def _tell(text: str, done: float) -> None:
    show(text and f"{done:4.0%}  {text}")
