"""All stand-ins in one process: `python -m bot4_platform.sources.local --day 2024-08-08` prints one JSON line.

The line has the environment that points the platform at them; they end with SIGTERM.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import threading
from contextlib import ExitStack
from datetime import date, timedelta

from bot4_live.clock import DAY_NS, day_start_ns
from bot4_platform.sources.local.alfred import AlfredServer, make_series
from bot4_platform.sources.local.ethereum import SLOT_S, Chain, LocalNode
from bot4_platform.sources.local.feeds import FeedServer, make_stories
from bot4_platform.sources.local.mastodon import MastodonServer, make_posts

KEY = "local-key-of-no-value"


def environment(stack: ExitStack, day: str, seed: int, hours: float) -> dict[str, str]:
    """Start the stand-ins with the last `hours` of a UTC day on chain, and return the settings that name them."""
    start_s, end_s = day_start_ns(day) // 10**9, (day_start_ns(day) + DAY_NS) // 10**9
    blocks = round(hours * 3600 / SLOT_S)
    # Ten minutes more before, so that prices are known when it begins; 70 blocks after the day confirm its last.
    chain = Chain(seed=seed, start_s=end_s - (blocks + 50) * SLOT_S, blocks=blocks + 120)
    node = stack.enter_context(LocalNode(chain))
    stories = {"desk": make_stories(seed, start_s - 7200, 60), "wire": make_stories(seed + 1, start_s, 40)}
    feeds = stack.enter_context(FeedServer(stories))
    social = stack.enter_context(MastodonServer(make_posts(seed, start_s, 400, every_s=210), limit=None))
    on = date.fromisoformat(day)
    first = (on - timedelta(500)).replace(day=1)
    series = {
        name: make_series(seed + i, first, 24, lag_days=37 + i * (name != "UNRATE"))
        for i, name in enumerate(("CPIAUCSL", "PAYEMS", "UNRATE", "GDPC1", "DGS10"))
    }
    # Whatever the day is, last month's prices are published on it.
    last_month = (on.replace(day=1) - timedelta(1)).replace(day=1)
    series["CPIAUCSL"] = make_series(seed, first, 24, lag_days=(on - last_month).days)
    macro = stack.enter_context(AlfredServer(series, key=KEY, limit=None))
    named = [
        {"name": "desk", "url": f"{feeds.url}/rss/desk", "weight": 1.0},
        {"name": "wire", "url": f"{feeds.url}/atom/wire", "weight": 0.7},
    ]
    values = {
        "ETHEREUM__URL": node.url,
        "ETHEREUM__PER_S": "500",
        "NEWS__FEEDS": json.dumps(named),
        "NEWS__PER_S": "100",
        "SOCIAL__URL": social.url,
        "SOCIAL__PER_S": "100",
        "MACRO__URL": macro.url,
        "MACRO__KEY": KEY,
        "MACRO__PER_S": "100",
    }
    return {f"BOT4_PLATFORM__SOURCES__{name}": value for name, value in values.items()}


def main() -> int:
    """Serve until told to end."""
    parser = argparse.ArgumentParser(description="The slow sources' stand-ins on loopback.")
    parser.add_argument("--day", required=True, help="UTC day that they tell of, YYYY-MM-DD")
    parser.add_argument("--hours", type=float, default=1.0, help="how much of its end is on the chain")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    signal.signal(signal.SIGINT, lambda *_: ended.set())
    with ExitStack() as stack:
        print(json.dumps({"environment": environment(stack, given.day, given.seed, given.hours)}), flush=True)
        ended.wait()
    return 0


if __name__ == "__main__":
    sys.exit(main())
