"""Broken and cut captures: said in one line, nothing kept of them."""

from __future__ import annotations

import json

import pytest

from bot4_live.journal.reader import Journal

pytestmark = pytest.mark.system

NOT_CAPTURES = {"text": b"hello\nworld\n", "binary": bytes(range(256)) * 8, "empty": b"", "json": b'{"a": 1}\n'}


@pytest.fixture
def spoilt(market, tmp_path):
    """Return a maker of spoilt captures by name."""
    path, lines = market

    def make(name):
        out = tmp_path / name
        if name == "cut.gz":
            out.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        elif name == "flipped.gz":
            data = bytearray(path.read_bytes())
            data[len(data) // 2] ^= 0x10
            out.write_bytes(data)
        elif name == "cut":
            whole = b"".join(lines)
            out.write_bytes(whole[: len(whole) // 2])
        elif name in NOT_CAPTURES:
            out.write_bytes(NOT_CAPTURES[name])
        return out

    return make


@pytest.mark.parametrize(
    ("command", "name"),
    [
        ("record", "cut.gz"), ("record", "flipped.gz"), ("record", "cut"), ("verify-book", "cut.gz"),
        ("exchange", "cut"), ("demo", "cut.gz"),
    ],
)  # fmt: skip
def test_a_damaged_capture(account, spoilt, tmp_path, command, name):
    path = spoilt(name)
    arguments = {
        "record": ["record", "--capture", path],
        "verify-book": ["verify-book", path],
        "exchange": ["exchange", "--port", 0, "--capture", path],
        "demo": ["demo", "--capture", path, "--folder", tmp_path / "demo"],
    }[command]
    run = account.run if name == "cut.gz" or command != "record" else account.here
    run(*arguments).refused(str(path), "line ", "get the file again")
    assert account.files() == []
    assert not (tmp_path / "demo").exists()


@pytest.mark.parametrize(
    ("command", "name"), [("record", "missing"), ("record", "text"), *(("verify-book", name) for name in NOT_CAPTURES)]
)
def test_what_is_no_capture(account, spoilt, command, name):
    path = spoilt(name)
    arguments = ["record", "--capture", path] if command == "record" else ["verify-book", path]
    words = ["No such file", "check the path"] if name == "missing" else ["line 1"]
    run = account.run if name == "text" else account.here
    run(*arguments).refused(str(path), *words)
    assert account.files() == []


def test_a_folder_is_no_capture(account, tmp_path):
    account.here("verify-book", tmp_path).refused("holds no order book", "record a market first")


def test_a_damaged_capture_leaves_a_journal_as_it_was(account, spoilt, market):
    """An import that is refused can be repeated: nothing of it is in the journal."""
    assert account.here("record", "--capture", market[0]).code == 0
    before = {path.name: path.read_bytes() for path in account.settings.journal_dir.iterdir()}
    account.here("record", "--capture", spoilt("cut.gz")).refused("the gzip data is cut")
    after = {path.name: path.read_bytes() for path in account.settings.journal_dir.iterdir()}
    assert {k: v for k, v in after.items() if "lock" not in k} == {k: v for k, v in before.items() if "lock" not in k}


def test_what_is_whole_is_kept_when_asked_for(account, spoilt, market):
    done = account.here("record", "--keep-whole", "--json", "--capture", spoilt("cut"))
    assert done.code == 0
    assert "the line is cut" in done.err
    said = json.loads(done.out)
    assert 0 < said["frames"] < len(market[1])
    assert Journal(account.settings.journal_dir).last_seq == said["last_seq"]


def test_a_broken_frame_is_quarantined_and_the_rest_is_used(account, market, tmp_path):
    lines = list(market[1])
    at = lines[900].split(b" ", 1)[0]
    lines.insert(901, at + b' {"e":"trade","E":\n')
    (tmp_path / "broken").write_bytes(b"".join(lines))
    done = account.here("record", "--json", "--capture", tmp_path / "broken")
    assert done.code == 0, done.err
    said = json.loads(done.out)
    assert said["frames"] == len(lines)
    assert said["counts"]["quarantined"] == {"not_json": 1}
    frames = {frame.raw for frame in Journal(account.settings.journal_dir)._raw}
    assert b'{"e":"trade","E":' in frames, "the frame itself is kept"
    account.run("exchange", "--port", 0, "--capture", tmp_path / "broken").refused("line 902", "no event time")
