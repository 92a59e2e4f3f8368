"""Recovery: whatever a crash leaves, engine and ledger are as the log says, and lost commands come back."""

from __future__ import annotations

import numpy as np
import pytest

from bot4_live import compile_cache
from bot4_live.engine import Engine
from bot4_live.engine_events import hold, mode, params, record, session
from bot4_live.events import Kind, Mode, header_of, slots_of
from bot4_live.instrument import BTCUSDT_USDM
from bot4_live.journal.layout import SegmentHeader
from bot4_live.journal.local import LocalJournal
from bot4_live.journal.snapshots import Snapshot
from bot4_live.sequencer import Sequencer
from bot4_live.session import recovery
from bot4_live.settings import StrategyParams

START = 1_723_118_400 * 10**9
MS = 10**6


def header(first_seq):
    return SegmentHeader(
        account="paper", session="s", first_seq=first_seq, market="binance_usdm:BTCUSDT", shift_ns=0, speed_milli=1000,
        start_market_ns=START, start_mono_ns=0, order_epoch=1, source_hash=compile_cache.source_hash(), lock_hash="",
        cpu="", schema=1,
    )  # fmt: skip


class Journal(LocalJournal):
    """A journal into which a crash lets only some of the commands."""

    keep_commands = 10**9

    def append(self, item):
        if Kind.CMD_NEW <= int(header_of(np.asarray(item))["kind"]) < 80:
            if self.keep_commands <= 0:
                return
            self.keep_commands -= 1
        super().append(item)


def book(at):
    made = record(Kind.DEPTH_SNAPSHOT, at, 100, 100, slots=5)
    slots_of(made)[:] = [(0, 2), (600_000, 1000), (599_999, 1000), (600_001, 1000), (600_002, 1000)]
    ticker = record(Kind.BOOK_TICKER, at, 101, slots=2)
    slots_of(ticker)[:] = [(600_000, 1000), (600_001, 1000)]
    for item in (made, ticker):
        header_of(item)["instrument"], header_of(item)["inst_version"] = BTCUSDT_USDM.id, BTCUSDT_USDM.version
    return [made, ticker]


def opening():
    return [
        session(START, 1),
        BTCUSDT_USDM.record(START),
        params(START, StrategyParams()),
        mode(START, Mode.NORMAL),
        *book(START + MS),
        hold(START + 2 * MS, False),
    ]


@pytest.fixture
def trade(tmp_path):
    """Write a journal up to the moment of the first quotes; return its folder, the engine, and the commands."""

    def run(keep_commands=10**9, then=()):
        engine, commands = Engine(), []
        with Journal(tmp_path / "journal", header(1)) as journal:
            journal.keep_commands = keep_commands
            sequencer = Sequencer(journal, engine, START)
            for item in opening():
                commands += sequencer.push(item)
            while not commands:
                commands += sequencer.advance(sequencer.last_ns + 10 * MS)
                assert sequencer.last_ns < START + 10**10, "no quotes came"
            for item in then:
                header_of(item)["recv_ns"] = sequencer.last_ns
                commands += sequencer.push(item)
        return tmp_path / "journal", engine, commands

    return run


def recover(journal_dir):
    return recovery.recover(journal_dir, journal_dir.parent / "state", journal_dir.parent / "models")


def test_nothing_there_is_a_first_start(tmp_path):
    found = recover(tmp_path / "journal")
    assert (found.last_seq, found.replayed, found.lost, found.ledger.began_ns) == (0, 0, [], 0)


def test_the_engine_is_as_it_was(trade):
    folder, engine, commands = trade()
    found = recover(folder)
    assert found.engine.snapshot() == engine.snapshot()
    assert found.last_seq == engine.last_seq
    assert found.lost == []
    assert len(found.ledger.unsent()) == len(commands) == 2


@pytest.mark.parametrize("kept", [0, 1])
def test_commands_that_the_crash_kept_out_are_given_back(trade, kept):
    folder, _, commands = trade(keep_commands=kept)
    found = recover(folder)
    assert [item.tobytes() for item in found.lost] == [item.tobytes() for item in commands[kept:]]
    with LocalJournal(folder, header(found.last_seq + 1)) as journal:
        for item in found.lost:
            journal.append(item)
        sequencer = Sequencer(journal, found.engine, found.last_ns, found.last_seq + 1)
        sequencer.push(session(found.last_ns, 2))
    again = recover(folder)
    assert again.lost == []
    assert not again.ledger.unsent(), "an order that was never attempted must not linger"
    assert again.engine.snapshot() == found.engine.snapshot()


def test_a_snapshot_shortens_the_replay_and_changes_nothing(trade):
    folder, engine, _ = trade()
    whole = recover(folder)
    state = folder.parent / "state"
    recovery.save(folder, state, recovery.take(engine), whole.ledger.dump())
    with LocalJournal(folder, header(engine.last_seq + 1)) as journal:
        sequencer = Sequencer(journal, engine, whole.last_ns, engine.last_seq + 1)
        sequencer.push(session(whole.last_ns, 2))
    found = recover(folder)
    assert (found.from_snapshot, found.replayed) == (engine.last_seq - 1, 1)
    assert found.engine.snapshot() == engine.snapshot()
    for path in state.glob("ledger-*.json"):
        path.write_text("{")
    assert recover(folder).ledger.dump() == found.ledger.dump(), "without its dump the ledger comes from the journal"


def test_a_snapshot_ahead_of_the_journal_is_not_believed(trade):
    folder, engine, _ = trade()
    taken = recovery.take(engine)
    ahead = Snapshot(taken.seq + 5, taken.layout_hash, taken.source_hash, taken.state)
    recovery.save(folder, folder.parent / "state", ahead, recover(folder).ledger.dump())
    found = recover(folder)
    assert (found.from_snapshot, found.last_seq) == (0, engine.last_seq)


def test_a_missing_bundle_is_named(trade):
    from bot4_live.engine_events import model_swap

    swap = model_swap(0, 0, "ab" * 32, 3, use=True)
    folder, _, _ = trade(then=[swap])
    with pytest.raises(ValueError, match=f"model {'ab' * 32} is missing"):
        recover(folder)
