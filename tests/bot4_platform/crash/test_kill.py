"""kill -9 of real processes at every step to disk: doing it again gives the files of a run that nobody killed."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bot4_live.settings import Settings
from bot4_platform import parts
from bot4_platform.journal_ticks import NAMES
from bot4_platform.lake import Lake
from bot4_platform.sql.session import open_session

PART = ("2024-08-08", "binance_usdm:BTCUSDT")
DAY_START = 1_723_075_200 * 10**9
CHILD = Path(__file__).with_name("child.py")
ROOT = Path(__file__).resolve().parents[3]
BATCH = 100


class Server:
    """Asks one process to do work in forks of itself."""

    def __init__(self) -> None:
        self.process = start("serve", stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, **request: Any) -> dict[str, Any]:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        found: dict[str, Any] = json.loads(self.process.stdout.readline())
        return found

    def end(self) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        self.process.wait(30)
        self.process.stdout.close()


def start(*arguments: str, **given: Any) -> subprocess.Popen[Any]:
    """Start child.py with this project's code."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.Popen([sys.executable, str(CHILD), *arguments], env=environment, **given)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    found = Server()
    yield found
    found.end()


def tree(root: Path) -> dict[str, str]:
    """Return the sha256 of every file of a lake, without locks and the parts that a compaction has superseded."""
    for base in root.rglob(parts.BASE):
        parts.sweep(base.parent, 0)
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file() and ".locks" not in path.parts
    }


def ids(root: Path) -> list[int]:
    lake = Lake(root)
    return (
        lake.read("trades", *PART, columns=["trade_id"])["trade_id"].to_list() if lake.exists("trades", *PART) else []
    )


BEFORE = {"write": "absent", "append": "parts", "compact": "parts", "grown": "parts", "pin": "parts"}


def prepared(server: Server, root: Path, state: str) -> None:
    """Make the lake that a piece of work begins with: none, or one with parts."""
    shutil.rmtree(root, ignore_errors=True)
    if state == "parts":
        for work in ("write", "part"):
            assert server.ask(work=work, root=str(root))["status"] == 0


def kill_everywhere(server: Server, folder: Path, work: str, state: str, every: int) -> int:
    """Kill `work` at every `every`-th step; return how many times it was killed."""
    start_of, root = folder / "start", folder / "lake"
    prepared(server, start_of, state)
    shutil.copytree(start_of, root) if start_of.exists() else None
    whole = server.ask(work=work, root=str(root))
    assert whole["status"] == 0
    wanted, first, last = tree(root), ids(start_of), ids(root)
    killed = 0
    for number, after in ((number, after) for number in range(len(whole["steps"])) for after in (False, True)):
        if (2 * number + after) % every:
            continue
        shutil.rmtree(root, ignore_errors=True)
        shutil.copytree(start_of, root) if start_of.exists() else None
        found = server.ask(work=work, root=str(root), at=number, after=after)
        assert found["status"] == -signal.SIGKILL, f"{number} {whole} {found}"
        where = f"killed {'after' if after else 'before'} step {number}, {whole['steps'][number]}, of {work}"
        assert ids(root) in (first, last), where
        assert server.ask(work=work, root=str(root))["status"] == 0, where
        assert tree(root) == wanted, where
        killed += 1
    return killed


@pytest.mark.parametrize(("work", "every"), [("write", 5), ("append", 5), ("compact", 7)])
def test_killed_and_run_again_is_the_same(server: Server, tmp_path: Path, work: str, every: int) -> None:
    assert kill_everywhere(server, tmp_path, work, BEFORE[work], every) >= 2


@pytest.mark.slow
@pytest.mark.parametrize(
    ("work", "state"), [*BEFORE.items(), ("write", "parts"), ("append", "absent"), ("compact", "absent")]
)
def test_killed_at_every_step_and_run_again_is_the_same(server: Server, tmp_path: Path, work: str, state: str) -> None:
    killed = kill_everywhere(server, tmp_path, work, state, 1)
    assert killed > 4 or (work, state) == ("compact", "absent")


