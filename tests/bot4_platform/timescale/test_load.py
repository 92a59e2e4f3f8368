"""Market-days into the database: once, exact, and corrected when the lake's day was."""

from __future__ import annotations

from collections.abc import Callable

import polars as pl
import pytest

from bot4_platform.candle_reference import INTERVALS, differences, reference_candles
from bot4_platform.partitions import MarketDay
from bot4_platform.timescale.aggregates import LEVELS, TooOld, Window, buckets
from bot4_platform.timescale.equality import compare, read_candles
from bot4_platform.timescale.load import load_day
from bot4_platform.timescale.local_server import LocalServer
from bot4_platform.timescale.migrate import MigrationError, create_databases
from bot4_platform.timescale.settings import PostgresSettings
from bot4_platform.timescale.ticks import digest, of_trades
from tests.bot4_platform.timescale.days import PART, trades_of_a_day

Query = Callable[..., list[tuple[object, ...]]]


def equal(settings: PostgresSettings, trades: pl.DataFrame, part: MarketDay = PART) -> bool:
    """Say whether every level holds exactly the candles of `trades`."""
    found = compare(settings, part, trades, reference_candles(trades, "1m"))
    assert found == {name: [] for name in INTERVALS}
    return True


def test_the_levels_are_those_of_the_reference() -> None:
    assert {name: width // 10**9 for name, width in LEVELS.items()} == INTERVALS


def test_a_window_takes_whole_closed_buckets() -> None:
    assert buckets(Window(59, 60), 60, 1000) == (0, 120)
    assert buckets(Window(59, 60), 60, 119) == (0, 60)  # the second is still open
    assert buckets(Window(61, 62), 60, 119) is None


def test_the_digest_is_of_the_rows_not_of_their_order_or_file() -> None:
    frame = trades_of_a_day(500, 1)
    first = digest(of_trades(frame, PART.market))
    assert digest(of_trades(frame.reverse().rechunk(), PART.market)) == first
    assert digest(of_trades(frame.with_columns(~pl.col("sell")), PART.market)) != first
    assert digest(of_trades(frame.head(499), PART.market)) != first


def test_the_same_key_twice_is_refused() -> None:
    frame = trades_of_a_day(10, 1)
    with pytest.raises(ValueError, match="1 trades have the time and id of another"):
        of_trades(pl.concat([frame, frame.head(1)]), PART.market)


def test_a_day_is_loaded_once_and_its_candles_are_exact(replayed: PostgresSettings, query: Query) -> None:
    trades = trades_of_a_day(20_000, 2)
    rows = of_trades(trades, PART.market)
    assert load_day(replayed, rows, PART).how == "appended"
    assert load_day(replayed, rows, PART).how == "unchanged"
    assert query(replayed, "select count(*) from market.market_ticks") == [(20_000,)]
    assert query(replayed, "select rows, refreshed_at is not null from market.loads") == [(20_000, True)]
    assert equal(replayed, trades)


def test_late_changed_and_withdrawn_trades_reach_every_level(replayed: PostgresSettings, query: Query) -> None:
    whole = trades_of_a_day(6_000, 3)
    first = whole.filter(pl.col("trade_id") % 7 != 0)
    load_day(replayed, of_trades(first, PART.market), PART)
    later = whole.filter(pl.col("trade_id") % 11 != 0).with_columns(
        price=pl.when(pl.col("trade_id") % 13 == 0).then(pl.col("price") + 50_000).otherwise("price"),
        seq=pl.when(pl.col("trade_id") % 17 == 0).then(pl.col("seq") + 10**6).otherwise("seq"),  # of another session
    )
    done = load_day(replayed, of_trades(later, PART.market), PART)
    came = later.join(first, on="trade_id", how="anti").height
    other = (pl.col("price") != pl.col("price_right")) | (pl.col("seq") != pl.col("seq_right"))
    changed = later.join(first, on="trade_id").filter(other).height
    gone = first.join(later, on="trade_id", how="anti").height
    assert (done.how, done.written, done.removed) == ("merged", came + changed, gone)
    assert query(replayed, "select sum(seq) from market.market_ticks") == [(later["seq"].sum(),)]
    assert equal(replayed, later)


def test_arrival_does_not_matter(replayed: PostgresSettings) -> None:
    trades = trades_of_a_day(3_000, 4)
    for piece in (trades.reverse().head(1_000), trades.sample(fraction=0.7, seed=1), trades):
        load_day(replayed, of_trades(piece, PART.market), PART)
    assert equal(replayed, trades)


def test_markets_and_days_do_not_touch_each_other(replayed: PostgresSettings) -> None:
    other, before = MarketDay(PART.day, "kraken:BTCUSDT"), PART.shifted(-1)
    days = {part: trades_of_a_day(800, seed, part) for seed, part in enumerate((PART, other, before))}
    for part, trades in days.items():
        load_day(replayed, of_trades(trades, part.market), part)
    load_day(replayed, of_trades(days[PART].head(0), PART.market), PART)  # all of one withdrawn
    for part in (other, before):
        assert equal(replayed, days[part], part)
    assert all(read_candles(replayed, name, PART).is_empty() for name in INTERVALS)


def test_a_market_without_trades_is_loaded_as_such(replayed: PostgresSettings, query: Query) -> None:
    done = load_day(replayed, of_trades(trades_of_a_day(10, 1).head(0), PART.market), PART)
    assert (done.how, done.rows) == ("appended", 0)
    assert query(replayed, "select rows, refreshed_at is not null from market.loads") == [(0, True)]


@pytest.mark.services
def test_a_database_that_is_not_migrated_says_so(
    postgres_server: LocalServer, fresh: Callable[[LocalServer], PostgresSettings]
) -> None:
    settings = fresh(postgres_server)
    create_databases(settings)
    with pytest.raises(MigrationError, match="run `bot4 db migrate`"):
        load_day(settings, of_trades(trades_of_a_day(10, 1), PART.market), PART)


@pytest.mark.timescale
def test_days_past_the_raw_retention_are_refused(
    timescale_server: LocalServer, fresh: Callable[[LocalServer], PostgresSettings], clock: Callable[..., None]
) -> None:
    from bot4_platform.timescale.migrate import migrate

    settings = fresh(timescale_server)
    migrate(settings)
    rows = of_trades(trades_of_a_day(10, 1), PART.market)
    with pytest.raises(TooOld, match="30 days of raw retention"):
        load_day(settings, rows, PART)  # by the clock of today
    clock(settings, PART.start_ns + 30 * 86_400 * 10**9)
    assert load_day(settings, rows, PART).how == "appended"


@pytest.mark.timescale
def test_late_trades_reach_a_compressed_chunk(
    timescale_server: LocalServer,
    fresh: Callable[[LocalServer], PostgresSettings],
    clock: Callable[..., None],
    query: Query,
) -> None:
    from bot4_platform.timescale.connection import connect
    from bot4_platform.timescale.migrate import migrate

    settings = fresh(timescale_server)
    migrate(settings)
    clock(settings, PART.end_ns + 8 * 86_400 * 10**9)
    whole = trades_of_a_day(5_000, 5)
    load_day(settings, of_trades(whole.filter(pl.col("trade_id") % 5 != 0), PART.market), PART)
    with connect(settings, autocommit=True) as db, db.cursor() as cursor:
        cursor.execute(
            "select job_id from timescaledb_information.jobs"
            " where proc_name = 'policy_compression' and hypertable_name = 'market_ticks'"
        )
        cursor.execute("call run_job(%s)", cursor.fetchone())
    assert query(settings, "select bool_and(is_compressed) from timescaledb_information.chunks"
                 " where hypertable_name = 'market_ticks'") == [(True,)]  # fmt: skip
    later = whole.filter(pl.col("trade_id") % 3 != 0)
    assert load_day(settings, of_trades(later, PART.market), PART).how == "merged"
    assert equal(settings, later)


@pytest.mark.timescale
def test_new_ticks_show_at_once_and_no_refresh_hides_them(
    timescale_server: LocalServer,
    fresh: Callable[[LocalServer], PostgresSettings],
    clock: Callable[..., None],
    query: Query,
) -> None:
    from bot4_platform.timescale.migrate import migrate

    settings = fresh(timescale_server)
    migrate(settings)
    noon = PART.start_ns + 12 * 3600 * 10**9 + 90 * 10**9  # in the midst of every bucket
    clock(settings, noon)
    trades = trades_of_a_day(5_000, 6)
    before = trades.filter(pl.col("exch_ns") < noon)
    load_day(settings, of_trades(before, PART.market), PART)
    assert equal(settings, before)
    query(settings, "insert into market.market_ticks select exchange, symbol, %s, 10000000, 0, 0, 1, 1, true"
          " from market.market_ticks limit 1", noon + 10**9)  # fmt: skip
    late = pl.DataFrame({"exch_ns": [noon + 10**9], "trade_id": [10_000_000], "price": [1], "qty": [1]})
    after = pl.concat([before.select(late.columns), late])
    for name in INTERVALS:
        assert differences(read_candles(settings, name, PART), reference_candles(after, name)) == []


@pytest.mark.timescale
def test_the_policies_keep_the_candles_of_ticks_that_they_drop(
    timescale_server: LocalServer,
    fresh: Callable[[LocalServer], PostgresSettings],
    clock: Callable[..., None],
    query: Query,
) -> None:
    from bot4_platform.timescale.connection import connect
    from bot4_platform.timescale.migrate import migrate

    settings = fresh(timescale_server)
    migrate(settings)
    clock(settings, PART.end_ns)
    trades = trades_of_a_day(3_000, 7)
    load_day(settings, of_trades(trades, PART.market), PART)
    clock(settings, PART.end_ns + 38 * 86_400 * 10**9)
    with connect(settings, autocommit=True) as db, db.cursor() as cursor:
        cursor.execute("select job_id from timescaledb_information.jobs where proc_name like 'policy_re%'")
        for job in cursor.fetchall():  # retention and refreshes, in any order
            cursor.execute("call run_job(%s)", job)
    assert query(settings, "select count(*) from market.market_ticks") == [(0,)]
    assert equal(settings, trades)
