"""`bot4 sql`: questions to the lake."""

from __future__ import annotations

import sys
from datetime import datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING

import click

from bot4_platform.commands.common import account_options, settings_of

if TYPE_CHECKING:
    from bot4_platform.sql.session import Session

HELP = """\
.tables         name the tables
.schema TABLE   name a table's columns
.quit           end (also Ctrl-D)
Anything else is SQL, ended by a semicolon."""


@click.command("sql")
@click.argument("query", required=False)
@click.option("-f", "--file", type=click.File(), help="Ask what is in this file (- is standard input).")
@click.option("--json", "form", flag_value="json", help="Print an array of objects.")
@click.option("--csv", "form", flag_value="csv", help="Print CSV.")
@click.option("--rows", type=click.IntRange(0), default=100, show_default=True, help="Rows of a table; 0 for all.")
@click.option("--since", type=click.DateTime(["%Y-%m-%d"]), help="Fetch archived days too, from this one on.")
@click.option("--memory", type=click.IntRange(64), default=2048, show_default=True, help="Memory it may use, in MB.")
@account_options
def command(
    query: str | None, file: IO[str] | None, form: str | None, rows: int, memory: int,
    since: datetime | None, account: str | None, var: Path | None,
) -> None:  # fmt: skip
    """Ask the lake in SQL: every table is a view; nothing can be written.

    \b
      bot4 sql "select day, market, count(*), sum(qty) from trades group by all order by all"
      bot4 sql "select time, bid_px, ask_px from quotes_quoted where day = '2024-08-08' limit 5"
      bot4 sql --csv -f question.sql > answer.csv

    Without a query on a terminal it prompts (.tables, .schema TABLE, .quit); otherwise it reads standard input.
    Columns `day` and `market` leave files out before they are read. <table>_quoted has prices in quote currency.
    Days in the archive are left out, with a line that says so; --since fetches those of the tables in the question.
    docs/data.md lists the tables' columns.
    """
    from bot4_platform.lake import Lake
    from bot4_platform.sql.session import open_session

    if query and file:
        raise click.UsageError("give a query or --file, not both")
    settings = settings_of(account, var)
    text = query
    if text is None and (file or not sys.stdin.isatty()):
        text = (file or sys.stdin).read()
    if text is None and since:
        raise click.UsageError("--since needs a question: it fetches the archived days of the tables named there")
    from_day = since.date().isoformat() if since else ""
    with open_session(Lake(settings.lake_dir), memory_mb=memory, since=from_day, of=text or "") as session:
        if text is None:
            _prompt(session, form, rows)
            return
        _answer(session, text, form, rows)


def _answer(session: Session, text: str, form: str | None, rows: int) -> None:
    from bot4_platform.sql import printing
    from bot4_platform.sql.session import named

    for table in sorted(named(text, session.left_out)):
        days = session.left_out[table]
        click.echo(
            f"left out of {table}: {len(days)} archived days, {days[0]} to {days[-1]}; --since DAY fetches them",
            err=True,
        )
    for answer in session.ask(text):
        if form == "json":
            printing.print_json(answer, sys.stdout)
        elif form == "csv":
            printing.print_csv(answer, sys.stdout)
        else:
            printing.print_table(answer, sys.stdout, rows)


def _prompt(session: Session, form: str | None, rows: int) -> None:
    import readline  # noqa: F401 - gives input() its history and editing

    click.echo(f"{len(session.tables)} tables in {session.lake.root}; .help says what can be typed here")
    waiting: list[str] = []
    while True:
        try:
            line = input("   ... " if waiting else "bot4> ")
        except EOFError:
            click.echo()
            return
        except KeyboardInterrupt:
            click.echo()
            waiting.clear()
            continue
        word, _, rest = line.strip().partition(" ")
        if not waiting and word in (".quit", ".exit"):
            return
        if not waiting and word in (".help", ".tables"):
            click.echo(HELP if word == ".help" else "\n".join(session.tables))
            continue
        if not waiting and word == ".schema":
            _try(session, f'describe "{rest.strip()}"', None, 0)
            continue
        waiting.append(line)
        if line.rstrip().endswith(";"):
            _try(session, "\n".join(waiting), form, rows)
            waiting.clear()
        elif not "".join(waiting).strip():
            waiting.clear()


def _try(session: Session, text: str, form: str | None, rows: int) -> None:
    try:
        _answer(session, text, form, rows)
    except ValueError as error:
        click.echo(str(error), err=True)
    except KeyboardInterrupt:
        session.interrupt()
        click.echo("stopped", err=True)
