"""Captures into a journal: every frame is an event, in order, with its raw bytes."""

from __future__ import annotations

import json
from collections import Counter

import numpy as np
import pytest

from bot4_live.events import Kind, Reason, header_of
from bot4_live.journal.reader import Journal
from bot4_live.market.capture import CaptureError, read_capture
from bot4_live.market.import_capture import import_capture


@pytest.fixture
def capture(frames, base_ns, tmp_path):
    """120 lines: a snapshot, diffs, quotes, trades and one frame that is broken."""
    bids, asks = [["1000.0", "5"]], [["1000.1", "4"]]
    raws = [frames.diff(1, 10, 0), frames.snapshot(8, bids, asks)]
    for i in range(39):
        raws.append(frames.diff(10 * i + 11, 10 * i + 20, 10 * i + 10, [["999.9", f"{i + 1}"]]))
        raws.append(frames.ticker(10 * i + 20, "1000.0", "5", "1000.1", "4"))
        raws.append(frames.trade(i + 1, "1000.0", "0.5"))
    raws.append(b'{"stream":"btcusdt@trade","data":{"e":"trade"')
    path = tmp_path / "capture"
    path.write_bytes(b"".join(b"%d %s\n" % (base_ns + i * 7_000_000, raw) for i, raw in enumerate(raws)))
    return path


def kinds(journal):
    return Counter(Kind(int(header_of(record)["kind"])) for record in journal.events())


def test_a_capture_becomes_a_sealed_journal(capture, tmp_path, base_ns):
    result = import_capture(capture, tmp_path / "j")
    journal = Journal(tmp_path / "j")
    got = kinds(journal)
    assert got.pop(Kind.TICK) == 83  # a 10 ms grid over 119 x 7 ms
    assert got == {
        Kind.SESSION: 1, Kind.INSTRUMENT: 1, Kind.DEPTH_SNAPSHOT: 1, Kind.DEPTH_DIFF: 40, Kind.BOOK_TICKER: 39,
        Kind.TRADE: 39, Kind.QUARANTINE: 1, Kind.BOOK_STALE: 2,
    }  # fmt: skip
    (segment,) = journal.segments()
    assert segment.sealed
    assert segment.header.shift_ns == 0
    assert segment.header.market == "binance_usdm:BTCUSDT"
    headers = segment.headers
    assert headers["seq"].tolist() == list(range(1, headers.size + 1))
    assert (np.diff(headers["recv_ns"]) >= 0).all()
    assert (result.first_seq, result.last_seq, result.frames) == (1, headers.size, 120)
    assert (result.first_ns, result.last_ns) == (base_ns, base_ns + 119 * 7_000_000)
    assert result.counts["quarantined"] == {"not_json": 1}


def test_each_event_names_its_raw_frame(capture, tmp_path):
    import_capture(capture, tmp_path / "j")
    journal = Journal(tmp_path / "j")
    raws = []
    for record in journal.events():
        head = header_of(record)
        if head["source"] in (1, 2) and head["kind"] != Kind.BOOK_STALE:
            raws.append(journal.raw(int(head["c"])))
    assert sorted(frame.raw for frame in raws) == sorted(raw for _, raw in read_capture(capture))
    assert [frame.reason for frame in raws if frame.reason] == [Reason.NOT_JSON]


def test_a_second_import_goes_on_in_the_same_journal(capture, tmp_path):
    first = import_capture(capture, tmp_path / "j")
    second = import_capture(capture, tmp_path / "j", ticks=False)
    assert second.first_seq == first.last_seq + 1
    assert Journal(tmp_path / "j").last_seq == second.last_seq
    assert kinds(Journal(tmp_path / "j"))[Kind.TRADE] == 78


def test_until_and_stop_end_cleanly(capture, tmp_path, base_ns):
    until = import_capture(capture, tmp_path / "a", until_ns=base_ns + 10 * 7_000_000)
    assert until.frames == 11
    stops = iter([False] * 20 + [True] * 100)
    stopped = import_capture(capture, tmp_path / "b", stop=lambda: next(stops))
    assert stopped.frames == 20
    for name in "ab":
        (segment,) = Journal(tmp_path / name).segments()
        assert segment.sealed


def test_a_cut_capture_says_so_or_goes_on_with_what_is_whole(capture, tmp_path):
    data = capture.read_bytes()
    capture.write_bytes(data[: len(data) // 2])
    with pytest.raises(CaptureError, match=r"line \d+: the line is cut"):
        import_capture(capture, tmp_path / "a")
    assert not (tmp_path / "a").exists()
    result = import_capture(capture, tmp_path / "b", keep_whole=True)
    assert result.damage is not None
    assert "the line is cut" in result.damage
    assert result.frames == capture.read_bytes().count(b"\n")


def test_an_empty_capture_leaves_no_journal(tmp_path):
    (tmp_path / "c").write_bytes(b"")
    for keep_whole in (False, True):
        with pytest.raises(CaptureError, match="empty"):
            import_capture(tmp_path / "c", tmp_path / "j", keep_whole=keep_whole)
    assert not (tmp_path / "j").exists()


@pytest.mark.capture
def test_the_real_capture_is_journaled_whole(usdm_capture, tmp_path):
    told = []
    result = import_capture(usdm_capture, tmp_path / "j", progress=told.append)
    assert result.frames == 93_954
    assert told[:2] == [5_000, 10_000]
    journal = Journal(tmp_path / "j")
    (seal,) = journal.seals()
    (segment,) = journal.segments()
    got = Counter(segment.headers["kind"].tolist())
    assert (got[Kind.TRADE], got[Kind.BOOK_TICKER], got[Kind.DEPTH_DIFF]) == (21_313, 66_089, 6_551)
    assert got[Kind.QUARANTINE] == 0
    market = np.isin(segment.headers["kind"], [Kind.TRADE, Kind.BOOK_TICKER, Kind.DEPTH_DIFF])
    assert (segment.headers["exch_ns"][market] >= 1_723_161_600_000_000_000).sum() == 5
    assert json.dumps(seal)  # plain values
