"""From the journal to tick tables: verdicts reused, shift removed, days by exchange time, nothing twice."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest

from bot4_live.clock import day_of, day_start_ns
from bot4_live.events import Flag, Kind, Reason, Source, header_of, new_record, slots_of
from bot4_live.journal.local import LocalJournal
from bot4_live.settings import Settings
from bot4_platform import journal_ticks
from bot4_platform.journal_source import seals, seals_of, segments
from bot4_platform.partitions import MarketDay, parse_key

DAY_START = 1_723_075_200 * 10**9
DAY_NS = 86_400 * 10**9
MARKET = "binance_usdm:BTCUSDT"
TODAY, TOMORROW = MarketDay("2024-08-08", MARKET), MarketDay("2024-08-09", MARKET)


def read(settings: Settings, part: MarketDay) -> dict[str, pl.DataFrame]:
    folder = settings.journal_dir
    return journal_ticks.ticks(segments(seals_of(folder, part)), part, folder)


def test_partition_names() -> None:
    assert parse_key("2024-08-08|binance_usdm:BTCUSDT") == TODAY
    assert str(TODAY.key) == "2024-08-08|binance_usdm:BTCUSDT"
    assert TODAY.shifted(1) == TOMORROW
    assert TODAY.start_ns == DAY_START == day_start_ns("2024-08-08")
    assert day_of(TODAY.end_ns - 1) == "2024-08-08"
    with pytest.raises(ValueError, match="not of the form"):
        parse_key("2024-08-08")


def test_days_by_exchange_time_without_the_shift(settings: Settings, maker: Any) -> None:
    bad = ((Reason.NOT_JSON, b"{"), (Reason.LOST_DIGITS, b'{"p":"1.234"}'))
    counts = maker.session(DAY_START + DAY_NS - 20 * 10**9, 22, bad=bad)
    today, tomorrow = read(settings, TODAY), read(settings, TOMORROW)
    for name in ("trades", "quotes", "depth"):
        assert today[name].height + tomorrow[name].height == counts[name]
        assert tomorrow[name].height > 0
        assert today[name]["exch_ns"].is_between(TODAY.start_ns, TODAY.end_ns, closed="left").all()
        assert tomorrow[name]["exch_ns"].is_between(TOMORROW.start_ns, TOMORROW.end_ns, closed="left").all()
    assert today["quotes"].height == 400
    assert (today["trades"]["recv_ns"] - today["trades"]["exch_ns"] == maker_shift() + 5_000_000).all()


def maker_shift() -> int:
    return 72_000_000 * 10**9 + 123_000_000


def test_quarantine_has_reason_and_bytes(settings: Settings, maker: Any) -> None:
    bad = ((Reason.NOT_JSON, b"{"), (Reason.LOST_DIGITS, b'{"p":"1.234"}'))
    maker.session(DAY_START + 10**9, 3, bad=bad)
    found = read(settings, TODAY)["quarantine"]
    assert found.select("rule", "raw").rows() == [("NOT_JSON", b"{"), ("LOST_DIGITS", b'{"p":"1.234"}')]
    assert day_of(found["first_seen"][0]) == "2024-08-08"


def test_what_two_sessions_saw_is_kept_once(settings: Settings, maker: Any) -> None:
    first = maker.session(DAY_START + 10**9, 4, seed=1, name="one")
    again = maker.session(DAY_START + 10**9, 6, seed=1, name="two", shift=maker_shift() + 10**10)
    frames = read(settings, TODAY)
    assert len(seals(settings.journal_dir)) == 2
    for name in ("trades", "quotes", "depth"):
        assert frames[name].height == again[name]
        assert again[name] > first[name]
    firsts = frames["trades"].head(first["trades"])["seq"]
    assert firsts.max() < maker.next_seq // 2 + 200


def test_invalid_records_are_left_out(settings: Settings, maker: Any) -> None:
    counts = maker.session(DAY_START + 10**9, 2)
    seal = seals(settings.journal_dir)[0]
    header = next(segments([seal])).header
    record = new_record(Kind.TRADE, 1)
    head = header_of(record)
    head["seq"], head["recv_ns"], head["exch_ns"] = maker.next_seq, seal.last_recv_ns + 1, seal.last_recv_ns
    head["a"], head["flags"], head["source"] = 999_999, Flag.INVALID, Source.MARKET_STREAM
    slots_of(record)[0] = (1, 1)
    with LocalJournal(
        settings.journal_dir, type(header)(**{**header.__dict__, "first_seq": maker.next_seq}), segment_bytes=1 << 20
    ) as journal:
        journal.append(record)
    assert read(settings, TODAY)["trades"].height == counts["trades"]


def test_integers_match_the_records(settings: Settings, maker: Any) -> None:
    maker.session(DAY_START + 10**9, 5)
    frame = read(settings, TODAY)["trades"]
    segment = next(segments(seals(settings.journal_dir)))
    rows = [i for i in range(segment.offsets.size) if segment.headers["kind"][i] == Kind.TRADE]
    wanted = [(int(segment.headers["seq"][i]), *(int(v) for v in segment.slots(i)[0])) for i in rows]
    assert frame.select("seq", "price", "qty").rows() == wanted


def test_a_day_nobody_recorded_is_an_error(settings: Settings, maker: Any) -> None:
    maker.session(DAY_START + 10**9, 1)
    with pytest.raises(FileNotFoundError, match="record that day first"):
        seals_of(settings.journal_dir, MarketDay("2024-08-11", MARKET))
    with pytest.raises(FileNotFoundError, match="no sealed segment"):
        seals_of(settings.journal_dir / "none", TODAY)


def test_an_open_segment_belongs_to_no_partition(settings: Settings, maker: Any) -> None:
    maker.session(DAY_START + 10**9, 1)
    seal = next(settings.journal_dir.glob("*.seal.json"))
    seal.unlink()
    with pytest.raises(FileNotFoundError):
        seals_of(settings.journal_dir, TODAY)
    seal.write_text("{}")
    with pytest.raises(ValueError, match="is not a seal"):
        seals(settings.journal_dir)
