"""The proof of the book: real captures, and made ones that are wrong in known ways."""

from __future__ import annotations

import gzip
import json

import pytest
from click.testing import CliRunner

from bot4_live.commands.verify_book import command
from bot4_live.market.capture import CaptureError
from bot4_live.market.digits import infer_instrument
from bot4_live.market.feed_core import MAX_WAITING
from bot4_live.market.levels import FAR
from bot4_live.market.verify import verify_capture


class Market:
    """Writes a small true capture: each diff is followed by the best quote it brings about."""

    def __init__(self, frames, base_ns, *, price="{:.1f}", qty="{:.3f}"):
        self.frames, self.now = frames, base_ns
        self.price, self.qty = price, qty
        self.lines: list[bytes] = []
        self.last = 100
        self.size = 1

    def put(self, raw):
        self.now += 1_000_000
        self.lines.append(b"%d %s\n" % (self.now, raw))

    def level(self, price, qty):
        return [self.price.format(price), self.qty.format(qty)]

    def start(self):
        self.put(self.frames.diff(90, 105, 89))
        self.put(
            self.frames.snapshot(
                105, [self.level(100.0 - i, 1) for i in range(5)], [self.level(101.0 + i, 1) for i in range(5)]
            )
        )
        self.last = 105
        self.quote(105)
        return self

    def step(self):
        """One diff that changes the best bid's size, with its best quote."""
        self.size += 1
        previous, self.last = self.last, self.last + 10
        self.put(self.frames.diff(previous + 1, self.last, previous, [self.level(100.0, self.size)]))
        self.quote(self.last)
        return self

    def quote(self, u, size=None):
        bid, ask = self.level(100.0, size or self.size), self.level(101.0, 1)
        self.put(self.frames.ticker(u, *bid, *ask))

    def write(self, path):
        path.write_bytes(b"".join(self.lines))
        return path


@pytest.fixture
def market(frames, base_ns):
    made = Market(frames, base_ns).start()
    for _ in range(50):
        made.step()
    return made


def test_a_true_capture(market, tmp_path):
    result = verify_capture(market.write(tmp_path / "c"))
    assert result.ok
    assert (result.compared, result.matched, result.gaps, result.crossed) == (51, 51, 0, 0)
    assert (result.diffs, result.diffs_after_bridge) == (51, 51)
    assert result.first_mismatch is None
    assert result.events_per_s > 0


def test_quotes_are_compared_by_id_not_by_arrival(market, tmp_path):
    """All quotes after all diffs, backwards: nothing changes."""
    quotes = [line for line in market.lines if b"bookTicker" in line]
    market.lines = [line for line in market.lines if b"bookTicker" not in line] + quotes[::-1]
    result = verify_capture(market.write(tmp_path / "c"))
    assert result.ok
    assert result.matched == 51


def test_a_quote_that_differs_is_a_mismatch(market, tmp_path):
    market.quote(market.last, size=7777)
    result = verify_capture(market.write(tmp_path / "c"))
    assert not result.ok
    assert (result.compared, result.matched) == (51, 50)
    assert result.first_mismatch is not None
    assert result.first_mismatch["book"]["bid_qty"] == "51"
    assert result.first_mismatch["quote"]["bid_qty"] == "7777"


def test_a_missing_diff_is_a_gap(market, tmp_path):
    diffs = [i for i, line in enumerate(market.lines) if b"depthUpdate" in line]
    del market.lines[diffs[20]]
    result = verify_capture(market.write(tmp_path / "c"))
    assert result.gaps == 1
    assert not result.ok


def test_a_crossed_book_is_counted(market, tmp_path):
    previous = market.last
    market.put(market.frames.diff(previous + 1, previous + 5, previous, [market.level(101.0, 1)]))
    result = verify_capture(market.write(tmp_path / "c"))
    assert result.crossed == 1
    assert not result.ok


def test_no_snapshot_proves_nothing(market, tmp_path):
    market.lines = [line for line in market.lines if b"lastUpdateId" not in line]
    result = verify_capture(market.write(tmp_path / "c"))
    assert (result.compared, result.ok) == (0, False)


def test_without_the_diff_that_bridges_the_snapshot_there_is_a_gap(market, tmp_path):
    del market.lines[0]
    result = verify_capture(market.write(tmp_path / "c"))
    assert result.ok, "the next one names the snapshot's id as the one before it"
    del market.lines[2]
    snapshot = market.lines.pop(0)
    result = verify_capture((tmp_path / "late").write_bytes(b"".join([*market.lines, snapshot])) and tmp_path / "late")
    assert (result.gaps, result.compared, result.ok) == (1, 0, False)