TICKS = ["raw_segments", *NAMES]
DAY = [*TICKS, "stg_trades", "candles_1m"]


def day_killed(server: Server, maker: Any, settings: Settings, assets: list[str], every: int) -> int:
    """Kill the materialization of a day at every `every`-th step to disk; return how often."""
    maker.session(DAY_START + 10**9, 20, segment_bytes=150_000)
    journal = settings.root / "journal"
    assert journal == settings.journal_dir

    def fresh(name: str) -> Settings:
        var = settings.var.with_name(name)
        shutil.rmtree(var, ignore_errors=True)
        found = Settings(var=var, account="test")
        shutil.copytree(journal, found.journal_dir)
        return found

    def ask(account: Settings, **given: Any) -> dict[str, Any]:
        return server.ask(work="materialize", var=str(account.var), assets=assets, **given)

    clean = fresh("clean")
    whole = ask(clean)
    assert whole["status"] == 0
    wanted, killed = tree(clean.lake_dir), 0
    for number in range(1, len(whole["steps"]), every):
        account = fresh("killed")
        assert ask(account, at=number, after=bool(killed % 2))["status"] == -signal.SIGKILL
        assert ask(account)["status"] == 0
        assert tree(account.lake_dir) == wanted, f"killed at step {number}, {whole['steps'][number]}"
        killed += 1
    return killed


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(("assets", "every"), [(TICKS, 13), (DAY, 31)], ids=["ticks", "candles"])
def test_a_day_killed_at_many_points_and_run_again(
    server: Server, maker: Any, settings: Settings, assets: list[str], every: int
) -> None:
    assert day_killed(server, maker, settings, assets, every) >= 5


def watch(root: Path, seconds: float, kills: int, writers: int) -> tuple[int, int]:
    """Read without pause while writers grow a partition and are killed; return how often was read, and rows at last."""
    lake, reads, seen = Lake(root), 0, 0
    until = time.monotonic() + seconds
    next_kill, seed = seconds / (kills + 1), 0
    children: list[subprocess.Popen[Any]] = []
    killed = 0
    try:
        while time.monotonic() < until or killed < kills:
            while len(children) < writers:
                seed += 1
                children.append(start("grow", str(root), str(seed), "alone" if writers == 1 else "together"))
            found = lake.read("trades", *PART)["trade_id"]
            assert found.to_list() == list(range(len(found))), "each row once, no batch in halves"
            assert len(found) % BATCH == 0
            assert len(found) >= seen, "what was there stays there"
            seen, reads = len(found), reads + 1
            if reads % 7 == 0:
                with open_session(lake) as session:
                    ((rows, distinct),) = next(
                        session.ask("select count(*), count(distinct trade_id) from trades")
                    ).rows()
                assert rows == distinct >= seen
            due = until - seconds + (killed + 1) * next_kill
            if killed < kills and time.monotonic() > due and seen > (killed + 1) * BATCH:
                child = children.pop(0)
                child.send_signal(signal.SIGKILL)
                child.wait()
                killed += 1
    finally:
        for child in children:
            child.kill()
            child.wait()
    return reads, seen


def first_batch(root: Path) -> None:
    import polars as pl

    n = pl.int_range(0, BATCH, eager=True)
    columns = dict.fromkeys(("seq", "recv_ns", "exch_ns", "trade_id", "price", "qty"), n)
    Lake(root).write("trades", *PART, pl.DataFrame(columns | {"sell": n % 2 == 0}))


def test_readers_see_whole_batches_while_a_writer_is_killed(tmp_path: Path) -> None:
    first_batch(tmp_path)
    reads, rows = watch(tmp_path, 2, 1, 1)
    assert reads >= 5
    assert rows >= 2 * BATCH


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_readers_see_whole_batches_while_two_writers_are_killed_for_long(tmp_path: Path) -> None:
    first_batch(tmp_path)
    reads, rows = watch(tmp_path, 60, 25, 2)
    assert reads > 200
    assert rows > 50 * BATCH
    lake = Lake(tmp_path)
    lake.compact("trades", *PART, grace_s=0)
    assert lake.files("trades", *PART) == [lake.path("trades", *PART)]
