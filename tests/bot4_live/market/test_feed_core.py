"""The feed: bridging, gaps, quarantine, order, counts; with and without the real capture."""

from __future__ import annotations

from collections import Counter

import pytest

from bot4_live.events import Kind, Reason, StaleCause, header_of, slots_of
from bot4_live.instrument import BTCUSDT_USDM
from bot4_live.market.capture import read_capture
from bot4_live.market.feed_core import MAX_WAITING, FeedCore

BIDS, ASKS = [["1000.0", "5"], ["999.9", "6"]], [["1000.1", "4"], ["1000.2", "3"]]


class RawLog:
    """Keeps frames like a journal does; references count bytes."""

    def __init__(self):
        self.kept = {}
        self.end = 0

    def append_raw(self, recv_ns, raw, reason, stream):
        at = self.end
        self.kept[at] = (recv_ns, raw, reason, stream)
        self.end += len(raw)
        return at


class Feed:
    """A FeedCore with its output collected."""

    def __init__(self, base_ns, **options):
        self.now = base_ns
        self.out = []
        self.raw_log = RawLog()
        self.core = FeedCore(BTCUSDT_USDM, self.out.append, self.raw_log, **options)

    def connect(self):
        self.core.on_connect(self.now)
        return self

    def frame(self, raw):
        self.now += 1_000_000
        self.core.on_frame(self.now, raw)
        return self

    def snapshot(self, raw):
        self.now += 1_000_000
        self.core.on_snapshot(self.now, raw)
        return self

    def kinds(self):
        return [Kind(int(header_of(record)["kind"])) for record in self.out]

    def ids(self):
        """(kind's first letters, last id) in order."""
        names = {Kind.DEPTH_DIFF: "d", Kind.DEPTH_SNAPSHOT: "s", Kind.BOOK_TICKER: "q", Kind.TRADE: "t"}
        out = []
        for record in self.out:
            head = header_of(record)
            kind = Kind(int(head["kind"]))
            if kind is Kind.BOOK_STALE:
                out.append(f"STALE:{StaleCause(int(head['a'])).name}")
            elif kind is Kind.QUARANTINE:
                out.append(f"BAD:{Reason(int(head['a'])).name}")
            else:
                out.append(f"{names[kind]}{head['b'] or head['a']}")
        return out


@pytest.fixture
def feed(base_ns):
    return Feed(base_ns)


@pytest.fixture
def live(feed, frames):
    """A feed that is bridged: snapshot 100, then the diff 90..110."""
    feed.connect().frame(frames.diff(90, 110, 89, BIDS[:1])).snapshot(frames.snapshot(100, BIDS, ASKS))
    assert feed.core.live
    feed.out.clear()
    return feed


def test_bridging_emits_old_diffs_the_snapshot_then_the_rest(feed, frames):
    feed.connect()
    assert not feed.core.wants_snapshot  # nothing to connect to yet
    feed.frame(frames.diff(50, 60, 49))
    assert feed.core.wants_snapshot
    feed.frame(frames.trade(1, "1000.0", "1")).frame(frames.ticker(95, "1000.0", "1", "1000.1", "2"))
    feed.frame(frames.diff(61, 80, 60)).frame(frames.diff(81, 105, 80)).frame(frames.diff(106, 120, 105))
    feed.snapshot(frames.snapshot(100, BIDS, ASKS))
    assert feed.ids() == ["STALE:START", "t1", "q95", "d60", "d80", "s100", "d105", "d120"]
    assert feed.core.live
    assert not feed.core.wants_snapshot
    feed.frame(frames.diff(130, 140, 120))
    assert feed.ids()[-1] == "d140"
    assert feed.core.last_update_id == 140


def test_a_snapshot_before_the_first_diff_bridges_too(feed, frames):
    feed.connect().snapshot(frames.snapshot(100, BIDS, ASKS)).frame(frames.diff(90, 99, 89))
    feed.frame(frames.diff(100, 105, 99))
    assert feed.ids() == ["STALE:START", "s100", "d99", "d105"]
    assert feed.core.live


def test_a_snapshot_older_than_what_waits_is_asked_for_again(feed, frames):
    feed.connect().frame(frames.diff(200, 210, 190)).snapshot(frames.snapshot(100, BIDS, ASKS))
    assert feed.core.wants_snapshot
    assert feed.core.counts.snapshots_too_old == 1
    feed.snapshot(frames.snapshot(205, BIDS, ASKS))
    assert feed.ids() == ["STALE:START", "s205", "d210"]


def test_an_older_snapshot_does_not_set_a_live_book_back(live, frames):
    live.snapshot(frames.snapshot(70, BIDS, ASKS)).frame(frames.diff(111, 120, 110))
    assert live.ids() == ["d120"]


