"""What the commands share: the options that name an account, its settings, a line of progress on a terminal."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from bot4_live.settings import Settings

VAR = click.option("--var", type=click.Path(path_type=Path), help="Folder the account lies in [BOT4_VAR or var].")


def account_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add --account and --var, which `settings_of` takes."""
    return click.option("--account", help="Account that is meant [BOT4_ACCOUNT or paper].")(VAR(function))


def settings_of(account: str | None = None, var: Path | None = None) -> Settings:
    """Return the settings of the account that the options name."""
    from bot4_live.settings import load

    given = {"account": account, "var": var}
    return load(**{name: value for name, value in given.items() if value})


def show(text: str = "") -> None:
    """Show how far it is in the terminal's last line, in place of what was there; without a text only clear it."""
    if sys.stderr.isatty():
        width = shutil.get_terminal_size().columns - 1  # a line that wraps would not be taken away whole
        click.echo(f"\r\033[K{text[:width]}", nl=False, err=True)
