"""A user's own history: exact integers or a reason, gaps as they are, the same again adds nothing, out as it was."""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from click.testing import CliRunner
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bot4_platform.commands.data import command
from bot4_platform.lake import Lake
from bot4_platform.own_history.exact import counts, times
from bot4_platform.own_history.importing import Source, import_file
from bot4_platform.own_history.layout import decimals, interval_s
from bot4_platform.own_history.reading import _text
from bot4_platform.own_history.steps import versions_of

MARKET = "kraken:XBTUSD"
CANDLES = ["--kind", "candles", "--market", MARKET, "--interval", "1m", "--tick", "0.1", "--lot", "0.001"]
HEAD = "time,open,high,low,close,volume,trades\n"


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path / "var" / "paper" / "lake")


@pytest.fixture
def run(lake: Lake) -> Callable[..., Any]:
    def call(what: str, path: Path, *arguments: str) -> Any:
        given = [what, str(path), *arguments, "--var", str(lake.root.parents[1]), "--account", "paper"]
        return CliRunner().invoke(command, given)

    return call


def report(run: Callable[..., Any], path: Path, *arguments: str) -> dict[str, Any]:
    result = run("import", path, *arguments, "--json")
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def test_candles_become_ticks_and_lots(tmp_path: Path, lake: Lake, run: Callable[..., Any]) -> None:
    path = tmp_path / "own.csv"
    path.write_text(
        HEAD + "2024-08-08T00:01:00Z,55700.1,55701,55699.90,55700.1,1.25,7\n"
        "2024-08-08 00:00,55700.0,5.57e4,55700,55700,0,\n"
        "1723075440000,55700,55700,55700,55700,0.001,1\n"  # 00:04
    )
    found = report(run, path, *CANDLES)
    assert (found["rows"], found["new"], found["rejected"]) == (3, 3, {})
    assert (found["missing"], [gap["missing"] for gap in found["gaps"]]) == (2, [2])
    table = lake.read("imported_candles", "2024-08-08", MARKET)
    assert table.select("open", "high", "low", "close", "volume", "trades").rows() == [
        (557_000, 557_000, 557_000, 557_000, 0, None),
        (557_001, 557_010, 556_999, 557_001, 1250, 7),
        (557_000, 557_000, 557_000, 557_000, 1, 1),
    ]
    assert (table["event_ns"] - table["open_ns"]).to_list() == [60 * 10**9] * 3
    again = report(run, path, *CANDLES)
    assert (again["new"], again["already_there"], again["missing"]) == (0, 3, 2)
    assert lake.read("imported_candles", "2024-08-08", MARKET).equals(table)
    assert lake.files("imported_candles", "2024-08-08", MARKET) == [lake.path("imported_candles", "2024-08-08", MARKET)]


WRONG = [
    ("2024-08-08T00:00:00Z,1,1,1,1", "schema", "another number of fields"),
    ("yesterday,1,1,1,1,1,1", "time", "time yesterday is no time"),
    ("2024-08-08T00:00:00+02:00,1,1,1,1,1,1", "time", "is no time"),
    ("2024-08-08T00:00:00Z,1,x,1,1,1,1", "number", "high x is no number"),
    ("2024-08-08T00:00:00Z,1,NaN,1,1,1,1", "number", "high NaN is no number"),
    ("2024-08-08T00:00:00Z,1,1,1,1.05,1,1", "lost_digits", "close 1.05 is not a whole number of the tick 0.1"),
    ("2024-08-08T00:00:00Z,1,1,1,1,0.00000000001,1", "lost_digits", "of the lot 0.001"),
    ("2024-08-08T00:00:00Z,-1,1,1,1,1,1", "negative", "open -1 is not positive"),
    ("2024-08-08T00:00:00Z,1,1,1,1,-1,1", "negative", "volume -1 is not positive"),
    ("2099-08-08T00:00:00Z,1,1,1,1,1,1", "future", "of a candle that is not over"),
    ("2024-08-08T00:00:30Z,1,1,1,1,1,1", "off_grid", "no beginning of such a candle"),
    ("2024-08-08T00:00:00Z,1,1,1,1,1,many", "number", "trades many is no count"),
    ("2024-08-08T00:00:00Z,3,2,1,1,1,1", "candle", "low <= open"),
    ("2024-08-08T00:01:00Z,2,2,1,1,1,1", "repeated", "line 2 has other values for the same"),
    ("\x00,\xff,,,,,", "time", "is no time"),
]


