"""A session at work is backed up: each copy is an account that could have been there, and the session never notices."""

from __future__ import annotations

import pytest

from bot4_live.journal.reader import Journal
from bot4_live.replay import replay
from bot4_live.session.recovery import recover
from bot4_platform.backup.restore import restore
from bot4_platform.backup.store import Store
from bot4_platform.backup.take import take

pytestmark = [pytest.mark.system, pytest.mark.slow]


@pytest.mark.timeout(280)
def test_copies_of_a_running_session_replay_identically(stack, tmp_path_factory):
    store = Store(tmp_path_factory.mktemp("store"))
    process, ready, _ = stack.start_runner(BOT4_JOURNAL__SEGMENT_MB="16")
    assert ready, stack.log("live")
    journal, seen = Journal(stack.settings.journal_dir), 0
    for copy in range(4):
        stack.wait(lambda least=seen + 3000: journal.last_seq > least, 60, "the market stands still")
        seen = journal.last_seq
        done = take(stack.folder, store, (stack.account,))
        assert done.warnings == ()
        other = tmp_path_factory.mktemp(f"copy{copy}")
        restore(store, store.read(), other)
        root = other / stack.account
        found = replay(root / "journal", root / "models")
        assert found.identical, f"commands differ from seq {found.first_difference}"
        assert found.events >= seen
        back = recover(root / "journal", root / "state", root / "models")
        assert back.last_seq == Journal(root / "journal").last_seq
    assert found.commands > 0
    assert process.poll() is None
    stack.stop_runner(process)
    assert stack.audit()["orders"] > 0
    assert replay(stack.settings.journal_dir).identical
