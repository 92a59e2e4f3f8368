"""`bot4 platform`: Dagster's UI over the account's runs and assets."""

from __future__ import annotations

from pathlib import Path

import click

from bot4_platform.commands.common import account_options, settings_of, show


@click.command("platform")
@click.option("--port", type=click.IntRange(1, 65535), default=3000, show_default=True, help="Port on loopback.")
@account_options
@click.option("--demo", is_flag=True, help="Show the account of the last `bot4 demo`.")
@click.option("--no-daemon", is_flag=True, help="UI only: schedules and sensors do not run.")
def command(port: int, account: str | None, var: Path | None, demo: bool, no_daemon: bool) -> None:
    """Open the Dagster UI with every asset of the data platform.

    Serves on 127.0.0.1 until SIGINT or SIGTERM, and says which schedules and sensors run by themselves: none, unless
    they are named in BOT4_PLATFORM__OPERATIONS__ON (with commas; `all` for all) or were switched on in the UI.
    """
    from bot4_live.settings import PROJECT_ROOT
    from bot4_platform.operations import switches
    from bot4_platform.settings import platform_settings, quality_page
    from bot4_platform.ui import serve

    # What is wrong in the settings is said here, not in the log of a code server.
    if platform_settings().operations.names:
        switches.check_names(switches.known())
    if demo:
        var = var or PROJECT_ROOT / "var" / "demo"
        accounts = sorted(path.name for path in var.glob("demo-*") if path.is_dir())
        if not accounts:
            raise click.ClickException(f"there is no demo under {var}; run `bot4 demo` (or make run) first")
        account = accounts[-1]
    settings = settings_of(account, var)

    said: list[str] = []

    def ready(url: str) -> None:
        show()
        click.echo(f"Dagster: {url}  (account {settings.account}; Ctrl-C ends it)")
        for line in said or switches.lines(settings, daemon=not no_daemon):
            click.echo(line)
        if (page := quality_page(settings)).is_file():
            click.echo(f"quality: {page}")

    def waiting(seconds: float) -> None:
        if not said:  # it takes seconds, of which Dagster needs more
            said.extend(switches.lines(settings, daemon=not no_daemon))
        show(f"starting Dagster: {seconds:.0f} s")

    try:
        serve(settings, port, daemon=not no_daemon, ready=ready, waiting=waiting)
    except RuntimeError as error:
        raise click.ClickException(str(error)) from error
