"""Replay of real journals on disk: identical, across restarts and models; and every kind of difference is named."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from google_crc32c import value as crc32c

from bot4_live.commands.replay import command
from bot4_live.engine import Engine
from bot4_live.events import Kind, header_of, slots_of
from bot4_live.journal.layout import SegmentHeader
from bot4_live.journal.local import LocalJournal
from bot4_live.journal.reader import Journal, read_segment
from bot4_live.replay import replay

START = 1_723_161_255_000_000_000


def header(first_seq: int) -> SegmentHeader:
    return SegmentHeader(
        account="test", session="s", first_seq=first_seq, market="binance_usdm:BTCUSDT", shift_ns=0, speed_milli=1000,
        start_market_ns=START, start_mono_ns=0, order_epoch=1, source_hash="h", lock_hash="l", cpu="x", schema=1,
    )  # fmt: skip


@pytest.fixture(scope="session")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A journal of two sessions with a restart from the state in between, and a model; two segments."""
    return tmp_path_factory.mktemp("account")


@pytest.fixture
def account(recorded: Path, tmp_path: Path, make_rig: Any, make_log: Any, traded: Any, go_on: Any) -> Path:
    """Return a fresh copy of the recorded account."""
    if not (recorded / "journal").exists():
        with LocalJournal(recorded / "journal", header(1)) as journal:
            first = traded(seed=5, steps=120, log=make_log(journal), models=recorded / "models")
        state = first.engine.snapshot()
        engine = Engine()
        engine.restore(state)
        last = first.engine.last_seq + 1
        with LocalJournal(recorded / "journal", header(last)) as journal:
            second = make_rig(engine, log=make_log(journal), now=first.now + 10**9, seq=last)
            second.update = first.update
            go_on(second, 6, 0)
            second.start(epoch=2)
            for order in list(second.engine.orders()):
                second.report(Kind.ORDER_EXPIRED, order.id)
            go_on(second, 6, 80)
            assert second.engine.counters["orders"] > first.engine.counters["orders"]
    shutil.copytree(recorded, tmp_path / "account")
    return tmp_path / "account"


def rewrite(journal: Path, change: Any) -> int:
    """Change one record of a journal on disk, CRC and seal included; return the seq of the event."""
    for path in Journal(journal).paths():
        segment = read_segment(path)
        data = segment.buffer.copy()
        for at, head in zip(segment.offsets.tolist(), segment.headers, strict=True):
            record = data[at : at + int(head["length"])]
            if change(record):
                header_of(record)["crc"] = crc32c(record[8:].tobytes())
                path.write_bytes(data.tobytes())
                path.with_suffix(".seal.json").unlink()
                return int(head["seq"])
    raise AssertionError("no record was changed")


def test_a_journal_of_two_sessions_with_a_model_replays_identically(account: Path) -> None:
    seen: list[str] = []
    result = replay(account / "journal", progress=seen.append)
    assert result.identical
    assert result.first_difference is None
    assert result.sha256 == result.journaled_sha256
    assert result.commands == result.journaled > 150
    assert result.events == sum(1 for _ in Journal(account / "journal").events())
    assert len(seen) == len(Journal(account / "journal").paths()) == 2
    assert replay(account / "journal", account / "models") == result


BOOK_KINDS = (Kind.DEPTH_SNAPSHOT, Kind.DEPTH_DIFF, Kind.BOOK_TICKER)


def used_quote(journal: Path) -> tuple[int, int]:
    """Return (seq of a best quote, seq of the first event whose new order was priced by it)."""
    quote = (0, 0)
    for record in Journal(journal).records():
        head = header_of(record)
        kind, seq = int(head["kind"]), int(head["seq"])
        if kind in BOOK_KINDS:
            quote = kind, seq
        elif kind == Kind.CMD_NEW and quote[0] == Kind.BOOK_TICKER and seq > 400:
            return quote[1], seq
    raise AssertionError("no order followed a best quote")


def test_one_price_of_one_event_changes_the_hash_and_its_seq_is_named(account: Path) -> None:
    good = replay(account / "journal")
    quote, order = used_quote(account / "journal")

    def change(record: np.ndarray) -> bool:
        if header_of(record)["seq"] != quote:
            return False
        slots_of(record)[0, 0] -= 400
        return True

    rewrite(account / "journal", change)
    bad = replay(account / "journal")
    assert not bad.identical
    assert bad.sha256 != good.sha256
    assert bad.journaled_sha256 == good.journaled_sha256
    assert bad.first_difference is not None
    assert quote < bad.first_difference <= order


def test_a_changed_command_is_named_by_its_seq(account: Path) -> None:
    def change(record: np.ndarray) -> bool:
        if header_of(record)["kind"] == Kind.CMD_NEW and header_of(record)["seq"] > 300:
            slots_of(record)[0, 1] += 1
            return True
        return False

    seq = rewrite(account / "journal", change)
    result = replay(account / "journal")
    assert (result.identical, result.first_difference) == (False, seq)


def truncate(journal: Path, *, drop_records: int) -> tuple[int, int]:
    """Cut the last records off an unsealed copy of the last segment; return (kind, seq) of the first that went."""
    path = Journal(journal).paths()[-1]
    segment = read_segment(path)
    at = int(segment.offsets[-drop_records])
    head = segment.headers[-drop_records]
    path.write_bytes(segment.buffer[:at].tobytes())
    path.with_suffix(".seal.json").unlink()
    return int(head["kind"]), int(head["seq"])


def test_commands_of_the_last_event_may_be_lost_in_a_crash(account: Path) -> None:
    last = read_segment(Journal(account / "journal").paths()[-1])
    commands = np.flatnonzero(last.is_command)
    keep_event = int(commands[-1])
    while last.is_command[keep_event]:
        keep_event -= 1
    lost = int(np.argmax(~last.is_command[keep_event + 1 :])) or last.offsets.size - keep_event - 1
    truncate(account / "journal", drop_records=last.offsets.size - keep_event - 1)
    result = replay(account / "journal")
    assert result.identical
    assert result.lost_tail == lost > 0
    assert result.commands == result.journaled + lost


def test_a_missing_model_fails_clearly(account: Path) -> None:
    shutil.rmtree(account / "models")
    with pytest.raises(ValueError, match=r"model [0-9a-f]{64} is missing"):
        replay(account / "journal")


def test_a_missing_or_empty_journal_fails_clearly(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="record or trade first"):
        replay(tmp_path / "nothing")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="no events"):
        replay(tmp_path / "empty")


def test_the_command_says_identical_and_exits_0(account: Path) -> None:
    done = CliRunner().invoke(command, [str(account / "journal")])
    assert done.exit_code == 0
    assert "identical" in done.stdout
    as_json = CliRunner().invoke(command, [str(account / "journal"), "--models", str(account / "models"), "--json"])
    result = json.loads(as_json.stdout)
    assert result["identical"] is True
    assert result["sha256"] in done.stdout


def test_the_command_names_the_first_difference_and_exits_1(account: Path) -> None:
    def change(record: np.ndarray) -> bool:
        if header_of(record)["kind"] == Kind.CMD_CANCEL:
            header_of(record)["a"] += 1
            return True
        return False

    seq = rewrite(account / "journal", change)
    done = CliRunner().invoke(command, [str(account / "journal")])
    assert done.exit_code == 1
    assert f"DIFFERENT from seq {seq} on" in done.stdout
    as_json = CliRunner().invoke(command, [str(account / "journal"), "--json"])
    assert as_json.exit_code == 1
    assert json.loads(as_json.stdout)["first_difference"] == seq
