"""Loads ccxt once, then forks a worker for each line on stdin, `<kind> <first day> <days>`, and prints its pid.

Seconds of imports a worker would be most of the test; workers are processes of their own and die by real signals.
"""

from __future__ import annotations

import os
import sys
from datetime import date, timedelta
from pathlib import Path

import ccxt  # noqa: F401 - loaded before the fork
import polars  # noqa: F401

from bot4_platform.lake import Lake
from bot4_platform.sources.exchange.backfill import backfill
from bot4_platform.sources.exchange.client import HistoryClient
from bot4_platform.sources.hosts import Hosts
from bot4_platform.sources.settings import HttpSettings


def work(root: Path, url: str, market: str, kind: str, first: str, count: int) -> None:
    """Fetch the days."""
    days = [(date.fromisoformat(first) + timedelta(n)).isoformat() for n in range(count)]
    client = HistoryClient(market, HttpSettings(per_s=1000), endpoint=url, hosts=Hosts())
    done = backfill(Lake(root), client, market, days, [kind])
    print(f"done {done.requests}", flush=True)


def main() -> None:
    """Serve until stdin ends."""
    root, url, market = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
    for line in sys.stdin:
        kind, first, count = line.split()
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                work(root, url, market, kind, first, int(count))
                code = 0
            finally:
                os._exit(code)
        print(f"pid {pid}", flush=True)
        _, status = os.waitpid(pid, 0)
        print(f"ended {status}", flush=True)


if __name__ == "__main__":
    main()
