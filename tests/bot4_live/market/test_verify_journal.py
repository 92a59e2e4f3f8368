"""A journal's books proven by its own records and frames: every venue, and every way in which one is wrong."""

from __future__ import annotations

import json

import numpy as np
import pytest
from click.testing import CliRunner
from google_crc32c import value as crc32c

from bot4_live.commands.record import command as record
from bot4_live.commands.verify_book import command
from bot4_live.events import Kind, StaleCause, header_of, slots_of
from bot4_live.journal.reader import Journal, read_segment
from bot4_live.market.import_capture import import_capture
from bot4_live.market.venues.deribit import DeribitFeed
from bot4_live.market.verify_journal import verify_journal
from bot4_live.replay import replay


@pytest.fixture
def market(tmp_path, frames, base_ns):
    """Return a function that journals a small market: three diffs, each with its best quote, and what `change` does."""

    def make(change=lambda raws: raws):
        raws = [frames.diff(1, 10, 0), frames.snapshot(8, [["1", "1"]], [["2", "1"]])]
        previous = 10
        for qty in ("3", "4", "5"):
            last = previous + 5
            raws.append(frames.diff(previous + 1, last, previous, [["1", qty]]))
            raws.append(frames.ticker(last, "1", qty, "2", "1"))
            previous = last
        path = tmp_path / "capture"
        path.write_bytes(b"".join(b"%d %s\n" % (base_ns + i * 10**6, raw) for i, raw in enumerate(change(raws))))
        import_capture(path, tmp_path / "j")
        return tmp_path / "j"

    return make


def rewrite(folder, change):
    """Change records on disk, CRCs included, and take the seal away."""
    (path,) = Journal(folder).paths()
    segment = read_segment(path)
    data = segment.buffer.copy()
    for at, head in zip(segment.offsets.tolist(), segment.headers, strict=True):
        made = data[at : at + int(head["length"])]
        change(made)
        header_of(made)["crc"] = crc32c(made[8:].tobytes())
    path.write_bytes(data.tobytes())
    path.with_suffix(".seal.json").unlink()


def test_a_binance_journal_is_proven_by_its_best_quotes(market):
    result = verify_journal(market())
    assert result.ok
    # The bridge and two of the three updates after it have a best quote at or before their id.
    assert (result.snapshots, result.diffs, result.compared, result.matched) == (1, 4, 3, 3)
    assert (result.links, result.links_unbroken, result.gaps, result.broken) == (4, 4, 0, 0)
    assert result.markets == "binance_usdm:BTCUSDT"


def test_a_gap_that_the_journal_names_is_counted_and_one_that_it_does_not_is_broken(market, frames):
    folder = market(lambda raws: [raw for i, raw in enumerate(raws) if i != 4])  # the second diff is missing
    named = verify_journal(folder)
    assert (named.gaps, named.broken, named.matched) == (1, 0, named.compared)

    def unsay(made):
        if header_of(made)["kind"] == Kind.BOOK_STALE and header_of(made)["a"] == StaleCause.GAP:
            header_of(made)["kind"] = Kind.NOTE

    rewrite(folder, unsay)
    result = verify_journal(folder)
    assert (result.gaps, result.broken, result.ok) == (0, 1, False)
    assert result.links == result.links_unbroken + 1
    assert result.first_mismatch["market"] == "binance_usdm:BTCUSDT"
    assert (result.first_mismatch["expected"], result.first_mismatch["got"]) == (15, 20)


def test_a_recording_may_end_before_the_quote_of_its_last_diff(market, frames):
    """A best quote may come after the diff that it belongs to; at the end, or at a lost connection, it never does."""
    result = verify_journal(market(lambda raws: raws[:-1]))
    assert (result.diffs, result.compared, result.matched) == (4, 2, 2)
    assert result.ok
    assert result.first_mismatch is None


def test_a_level_that_is_not_the_quotes_is_named(market):
    folder = market()

    def spoil(made):
        if header_of(made)["kind"] == Kind.DEPTH_DIFF and header_of(made)["b"] == 20:
            slots_of(made)[1, 1] += 1

    rewrite(folder, spoil)
    result = CliRunner().invoke(command, [str(folder), "--json"])
    said = json.loads(result.stdout)
    assert (result.exit_code, said["ok"], said["compared"] - said["matched"]) == (1, False, 1)
    assert said["first_mismatch"]["book"] == {"bid": "1", "bid_qty": "4.001", "ask": "2", "ask_qty": "1"}
    assert said["first_mismatch"]["quote"]["bid_qty"] == "4"
    shown = CliRunner().invoke(command, [str(folder)])
    assert "the book is NOT proven" in shown.output


