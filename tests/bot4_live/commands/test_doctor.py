"""`bot4 doctor` says what is there, what is not, and fails only for what is required."""

from __future__ import annotations

import collections
import json
import socket
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from bot4_live import machine
from bot4_live.cli import SUMMARIES
from bot4_live.commands.doctor import command
from bot4_live.settings import Settings

NAMES = {"python", "cores", "memory", "shared memory", "clock", "numba cache", "chromium", "redis", "postgres", "ports",
         "gpio", "captures", "disk"}  # fmt: skip


def test_this_machine_is_ready() -> None:
    result = CliRunner().invoke(command, ["--json"])
    assert result.exit_code == 0, result.output
    report = json.loads(result.output)
    assert report["ready"]
    assert {finding["name"] for finding in report["findings"]} == NAMES
    assert all(finding["advice"] for finding in report["findings"] if finding["state"] != "ok")


def test_people_get_a_line_a_subject() -> None:
    lines = CliRunner().invoke(command, []).output.splitlines()
    assert lines[-1] == "ready"
    assert any(line.startswith("ok  python") for line in lines)
    assert command.help is not None
    assert command.help.splitlines()[0] == SUMMARIES["doctor"]


def test_what_is_required_and_missing_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    version = collections.namedtuple("version", "major minor micro")(3, 12, 0)
    monkeypatch.setattr(sys, "version_info", version)
    result = CliRunner().invoke(command, ["--json"])
    assert result.exit_code == 1
    assert not json.loads(result.output)["ready"]


def test_a_full_disk_or_shared_memory_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    usage = collections.namedtuple("usage", "total used free")(1, 1, 1)
    monkeypatch.setattr(machine.shutil, "disk_usage", lambda _folder: usage)
    settings = Settings(var=tmp_path / "not" / "yet")
    for finding in (machine.disk(settings), machine.shared_memory()):
        assert (finding.state, finding.required) == ("missing", True)
        assert finding.advice


def test_a_cache_that_cannot_be_written_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NUMBA_CACHE_DIR", "/proc/nowhere")
    finding = machine.numba_cache()
    assert (finding.state, finding.required) == ("missing", True)
    assert "BOT4_CACHE_DIR" in finding.advice


def test_a_port_in_use_is_a_note(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        monkeypatch.setattr(machine, "PORTS", {"exchange": port})
        assert machine.ports().text == f"in use: {port} (exchange)"
    assert machine.ports().state == "ok"


def test_captures_are_found_where_the_variable_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("BOT4_SHARED_DATA", str(tmp_path))
    assert machine.captures().state == "note"
    folder = tmp_path / "captures" / "binance_usdm"
    folder.mkdir(parents=True)
    (folder / "day.gz").touch()
    assert machine.captures().text.startswith("1 in ")
