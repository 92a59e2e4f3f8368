"""`bot4`: every command is a click.Command in the entry-point group `bot4.commands`, imported when asked for."""

from __future__ import annotations

import sys
from importlib.metadata import EntryPoint, entry_points

import click

GROUP = "bot4.commands"

# One line each, so that `bot4 --help` imports nothing; a test compares them with the commands' own.
SUMMARIES = {
    "bench": "Measure the hot path and the wire against named references.",
    "demo": "Run the main job end to end and write a report.",
    "doctor": "Say what this machine has and lacks.",
    "exchange": "Serve the simulated exchange (Binance USD-M's protocol) on loopback.",
    "kill": "Stop trading now: cancel all, flatten, confirm.",
    "live": "Trade (paper): load the champion and quote.",
    "mode": "Show or change the control mode; re-arm after an emergency.",
    "platform": "Open the Dagster UI with every asset of the data platform.",
    "record": "Journal a market from a venue or a capture.",
    "replay": "Run a journal's events through the engine and compare the commands.",
    "verify-book": "Prove the order book of a capture against its best quotes.",
    "watchdog": "Guard the runner: lease, panel, kill.",
}


class LazyGroup(click.Group):
    """A group whose commands come from entry points."""

    def _points(self) -> dict[str, EntryPoint]:
        return {point.name: point for point in entry_points(group=GROUP)}

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return all command names."""
        return sorted(self._points())

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return one command."""
        point = self._points().get(cmd_name)
        if point is None:
            return None
        command = point.load()
        if not isinstance(command, click.Command):
            raise TypeError(f"{point.value} is not a click.Command")
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, SUMMARIES.get(name, "")) for name in self.list_commands(ctx)])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="bot4", prog_name="bot4")
def cli() -> None:
    """Bot4: a crypto trading platform that runs itself. Paper trading unless told otherwise."""


def main() -> None:
    """Run the command line: errors are one clear line on stderr, exit code 1 (2 for wrong usage)."""
    try:
        cli(standalone_mode=False)
    except click.exceptions.Exit as stop:
        sys.exit(stop.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        click.echo("stopped", err=True)
        sys.exit(130)
    except (OSError, ValueError) as error:
        click.echo(f"bot4: {describe(error)}", err=True)
        sys.exit(1)


def describe(error: Exception) -> str:
    """Return one line that says what went wrong and, for common causes, what to do."""
    text = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, OSError):
        hints = {28: "free some disk space and start again; nothing half-written was kept",
                 98: "another process holds that port; choose one with --port or end it",
                 13: "check the permissions of that path",
                 2: "check the path"}  # fmt: skip
        hint = hints.get(error.errno or 0)
        if hint:
            return f"{text} ({hint})"
    return text