def test_every_wrong_row_is_kept_with_its_line_and_a_reason(
    tmp_path: Path, lake: Lake, run: Callable[..., Any]
) -> None:
    path = tmp_path / "bad.csv"
    good = "2024-08-08T00:01:00Z,1,1,1,1,1,1\n"
    path.write_text(HEAD + good + "".join(row + "\n" for row, _, _ in WRONG) + good, encoding="latin-1")
    found = report(run, path, *CANDLES)
    rules = [rule for _, rule, _ in WRONG]
    assert found["rejected"] == {rule: rules.count(rule) for rule in rules}
    assert (found["new"], found["repeated"]) == (1, 1)
    kept = lake.read("source_quarantine").sort("reason")
    assert kept.height == len(WRONG)
    assert set(kept["source"]) == {"import:bad.csv"}
    by_line = {int(reason.split()[1].rstrip(":")): (rule, reason) for rule, reason in kept["rule", "reason"].rows()}
    for line, (_, rule, why) in enumerate(WRONG, 3):
        assert by_line[line][0] == rule
        assert why in by_line[line][1]
    report(run, path, *CANDLES)
    assert lake.read("source_quarantine").height == len(WRONG), "nothing twice"

    path.write_text(HEAD + "2024-08-08T00:01:00Z,2,2,2,2,2,2\n")
    result = run("import", path, *CANDLES)
    assert result.exit_code == 1
    assert "the lake has other values for it; what is there stays" in result.output
    assert lake.read("imported_candles")["open"].to_list() == [10]


def test_a_candle_that_is_not_over_is_none(tmp_path: Path, lake: Lake) -> None:
    path, start = tmp_path / "live.csv", 1_723_075_200
    path.write_text(HEAD + f"{start},1,1,1,1,1,1\n{start + 60},1,1,1,1,1,1\n")
    source, steps = Source(path, "candles", MARKET, interval_s=60), versions_of(lake, MARKET, "0.1", "0.001")
    found = import_file(lake, source, steps, now_ns=(start + 119) * 10**9)
    assert (found.new, found.rejected) == (1, {"future": 1})
    again = import_file(lake, source, steps, now_ns=(start + 120) * 10**9)
    assert (again.new, again.rejected) == (1, {})


def test_trades_and_quotes_of_any_format(tmp_path: Path, lake: Lake, run: Callable[..., Any]) -> None:
    steps = ["--market", MARKET, "--tick", "0.1", "--lot", "0.001"]
    rows = {
        "time": [1_723_075_200_000_000_001] * 3,
        "price": [55700.1] * 3,
        "qty": [0.1] * 3,
        "side": ["buy", "buy", "Sell"],
    }
    for name, write in (("a.parquet", pl.DataFrame.write_parquet), ("a.feather", pl.DataFrame.write_ipc)):
        write(pl.DataFrame(rows), tmp_path / name)
        found = report(run, tmp_path / name, "--kind", "trades", *steps)
        assert found["new"] + found["already_there"] == 3, "two trades alike are two trades"
    table = lake.read("imported_trades")
    assert table.select("event_ns", "price", "qty", "sell").rows() == [
        (1_723_075_200_000_000_001, 557_001, 100, sell) for sell in (False, False, True)
    ]
    quotes = tmp_path / "q.csv"
    quotes.write_text(
        "time,bid,ask,bid_qty,ask_qty\n1723075200,1,1.1,1,2\n1723075200,2,1.1,1,2\n1723075200,1,1.1,1,2\n"
    )
    found = report(run, quotes, "--kind", "quotes", *steps)
    assert (found["new"], found["repeated"], found["rejected"]) == (1, 1, {"crossed": 1})


