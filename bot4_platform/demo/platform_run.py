"""The demo's Dagster stage, a process of its own: every asset, with the account's instance."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict

from bot4_live.clock import DAY_NS
from bot4_live.journal.reader import Journal
from bot4_live.settings import Settings, load
from bot4_platform.run import RunSummary, Step, materialize
from bot4_platform.settings import platform_settings


def partitions_of(settings: Settings) -> list[tuple[str, str]]:
    """Return the (exchange day, market) pairs that the journal's sealed segments hold, in order."""
    pairs = {
        (day, str(seal["market"])) for seal in Journal(settings.journal_dir).seals() for day in seal["exchange_days"]
    }
    return sorted(pairs)


EVERYTHING = 'not group:"history"'  # that is of other days than the journal's
WHAT_LIVE_ADDED = '+key:"candles_1m" or +key:"features"'


VENUES_DAY = ("history_candles_1m", "history_gaps", "history_funding")


def yesterday_of_the_venue(settings: Settings) -> tuple[str, str]:
    """Return the day before the exchange's now, of which it can be asked, and the traded market."""
    from bot4_live.clock import day_of
    from bot4_platform.sources.exchange.backfill import open_client

    market = platform_settings().markets[0]
    client = open_client(market, settings)
    try:
        return day_of(client.now_ns() - DAY_NS), market
    finally:
        client.close()


def main() -> int:
    """Materialize a selection: a JSON line a step, then `{"summary": ...}`. Returns 1 when a step failed."""

    def progress(step: Step) -> None:
        print(json.dumps(asdict(step)), flush=True)

    selection = sys.argv[1] if len(sys.argv) > 1 else EVERYTHING
    settings = load()
    summary: RunSummary = materialize(selection, partitions_of(settings), settings, progress=progress)
    if selection == EVERYTHING and summary.success:
        summary.add(materialize(VENUES_DAY, [yesterday_of_the_venue(settings)], settings, progress=progress))
    print(json.dumps({"summary": asdict(summary)}), flush=True)
    for name, why in summary.failed_steps.items():
        print(f"{name} failed: {why}", file=sys.stderr)
    return 0 if summary.success else 1


if __name__ == "__main__":
    # Everything is on disk; tearing the interpreter down under these libraries takes seconds and prints their leaks.
    code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
