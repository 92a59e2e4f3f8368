"""The command line as a whole: help, laziness, entry points, and errors in one line."""

from __future__ import annotations

import errno
import subprocess
import sys
import tomllib
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

import click
import pytest

from bot4_live import __version__, cli
from bot4_live.settings_errors import WrongSettings

# What a runner must never load: the libraries of the platform.
PLATFORM = (
    "dagster", "feast", "mlflow", "lightgbm", "pandas", "polars", "torch", "great_expectations", "arch", "dbt",
    "duckdb", "bot4_platform",
)  # fmt: skip


@pytest.fixture(autouse=True)
def declared(monkeypatch):
    """Judge the commands that pyproject.toml declares, not those of whatever was installed last."""
    project = tomllib.loads((Path(__file__).resolve().parents[2] / "pyproject.toml").read_text())["project"]
    points = [EntryPoint(name, value, cli.GROUP) for name, value in project["entry-points"][cli.GROUP].items()]
    monkeypatch.setattr(cli, "entry_points", lambda group: points if group == cli.GROUP else [])


def main(capsys, monkeypatch, *arguments):
    """Run `bot4 ARGUMENTS` in this process; return (exit code, stdout, stderr)."""
    monkeypatch.setattr(sys, "argv", ["bot4", *arguments])
    code = 0
    try:
        cli.main()
    except SystemExit as stop:
        code = stop.code
    said = capsys.readouterr()
    return code, said.out, said.err


def loaded_after(code):
    """Return the top-level modules that a fresh interpreter has loaded after running `code`."""
    script = f"{code}\nimport sys; print(*sorted({{name.partition('.')[0] for name in sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.splitlines()[-1].split())


def test_every_command_has_a_summary():
    assert set(cli.points()) == set(cli.SUMMARIES)
    for name, point in cli.points().items():
        command = point.load()
        assert isinstance(command, click.Command), name
        assert (command.help or "").splitlines()[0] == cli.SUMMARIES[name], name


def test_help_lists_every_command(capsys, monkeypatch):
    code, out, err = main(capsys, monkeypatch, "--help")
    assert (code, err) == (0, "")
    for name in cli.SUMMARIES:
        assert f"\n  {name} " in out
    # Nothing but a command: the same, as wrong usage.
    code, out, err = main(capsys, monkeypatch)
    assert (code, out) == (2, "")
    assert "Commands:" in err


@pytest.mark.parametrize("name", sorted(cli.SUMMARIES))
def test_help_of_a_command(capsys, monkeypatch, name):
    code, out, err = main(capsys, monkeypatch, name, "--help")
    assert (code, err) == (0, "")
    assert out.startswith(f"Usage: bot4 {name} ")
    assert cli.SUMMARIES[name] in " ".join(out.split())


def test_every_option_says_what_it_does():
    for name, point in cli.points().items():
        for parameter in point.load().params:
            if isinstance(parameter, click.Option):
                assert parameter.help, f"bot4 {name} {parameter.opts[0]}"


def test_help_loads_no_heavy_library():
    code = "import sys; sys.argv = ['bot4', '--help']\nfrom bot4_live.cli import cli\ncli(standalone_mode=False)"
    loaded = loaded_after(code)
    assert "click" in loaded
    assert not loaded & {"numba", "numpy", "pydantic", "aiohttp", "zstandard", *PLATFORM}


OURS = sorted(name for name, point in cli.points().items() if point.value.startswith("bot4_live."))


@pytest.mark.parametrize("name", OURS)
def test_a_commands_help_loads_no_library_of_the_platform(name):
    code = f"from bot4_live.cli import cli\ncli(['{name}', '--help'], standalone_mode=False)"
    assert not loaded_after(code) & {"numba", *PLATFORM}


@pytest.mark.parametrize("module", ["runner", "feeder", "journal.writer", "safety.watchdog", "replay"])
def test_the_live_processes_load_no_library_of_the_platform(module):
    loaded = loaded_after(f"import bot4_live.{module}")
    assert "bot4_live" in loaded
    assert not loaded & set(PLATFORM)


def test_the_module_is_the_command():
    done = subprocess.run([sys.executable, "-m", "bot4_live", "--version"], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"bot4, version {__version__}\n", "")


def test_the_script_is_the_command(capsys, monkeypatch):
    (script,) = entry_points(group="console_scripts", name="bot4")
    assert script.load() is cli.main
    assert main(capsys, monkeypatch, "--version")[:2] == (0, f"bot4, version {__version__}\n")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["foo"], "bot4: No such command 'foo'. (see `bot4 --help`)"),
        (["--foo"], "bot4: No such option '--foo'. (see `bot4 --help`)"),
        (["live", "--foo"], "bot4 live: No such option '--foo'. (see `bot4 live --help`)"),
        (["live", "--seconds", "x"], "bot4 live: Invalid value for '--seconds': 'x' is not a valid float"),
        (["live", "--seconds", "1", "--until-market-ns", "2"], "bot4 live: give --seconds or --until-market-ns, not"),
        (["record", "--until", "soon"], "bot4 record: --until soon: expected ns since 1970 or a time like"),
        (["replay"], "bot4 replay: Missing argument 'JOURNAL'"),
        (["mode", "fast"], "is not one of"),
        (["watchdog", "push"], "bot4 watchdog: No such command 'push'"),
        (["exchange", "--seed", "1", "--capture", "x"], "bot4 exchange: give --capture or --seed, not both"),
        (["bench", "cold-path"], "is not one of"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_usage_is_one_line_and_exit_code_2(capsys, monkeypatch, arguments, words):
    monkeypatch.delenv("BOT4_VAR", raising=False)
    code, out, err = main(capsys, monkeypatch, *arguments)
    assert (code, out) == (2, "")
    assert len(err.splitlines()) == 1
    assert words in err
    assert "--help`)" in err


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (ValueError("what  is\nwrong"), 1, ["bot4: what is wrong"]),
        (WrongSettings(["A=1: no", "B=2:\nno"]), 1, ["bot4: A=1: no", "bot4: B=2: no"]),
        (OSError(errno.ENOENT, "No such file or directory", "/x"), 1, ["bot4: /x: No such file or directory (check"]),
        (OSError(errno.ENOENT, "no journal; record first", "/x"), 1, ["bot4: /x: no journal; record first"]),
        (OSError(errno.ENOSPC, "No space left on device"), 1, ["bot4: No space left on device (free some disk space"]),
        (OSError(errno.EADDRINUSE, "port 1 is busy"), 1, ["bot4: port 1 is busy (another process holds that port"]),
        (ConnectionError("nobody there"), 1, ["bot4: nobody there"]),
        (TimeoutError(), 1, ["bot4: TimeoutError"]),
        (click.ClickException("so it is"), 1, ["bot4: so it is"]),
        (KeyboardInterrupt(), 130, ["stopped"]),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else "",
)
def test_what_is_raised_is_said(capsys, monkeypatch, error, code, said):
    def fail(**_):
        raise error

    monkeypatch.setattr(cli, "cli", lambda **_: fail())
    found, out, err = main(capsys, monkeypatch)
    assert (found, out) == (code, "")
    lines = err.splitlines()
    assert len(lines) == len(said)
    for line, begin in zip(lines, said, strict=True):
        assert line.startswith(begin)


def test_a_fault_of_the_program_is_not_hidden(monkeypatch):
    """Only what a user can mend is put in one line."""
    monkeypatch.setattr(cli, "cli", lambda **_: {}["missing"])
    with pytest.raises(KeyError):
        cli.main()