def test_gap_is_stale_at_once_and_healed_by_a_snapshot(live, frames):
    live.frame(frames.diff(121, 130, 120))  # 111..120 is missing
    assert live.ids() == ["STALE:GAP"]
    head = header_of(live.out[0])
    assert (head["b"], head["c"]) == (110, 120)
    assert live.core.wants_snapshot
    live.frame(frames.ticker(131, "1000.0", "1", "1000.1", "2")).frame(frames.diff(131, 140, 130))
    live.snapshot(frames.snapshot(135, BIDS, ASKS))
    assert live.ids() == ["STALE:GAP", "q131", "d130", "s135", "d140"]
    assert live.core.live


def test_reordered_diffs_are_a_gap_and_all_are_kept(live, frames):
    second, first = frames.diff(121, 130, 120), frames.diff(111, 120, 110)
    live.frame(second).frame(first).snapshot(frames.snapshot(115, BIDS, ASKS))
    assert live.ids() == ["STALE:GAP", "s115", "d120", "d130"]
    live.frame(frames.diff(131, 140, 130))
    assert live.ids()[-1] == "d140"


def test_a_late_diff_in_a_live_book_is_kept(live, frames):
    live.frame(frames.diff(111, 120, 110)).frame(frames.diff(95, 99, 94))
    assert live.ids() == ["d120", "d99"]
    assert live.core.live


def test_duplicates_are_quarantined(live, frames):
    diff, trade = frames.diff(111, 120, 110), frames.trade(5, "1000.0", "1")
    quote = frames.ticker(115, "1000.0", "1", "1000.1", "2")
    for raw in (diff, trade, quote):
        live.frame(raw).frame(raw)
    duplicate = "BAD:DUPLICATE"
    assert live.ids() == ["d120", duplicate, "t5", duplicate, "q115", duplicate]
    assert live.core.live
    assert live.core.counts.quarantined == Counter({Reason.DUPLICATE: 3})


def test_late_trade_is_no_duplicate(live, frames):
    live.frame(frames.trade(7, "1000.0", "1")).frame(frames.trade(6, "1000.0", "1"))
    assert live.ids() == ["t7", "t6"]


def test_disconnect_is_stale_at_once_and_what_waited_is_journaled(live, frames):
    live.core.on_disconnect(live.now)
    live.core.on_disconnect(live.now)
    assert live.ids() == ["STALE:DISCONNECT"]
    live.connect().frame(frames.diff(201, 210, 200))
    live.core.on_disconnect(live.now, StaleCause.SILENCE)
    assert live.ids() == ["STALE:DISCONNECT", "d210"]
    live.connect().frame(frames.diff(301, 310, 300)).snapshot(frames.snapshot(305, BIDS, ASKS))
    live.core.on_disconnect(live.now, StaleCause.SILENCE)
    assert live.ids()[2:] == ["s305", "d310", "STALE:SILENCE"]


def test_a_crossed_book_is_stale(live, frames):
    live.frame(frames.diff(111, 120, 110, [["1000.1", "9"]]))
    assert live.ids() == ["d120", "STALE:CROSSED"]
    live.frame(frames.diff(121, 130, 120)).snapshot(frames.snapshot(125, BIDS, ASKS))
    assert live.ids()[2:] == ["s125", "d130"]


def test_waiting_is_bounded_and_nothing_is_dropped(feed, frames):
    feed.connect()
    for i in range(MAX_WAITING + 5):
        feed.frame(frames.diff(i * 10 + 1, i * 10 + 9, i * 10 - 1 if i else 0))
    assert feed.kinds().count(Kind.DEPTH_DIFF) == 5
    feed.core.on_disconnect(feed.now)
    assert feed.kinds().count(Kind.DEPTH_DIFF) == MAX_WAITING + 5