@pytest.mark.parametrize("form", ["csv", "parquet", "feather"])
def test_out_and_in_and_out_is_the_same(tmp_path: Path, lake: Lake, run: Callable[..., Any], form: str) -> None:
    path = tmp_path / "own.csv"
    path.write_text(HEAD + "".join(f"{1723075200 + 60 * i},1.{i % 10},2,0.1,1,0.00{i % 7},{i}\n" for i in range(2000)))
    report(run, path, *CANDLES)
    first, second = tmp_path / f"one.{form}", tmp_path / f"two.{form}"
    candles = ["--kind", "candles", "--market", MARKET, "--interval", "1m"]
    assert run("export", first, *candles).exit_code == 0
    before = lake.read("imported_candles")
    other = ["--var", str(tmp_path / "other"), "--account", "paper"]
    result = CliRunner().invoke(command, ["import", str(first), *CANDLES, *other])
    assert result.exit_code == 0, result.output
    assert Lake(tmp_path / "other" / "paper" / "lake").read("imported_candles").equals(before)
    assert CliRunner().invoke(command, ["export", str(second), *candles, *other]).exit_code == 0
    assert first.read_bytes() == second.read_bytes()
    assert sorted(found.name for found in tmp_path.glob(".*")) == []


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["--kind", "candles", "--market", MARKET], "--interval goes with candles"),
        (["--kind", "trades", "--market", "XBTUSD"], "write venue:SYMBOL"),
        (["--kind", "trades", "--market", MARKET], "give --tick and --lot"),
        (["--kind", "trades", "--market", MARKET, "--tick", "1", "--lot", "1"], "no column side, price, qty; it has"),
        (["--kind", "trades", "--market", MARKET, "--map", "cost=x"], "trades have the columns time, id, side, price"),
    ],
)  # fmt: skip
def test_what_is_asked_wrongly_is_said(tmp_path: Path, run: Callable[..., Any], arguments: list[str], why: str) -> None:
    path = tmp_path / "a.csv"
    path.write_text("time\n1\n")
    result = run("import", path, *arguments)
    assert result.exit_code != 0
    assert why in result.output + str(result.exception)


def test_files_that_are_not_what_they_say(tmp_path: Path, run: Callable[..., Any]) -> None:
    for name in ("a.parquet", "a.feather", "a.csv.gz", "a.xlsx"):
        (tmp_path / name).write_bytes(b"<html>not found</html>")
        result = run("import", tmp_path / name, *CANDLES)
        assert result.exit_code == 1
        assert isinstance(result.exception, (ValueError, SystemExit))
        assert "a." in str(result.exception)


DECIMAL = st.decimals(min_value=Decimal("-99999"), max_value=Decimal("9999999999"), places=10)


@given(DECIMAL, st.sampled_from([1, 5, 10**3, 10**7, 25 * 10**6, 10**8, 10**9]))
@example(Decimal("1E+3"), 10**8)
@example(Decimal("0.1"), 10**7)
@settings(max_examples=200)
def test_counts_are_exact_or_none(value: Decimal, step: int) -> None:
    (found,) = counts(pl.Series([str(value)]), step).rows()
    exact = value * 10**8 / step
    assert found[1] is True
    assert found == ((int(exact), True, True) if exact == int(exact) else (None, True, False))


