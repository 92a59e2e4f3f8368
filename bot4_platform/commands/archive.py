"""`bot4 archive`: what is older than the local window goes to S3."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import click

from bot4_platform.commands.common import account_options, settings_of, show


@click.command("archive")
@click.option("--dry-run", is_flag=True, help="Only say what would be moved.")
@click.option("--bring-back", "back", is_flag=True, help="Put the archived segments of the journal back instead.")
@account_options
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(dry_run: bool, back: bool, account: str | None, var: Path | None, as_json: bool) -> None:
    """Move days and segments older than the local window to S3.

    BOT4_PLATFORM__ARCHIVE__BUCKET, ENDPOINT, ACCESS_KEY, SECRET_KEY, DAYS (160 or more) say where and what. Each file
    is removed here only after its upload was read back; an old day that is read by name is fetched again by itself.
    """
    from bot4_platform.archive.move import archive, bring_back
    from bot4_platform.settings import platform_settings

    settings = settings_of(account, var)
    where = platform_settings().archive
    if back:
        paths = bring_back(settings, where, progress=show)
        click.echo(json.dumps([str(path) for path in paths]) if as_json else f"{len(paths)} files are back")
        return
    moved = archive(settings, where, dry_run=dry_run, progress=show)
    if as_json:
        click.echo(json.dumps({"dry_run": dry_run, "files": [asdict(one) for one in moved]}))
        return
    for one in moved:
        click.echo(f"{one.what}: {one.size} bytes" + (f", {one.rows} rows" if one.rows else ""))
    done = "would be moved" if dry_run else "moved"
    click.echo(f"{done}: {len(moved)} files, {sum(one.size for one in moved) / 2**20:.1f} MiB")
