"""`bot4 sql`: tables as views, each row once, prices by the instrument of their time, and nothing but reading."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from click.testing import CliRunner

from bot4_live.instrument import BTCUSDT_USDM, E8
from bot4_platform import instruments
from bot4_platform.commands.sql import command
from bot4_platform.lake import Lake
from bot4_platform.sql.session import QueryError, Session, open_session
from bot4_platform.sql.views import quoted
from bot4_platform.tables import TABLES, Table

DAY, NEXT, MARKET = "2024-08-08", "2024-08-09", "binance_usdm:BTCUSDT"
START = 1_723_075_200 * 10**9
ROOT = Path(__file__).resolve().parents[2]


def trades(ids: list[int], at: int = START) -> pl.DataFrame:
    n = len(ids)
    columns = {
        "seq": ids, "recv_ns": [at + i for i in ids], "exch_ns": [at + i for i in ids], "trade_id": ids,
        "price": [557_001] * n, "qty": [2**53 + 1] * n, "sell": [True] * n,
    }  # fmt: skip
    return pl.DataFrame(columns, schema=TABLES["trades"].schema())


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    lake = Lake(tmp_path / "var" / "paper" / "lake")
    lake.write("trades", DAY, MARKET, trades([1, 2]))
    lake.append("trades", DAY, MARKET, trades([2, 3]))
    lake.write("trades", NEXT, MARKET, trades([4], START + 86_400 * 10**9))
    lake.write("trades", DAY, "kraken:BTC-USD", trades([7]))
    finer = dataclasses.replace(BTCUSDT_USDM, tick_e8=E8 // 100)
    instruments.observe(lake, [BTCUSDT_USDM], START, "listing")
    instruments.observe(lake, [finer], START + 86_400 * 10**9, "listing")
    lake.write("instruments", "", "", instruments.intervals(lake.read("instrument_sightings")))
    return lake


@pytest.fixture
def session(lake: Lake) -> Iterator[Session]:
    with open_session(lake) as session:
        yield session


def ask(session: Session, text: str) -> list[tuple[Any, ...]]:
    return [row for answer in session.ask(text) for row in answer.rows()]


def test_each_row_once_with_day_and_market(lake: Lake, session: Session) -> None:
    lake.compact("trades", DAY, MARKET)  # what was opened before is what is seen
    found = ask(session, "select day::varchar, market, trade_id from trades order by all")
    assert [(day, of) for day, of, _ in found] == [(DAY, MARKET)] * 3 + [(DAY, "kraken:BTC-USD"), (NEXT, MARKET)]
    assert [row for *_, row in found] == [1, 2, 3, 7, 4]
    assert ask(session, "select typeof(price), typeof(qty), max(qty) from trades group by all") == [
        ("BIGINT", "BIGINT", 2**53 + 1)
    ]


def test_rows_that_state_their_tick_need_no_instrument(tmp_path: Path) -> None:
    lake = Lake(tmp_path / "history")
    row = dict.fromkeys(TABLES["history_candles_1m"].columns, 1) | {"minute_ns": START, "open": 557_001, "volume": 7}
    row |= {"tick_e8": E8 // 10, "lot_e8": E8 // 1000}
    lake.write("history_candles_1m", DAY, MARKET, pl.DataFrame([row], TABLES["history_candles_1m"].schema()))
    with open_session(lake) as session:
        assert ask(session, "select open, volume from history_candles_1m_quoted") == [(55_700.1, 0.007)]


def test_prices_by_the_instrument_that_held(session: Session) -> None:
    found = ask(session, "select time::varchar, price from trades_quoted where market like 'binance%' order by 1")
    assert [price for _, price in found] == [55700.1, 55700.1, 55700.1, 5570.01]
    assert found[0][0].startswith("2024-08-08 00:00:00")
    assert ask(session, "select price from trades_quoted where market = 'kraken:BTC-USD'") == [(None,)]


def test_only_ticks_and_lots_are_scaled() -> None:
    found = {name: text for name in TABLES if (text := quoted(name))}
    assert {"trades", "quotes", "candles_1m", "candles_1d", "imported_candles", "history_candles_1m"} <= set(found)
    for name, text in found.items():
        for column in TABLES[name].columns:
            if f"{column}_decimals" in TABLES[name].columns:
                assert f"AS {column}" not in text, "digits with their own decimals"


def test_day_and_market_leave_files_out(session: Session) -> None:
    def read(where: str) -> int:
        plan = ask(session, f"explain analyze select * from trades where {where}")[0][1]
        return int(plan.split("Total Files Read: ")[1].split()[0])

    assert read("true") == 4
    assert read(f"day = '{NEXT}'") == 1
    assert read("market = 'kraken:BTC-USD'") == 1


def test_old_files_have_nulls_and_defaults(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    old = Table("n", {"id": "Int64"}, ("id",), ("id",))
    monkeypatch.setitem(TABLES, "numbers", old)
    lake.write("numbers", DAY, MARKET, pl.DataFrame({"id": [1]}))
    new = Table("n", {"id": "Int64", "a": "Int64", "b": "String"}, ("id",), ("id",), {"a": 2, "b": 2}, {"a": 5})
    monkeypatch.setitem(TABLES, "numbers", new)
    lake.write("numbers", NEXT, MARKET, pl.DataFrame({"id": [2], "a": [3], "b": ["x"]}))
    with open_session(lake) as session:
        assert ask(session, "select id, a, b from numbers order by id") == [(1, 5, None), (2, 3, "x")]


@pytest.mark.parametrize(
    "query",
    [
        "copy trades to '{root}/x.csv'",
        "explain analyze copy trades to '{root}/x.csv'",
        "create table x as select 1",
        "set memory_limit = '100GB'",
        "attach '{root}/x.db'",
        "install httpfs",
        "drop view trades",
        "select 1; copy trades to '{root}/x.csv'",
    ],
)
def test_nothing_but_reading(lake: Lake, session: Session, query: str) -> None:
    before = sorted(lake.root.rglob("*"))
    with pytest.raises(QueryError, match="is not allowed: `bot4 sql` only reads"):
        ask(session, query.format(root=lake.root))
    assert sorted(lake.root.rglob("*")) == before


def test_other_files_are_out_of_reach(session: Session) -> None:
    with pytest.raises(QueryError, match="Cannot access file"):
        ask(session, "select * from read_text('/etc/hostname')")


def test_errors_say_what_there_is(lake: Lake, session: Session) -> None:
    with pytest.raises(QueryError, match="no table tradez; there are: instrument_sightings, instruments, tr"):
        ask(session, "select * from tradez")
    with pytest.raises(QueryError, match='"prize" not found'):
        ask(session, "select prize from trades")
    with pytest.raises(QueryError, match='syntax error at or near "selec"'):
        ask(session, "selec 1")
    with open_session(lake, memory_mb=64) as small, pytest.raises(QueryError, match="Out of Memory"):
        ask(small, "select list(range) from range(50_000_000)")


def test_a_lake_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="materialize an asset first"), open_session(Lake(tmp_path / "no")):
        pass


@pytest.fixture
def run(lake: Lake) -> Callable[..., str]:
    def call(*arguments: str, text: str | None = None) -> str:
        given = ["--var", str(lake.root.parents[1]), "--account", "paper", *arguments]
        result = CliRunner().invoke(command, given, input=text, catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return result.output

    return call


QUERY = "select trade_id, qty, null as nothing, 'ab''c,d' as text, 'NaN'::double as odd from trades order by 1"


def test_forms(run: Callable[..., str], tmp_path: Path) -> None:
    rows = json.loads(run("--json", QUERY))
    assert len(rows) == 5
    assert rows[0] == {"trade_id": 1, "qty": 2**53 + 1, "nothing": None, "text": "ab'c,d", "odd": None}
    table = list(csv.reader(io.StringIO(run("--csv", QUERY))))
    assert table[:2] == [["trade_id", "qty", "nothing", "text", "odd"], ["1", str(2**53 + 1), "", "ab'c,d", ""]]
    shown = run("--rows", "2", QUERY).splitlines()
    assert shown[0].split() == ["trade_id", "qty", "nothing", "text", "odd"]
    assert shown[2].split() == ["1", str(2**53 + 1), "ab'c,d", "nan"]
    assert shown[-1] == "... more than 2 rows; --rows 0 shows all"
    path = tmp_path / "q.sql"
    path.write_text("select 1 as a; select 2 as b;")
    assert run("-f", str(path)).split() == ["a", "-", "1", "b", "-", "2"]
    assert run(text="select 3 as c").split() == ["c", "-", "3"]


def test_the_prompt_on_a_terminal(lake: Lake) -> None:
    outer, inner = pty.openpty()
    program = "from bot4_platform.commands.sql import command; command()"
    child = subprocess.Popen(
        [sys.executable, "-c", program, "--var", str(lake.root.parents[1]), "--account", "paper"],
        stdin=inner, stdout=inner, stderr=inner, close_fds=True,
        env=os.environ | {"PYTHONPATH": str(ROOT), "TERM": "dumb"},
    )  # fmt: skip
    os.close(inner)
    os.write(outer, b".tables\n.schema trades\nselect count(*) as n,\n 40 + 2 as m from trades;\nselect x;\n.quit\n")
    seen = b""
    while chunk := read_some(outer):
        seen += chunk
    assert child.wait(60) == 0
    os.close(outer)
    text = seen.decode()
    assert "trades_quoted" in text
    assert "BIGINT" in text
    assert "5  42" in text
    assert "Binder Error" in text


def read_some(fd: int) -> bytes:
    try:
        return os.read(fd, 4096)
    except OSError:  # the terminal's other end was closed
        return b""