@given(st.integers(1, 10**10 - 1), st.integers(0, 8), st.integers(-2, 2))
def test_a_double_beside_a_decimal_is_that_decimal(units: int, places: int, steps: int) -> None:
    import math

    meant = Decimal(units).scaleb(-places)
    value = float(meant) + steps * math.ulp(float(meant)) * (places > 0)
    text = _text(pl.Series([value])).to_list()[0]
    found = counts(pl.Series([text]), 1)["value"].to_list()[0]
    # What is no finer than 1e-8 is taken as it stands: no digit is dropped that could have been meant.
    stands = Decimal(repr(value))
    assert found in ((int(stands * 10**8),) if stands.as_tuple().exponent >= -8 else (int(meant * 10**8), None))
    if steps == 0:
        assert Decimal(text) == meant


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        ("1723075200", 1_723_075_200 * 10**9),
        ("1723075200123", 1_723_075_200_123 * 10**6),
        ("1723075200123456789", 1_723_075_200_123_456_789),
        ("2024-08-08", 1_723_075_200 * 10**9),
        ("2024-08-08T00:00:00.123456789Z", 1_723_075_200_123_456_789),
        ("2024-08-08 00:00:00+00:00", 1_723_075_200 * 10**9),
        ("2024-08-08 00:00 UTC", 1_723_075_200 * 10**9),
        ("2024-13-08", None),
        ("17230752", None),
        ("", None),
    ],
)
def test_times(text: str, ns: int | None) -> None:
    assert times(pl.Series([text])).to_list() == [ns]


def test_words_of_intervals_and_steps() -> None:
    assert [interval_s(text) for text in ("1m", "4h", "1d", "30s")] == [60, 14_400, 86_400, 30]
    for wrong in ("7m", "2d", "1w", "", "0m"):
        with pytest.raises(ValueError, match="divides a day"):
            interval_s(wrong)
    assert [decimals(step) for step in (1, 10**7, 25 * 10**6, 10**8, 10**10)] == [8, 1, 2, 0, 0]


@pytest.mark.capture
def test_real_files(shared_data: Path, lake: Lake, run: Callable[..., Any]) -> None:
    folder = shared_data / "candles"
    fine = ["--tick", "0.00000001", "--lot", "0.00000001"]
    gappy = report(
        run, folder / "gappy_1m.feather", "--kind", "candles", "--market", "binance_spot:GAPPY", "--interval", "1m",
        "--map", "time=date", *fine,
    )  # fmt: skip
    assert (len(gappy["gaps"]), gappy["missing"], gappy["rejected"]) == (538, 717, {})
    assert gappy["rows"] == gappy["new"] == 13_681
    real = report(
        run, folder / "binance_xrpeth_trades.feather", "--kind", "trades", "--market", "binance_spot:XRPETH", *fine,
        "--map", "time=timestamp", "--map", "qty=amount",
    )  # fmt: skip
    assert (real["rows"], real["new"], real["rejected"]) == (12_477, 12_477, {})
    frame = pl.read_ipc(folder / "binance_xrpeth_trades.feather")
    table = lake.read("imported_trades", market="binance_spot:XRPETH")
    assert table["qty"].sum() == sum(round(amount * 10**8) for amount in frame["amount"])
    interpolated = report(
        run, folder / "btc_perp_1m_202201.csv.gz", "--kind", "candles", "--market", "ftx:BTC-PERP", "--interval", "1m",
        "--tick", "1", "--lot", "0.0001", "--map", "time=timestamp",
    )  # fmt: skip
    assert interpolated["rejected"] == {"lost_digits": 14}, "rows that somebody filled in between"
    assert (interpolated["new"], interpolated["missing"]) == (45_017, 14)


@pytest.mark.slow
@pytest.mark.capture
def test_years_of_hours(shared_data: Path, lake: Lake, run: Callable[..., Any]) -> None:
    """Newest first, a line before the header, hours of twelve."""
    found = report(
        run, shared_data / "candles" / "coinbase_btcusd_1h.csv", "--kind", "candles", "--market", "coinbase:BTCUSD",
        "--interval", "1h", "--tick", "0.01", "--lot", "0.00000001", "--skip-lines", "1", "--map", "time=date",
        "--map", "volume=volume_btc", "--time-format", "%Y-%m-%d %I-%p",
    )  # fmt: skip
    assert (found["rows"], found["new"], found["missing"], found["rejected"]) == (20_111, 20_111, 0, {})
    table = lake.read("imported_candles", market="coinbase:BTCUSD")
    assert table["open_ns"].is_sorted()
    assert table["high"].max() == 1_989_199  # 19,891.99 on 2017-12-17
