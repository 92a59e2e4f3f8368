"""verify-book on captures of Coinbase and Deribit: chains, and the best prices that tickers name."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from bot4_live.commands.verify_book import command

SECOND = 1_626_993_723
NAME = "BTC-24SEP21-8000-P"


def deribit(channel, **data):
    message = {"jsonrpc": "2.0", "method": "subscription"}
    data = {"instrument_name": NAME} | data
    return json.dumps(message | {"params": {"channel": f"{channel}.{NAME}.raw", "data": data}}).encode()


class DeribitMarket:
    """A quiet option: one ask comes and goes, and its ticker says so just before, as the venue does."""

    def __init__(self):
        self.ms = SECOND * 1000
        self.id = 100
        self.lines = []
        self.ask = 2.0
        self.put(
            deribit("book", type="snapshot", timestamp=self.ms, change_id=self.id,
                    bids=[["new", 0.0005, 1.0]], asks=[["new", 0.0015, 2.0]])
        )  # fmt: skip

    def put(self, frame):
        self.lines.append(b"%d.%03d: %s\n" % (self.ms // 1000, self.ms % 1000, frame))

    def step(self, said=None):
        self.ms += 10
        self.ask += 1
        previous, self.id = self.id, self.id + 3
        self.put(
            deribit("ticker", timestamp=self.ms, best_bid_price=0.0005, best_bid_amount=1.0, best_ask_price=0.0015,
                    best_ask_amount=said or self.ask)
        )  # fmt: skip
        self.put(
            deribit("book", type="change", timestamp=self.ms, change_id=self.id, prev_change_id=previous, bids=[],
                    asks=[["change", 0.0015, self.ask]])
        )  # fmt: skip
        return self


def verify(lines, tmp_path):
    path = tmp_path / "capture.txt"
    path.write_bytes(b"".join(lines))
    done = CliRunner().invoke(command, [str(path), "--json"])
    return done.exit_code, json.loads(done.stdout)


@pytest.fixture
def market():
    made = DeribitMarket()
    for _ in range(20):
        made.step()
    return made


def test_tickers_are_compared_with_the_book_of_their_time(market, tmp_path):
    code, found = verify(market.lines, tmp_path)
    assert (code, found["ok"], found["venue"]) == (0, True, "deribit")
    assert (found["links"], found["links_unbroken"]) == (20, 20)
    # The last ticker waits for a later update, which does not come.
    assert (found["compared"], found["matched"]) == (19, 19)


def test_a_ticker_that_is_not_the_book_is_reported(market, tmp_path):
    market.step(said=99.0).step()
    code, found = verify(market.lines, tmp_path)
    assert (code, found["ok"]) == (1, False)
    assert (found["compared"], found["matched"]) == (21, 20)
    assert found["first_mismatch"] == {
        "instrument": NAME,
        "exch_ns": (SECOND * 1000 + 210) * 10**6,
        "book": {"bid": "0.0005", "bid_qty": "1", "ask": "0.0015", "ask_qty": "23"},
        "ticker": {"bid": "0.0005", "bid_qty": "1.0", "ask": "0.0015", "ask_qty": "99.0"},
    }


def test_a_ticker_is_judged_when_the_venues_clock_is_past_it(market, tmp_path):
    market.ms += 2000
    market.put(deribit("ticker", timestamp=market.ms, best_bid_price=0.0005, best_ask_price=0.0015))
    _, found = verify(market.lines, tmp_path)
    assert (found["compared"], found["matched"]) == (20, 20)


def test_a_dropped_change_is_reported(market, tmp_path):
    del market.lines[10]
    assert b'"change"' in market.lines[8]
    code, found = verify(market.lines, tmp_path)
    assert (code, found["gaps"], found["links"] - found["links_unbroken"]) == (1, 1, 1)
    assert found["first_mismatch"]["stale"] == {NAME: "gap"}


@pytest.mark.capture
@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (
            "coinbase/ws_pro_level2.txt",
            {"venue": "coinbase", "snapshots": 10, "diffs": 9719, "trades": 97, "compared": 97, "matched": 97},
        ),
        (
            "deribit/ws_options.txt",
            {"venue": "deribit", "diffs": 36, "links": 36, "links_unbroken": 36, "compared": 76, "matched": 76},
        ),
    ],
)
def test_the_captures_are_proven(shared_data, path, expected):
    done = CliRunner().invoke(command, [str(shared_data / "captures" / path), "--json"])
    found = json.loads(done.stdout)
    assert {name: found[name] for name in expected} == expected
    assert (done.exit_code, found["ok"], found["gaps"], found["crossed"], found["quarantined"]) == (0, True, 0, 0, 0)


@pytest.mark.capture
def test_a_dropped_update_of_the_capture_is_reported(shared_data, tmp_path):
    lines = (shared_data / "captures" / "deribit" / "ws_options.txt").read_bytes().splitlines(keepends=True)
    at = next(i for i, line in enumerate(lines) if b'"change"' in line and NAME.encode() in line and b"prev" in line)
    code, found = verify(lines[:at] + lines[at + 1 :], tmp_path)
    assert (code, found["ok"], found["gaps"]) == (1, False, 1)


@pytest.mark.capture
def test_a_lost_best_price_of_coinbase_shows_in_its_tickers(shared_data, tmp_path):
    """Its updates have no number: what is lost at the best price before a trade shows by the ticker of the trade."""
    lines = (shared_data / "captures" / "coinbase" / "ws_pro_level2.txt").read_bytes().splitlines(keepends=True)
    ticker = next(i for i, line in enumerate(lines) if b'"type":"ticker","sequence":201390175' in line)
    best = next(i for i in range(ticker, 0, -1) if b'"SKL-USD","changes":[["buy","0.7910"' in lines[i])
    code, found = verify(lines[:best] + lines[best + 1 :], tmp_path)
    assert (code, found["ok"]) == (1, False)
    assert found["matched"] < found["compared"] == 97
    assert found["first_mismatch"]["instrument"] == "SKL-USD"
