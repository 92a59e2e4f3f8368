"""`bot4 restore`: a backup becomes accounts again."""

from __future__ import annotations

import json
from pathlib import Path

import click

from bot4_platform.commands.common import settings_of, show


@click.command("restore")
@click.argument("store", type=click.Path(path_type=Path, file_okay=False, exists=True))
@click.option("--backup", "name", default="", help="Which one, by the name that --list shows [the newest].")
@click.option("--account", "accounts", multiple=True, help="Only this account (may be given again) [all of it].")
@click.option("--var", type=click.Path(path_type=Path), help="Folder to restore below [BOT4_VAR or var].")
@click.option("--force", is_flag=True, help="Exchange accounts that have files for the restored ones.")
@click.option("--list", "listing", is_flag=True, help="Only list the backups.")
@click.option("--check", is_flag=True, help="Only read the backup and check every digest.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(
    store: Path,
    name: str,
    accounts: tuple[str, ...],
    var: Path | None,
    force: bool,
    listing: bool,
    check: bool,
    as_json: bool,
) -> None:
    """Restore what `bot4 backup` kept in STORE, each account whole or not at all.

    Every file is checked against its digest before anything is put in place. An account with files is refused without
    --force, one that a process works in always.
    """
    from bot4_platform.backup.restore import damaged, restore
    from bot4_platform.backup.store import Store
    from bot4_platform.commands.backup import tell

    found = Store(store)
    if listing:
        kept = [found.read(each) for each in found.names()]
        if as_json:
            click.echo(json.dumps([{"backup": one.name, "files": len(one.files), "bytes": one.size,
                                    "accounts": one.units} for one in kept]))  # fmt: skip
            return
        for one in kept:
            click.echo(f"{one.name}  {one.size / 2**20:10.1f} MiB  {len(one.files):6d} files  {', '.join(one.units)}")
        return
    manifest = found.read(name)
    figures = {"backup": manifest.name, "files": len(manifest.files), "bytes": manifest.size}
    if check:
        spoiled = damaged(found, manifest, tell)
        show()
        if spoiled:
            lines = "\n".join(f"damaged: {line}" for line in spoiled)
            raise click.ClickException(f"{lines}\n`bot4 backup --verify` mends what var/ still has")
        click.echo(json.dumps(figures) if as_json else f"{manifest.name}: all {len(manifest.files)} files are whole")
        return
    settings = settings_of(var=var)
    done = restore(found, manifest, settings.var, accounts, force=force, progress=tell)
    show()
    if as_json:
        click.echo(json.dumps(figures | {"files": done.files, "bytes": done.size, "accounts": list(done.units),
                                         "relocated": list(done.relocated)}))  # fmt: skip
        return
    click.echo(f"restored {', '.join(done.units)} of {manifest.name} below {settings.var}: "
               f"{done.files} files, {done.size / 2**20:.1f} MiB, every digest checked")  # fmt: skip
