"""The generated market: the same for a seed, consistent with itself, and clustered."""

import gzip
from bisect import bisect_right
from collections import Counter

import numpy as np
import orjson
import pytest

from bot4_live.simulation.generator import generate, write_capture


@pytest.fixture(scope="module")
def market() -> list[tuple[int, bytes, dict]]:
    frames = []
    for local_ns, raw in generate(11, duration_s=90):
        message = orjson.loads(raw)
        frames.append((local_ns, raw, message.get("data", message)))
    return frames


def test_same_seed_same_bytes() -> None:
    first, second = list(generate(3, duration_s=5)), list(generate(3, duration_s=5))
    assert first == second
    assert first != list(generate(4, duration_s=5))
    assert first == list(generate(3, duration_s=10))[: len(first)], "a longer run begins with the shorter one"


def test_times_never_go_back_and_events_precede_their_receipt(market) -> None:
    local = [entry[0] for entry in market]
    assert local == sorted(local)
    events = [data["E"] for _, _, data in market if data.get("e") != "depthUpdate" and "lastUpdateId" not in data]
    assert events == sorted(events)
    assert all(data["E"] * 1_000_000 <= ns for ns, _, data in market)


def test_has_all_streams_at_plausible_rates(market) -> None:
    counts = Counter(data.get("e", "snapshot") for _, _, data in market)
    assert counts["snapshot"] == 1
    assert 90 * 15 < counts["depthUpdate"] <= 90 * 20
    assert 90 * 40 < counts["bookTicker"] < 90 * 400
    assert 90 * 20 < counts["trade"] < 90 * 300


def test_snapshot_arrives_after_the_diff_that_bridges_it(market) -> None:
    at, snapshot = next((i, data) for i, (_, _, data) in enumerate(market) if "lastUpdateId" in data)
    before = [data for _, _, data in market[:at] if data["e"] == "depthUpdate"]
    assert any(data["U"] <= snapshot["lastUpdateId"] <= data["u"] for data in before)
    assert len(snapshot["bids"]) <= 1000
    assert len(snapshot["asks"]) <= 1000


def test_book_from_snapshot_and_diffs_equals_the_quotes(market) -> None:
    snapshot = next(data for _, _, data in market if "lastUpdateId" in data)
    diffs = [data for _, _, data in market if data.get("e") == "depthUpdate" and data["u"] >= snapshot["lastUpdateId"]]
    tickers = [data for _, _, data in market if data.get("e") == "bookTicker"]
    ids = [data["u"] for data in tickers]
    bids, asks = (dict(map(tuple, snapshot[side])) for side in ("bids", "asks"))
    previous = None
    for diff in diffs:
        assert previous is None or diff["pu"] == previous
        assert diff["pu"] < diff["U"] <= diff["u"]
        previous = diff["u"]
        for side, levels in ((bids, diff["b"]), (asks, diff["a"])):
            side.update(map(tuple, levels))
            for price in [price for price, qty in levels if qty == "0.000"]:
                del side[price]
        bid, ask = max(bids, key=float), min(asks, key=float)
        quote = tickers[bisect_right(ids, diff["u"]) - 1]
        assert (quote["b"], quote["B"], quote["a"], quote["A"]) == (bid, bids[bid], ask, asks[ask])
        assert float(bid) < float(ask)
    assert len(diffs) > 1500


def test_trades_happen_at_the_quotes_of_their_time(market) -> None:
    """A trade is never better for the taker than the best quote before it."""
    quote = None
    trades = 0
    for _, _, data in market:
        if data.get("e") == "bookTicker":
            quote = data
        elif data.get("e") == "trade":
            assert quote is not None
            price = float(data["p"])
            assert price <= float(quote["b"]) if data["m"] else price >= float(quote["a"])
            assert float(data["q"]) > 0
            trades += 1
    assert trades > 1000


def test_arrivals_and_volatility_cluster() -> None:
    times, quotes = [], []
    for local_ns, raw in generate(5, duration_s=300):
        if b'"e":"trade"' in raw:
            times.append(local_ns)
        elif b'"e":"bookTicker"' in raw:
            data = orjson.loads(raw)["data"]
            quotes.append((data["E"], (float(data["b"]) + float(data["a"])) / 2))
    counts = np.bincount((np.array(times) - times[0]) // 100_000_000)
    assert counts.var() / counts.mean() > 2, "a Poisson process would give 1"
    at, mid = np.array(quotes).T
    grid = np.arange(at[0], at[-1], 250)
    returns = np.diff(np.log(mid[np.searchsorted(at, grid, "right") - 1]))
    squared = returns**2
    assert np.corrcoef(squared[1:], squared[:-1])[0, 1] > 0.05
    assert (returns**4).mean() / squared.mean() ** 2 > 3.5, "fat tails"
    assert abs(np.corrcoef(returns[1:], returns[:-1])[0, 1]) < 0.2


def test_capture_file_has_one_line_a_frame(tmp_path) -> None:
    path = tmp_path / "market.gz"
    frames = list(generate(2, duration_s=2))
    assert write_capture(path, frames) == len(frames)
    lines = gzip.decompress(path.read_bytes()).splitlines()
    assert [(int(line.split(b" ", 1)[0]), line.split(b" ", 1)[1]) for line in lines] == frames
    again = tmp_path / "again.gz"
    write_capture(again, frames)
    assert again.read_bytes() == path.read_bytes()


def test_refuses_an_empty_duration() -> None:
    with pytest.raises(ValueError, match="duration"):
        generate(1, duration_s=0)
