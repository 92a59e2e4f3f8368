"""The same models on duckdb and a real PostgreSQL, and plain Polars: every integer of every candle is the same.

Real captures and generated days; duplicates, late and out-of-order ticks; trades on the boundaries of buckets.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from bot4_platform import dbt_runner, journal_ticks
from bot4_platform.candle_reference import INTERVALS, differences, reference_candles, table_of
from bot4_platform.journal_source import seals, seals_of, segments
from bot4_platform.lake import Lake
from bot4_platform.partitions import MarketDay
from bot4_platform.tables import TABLES
from bot4_platform.tables.marts import MARTS
from bot4_platform.timescale.connection import connect
from bot4_platform.timescale.lake_copy import copy_partition
from bot4_platform.timescale.load import load_day
from bot4_platform.timescale.local_server import PASSWORD, LocalServer
from bot4_platform.timescale.migrate import migrate
from bot4_platform.timescale.settings import PostgresSettings
from bot4_platform.timescale.ticks import of_trades
from tests.bot4_platform.timescale.days import instrument_of

pytestmark = pytest.mark.services

DAY = MarketDay("2024-08-08", "binance_usdm:BTCUSDT")
DAY_NS, MINUTE = 86_400 * 10**9, 60 * 10**9
CANDLES = [table_of(interval) for interval in INTERVALS]
# (ns after the day's start, trade id, price, qty, sell)
EDGE = np.array([[0, 1, 7, 1, 0], [5 * MINUTE, 2, 8, 2, 1], [DAY_NS - 1, 3, 9, 3, 0]])


class Engines:
    """Both targets over one lake."""

    def __init__(self, folder: Path, settings: PostgresSettings) -> None:
        self.folder, self.settings, self.lake = folder, settings, Lake(folder / "lake")

    def load(self, part: MarketDay) -> None:
        """Bring the partition's trades to the server."""
        load_day(self.settings, of_trades(self.lake.read("trades", *part), part.market), part)

    def build(self, part: MarketDay, select: list[str]) -> dict[str, tuple[pl.DataFrame, pl.DataFrame]]:
        """Return each model as duckdb and as postgres made it, in the table's types."""
        out = self.folder / "out"
        out.mkdir(exist_ok=True)
        for server in (None, self.settings):
            name = "duckdb" if server is None else "postgres"
            outcomes = dbt_runner.build(
                self.lake.root, out, *part, target_path=self.folder / name, server=server, select=select
            )
            assert [outcome for outcome in outcomes if not outcome.ok] == [], name
        return {name: (pl.read_parquet(out / f"{name}.parquet"), self.read(name, part)) for name in select}

    def read(self, name: str, part: MarketDay) -> pl.DataFrame:
        """Return a mart's rows of a partition; a numeric or a double where an integer is declared is an error."""
        spec = MARTS[name]
        with connect(self.settings) as db, db.cursor() as cursor:
            cursor.execute(
                "select column_name, data_type from information_schema.columns "
                "where table_schema = 'marts' and table_name = %s",
                (name,),
            )
            types = dict(cursor.fetchall())
            wanted = {"Int64": "bigint", "Float64": "double precision", "String": "text"}
            assert {column: types[column] for column in spec.columns} == {
                column: wanted[kind] for column, kind in spec.columns.items()
            }
            cursor.execute(
                f"select {', '.join(spec.columns)} from marts.{name} where day = %s and market = %s",
                tuple(part),
            )
            return pl.DataFrame(cursor.fetchall(), schema=spec.schema(), orient="row").sort(spec.order)

    def agree(self, part: MarketDay) -> int:
        """Compare all candles of a partition among the three; return how many there are."""
        self.load(part)
        trades = self.lake.read("trades", *part)
        found = self.build(part, CANDLES)
        for interval in INTERVALS:
            wanted = reference_candles(trades, interval)
            for candles in found[table_of(interval)]:
                assert differences(candles, wanted) == [], (part, interval)
        return sum(duck.height for duck, _ in found.values())


@pytest.fixture(scope="module")
def engines(
    tmp_path_factory: pytest.TempPathFactory, postgres_server: LocalServer, parse_dbt: Callable[[Path], None]
) -> Engines:
    """One database and lake for all tests of this file; partitions are replaced."""
    settings = postgres_server.settings.model_copy(update={"database": "dbt_engines"})
    migrate(settings)
    made = Engines(tmp_path_factory.mktemp("engines"), settings)
    parse_dbt(made.folder / "duckdb")
    return made


def trades_of(rows: np.ndarray, part: MarketDay) -> pl.DataFrame:
    """Return (ns after the day's start, trade id, price, qty, sell), int64 (n, 5), as the table."""
    at, number, price, qty, sell = rows.T
    seq = np.arange(1, len(rows) + 1)
    return pl.DataFrame(
        {"seq": seq, "recv_ns": part.start_ns + at + 5, "exch_ns": part.start_ns + at, "trade_id": number}
        | {"price": price, "qty": qty, "sell": sell.astype(bool)},
        schema=TABLES["trades"].schema(),
    )