@pytest.mark.capture
@pytest.mark.parametrize(
    ("name", "markets", "proof"),
    [
        ("kraken/ws_v1_book1000.txt", 10, {"checksums": 4_269, "links": None, "compared": None}),
        ("okx/ws_v5_books.txt", 3, {"checksums": 290, "links": None, "compared": None}),
        ("deribit/ws_options.txt", 10, {"checksums": None, "links": 36, "compared": 69}),
        ("coinbase/ws_pro_level2.txt", 10, {"checksums": None, "links": None, "compared": 97}),
    ],
)
def test_journals_of_other_venues_are_proven_by_the_venues_own_words(shared_data, tmp_path, name, markets, proof):
    """From `bot4 record --capture` to `bot4 verify-book JOURNAL`: several markets in one journal."""
    folder = tmp_path / "j"
    imported = CliRunner().invoke(
        record, ["--capture", str(shared_data / "captures" / name), "--journal", str(folder), "--json"]
    )
    assert imported.exit_code == 0, imported.output
    result = verify_journal(folder)
    assert result.ok
    assert len(result.markets.split(", ")) == markets
    assert {key: getattr(result, key) for key in proof} == proof
    (segment,) = Journal(folder).segments()
    told = segment.headers[segment.headers["kind"] == Kind.INSTRUMENT]["instrument"]
    assert sorted(told.tolist()) == sorted(segment.header.markets)
    assert {one["venue"] for one in segment.header.instruments} == {name.partition("/")[0]}
    assert all(one["name"] for one in segment.header.instruments)


@pytest.mark.capture
def test_a_checksum_that_is_not_ours_is_found_in_the_raw_log(shared_data, tmp_path):
    """The frames are other than when they came: the records may agree with each other, the venue's word does not."""
    path = tmp_path / "capture"
    lines = (shared_data / "captures" / "okx" / "ws_v5_books.txt").read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:200]))
    CliRunner().invoke(record, ["--capture", str(path), "--journal", str(tmp_path / "j")])
    assert verify_journal(tmp_path / "j").ok
    # Another journal whose frames are damaged, and whose records refer to them all the same.
    (segment,) = Journal(tmp_path / "j").segments()
    depth = segment.headers[segment.headers["kind"] == Kind.DEPTH_DIFF]
    swapped = {int(depth["c"][5]): int(depth["c"][6])}

    def refer_to_another(made):
        ref = int(header_of(made)["c"])
        if header_of(made)["kind"] == Kind.DEPTH_DIFF and ref in swapped:
            header_of(made)["c"] = swapped[ref]

    rewrite(tmp_path / "j", refer_to_another)
    result = verify_journal(tmp_path / "j")
    assert not result.ok
    assert result.checksums > result.checksums_matched
    assert result.first_mismatch["raw_ref"] in np.concatenate([depth["c"], [0]])


def test_what_holds_no_book_and_what_is_no_journal(tmp_path, frames, base_ns):
    (tmp_path / "capture").write_bytes(b"%d %s\n" % (base_ns, frames.trade(1, "1.5", "1")))
    import_capture(tmp_path / "capture", tmp_path / "j")
    with pytest.raises(ValueError, match="holds no order book; record a market first"):
        verify_journal(tmp_path / "j")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="holds no order book"):
        verify_journal(tmp_path / "empty")


def test_a_recorded_journal_is_no_session_to_replay(market):
    folder = market()
    with pytest.raises(ValueError, match=r"was recorded, not traded: .* `bot4 verify-book .*j` proves its books"):
        replay(folder)


@pytest.mark.capture
def test_a_session_with_other_digits_is_proven_by_its_own(shared_data, tmp_path):
    """A recording that begins anew counts versions anew; its listing may have changed meanwhile."""
    whole = shared_data / "captures" / "deribit" / "ws_options.txt"
    begin = tmp_path / "capture"
    begin.write_bytes(b"".join(whole.read_bytes().splitlines(keepends=True)[:10]))  # whole prices so far
    for path in (begin, whole):
        import_capture(path, tmp_path / "j", venue=DeribitFeed)
    told = [one for segment in Journal(tmp_path / "j").segments() for one in segment.header.instruments]
    assert {one["price_digits"] for one in told} == {0, 4}
    assert {one["version"] for one in told} == {1}
    result = verify_journal(tmp_path / "j")
    assert result.ok
    assert (result.links, result.compared) == (36, 69)
