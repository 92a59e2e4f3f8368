"""`bot4 dbt`: the marts' documentation and the age of their sources."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path

import click

from bot4_platform.commands.common import account_options, settings_of


@click.group("dbt")
def command() -> None:
    """Document the marts and say how old their sources are.

    The marts themselves are assets: Dagster builds them (`bot4 platform`), from dbt/ in the project.
    """


@command.command("docs")
@account_options
def docs(account: str | None, var: Path | None) -> None:
    """Write dbt's documentation as one page that reads offline, and say where it is."""
    from bot4_platform.dbt_runner import write_docs
    from bot4_platform.settings import dbt_docs_dir

    settings = settings_of(account, var)
    click.echo(write_docs(dbt_docs_dir(settings), settings.root / "dbt"))


@command.command("freshness")
@click.argument("day")
@click.argument("market")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@account_options
def freshness(day: str, market: str, as_json: bool, account: str | None, var: Path | None) -> None:
    """Say how old the data of the sources of DAY (YYYY-MM-DD) and MARKET (venue:SYMBOL) are.

    Age is of the newest event, against now or, once the day is over, its end. Exit code 1 when one is too old
    (15 minutes warn, 24 hours are an error).
    """
    from bot4_platform.dbt_runner import freshness as look
    from bot4_platform.lake import Lake
    from bot4_platform.partitions import parse_key

    settings, part = settings_of(account, var), parse_key(f"{day}|{market}")
    lake = Lake(settings.lake_dir)
    tables = [name for name in ("trades", "quotes", "depth", "features") if lake.exists(name, *part)]
    if not tables:
        raise FileNotFoundError(f"the lake {lake.root} has nothing of {market} on {day}: materialize the asset trades")
    found = look(lake.root, *part, settings.root / "dbt", tables=tables)
    if as_json:
        click.echo(json.dumps({one.table: asdict(one) for one in found}))
    else:
        for one in found:
            click.echo(f"{one.status:8} {one.table:10} {one.age_s:10.1f} s  newest {one.newest} {one.message}")
    if any(one.status != "pass" for one in found):
        sys.exit(1)