def test_broken_frames_become_quarantine_events_with_their_bytes(live, frames):
    good = frames.ticker(150, "1000.0", "1", "1000.1", "2")
    live.frame(good)
    bad = [
        (b'{"e":', Reason.NOT_JSON, 0),
        (frames.ticker(151, "1000.1", "1", "1000.1", "2"), Reason.CROSSED_QUOTE, Kind.BOOK_TICKER),
        (frames.ticker(151, "0.0", "1", "1000.1", "2"), Reason.ZERO_PRICE, Kind.BOOK_TICKER),
        (frames.ticker(151, "1000.05", "1", "1000.1", "2"), Reason.LOST_DIGITS, Kind.BOOK_TICKER),
        (frames.ticker(151, "1200.0", "1", "1200.1", "2"), Reason.OUTLIER, Kind.BOOK_TICKER),
        (frames.trade(9, "800.0", "1"), Reason.OUTLIER, Kind.TRADE),
        (frames.trade(9, "0.0", "1"), Reason.ZERO_PRICE, Kind.TRADE),
        (frames.trade(9, "1000.0", "0.000"), Reason.BAD_NUMBER, Kind.TRADE),
        (frames.trade(9, "1000.0", "1", T=1_000_000_000_000), Reason.TIME_OUT_OF_RANGE, Kind.TRADE),
        (frames.diff(111, 120, 110, [["0.0", "1"]]), Reason.ZERO_PRICE, Kind.DEPTH_DIFF),
    ]
    for raw, _, _ in bad:
        live.frame(raw)
    assert len(live.out) == 1 + len(bad)
    for record, (raw, reason, stream) in zip(live.out[1:], bad, strict=True):
        head = header_of(record)
        assert (head["kind"], head["a"], head["b"]) == (Kind.QUARANTINE, reason, stream)
        kept = live.raw_log.kept[int(head["c"])]
        assert kept == (int(head["recv_ns"]), raw, reason, stream)
    assert sum(live.core.counts.quarantined.values()) == len(bad)
    live.frame(frames.diff(111, 120, 110)).frame(frames.trade(9, "1000.0", "1"))
    assert live.ids()[-2:] == ["d120", "t9"]


def test_a_bad_snapshot_leaves_the_feed_waiting(feed, frames):
    feed.connect().frame(frames.diff(90, 110, 89))
    feed.snapshot(b"<html>busy</html>").snapshot(frames.trade(1, "1", "1"))
    feed.snapshot(frames.snapshot(100, [["1000.2", "1"]], ASKS))
    assert feed.ids() == ["STALE:START", "BAD:NOT_JSON", "BAD:UNKNOWN_STREAM", "BAD:CROSSED_QUOTE"]
    assert all(header_of(record)["b"] == Kind.DEPTH_SNAPSHOT for record in feed.out[1:])
    assert feed.core.wants_snapshot
    assert feed.snapshot(frames.snapshot(100, BIDS, ASKS)).core.live


def test_a_market_that_truly_moved_is_believed_after_a_while(live, frames):
    live.frame(frames.ticker(150, "1000.0", "1", "1000.1", "2"))
    for i in range(25):
        live.frame(frames.ticker(160 + i, "2000.0", "1", "2000.1", "2"))
    assert live.core.counts.quarantined[Reason.OUTLIER] == 19
    assert live.ids()[-1] == "q184"


def test_a_price_of_a_few_ticks_moves_by_ticks(live, frames):
    """From 3.5 ticks to 2.5 is a third of the price, and one step."""
    live.frame(frames.ticker(150, "0.3", "1", "0.4", "2"))
    live.frame(frames.ticker(151, "0.2", "1", "0.3", "2")).frame(frames.trade(1, "0.7", "1"))
    live.frame(frames.trade(2, "0.8", "1"))
    assert live.ids() == ["q150", "q151", "t1", "BAD:OUTLIER"]


def test_an_old_mid_is_no_reference(live, frames):
    live.frame(frames.ticker(150, "1000.0", "1", "1000.1", "2"))
    live.now += 11_000_000_000
    live.frame(frames.ticker(151, "2000.0", "1", "2000.1", "2"))
    assert live.ids() == ["q150", "q151"]


def test_accepted_frames_are_in_the_raw_log(live, frames):
    raw = frames.trade(5, "1000.0", "1")
    live.frame(raw)
    ref = int(header_of(live.out[-1])["c"])
    assert live.raw_log.kept[ref][1:] == (raw, 0, Kind.TRADE)


@pytest.mark.capture
def test_every_frame_of_the_real_capture_becomes_an_event(usdm_capture):
    out = []
    core = FeedCore(BTCUSDT_USDM, out.append)
    frames = list(read_capture(usdm_capture))
    core.on_connect(frames[0][0])
    for recv_ns, raw in frames:
        core.on_frame(recv_ns, raw)
    assert core.live
    kinds = Counter(int(header_of(record)["kind"]) for record in out)
    assert kinds == {
        Kind.TRADE: 21_313, Kind.BOOK_TICKER: 66_089, Kind.DEPTH_DIFF: 6_551, Kind.DEPTH_SNAPSHOT: 1, Kind.BOOK_STALE: 1
    }  # fmt: skip
    midnight = 1_723_161_600_000_000_000
    assert sum(int(header_of(record)["exch_ns"]) >= midnight for record in out) == 5
    assert max(slots_of(record).shape[0] for record in out) == 2_001
    assert core.counts.as_dict()["quarantined"] == {}
