"""The real USD-M capture, recorded and brought into the lake, backed up and restored: nothing about it changes."""

from __future__ import annotations

from pathlib import Path

import pytest

from bot4_live.market.import_capture import import_capture
from bot4_live.market.verify_journal import verify_journal
from bot4_live.settings import Settings
from bot4_platform.backup.restore import restore
from bot4_platform.backup.store import Store
from bot4_platform.backup.take import take
from bot4_platform.lake import Lake
from bot4_platform.partitions import MarketDay
from bot4_platform.run import materialize

pytestmark = [pytest.mark.capture, pytest.mark.slow]
TODAY = MarketDay("2024-08-08", "binance_usdm:BTCUSDT")
TICKS = ["raw_segments", "trades", "quotes", "depth", "quarantine"]


def test_books_and_ticks_of_the_restored_copy(settings: Settings, usdm_capture: Path, tmp_path: Path) -> None:
    import_capture(usdm_capture, settings.journal_dir, account=settings.account)
    materialize(TICKS, [TODAY], settings).raise_for_failure()
    store, other = Store(tmp_path / "store"), Settings(var=tmp_path / "other", account=settings.account)
    take(settings.var, store)
    restore(store, store.read(), other.var)
    assert verify_journal(other.journal_dir) == verify_journal(settings.journal_dir)
    before, after = Lake(settings.lake_dir), Lake(other.lake_dir)
    tables = {name: before.read(name, *TODAY) for name in TICKS}
    assert tables["quotes"].height > 60_000
    assert all(after.read(name, *TODAY).equals(frame) for name, frame in tables.items())
    for name in TICKS[1:]:
        after.path(name, *TODAY).unlink()
    summary = materialize(TICKS, [TODAY], other)  # made again, from the restored journal
    summary.raise_for_failure()
    assert summary.asset_checks_failed == 0
    assert all(after.read(name, *TODAY).equals(frame) for name, frame in tables.items())
