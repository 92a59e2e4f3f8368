"""`bot4`: every command is a click.Command, imported when asked for.

Ours are the modules of `bot4_live.commands`; other packages add theirs through the entry-point group `bot4.commands`.
"""

from __future__ import annotations

import errno
import os
import pkgutil
import sys
from importlib.metadata import EntryPoint, entry_points
from typing import NoReturn

import click

from bot4_live import commands

GROUP = "bot4.commands"

# One line each, so that `bot4 --help` imports nothing; a test compares them with the commands' own.
SUMMARIES = {
    "archive": "Move days and segments older than the local window to S3.",
    "backfill": "Make assets for a range of days, and go on where it stopped.",
    "backup": "Back up everything under var/: journals, lake, models, databases, state.",
    "bench": "Measure the hot path, the wire and the platform against named references.",
    "bus": "Follow the journal's events as topics, here or through Kafka.",
    "db": "Prepare and inspect the database of the services profile.",
    "data": "Import and export history files: candles, trades, quotes.",
    "dbt": "Document the marts and say how old their sources are.",
    "demo": "Run the main job end to end and write a report.",
    "doctor": "Say what this machine has and lacks.",
    "exchange": "Serve the simulated exchange (Binance USD-M's protocol) on loopback.",
    "feeds": "Show the feeds of running processes: rates, ages, gaps, offsets.",
    "history": "Fetch candles, trades and funding of a venue's past; list its gaps.",
    "kill": "Stop trading now: cancel all, flatten, confirm.",
    "live": "Trade (paper): load the champion and quote.",
    "mode": "Show or change the control mode; re-arm after an emergency.",
    "platform": "Open the Dagster UI with every asset of the data platform.",
    "quarantine": "List, show and release frames that the feed refused.",
    "record": "Journal a market from a venue or a capture.",
    "replay": "Run a journal's events through the engine and compare the commands.",
    "restore": "Restore what `bot4 backup` kept in STORE, each account whole or not at all.",
    "signals": "Judge what the signals of books and trades predict, out of sample.",
    "sql": "Ask the lake in SQL: every table is a view; nothing can be written.",
    "verify-book": "Prove the order book of a capture or journal against its best quotes.",
    "watchdog": "Guard the runner: lease, panel, kill.",
    "why-stale": "Say what data are old, why, and what they hold up.",
}


def points() -> dict[str, EntryPoint]:
    """Return where each command is, by name; nothing is imported."""
    found = {point.name: point for point in entry_points(group=GROUP)}
    for module in pkgutil.iter_modules(commands.__path__, f"{commands.__name__}."):
        name = module.name.rpartition(".")[2].replace("_", "-")
        found[name] = EntryPoint(name, f"{module.name}:command", GROUP)
    return found


class LazyGroup(click.Group):
    """A group whose commands are those of `points`."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return all command names."""
        return sorted(points())

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return one command."""
        point = points().get(cmd_name)
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
        cli(standalone_mode=False, prog_name="bot4")
    except click.exceptions.Exit as stop:
        sys.exit(stop.exit_code)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        sys.exit(error.exit_code)
    except click.UsageError as error:
        path = error.ctx.command_path if error.ctx else "bot4"
        fail([f"{path}: {_one_line(error.format_message())} (see `{path} --help`)"], error.exit_code)
    except click.ClickException as error:
        fail([f"bot4: {error.format_message()}"], error.exit_code)  # may be several lines: a child's log
    except (click.Abort, KeyboardInterrupt):
        fail(["stopped"], 130)
    except (OSError, ValueError) as error:
        fail([f"bot4: {line}" for line in describe(error)], 1)


def fail(lines: list[str], code: int) -> NoReturn:
    """Say why on stderr and end the process."""
    for line in lines:
        click.echo(line, err=True)
    sys.exit(code)


# What to do about the common refusals of an operating system.
HINTS = {
    errno.ENOSPC: "free some disk space and start again; what was whole before is kept",
    errno.EDQUOT: "the disk quota is used up; free some space and start again; what was whole before is kept",
    errno.EFBIG: "files may not grow that large here; raise `ulimit -f` and start again",
    errno.EADDRINUSE: "another process holds that port; choose one with --port or end it",
    errno.EACCES: "check the permissions of that path",
    errno.EPERM: "check the permissions of that path",
    errno.EROFS: "that disk can only be read; set BOT4_VAR to a folder that can be written",
    errno.ENOENT: "check the path",
    errno.ENOTDIR: "a part of that path is a file; check it, or set BOT4_VAR to a folder",
    errno.EISDIR: "that is a folder; name a file",
    errno.EMFILE: "too many open files; raise `ulimit -n`",
}


def describe(error: Exception) -> list[str]:
    """Return what went wrong and, for common causes, what to do: one line, or one for each wrong setting."""
    from bot4_live.settings_errors import WrongSettings  # pydantic comes with it: `bot4 --help` does without

    if isinstance(error, WrongSettings):
        return [_one_line(line) for line in error.lines]
    text = _one_line(str(error)) or type(error).__name__
    if isinstance(error, OSError) and error.errno is not None and error.strerror:
        where = f"{error.filename}: " if error.filename is not None else ""
        text = f"{where}{_one_line(error.strerror)}"
        hint = HINTS.get(error.errno)
        # A message of our own, on a common errno, says already what to do.
        if hint and (error.strerror == os.strerror(error.errno) or ";" not in text):
            text = f"{text} ({hint})"
    return [text]


def _one_line(text: str) -> str:
    return " ".join(text.split())