def test_a_snapshot_after_all_diffs(frames, base_ns, tmp_path):
    """More of them than a live feed would let wait."""
    market = Market(frames, base_ns).start()
    for _ in range(MAX_WAITING + 10):
        market.step()
    market.lines.append(market.lines.pop(1))
    result = verify_capture(market.write(tmp_path / "c"))
    assert result.ok
    assert result.compared == result.diffs_after_bridge == MAX_WAITING + 11


def test_diffs_that_a_snapshot_holds_are_none_behind_the_bridge(market, frames, tmp_path):
    """A snapshot for every other diff, and each time it is there before the diff."""
    lines, market.lines = market.lines, []
    for n, line in enumerate(lines):
        raw = json.loads(line.split(b" ", 1)[1]).get("data", {})
        if n % 4 == 3 and raw.get("b") and raw["e"] == "depthUpdate":
            bids = [raw["b"][0], *(market.level(100.0 - i, 1) for i in range(1, 5))]
            market.put(frames.snapshot(raw["u"] + 1, bids, [market.level(101.0 + i, 1) for i in range(5)]))
        market.lines.append(line)
    result = verify_capture(market.write(tmp_path / "c"))
    assert (result.snapshots, result.diffs) == (26, 51)
    assert result.ok
    assert result.compared == result.matched == result.diffs_after_bridge == 26


def test_dropped_far_levels_are_counted_and_no_fault(market, tmp_path):
    """A day's book has more of them than are kept; those that are dropped are the farthest."""
    previous, market.last = market.last, market.last + 5
    far = [market.level(10_000.0 + i / 10, 1) for i in range(FAR + 7)]
    market.put(market.frames.diff(previous + 1, market.last, previous, [], far))
    market.step()
    result = verify_capture(market.write(tmp_path / "c"))
    assert (result.overflow, result.compared, result.matched) == (7, 53, 53)
    assert result.ok


def test_the_recorders_clock_does_not_matter(market, tmp_path):
    path = tmp_path / "c"
    path.write_bytes(b"".join(b"%d %s" % (n, line.split(b" ", 1)[1]) for n, line in enumerate(market.lines)))
    assert verify_capture(path).ok


def test_a_coin_of_a_few_ticks(frames, base_ns, tmp_path):
    """The mid goes from 3.5 to 2.5 ticks and back: no best quote is passed over as an outlier."""
    market = Market(frames, base_ns, price="{:.8f}", qty="{:.0f}")

    def level(ticks, qty):
        return market.level(ticks * 1e-8, qty)

    market.put(frames.diff(90, 105, 89))
    market.put(frames.snapshot(105, [level(i, 9) for i in (3, 2, 1)], [level(i, 9) for i in (4, 5, 6)]))
    market.put(frames.ticker(105, *level(3, 9), *level(4, 9)))
    for u in range(106, 186, 2):
        market.put(frames.diff(u, u, u - 1, [level(3, 0)], [level(3, 5)]))
        market.put(frames.ticker(u, *level(2, 9), *level(3, 5)))
        market.put(frames.diff(u + 1, u + 1, u, [level(3, 9)], [level(3, 0)]))
        market.put(frames.ticker(u + 1, *level(3, 9), *level(4, 9)))
    result = verify_capture(market.write(tmp_path / "c"))
    assert result.ok
    assert (result.compared, result.quarantined) == (81, 0)


def test_digits_of_other_streams_are_not_the_books(market, frames, tmp_path):
    """Volumes and mark prices have more digits than lots and ticks: 10^7 coins would be too many lots of 1e-8."""
    market.put(frames.trade(1, "100.1", "10000001"))
    for name, event, body in (
        ("miniTicker", "24hrMiniTicker", '"q":"1812345.12345678"'),
        ("markPrice@1s", "markPriceUpdate", '"p":"100.12345678","i":"100.1","P":"100","r":"0.0001","T":0'),
    ):
        said = f'{{"e":"{event}","E":{market.now // 10**6},"s":"BTCUSDT",{body}}}'
        market.put(f'{{"stream":"btcusdt@{name}","data":{said}}}'.encode())
    result = verify_capture(market.write(tmp_path / "c"))
    assert result.ok
    assert (result.price_digits, result.qty_digits) == (1, 0)
    assert result.quarantined == 1, "miniTicker is not taken"


def test_books_of_two_symbols_are_refused(market, tmp_path):
    market.lines += [line.replace(b"BTCUSDT", b"ETHUSDT") for line in market.lines]
    with pytest.raises(ValueError, match=r"books of several symbols \(BTCUSDT, ETHUSDT\); put the lines of one"):
        verify_capture(market.write(tmp_path / "c"))


