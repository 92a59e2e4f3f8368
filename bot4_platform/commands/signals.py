"""`bot4 signals`: what the signals of books and trades predict, out of sample."""

from __future__ import annotations

import json
import re
from functools import partial
from pathlib import Path

import click

from bot4_platform.commands.common import show


class Seconds(click.ParamType):
    """A time such as 500ms, 1s or 2.5 (seconds)."""

    name = "time"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return seconds."""
        parts = re.fullmatch(r"(\d+(?:\.\d+)?)(ms|s)?", str(value))
        if parts is None:
            self.fail(f"{value!r} is not a time; write 500ms or 1s", param, ctx)
        return float(parts[1]) / (1000 if parts[2] == "ms" else 1)


@click.command("signals")
@click.argument("captures", nargs=-1, type=click.Path(path_type=Path))
@click.option(
    "--horizon", type=Seconds(), default="1s", show_default=True, help="How far outcomes look: 500ms, 1s, 5s."
)
@click.option("--seed", type=int, default=20_240_808, show_default=True, help="Seed of the bootstrap.")
@click.option(
    "--report", type=click.Path(path_type=Path, dir_okay=False), help="Write an HTML page that reads offline."
)
@click.option(
    "--table", type=click.Path(path_type=Path, dir_okay=False), help="Write the figures into this Markdown file."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(
    captures: tuple[Path, ...], horizon: float, seed: int, report: Path | None, table: Path | None, as_json: bool
) -> None:
    """Judge what the signals of books and trades predict, out of sample.

    CAPTURES are Binance captures (`<ns> <json>` a line, plain or gzip) or journals' folders with markets of any venue;
    without any, the captures beside the project. The features are the engine's own. Signs, thresholds and scales come
    from the first half of each capture, the figures from the second, with block-bootstrap intervals and false-discovery
    control over all of them. docs/signals.md says what each signal is and what each figure means.
    """
    from bot4_platform.research.captures import default_captures
    from bot4_platform.research.market import read_markets
    from bot4_platform.research.page import render
    from bot4_platform.research.study import study
    from bot4_platform.research.table import write_table

    paths = list(captures) or default_captures()
    if not paths:
        raise click.ClickException(
            "no captures are beside the project (or under BOT4_SHARED_DATA); name one (`<ns> <json>` a line)"
        )
    markets = [market for path in paths for market in read_markets(path, partial(_tell_of, path.name))]
    found = study(markets, horizon, seed=seed, progress=show)
    show()
    if report is not None:
        report.write_text(render(found))
    if table is not None:
        write_table(found, table)
    if as_json:
        click.echo(json.dumps(found.as_dict()))
        return
    for capture in found.captures:
        click.echo(f"{capture.span}, horizon {horizon:g} s")
        for f in capture.findings:
            e = f.estimate
            figure = f"{e.value:+7.3f} [{e.low:+.3f}, {e.high:+.3f}]" if e is not None else "-"
            why = f.reason if e is None else f"n {f.effective:.0f}, q {f.q:.3f}"
            click.echo(f"  {f.signal.feature:<20} {f.signal.claim:<10} {figure:<26} {f.verdict}: {why}")
    for line in found.left_out:
        click.echo(f"left out: {line}")
    for line in found.as_dict()["cannot_show"]:
        click.echo(f"- {line}")


def _tell_of(name: str, stage: str, n: int) -> None:
    """Show how far the reading of a capture is."""
    show(f"{name}: {stage}: {n:,}")
