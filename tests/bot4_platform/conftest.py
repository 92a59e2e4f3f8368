"""Accounts with a small hand-made journal, and a cheap way to run assets over it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bot4_live.events import Flag, Kind, Reason, Source, header_of, new_record, slots_of
from bot4_live.instrument import BTCUSDT_USDM
from bot4_live.journal.layout import SegmentHeader
from bot4_live.journal.local import LocalJournal
from bot4_live.sequencer import Sequencer
from bot4_live.settings import Settings

DAY = "2024-08-08"
NEXT_DAY = "2024-08-09"
MARKET = "binance_usdm:BTCUSDT"
DAY_NS = 86_400 * 10**9
DAY_START = 1_723_075_200 * 10**9  # 2024-08-08T00:00:00Z
SHIFT = 72_000_000 * 10**9 + 123_000_000  # a replayed session: whole ms
MS = 10**6


@dataclass
class Maker:
    """Writes sessions of a made-up market into an account's journal; times are original exchange times."""

    settings: Settings
    next_seq: int = 1

    def session(
        self,
        start_ns: int,
        seconds: float,
        *,
        seed: int = 0,
        shift: int = SHIFT,
        bad: tuple[tuple[Reason, bytes], ...] = (),
        lag_ns: int = 5 * MS,
        update_id: int = 1_000_000,
        trade_id: int = 500_000,
        name: str = "s1",
        segment_bytes: int = 8 << 20,
    ) -> dict[str, int]:
        """Journal `seconds` of market: a quote and a diff every 50 ms, a trade in half of them; return the counts."""
        random = np.random.default_rng(seed)
        header = SegmentHeader(
            account=self.settings.account, session=name, first_seq=self.next_seq, market=MARKET, shift_ns=shift,
            speed_milli=8000, start_market_ns=start_ns + shift, start_mono_ns=0, order_epoch=1, source_hash="0" * 64,
            lock_hash="0" * 64, cpu="test", schema=1,
        )  # fmt: skip
        counts = {"trades": 0, "quotes": 0, "depth": 0, "quarantine": 0}
        with LocalJournal(self.settings.journal_dir, header, segment_bytes=segment_bytes) as journal:
            line = Sequencer(journal, None, start_ns + shift, self.next_seq)
            begin = new_record(Kind.SESSION, 1)
            header_of(begin)["a"], header_of(begin)["b"], header_of(begin)["c"] = shift, 8000, 1
            header_of(begin)["recv_ns"], header_of(begin)["source"] = start_ns + shift, Source.RUNNER
            line.push(begin)
            line.push(BTCUSDT_USDM.record(start_ns + shift))
            mid, uid, tid = 557_000, update_id, trade_id
            line.push(_depth(Kind.DEPTH_SNAPSHOT, start_ns + shift, 0, uid, uid, 0, mid, random))
            for i in range(int(seconds * 20)):
                exch = start_ns + i * 50 * MS + shift
                recv = exch + lag_ns
                mid += int(random.integers(-3, 4))
                line.push(_depth(Kind.DEPTH_DIFF, recv, exch, uid + 1, uid + 7, uid, mid, random))
                uid += 7
                line.push(_quote(recv, exch, uid, mid, random))
                counts["quotes"] += 1
                counts["depth"] += 1
                if random.random() < 0.5:
                    tid += 1
                    line.push(_trade(recv, exch, tid, mid, random))
                    counts["trades"] += 1
                if i < len(bad):
                    reason, raw = bad[i]
                    line.push(_quarantined(journal, recv, reason, raw))
                    counts["quarantine"] += 1
            self.next_seq = line.next_seq
        return counts


def _depth(
    kind: Kind, recv: int, exch: int, first: int, last: int, previous: int, mid: int, random: np.random.Generator
) -> np.ndarray:
    snapshot = kind == Kind.DEPTH_SNAPSHOT
    levels, cleared = (20, 0) if snapshot else (2, 8)  # a diff also empties what the moved mid left behind
    n = levels + cleared
    record = new_record(kind, 1 + 2 * n)
    head, slots = header_of(record), slots_of(record)
    head["recv_ns"], head["exch_ns"], head["a"], head["b"], head["c"] = recv, exch, first, last, -1
    head["source"], head["inst_version"] = Source.MARKET_STREAM, 1
    slots[0] = (previous, n)
    bids, asks = slots[1 : 1 + n], slots[1 + n :]
    bids[:, 0] = np.concatenate([mid - 1 - np.arange(levels), mid + np.arange(cleared)])
    asks[:, 0] = np.concatenate([mid + 1 + np.arange(levels), mid - np.arange(cleared)])
    bids[:levels, 1], asks[:levels, 1] = random.integers(1, 5_000, (2, levels))
    return record


