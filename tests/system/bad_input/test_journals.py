"""`bot4 replay` on what is no journal, or a damaged one."""

from __future__ import annotations

import json

import pytest

from bot4_live.journal.reader import Journal
from bot4_live.market.import_capture import import_capture

pytestmark = pytest.mark.system


@pytest.fixture(scope="module")
def recorded(market, tmp_path_factory):
    """A journal of a short market: its files by name."""
    folder = tmp_path_factory.mktemp("recorded")
    import_capture(market[0], folder)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def journal(recorded, tmp_path):
    folder = tmp_path / "journal"
    folder.mkdir()
    for name, data in recorded.items():
        (folder / name).write_bytes(data)
    return folder


def the(journal, pattern):
    (path,) = journal.glob(pattern)
    return path


def test_one_without_decisions(account, journal):
    done = account.run("replay", journal, "--json")
    assert done.code == 1
    assert "was recorded, not traded: it holds no decisions to compare" in done.err.splitlines()[-1]
    proven = account.here("verify-book", journal, "--json")
    assert json.loads(proven.out)["events"] == sum(1 for _ in Journal(journal).events()), proven.err


def test_no_journal(account, tmp_path):
    account.run("replay", tmp_path / "nowhere").refused("there is no journal here; record or trade first")
    (tmp_path / "file").write_text("x")
    account.here("replay", tmp_path / "file").refused("there is no journal here")
    (tmp_path / "empty").mkdir()
    account.here("replay", tmp_path / "empty").refused("holds no events; record or trade first")


def _flip(path, at):
    data = bytearray(path.read_bytes())
    data[at] ^= 0x40
    path.write_bytes(data)


SPOIL = {
    "one bit": lambda journal: _flip(the(journal, "seg-*.b4j"), 40_000),
    "cut": lambda journal: the(journal, "seg-*.b4j").write_bytes(the(journal, "seg-*.b4j").read_bytes()[:30_000]),
    "another file": lambda journal: the(journal, "seg-*.b4j").write_bytes(b"hello" * 3000),
    "no content": lambda journal: the(journal, "seg-*.b4j").write_bytes(b""),
    "broken header": lambda journal: _flip(the(journal, "seg-*.b4j"), 20),
    "broken seal": lambda journal: the(journal, "*.seal.json").write_text("{"),
    "another's seal": lambda journal: the(journal, "*.seal.json").write_text('{"records": 3}'),
}


@pytest.mark.parametrize("how", SPOIL)
def test_a_damaged_journal_cannot_be_read(journal, how):
    SPOIL[how](journal)
    with pytest.raises(ValueError, match="restore it from a backup") as error:
        list(Journal(journal).records())
    assert the(journal, "seg-*.b4j").stem in str(error.value)


@pytest.mark.parametrize("how", ["one bit", "broken header", "broken seal"])
def test_a_damaged_journal_cannot_be_replayed(account, journal, how):
    SPOIL[how](journal)
    before = {path.name: path.read_bytes() for path in journal.iterdir()}
    done = account.here("replay", journal)
    assert done.code == 1
    assert "Traceback" not in done.err, done.err
    line = done.err.strip().splitlines()[-1]
    assert line.startswith("bot4: "), done.err
    assert "restore it from a backup" in line, line
    assert {path.name: path.read_bytes() for path in journal.iterdir()} == before, "reading changes nothing"


def test_a_torn_end_is_no_damage(account, journal):
    """A journal that was not sealed ends at its last whole record, as after a power cut."""
    the(journal, "*.seal.json").unlink()
    segment = the(journal, "seg-*.b4j")
    segment.write_bytes(segment.read_bytes()[:-7])
    done = account.here("verify-book", journal, "--json")
    assert json.loads(done.out)["events"] == sum(1 for _ in Journal(journal).events()), done.err


def test_recording_goes_on_in_no_damaged_journal(account, journal, market):
    """A damaged journal is not added to: its next number cannot be known."""
    _flip(the(journal, "seg-*.b4j"), 40_000)
    before = {path.name: path.read_bytes() for path in journal.iterdir() if "lock" not in path.name}
    account.here("record", "--capture", market[0], "--journal", journal).refused("restore it from a backup")
    assert {path.name: path.read_bytes() for path in journal.iterdir() if "lock" not in path.name} == before