def test_a_file_that_ends_before_the_quote_of_its_last_diff(frames, base_ns, tmp_path):
    """Best quotes may come after the diff that they belong to."""
    market = Market(frames, base_ns).start()
    for _ in range(200):
        market.step()
    market.lines.pop()
    result = verify_capture(market.write(tmp_path / "c"))
    assert (result.diffs_after_bridge, result.compared, result.matched) == (201, 200, 200)
    assert result.ok
    del market.lines[-10:]
    market.lines = [line for n, line in enumerate(market.lines) if n < 200 or b"bookTicker" not in line]
    assert not verify_capture(market.write(tmp_path / "c")).ok, "half of the diffs have no best quote"


def test_what_is_whole_of_a_cut_capture(frames, base_ns, tmp_path):
    market = Market(frames, base_ns).start()
    for _ in range(200):
        market.step()
    path = market.write(tmp_path / "c")
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(CaptureError, match="the line is cut"):
        verify_capture(path)
    done = CliRunner().invoke(command, [str(path), "--keep-whole"])
    assert done.exit_code == 0, done.output
    assert "every compared best quote is matched" in done.stdout
    assert f"damaged: {path}: line {len(market.lines)}: the line is cut" in done.stderr
    said = json.loads(CliRunner().invoke(command, [str(path), "--keep-whole", "--json"]).stdout)
    assert said["ok"] is True
    assert "the line is cut" in said["damage"]


def test_other_digits_are_inferred(frames, base_ns, tmp_path):
    market = Market(frames, base_ns, price="{:.5f}", qty="{:.0f}").start()
    market.put(market.frames.trade(1, "100.12345", "12"))
    for _ in range(5):
        market.step()
    path = market.write(tmp_path / "c")
    instrument = infer_instrument((line.split(b" ", 1)[1] for line in market.lines), path)
    assert (instrument.tick_e8, instrument.lot_e8) == (1_000, 10**8)
    result = verify_capture(path)
    assert result.ok
    assert (result.price_digits, result.qty_digits, result.compared) == (5, 0, 6)


def test_a_file_without_frames_of_binance(tmp_path):
    path = tmp_path / "c"
    path.write_bytes(b'1 {"a":1}\n2 []\n')
    with pytest.raises(ValueError, match="no frame names a symbol"):
        verify_capture(path)


@pytest.mark.capture
@pytest.mark.parametrize(
    ("name", "compared"),
    [("binance_usdm/btcusdt_20240808.gz", 6547), ("binance_coinm/btcusd_perp_20240808.gz", 26_824),
     ("binance_spot/ethusdt_20240808.gz", 3433), ("binance_spot/btcusdt_20240808.gz", 3449)],
)  # fmt: skip
def test_real_captures_are_proven(shared_data, name, compared):
    result = verify_capture(shared_data / "captures" / name)
    assert (result.compared, result.matched, result.gaps, result.crossed) == (compared, compared, 0, 0)
    assert result.compared == result.diffs_after_bridge
    assert result.ok


@pytest.mark.capture
def test_command_on_the_real_capture_with_one_diff_less(usdm_capture, tmp_path):
    """Cut to its first 20,000 lines to be quick; line 9,000 or the diff after it is left out."""
    with gzip.open(usdm_capture) as lines:
        head = [line for line, _ in zip(lines, range(20_000), strict=False)]
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    whole.write_bytes(b"".join(head))
    victim = next(i for i in range(9_000, 20_000) if b"depthUpdate" in head[i])
    cut.write_bytes(b"".join(head[:victim] + head[victim + 1 :]))
    good = CliRunner().invoke(command, [str(whole), "--json"])
    assert good.exit_code == 0, good.output
    said = json.loads(good.stdout)
    assert said["ok"] is True
    assert said["compared"] == said["matched"] > 1_000
    bad = CliRunner().invoke(command, [str(cut), "--json"])
    assert bad.exit_code == 1
    assert json.loads(bad.stdout)["gaps"] >= 1


def test_command_prints_a_table(market, tmp_path):
    result = CliRunner().invoke(command, [str(market.write(tmp_path / "c"))])
    assert result.exit_code == 0
    assert "compared" in result.stdout
    assert "every compared best quote is matched" in result.stdout
    market.quote(market.last, size=7777)
    result = CliRunner().invoke(command, [str(market.write(tmp_path / "c"))])
    assert result.exit_code == 1
    assert "first mismatch" in result.output
    assert "NOT proven" in result.output