def _quote(recv: int, exch: int, uid: int, mid: int, random: np.random.Generator) -> np.ndarray:
    record = new_record(Kind.BOOK_TICKER, 2)
    head, slots = header_of(record), slots_of(record)
    head["recv_ns"], head["exch_ns"], head["a"], head["c"] = recv, exch, uid, -1
    head["source"], head["inst_version"] = Source.MARKET_STREAM, 1
    slots[:] = [(mid - 1, random.integers(1, 5_000)), (mid + 1, random.integers(1, 5_000))]
    return record


def _trade(recv: int, exch: int, tid: int, mid: int, random: np.random.Generator) -> np.ndarray:
    record = new_record(Kind.TRADE, 1)
    head, slots = header_of(record), slots_of(record)
    sell = bool(random.integers(0, 2))
    head["recv_ns"], head["exch_ns"], head["a"], head["c"] = recv, exch, tid, -1
    head["source"], head["inst_version"], head["flags"] = Source.MARKET_STREAM, 1, Flag.SELL if sell else 0
    slots[0] = (mid - 1 if sell else mid + 1, random.integers(1, 2_000))
    return record


def _quarantined(journal: LocalJournal, recv: int, reason: Reason, raw: bytes) -> np.ndarray:
    record = new_record(Kind.QUARANTINE)
    head = header_of(record)
    head["recv_ns"], head["a"], head["b"] = recv, reason, 1
    head["c"] = journal.append_raw(recv, raw, reason, 1)
    head["source"] = Source.MARKET_STREAM
    return record


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Return the settings of a fresh account."""
    return Settings(var=tmp_path / "var", account="test")


@pytest.fixture
def maker(settings: Settings) -> Maker:
    """Return what writes that account's journal."""
    return Maker(settings)


@pytest.fixture
def journal_writer() -> Callable[[Settings], Maker]:
    """Return Maker for tests that need several accounts."""
    return Maker


@pytest.fixture
def run_check() -> Callable[..., bool]:
    """Return what runs one asset check alone, building nothing, and says whether it passed."""
    import dagster as dg

    from bot4_platform.definitions import defs
    from bot4_platform.partitions import MARKET_DAYS

    def run(settings: Settings, part: Any, asset: str, check: str) -> bool:
        key = dg.AssetCheckKey(dg.AssetKey(asset), check)
        job = defs.resolve_implicit_global_asset_job_def().get_subset(
            asset_check_selection={key}, asset_selection=set()
        )
        config = {
            "resources": {"bot4": {"config": {"var": str(settings.var), "account": settings.account}}},
            "loggers": {"console": {"config": {"log_level": "CRITICAL"}}},
        }
        with dg.DagsterInstance.ephemeral() as instance:
            # By tags: Dagster wants one kind of partitions of all assets, also of those that are not selected.
            tags = MARKET_DAYS.get_tags_for_partition_key(part.key)
            result = job.execute_in_process(run_config=config, instance=instance, tags=tags, raise_on_error=False)
        found = result.get_asset_check_evaluations()
        assert [evaluation.check_name for evaluation in found] == [check]
        return found[0].passed

    return run


@pytest.fixture(scope="session")
def usdm_journal(usdm_capture: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The journal of the USD-M capture, of the account `test`, imported once; to be read, or copied."""
    from bot4_live.market.import_capture import import_capture

    folder = tmp_path_factory.mktemp("usdm") / "journal"
    import_capture(usdm_capture, folder, account="test")
    return folder


@pytest.fixture(scope="session")
def empty_registry(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Settings], None]:
    """Return what gives an account a new MLflow database; it is made once, since its migrations take seconds."""
    from bot4_platform.mlops import registry

    made = Settings(var=tmp_path_factory.mktemp("registry"))
    registry.client(made).search_registered_models()

    def copy(settings: Settings) -> None:
        shutil.copytree(made.root / "mlflow", settings.root / "mlflow")

    return copy


PARSED = "partial_parse.msgpack"  # in which dbt keeps what it parsed


@pytest.fixture(scope="session")
def parse_dbt(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path], None]:
    """Return what spares a dbt target folder three seconds: the project parsed for duckdb, once for all tests."""
    from bot4_platform import dbt_runner

    made = tmp_path_factory.mktemp("dbt")
    # The target is part of what dbt goes by: what was parsed for another, or for none, is parsed again.
    assert dbt_runner._invoke(["parse", "--target", "duckdb"], made, {}).success

    def copy(folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(made / PARSED, folder / PARSED)

    return copy


@pytest.fixture
def quick_dbt(settings: Settings, parse_dbt: Callable[[Path], None]) -> None:
    """Let the account's first build of dbt find the project parsed."""
    parse_dbt(settings.root / "dbt")