def generated(seed: int, count: int) -> np.ndarray:
    """Return trades of a day: many at one time, many exactly on boundaries of buckets and one ns before."""
    random = np.random.default_rng(seed)
    at = random.integers(0, DAY_NS, count)
    edges = random.integers(1, 1440, count) * MINUTE - random.integers(0, 2, count)
    at = np.where(random.random(count) < 0.3, edges, np.where(random.random(count) < 0.2, at // 10**10 * 10**10, at))
    price = 500_000 + np.cumsum(random.integers(-5, 6, count))
    return np.stack([at, random.permutation(count) + 1, price, random.integers(1, 5_000, count), at % 2], axis=1)


def test_generated_days_agree(engines: Engines) -> None:
    last = EDGE + np.array([0, 5_000, 0, 0, 0])
    for rows in (np.concatenate([generated(1, 5_000), last]), EDGE[:0]):
        engines.lake.write("trades", *DAY, trades_of(rows, DAY))
        assert engines.agree(DAY) >= len(rows[:1]) * len(INTERVALS)
    for path in (engines.folder / "postgres").rglob("*"):  # what dbt wrote for itself
        assert not path.is_file() or PASSWORD.encode() not in path.read_bytes(), path


@pytest.mark.slow
def test_larger_and_smaller_days_agree(engines: Engines) -> None:
    for rows in (generated(7, 200_000), EDGE, EDGE[:1]):
        engines.lake.write("trades", *DAY, trades_of(rows, DAY))
        assert engines.agree(DAY) >= len(INTERVALS)


def test_a_sum_beyond_64_bits_fails_on_the_server_too(engines: Engines) -> None:
    for rows in ([[0, 1, 2**62, 2, 0]], [[0, 1, 2**61, 3, 0], [1, 2, 2**61, 3, 0]]):
        engines.lake.write("trades", *DAY, trades_of(np.array(rows), DAY))
        engines.load(DAY)
        outcomes = dbt_runner.build(
            engines.lake.root, engines.folder, *DAY, target_path=engines.folder / "postgres", server=engines.settings,
            select=["candles_1m"],
        )  # fmt: skip
        assert "bigint out of range" in next(outcome.message for outcome in outcomes if outcome.status == "error")


@pytest.mark.slow
def test_another_partition_and_a_second_run_change_nothing(engines: Engines) -> None:
    other = DAY.shifted(1)
    for part, seed in ((DAY, 2), (other, 3)):
        engines.lake.write("trades", *part, trades_of(generated(seed, 500), part))
        engines.load(part) if part == DAY else None
    before = engines.build(DAY, CANDLES)
    with connect(engines.settings) as db, db.cursor() as cursor:
        cursor.execute("select count(*) from marts.candles_1m where day <> %s", (DAY.day,))
        assert cursor.fetchone() == (0,)
    engines.agree(other)
    for name, (_, candles) in before.items():
        assert engines.read(name, DAY).equals(candles)


@pytest.mark.slow
def test_the_other_marts_agree_too(engines: Engines) -> None:
    random = np.random.default_rng(5)
    n = 3_000
    at = DAY.start_ns + np.sort(random.integers(0, DAY_NS, n))
    event = {"seq": np.arange(1, n + 1), "recv_ns": at + 1, "exch_ns": at}
    bid = 500_000 + np.cumsum(random.integers(-3, 4, n))
    maybe = pl.Series(random.random(n) < 0.5)
    quotes = event | {"update_id": event["seq"], "bid_px": bid, "bid_qty": random.integers(1, 99, n)}
    quotes |= {"ask_px": bid + random.integers(1, 9, n), "ask_qty": random.integers(1, 99, n)}
    ids = np.cumsum(random.integers(1, 5, n))
    depth = event | {"first_id": ids, "last_id": ids, "prev_id": ids - random.integers(1, 4, n)}
    depth |= {"n_bids": random.integers(0, 9, n), "n_asks": random.integers(0, 9, n)}
    funding = event | {name: None for name in TABLES["funding"].columns if name not in event}
    funding |= {"next_ns": at // (8 * 60 * MINUTE) * 8 * 60 * MINUTE, "rate": random.integers(-99, 99, n)}
    funding |= {"rate_decimals": 6, "mark_price": pl.Series(bid).set(maybe, None)}
    funding |= {"mark_price_decimals": pl.Series(np.full(n, 2)).set(maybe, None)}
    liquidations = event | {name: None for name in TABLES["liquidations"].columns if name not in event}
    liquidations |= {
        "price": bid,
        "qty": random.integers(1, 99, n),
        "trade_id": 0,
        "sell": bid % 2 == 0,
        "large": maybe,
    }
    features = event | {name: 0.0 for name in TABLES["features"].columns if name not in event}
    features |= {"valid": maybe, "mid2": bid, "spread_bp": random.random(n), "depth_5": random.random(n)}
    made = {"quotes": quotes, "depth": depth, "funding": funding, "liquidations": liquidations, "features": features}
    for name, columns in made.items():
        spec = TABLES[name]
        frame = pl.DataFrame(columns, schema_overrides=spec.schema()).select(list(spec.columns))
        engines.lake.write(name, *DAY, frame)
        assert copy_partition(engines.settings, engines.lake, name, DAY) == n
        assert copy_partition(engines.settings, engines.lake, name, DAY) == n
    engines.lake.write("trades", *DAY, trades_of(generated(6, 2_000), DAY))
    engines.load(DAY)
    marts = ["trade_flow_1m", "funding_1h", "liquidations_1m", "spread_1m", "depth_1m"]
    for name, (duck, postgres) in engines.build(DAY, marts).items():
        assert duck.height > 20, name
        assert duck.equals(postgres), name
    duck, postgres = engines.build(DAY, ["liquidity_1m"])["liquidity_1m"]
    assert duck.select("minute_ns", "samples").equals(postgres.select("minute_ns", "samples"))
    whole = duck.select(pl.selectors.float()).to_numpy()
    np.testing.assert_allclose(whole, postgres.select(pl.selectors.float()).to_numpy(), rtol=1e-12)


def journaled(lake: Lake, journal: Path) -> list[MarketDay]:
    """Write the trades of every market and day of a journal to the lake; return those that have any."""
    found = []
    days = {(day, market) for seal in seals(journal) for day in seal.days for market in seal.markets}
    for part in sorted(MarketDay(*key) for key in days):
        frame = journal_ticks.ticks(segments(seals_of(journal, part)), part, journal)["trades"]
        lake.write("trades", *part, frame)
        if frame.height:
            found.append(part)
    return found


@pytest.mark.capture
@pytest.mark.slow
def test_the_capture_agrees(engines: Engines, usdm_capture: Path, tmp_path: Path) -> None:
    from bot4_live.market.import_capture import import_capture

    import_capture(usdm_capture, tmp_path)
    (part,) = journaled(engines.lake, tmp_path)
    assert engines.lake.read("trades", *part).height == 21_313
    assert engines.agree(part) == 6 + 2 + 4


@pytest.mark.slow
@pytest.mark.capture
def test_every_capture_agrees(engines: Engines, shared_data: Path, tmp_path: Path) -> None:
    from bot4_live.market.import_capture import import_capture
    from bot4_live.market.venues.capture import read_venue_capture
    from bot4_live.market.venues.known import feed_of

    captures = shared_data / "captures"
    counts: dict[str, int] = {}
    for path in sorted(captures.glob("binance_*/*.gz")):
        import_capture(path, tmp_path / f"{path.parent.name}_{path.stem}", instrument_of(path))
    for path in sorted(captures.glob("*/*.txt")):
        venue = feed_of(raw for _, raw in read_venue_capture(path))
        import_capture(path, tmp_path / path.parent.name, venue=venue)
    for journal in sorted(tmp_path.iterdir()):
        for part in journaled(engines.lake, journal):
            engines.agree(part)
            counts[journal.name] = counts.get(journal.name, 0) + engines.lake.read("trades", *part).height
    assert counts.pop("okx") == 74
    assert counts.pop("coinbase") == 97
    assert sorted(counts) == [
        "binance_coinm_btcusd_perp_20240808", "binance_spot_btcusdt_20240808", "binance_spot_ethusdt_20240808",
        "binance_usdm_btcusdt_20240808",
    ]  # fmt: skip
    assert min(counts.values()) > 2_000


@pytest.mark.slow
@pytest.mark.capture
def test_recorded_trades_of_another_year_agree(engines: Engines, shared_data: Path) -> None:
    raw = pl.read_ipc(shared_data / "candles" / "binance_xrpeth_trades.feather")
    days = raw.with_columns(pl.from_epoch("timestamp", time_unit="ms").dt.date().cast(pl.String).alias("day"))
    for (day,), rows in days.group_by(["day"], maintain_order=True):
        part = MarketDay(str(day), "binance_spot:XRPETH")
        at = rows["timestamp"].to_numpy() * 10**6 - part.start_ns
        price, qty = (
            (rows[name] * scale).round().cast(pl.Int64) for name, scale in (("price", 10**8), ("amount", 10**3))
        )
        number, sell = rows["id"].cast(pl.Int64), rows["side"] == "sell"
        table = np.stack([at, number, price, qty, sell], axis=1).astype(np.int64)
        engines.lake.write("trades", *part, trades_of(table, part).unique("trade_id", maintain_order=True))
        engines.agree(part)
