"""A traded account, its last segment still open, backed up and restored elsewhere: it replays to the same commands."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bot4_live.journal.layout import SegmentHeader
from bot4_live.journal.local import LocalJournal
from bot4_live.replay import replay
from bot4_live.session.recovery import recover
from bot4_platform.backup.restore import restore
from bot4_platform.backup.store import Store
from bot4_platform.backup.take import take


def header(first_seq: int) -> SegmentHeader:
    return SegmentHeader(
        account="test", session="s", first_seq=first_seq, market="binance_usdm:BTCUSDT", shift_ns=0, speed_milli=1000,
        start_market_ns=1_723_161_255_000_000_000, start_mono_ns=0, order_epoch=1, source_hash="h", lock_hash="l",
        cpu="x", schema=1,
    )  # fmt: skip


def test_a_journal_without_an_archived_segment_is_refused(tmp_path: Path, make_log: Any, traded: Any) -> None:
    """The engine cannot know what was decided before: neither replay nor a start goes past it."""
    journal = tmp_path / "journal"
    with LocalJournal(journal, header(1), segment_bytes=8 << 20) as log:
        traded(seed=5, steps=10, log=make_log(log), models=tmp_path / "models")
    with LocalJournal(journal, header(replay(journal).events + 1), segment_bytes=8 << 20):
        pass
    (path,) = journal.glob("*.b4j")
    path.rename(tmp_path / path.name)
    for start in (lambda: replay(journal), lambda: recover(journal, tmp_path / "state", tmp_path / "models")):
        with pytest.raises(ValueError, match=r"lacks 1 of its sealed segments.*bot4 archive --bring-back"):
            start()
    (tmp_path / path.name).rename(path)
    assert replay(journal).identical


@pytest.mark.parametrize("open_end", [False, True])
def test_a_restored_copy_replays_identically(tmp_path: Path, make_log: Any, traded: Any, open_end: bool) -> None:
    account, store, other = tmp_path / "var" / "test", Store(tmp_path / "store"), tmp_path / "other"
    journal = LocalJournal(account / "journal", header(1), segment_bytes=8 << 20)
    traded(seed=5, steps=60, log=make_log(journal), models=account / "models")
    if open_end:
        journal._writer.sync()  # on disk, not sealed: as while a session runs
        take(tmp_path / "var", store)
        journal.close()
    else:
        journal.close()
        take(tmp_path / "var", store)
    restore(store, store.read(), other)
    want, found = replay(account / "journal"), replay(other / "test" / "journal")
    assert want.identical
    assert found == want
    assert found.commands > 50
    assert (other / "test" / "journal").joinpath("seg-00000000000000000001.seal.json").exists() != open_end
