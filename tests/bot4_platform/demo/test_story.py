"""The report's numbers against a journal made by hand, where every answer is known."""

from pathlib import Path

import numpy as np
import pytest

from bot4_live.events import Flag, Kind, Reason, header_of, new_record, slots_of
from bot4_live.instrument import BTCUSDT_USDM
from bot4_live.journal.layout import SegmentHeader
from bot4_live.journal.local import LocalJournal
from bot4_platform.demo import charts, report
from bot4_platform.demo.story import Story, read

SHIFT = 7_000_000_000
START = 1_723_161_255_000_000_000


def add(journal: LocalJournal, kind: Kind, seq: int, at_s: float, slots: list[tuple[int, int]], **head: int) -> None:
    record = new_record(kind, len(slots))
    fields = header_of(record)
    fields["seq"], fields["recv_ns"] = seq, START + SHIFT + round(at_s * 1e9)
    for name, value in head.items():
        fields[name] = value
    if slots:
        slots_of(record)[:] = slots
    journal.append(record)


@pytest.fixture
def story(tmp_path: Path) -> Story:
    header = SegmentHeader(
        account="t", session="s", first_seq=1, market="m", shift_ns=SHIFT, speed_milli=4000, start_market_ns=0,
        start_mono_ns=0, order_epoch=1, source_hash="", lock_hash="", cpu="", schema=1,
    )  # fmt: skip
    with LocalJournal(tmp_path, header, segment_bytes=1 << 16) as journal:
        add(journal, Kind.SESSION, 1, 0, [(0, 0)], b=4000)
        add(journal, Kind.BOOK_TICKER, 2, 1, [(600_000, 5), (600_002, 5)])
        add(journal, Kind.CMD_NEW, 2, 1, [(600_000, 10)])
        add(journal, Kind.ORDER_FILL, 3, 2, [(600_000, 10), (10, 1_200_000)], a=5, b=77)
        add(journal, Kind.ORDER_FILL, 4, 2.1, [(600_000, 10), (10, 1_200_000)], a=5, b=77)  # learnt twice
        add(journal, Kind.BOOK_TICKER, 5, 3, [(600_999, 5), (601_001, 5)])
        add(journal, Kind.ORDER_FILL, 6, 4, [(601_000, 4), (4, 500_000)], a=6, b=78, flags=Flag.SELL)
        add(journal, Kind.QUARANTINE, 7, 4.5, [], a=Reason.NEGATIVE)
        add(journal, Kind.BOOK_TICKER, 8, 5, [(601_999, 5), (602_001, 5)])
    return read([tmp_path], BTCUSDT_USDM)


def test_position_pnl_and_counts(story: Story) -> None:
    assert story.events == 8
    assert story.commands == 1
    assert story.sessions == [(0.0, 4.0)]
    assert story.quarantined == {"NEGATIVE": 1}
    assert story.position.tolist() == pytest.approx([0.01, 0.006])
    time, pnl = story.equity()
    assert time.tolist() == [1, 3, 5]
    # Bought 0.01 at 60,000.0 (fee 0.012), sold 0.004 at 60,100.0 (fee 0.005); mids 60,100.0 then 60,200.0.
    assert pnl.tolist() == pytest.approx([0, 0.01 * 100 - 0.012, 0.004 * 100 + 0.006 * 200 - 0.017])


def test_an_empty_journal_is_an_empty_story(tmp_path: Path) -> None:
    story = read([tmp_path], BTCUSDT_USDM)
    assert story.events == 0
    assert story.equity()[0].size == 0


def test_charts_are_inline_svg_without_links_to_the_network(story: Story) -> None:
    pictures = [
        charts.book_and_quotes(story, 0.0),
        charts.position_and_pnl(story, 0.0),
        charts.latency({"decision": (np.array([1.0, 10.0, 100.0]), np.array([5, 2]))}),
        charts.kill_timeline([("flag", 0.1), ("cancelled", 12.0)]),
        charts.bars({"imbalance": 3.0}, "gain"),
    ]
    for picture in pictures:
        assert picture.startswith("<svg")
        assert "<script" not in picture
        assert 'href="http' not in picture
    assert "bought" in pictures[0]


def test_what_users_supply_is_escaped() -> None:
    assert "<b>" not in report.table(["<b>"], [["<b>x</b>", 1.5]])
    assert "1.5000" in report.table(["a"], [[1.5]])
