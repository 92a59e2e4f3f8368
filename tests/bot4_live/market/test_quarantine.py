"""The quarantine of a journal: every refused frame is there with its rule and its bytes."""

from __future__ import annotations

import base64
import json

import pytest
from click.testing import CliRunner

from bot4_live.commands.feeds import command
from bot4_live.instrument import BTCUSDT_USDM
from bot4_live.market.import_capture import import_capture
from bot4_live.market.quarantine import quarantined

MARKET = BTCUSDT_USDM.market


@pytest.fixture
def journal(tmp_path, frames, base_ns):
    """A journal of good frames and three that are not."""
    bad = [
        b'{"stream":"btcusdt@trade","data":{}}',
        frames.trade(2, "1.55", "1"),
        b'{"\xff\x1b[2J": ' + b"1" * 300 + b"}",
    ]
    raws = [frames.trade(1, "1.5", "1"), bad[0], frames.trade(3, "1.5", "1"), *bad[1:]]
    path = tmp_path / "capture"
    path.write_bytes(b"".join(b"%d %s\n" % (base_ns + i, raw) for i, raw in enumerate(raws)))
    import_capture(path, tmp_path / "j")
    return tmp_path / "j", bad


def test_frames_with_their_rules_and_bytes(journal, base_ns):
    folder, bad = journal
    counts, frames = quarantined(folder, 10)
    assert sum(counts[MARKET].values()) == 3
    assert [frame.raw for frame in frames] == bad
    assert [frame.recv_ns for frame in frames] == [base_ns + 1, base_ns + 3, base_ns + 4]
    assert frames[1].rule == "lost_digits"
    assert {frame.market for frame in frames} == {MARKET}
    assert quarantined(folder, 1)[1] == frames[-1:]


def test_the_command_lists_them_and_no_byte_reaches_the_terminal(journal, base_ns):
    folder, bad = journal
    result = CliRunner().invoke(command, ["--quarantine", str(folder)])
    assert result.exit_code == 0, result.output
    assert "lost_digits" in result.stdout
    assert "2024-08-08 23:54:16.000000" in result.stdout
    assert "\x1b" not in result.stdout
    assert "... (3" in result.stdout
    said = json.loads(CliRunner().invoke(command, ["--quarantine", str(folder), "--last", "2", "--json"]).stdout)
    assert [base64.b64decode(frame["raw_base64"]) for frame in said["frames"]] == bad[1:]
    assert sum(said["counts"][MARKET].values()) == 3


def test_a_journal_without_any_and_a_folder_that_is_none(tmp_path, frames, base_ns):
    (tmp_path / "capture").write_bytes(b"%d %s\n" % (base_ns, frames.trade(1, "1.5", "1")))
    import_capture(tmp_path / "capture", tmp_path / "j")
    result = CliRunner().invoke(command, ["--quarantine", str(tmp_path / "j")])
    assert (result.exit_code, result.stdout) == (0, f"no frame in {tmp_path / 'j'} was quarantined\n")
    missing = CliRunner().invoke(command, ["--quarantine", str(tmp_path / "nowhere")])
    assert isinstance(missing.exception, FileNotFoundError)
