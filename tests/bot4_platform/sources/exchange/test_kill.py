"""A backfill whose process is killed (-9) at seeded points ends with the files of one that was left in peace."""

from __future__ import annotations

import hashlib
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path

import pytest

from bot4_live.simulation.server import Server
from bot4_platform.lake import Lake
from bot4_platform.sources.exchange.backfill import Backfill, backfill
from bot4_platform.sources.exchange.client import HistoryClient
from bot4_platform.sources.exchange.gaps import report
from tests.local_exchange import MARKET, local_exchange

Connect = Callable[..., HistoryClient]


class Watch:
    """Counts what the exchange is asked for, and tells when a count is reached."""

    def __init__(self, server: Server) -> None:
        """Stand between the exchange and its limits."""
        self.count, self.goal, self.reached = 0, 0, threading.Event()
        spend = server.exchange.limits.spend

        def counted(weight: int, now_ms: int) -> int:
            self.count += 1
            if self.count == self.goal:
                self.reached.set()
            return spend(weight, now_ms)

        server.exchange.limits.spend = counted  # type: ignore[method-assign]

    def after(self, requests: int) -> None:
        """Tell `requests` from now."""
        self.reached.clear()
        self.goal = self.count + requests


def killed_backfill(server: Server, root: Path, what: str, *, seed: int, most: int, spread_s: float) -> tuple[int, int]:
    """Run workers until one ends by itself, killing up to `most` before; return (kills, requests of all)."""
    dice, watch, kills = random.Random(seed), Watch(server), 0
    script = Path(__file__).with_name("backfill_worker.py")
    begun = watch.count
    with subprocess.Popen(
        [sys.executable, str(script), str(root), server.rest_url, MARKET],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as zygote:  # fmt: skip
        assert zygote.stdin is not None
        assert zygote.stdout is not None
        while True:
            watch.after(dice.randint(1, 9) if kills < most else 10**9)
            zygote.stdin.write(f"{what}\n")
            zygote.stdin.flush()
            said = zygote.stdout.readline().split()
            assert said[0] == "pid", said
            if kills < most and watch.reached.wait(60):
                time.sleep(dice.uniform(0, spread_s))  # the point of the kill is the thing tested, not waited for
                os.kill(int(said[1]), signal.SIGKILL)
            lines = [zygote.stdout.readline()]
            while not lines[-1].startswith("ended"):
                lines.append(zygote.stdout.readline())
            status = int(lines[-1].split()[1])
            if status == signal.SIGKILL:
                kills += 1
                continue
            assert status == 0, lines
            zygote.stdin.close()
            return kills, watch.count - begun


def files_of(root: Path) -> dict[str, str]:
    """Return the digest of every file that readers see."""
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.glob("history_*/**/*.parquet"))
    }


def in_peace(server: Server, connect: Connect, root: Path, kind: str, first: str, days: int) -> Backfill:
    wanted = [(date.fromisoformat(first) + timedelta(n)).isoformat() for n in range(days)]
    return backfill(Lake(root), connect(server.rest_url), MARKET, wanted, [kind])


def test_a_short_one_with_one_kill(connect: Connect, tmp_path: Path) -> None:
    with local_exchange(outage_seed=2) as server:
        in_peace(server, connect, tmp_path / "peace", "candles", "2024-08-05", 2)
        kills, _ = killed_backfill(server, tmp_path / "killed", "candles 2024-08-05 2", seed=1, most=1, spread_s=0.05)
    assert kills == 1
    assert files_of(tmp_path / "killed") == files_of(tmp_path / "peace")
    assert len(files_of(tmp_path / "peace")) == 4


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_thirty_days_of_minutes(
    connect: Connect, tmp_path: Path, seed: int, capsys: pytest.CaptureFixture[str]
) -> None:
    with local_exchange(outage_seed=2) as server:
        began = time.monotonic()
        done = in_peace(server, connect, tmp_path / "peace", "candles", "2024-07-09", 30)
        peace_s = time.monotonic() - began
        kills, requests = killed_backfill(
            server, tmp_path / "killed", "candles 2024-07-09 30", seed=seed, most=15, spread_s=0.08
        )
        out = server.exchange.histories["BTCUSDT"].past.outages
    assert files_of(tmp_path / "killed") == files_of(tmp_path / "peace")
    lake = Lake(tmp_path / "killed")
    frame = lake.read("history_candles_1m", None, MARKET)
    first, last = frame["minute_ns"].min(), frame["minute_ns"].max()
    assert frame["minute_ns"].n_unique() == frame.height, "no duplicate"
    assert isinstance(first, int)
    assert isinstance(last, int)
    missing = {at for a, b in out for at in range(a, b, 60_000) if first < at * 10**6 < last}
    assert report(lake, MARKET).minutes == len(missing), "no gap but the venue's own outages"
    assert frame.height + len(missing) == 30 * 1440
    assert kills >= 5
    with capsys.disabled():
        print(f"\n30 days: {done.rows} candles by {done.requests} requests in {peace_s:.1f} s")
        print(f"the same with {kills} kills: {requests} requests")


@pytest.mark.slow
def test_a_day_of_trades(connect: Connect, tmp_path: Path) -> None:
    with local_exchange(weight_limit=100_000) as server:
        in_peace(server, connect, tmp_path / "peace", "trades", "2024-08-07", 1)
        kills, _ = killed_backfill(server, tmp_path / "killed", "trades 2024-08-07 1", seed=5, most=4, spread_s=0.08)
    assert kills >= 1
    assert files_of(tmp_path / "killed") == files_of(tmp_path / "peace")
