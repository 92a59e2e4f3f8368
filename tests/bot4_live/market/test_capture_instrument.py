"""Whose capture it is: venue, symbol, digits and contract from its frames, and recordings of any Binance capture."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from bot4_live.commands.record import command as record
from bot4_live.instrument import BTCUSDT_USDM, E8
from bot4_live.journal.reader import Journal
from bot4_live.market.capture_instrument import instrument_of
from bot4_live.market.import_capture import instrument_in
from bot4_live.market.verify_journal import verify_journal

PATH = Path("capture")


def renamed(raw, symbol):
    return raw.replace(b"BTCUSDT", symbol.encode())


@pytest.mark.parametrize(
    ("symbol", "venue", "contract", "inverse"),
    [
        ("ETHUSDT", "binance_usdm", 1, False),
        ("BTCUSDT_240927", "binance_usdm", 1, False),
        ("BTCUSD_PERP", "binance_coinm", 100, True),
        ("BTCUSD_240927", "binance_coinm", 100, True),
        ("ETHUSD_PERP", "binance_coinm", 10, True),
    ],
)
def test_the_market_of_a_symbol(frames, symbol, venue, contract, inverse):
    raws = [frames.diff(1, 10, 0, [["61800.25", "3"]]), frames.trade(1, "61800.5", "0.0125")]
    found = instrument_of([renamed(raw, symbol) for raw in raws], PATH)
    assert (found.market, found.contract_e8, found.inverse) == (f"{venue}:{symbol}", contract * E8, inverse)
    assert (found.tick_e8, found.lot_e8, found.price_digits, found.qty_digits) == (E8 // 100, E8 // 10_000, 2, 4)


def test_spot_is_known_by_its_diffs(frames):
    diff = json.loads(frames.diff(1, 10, 0, [["61800.25", "3"]]))
    del diff["data"]["pu"]
    assert instrument_of([json.dumps(diff).encode()], PATH).venue == "binance_spot"


def test_what_is_no_capture_of_one_symbol(frames):
    with pytest.raises(ValueError, match="no frame names a symbol"):
        instrument_of([b"[]", b"\xff", b"{}"], PATH)
    raws = [frames.diff(1, 10, 0), renamed(frames.diff(1, 10, 0), "ETHUSDT")]
    with pytest.raises(ValueError, match="books of several symbols"):
        instrument_of(raws, PATH)
    mentions = [raws[0], renamed(frames.trade(1, "1.23456", "1"), "ETHUSDT")]
    assert instrument_of(mentions, PATH).tick_e8 == E8, "the digits of a symbol without a book are not the book's"


def test_any_binance_capture_is_recorded_and_proven(frames, base_ns, tmp_path):
    def level(price, qty):
        return [f"{price:.8f}", f"{qty:.2f}"]

    raws = [frames.diff(1, 10, 0), frames.snapshot(8, [level(0.00001234, 5)], [level(0.00001235, 7)])]
    for u in range(20, 120, 10):
        raws.append(frames.diff(u - 9, u, u - 10, [level(0.00001234, 10**9 + u)]))
        raws.append(frames.ticker(u, *level(0.00001234, 10**9 + u), *level(0.00001235, 7)))
    path, journal = tmp_path / "capture", tmp_path / "journal"
    lines = [b"%d %s\n" % (base_ns + i * 10**6, renamed(raw, "PEPEUSDT")) for i, raw in enumerate(raws)]
    path.write_bytes(b"".join(lines))
    done = CliRunner().invoke(record, ["--capture", str(path), "--journal", str(journal), "--json"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["counts"]["quarantined"] == {}
    assert [segment.header.market for segment in Journal(journal).segments()] == ["binance_usdm:PEPEUSDT"]
    result = verify_journal(journal)
    assert result.ok
    assert (result.compared, result.matched) == (10, 10)
    path.write_bytes(path.read_bytes()[:-5])
    assert instrument_in(path, keep_whole=True).symbol == "PEPEUSDT"


def test_the_known_market_keeps_its_filters(frames, base_ns, tmp_path):
    path = tmp_path / "capture"
    path.write_bytes(b"%d %s\n" % (base_ns, frames.diff(1, 10, 0, [["61800", "3"]])))
    assert instrument_in(path) is BTCUSDT_USDM
