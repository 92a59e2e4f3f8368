"""`bot4 feeds`: how the market data of running processes is, and what was quarantined in a journal."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from bot4_live.market.feed_status import Shown

NOTHING = "nothing takes market data for {whom}: start `bot4 record` or `bot4 live`"


@click.command("feeds")
@click.option("--all", "everyone", is_flag=True, help="Every account of this user, not only that of BOT4_ACCOUNT.")
@click.option("--once", is_flag=True, help="Show it once (so it is anyway when the output is no terminal).")
@click.option("--every", type=click.FloatRange(min=0.1), default=1.0, show_default=True, help="Seconds between looks.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object, once.")
@click.option("--quarantine", type=click.Path(path_type=Path), help="List a journal's quarantined frames.")
@click.option("--last", type=click.IntRange(min=1), default=20, show_default=True, help="How many of them, the newest.")
def command(everyone: bool, once: bool, every: float, as_json: bool, quarantine: Path | None, last: int) -> None:
    """Show the feeds of running processes: rates, ages, gaps, offsets.

    Recorders and live sessions of the account: each connection and channel with its rate, its age and the 99.9th
    percentile of its gaps; books that are stale and why; frames quarantined by rule; the clock's offset and how far it
    may be off; the journal. On a terminal it is refreshed in place until Ctrl-C. Exit code 1 when nothing runs.
    """
    if quarantine is not None:
        _quarantine(quarantine, last, as_json)
        return
    from bot4_live.settings import load

    settings = load()
    whom = "any account" if everyone else f"account {settings.account}"

    def folders() -> list[Path]:
        home = settings.shm_dir
        return sorted(home.parent.glob(f"bot4-{os.getuid()}-*")) if everyone else [home]

    found = _look(folders)
    if as_json:
        click.echo(json.dumps({"processes": [one.as_dict() for one in found]}))
    elif not found:
        raise click.ClickException(NOTHING.format(whom=whom))
    elif once or not sys.stdout.isatty():
        _print(found)
    else:
        _follow(folders, every, whom)
    if not any(one.state == "running" for one in found):
        sys.exit(1)


def _look(folders: Callable[[], list[Path]]) -> list[Shown]:
    from bot4_live.market.feed_status import shown

    return shown(folders())


def _print(found: list[Shown]) -> None:
    from bot4_live.market.feed_table import lines

    for line in lines(found):
        click.echo(line)


def _follow(folders: Callable[[], list[Path]], every: float, whom: str) -> None:
    """Show it in place: each line over the one before, what is left below cleared."""
    from bot4_live.market.feed_table import lines

    click.echo("\033[2J", nl=False)
    try:
        while True:
            found = _look(folders)
            text = lines(found) or [NOTHING.format(whom=whom)]
            height = max(os.get_terminal_size().lines - 1, 1)
            click.echo("\033[H" + "".join(f"{line}\033[K\n" for line in text[:height]) + "\033[J", nl=False)
            time.sleep(every)
    except KeyboardInterrupt:
        return


def _quarantine(folder: Path, last: int, as_json: bool) -> None:
    from bot4_live.market.quarantine import quarantined

    counts, frames = quarantined(folder, last)
    if as_json:
        click.echo(json.dumps({"counts": counts, "frames": [frame.as_dict() for frame in frames]}))
        return
    if not counts:
        click.echo(f"no frame in {folder} was quarantined")
    for market, rules in counts.items():
        for rule, n in rules.items():
            click.echo(f"{market}  {rule:<20} {n:>10,}")
    for frame in frames:
        click.echo(f"seq {frame.seq:,}  {frame.time}  {frame.market}  {frame.rule}  {frame.text()}")
