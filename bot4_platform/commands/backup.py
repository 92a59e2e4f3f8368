"""`bot4 backup`: everything under var/ into a folder store."""

from __future__ import annotations

import json
from pathlib import Path

import click

from bot4_platform.commands.common import VAR, settings_of, show


@click.command("backup")
@click.argument("store", type=click.Path(path_type=Path, file_okay=False))
@click.option("--account", "accounts", multiple=True, help="Only this account (may be given again) [all under var].")
@VAR
@click.option("--keep", type=click.IntRange(min=0), default=0, help="Keep only the newest so many backups [all].")
@click.option("--verify", is_flag=True, help="Read what the store has already before relying on it; mend it.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(store: Path, accounts: tuple[str, ...], var: Path | None, keep: int, verify: bool, as_json: bool) -> None:
    """Back up everything under var/: journals, lake, models, databases, state.

    STORE is a folder, best on another disk. Only what it does not have yet is written, so a backup a day costs a day.
    Sessions, Dagster and MLflow may run meanwhile. Keys are never in it; what was left out is said. `bot4 restore`
    brings it back; docs/backup.md says what a backup holds.
    """
    from bot4_platform.backup.store import Store
    from bot4_platform.backup.take import take
    from bot4_platform.secrets import values
    from bot4_platform.settings import platform_settings

    settings = settings_of(var=var)
    done = take(
        settings.var,
        Store(store),
        accounts,
        secrets=values(settings, platform_settings()),
        keep=keep,
        verify=verify,
        progress=tell,
    )
    show()
    manifest = done.manifest
    for path, why in manifest.left_out:
        click.echo(f"left out: {path} ({why})", err=True)
    for line in done.warnings:
        click.echo(f"warning: {line}", err=True)
    if as_json:
        figures = {"backup": manifest.name, "store": str(store), "files": len(manifest.files), "bytes": manifest.size}
        figures |= {"new_files": done.new, "new_bytes": done.new_bytes, "objects_removed": done.pruned}
        left = [{"path": path, "why": why} for path, why in manifest.left_out]
        click.echo(json.dumps(figures | {"left_out": left, "warnings": list(done.warnings)}))
        return
    click.echo(f"backup {manifest.name}: {', '.join(manifest.units)}; {len(manifest.files)} files, "
               f"{manifest.size / 2**20:.1f} MiB, {done.new} new ({done.new_bytes / 2**20:.1f} MiB)")  # fmt: skip


def tell(done: int, total: int, path: str) -> None:
    """Show progress, on a terminal only."""
    share = 100 * done // total if total else 100
    show(f"{share:3d} % of {total / 2**20:.0f} MiB  {path[-60:]}")
