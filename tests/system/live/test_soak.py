"""Twenty symbols for a while: books right, journal whole, replay the same, and memory that does not grow.

The long form is the soak of 15 minutes; the short one shows in seconds that everything in it works.
"""

from __future__ import annotations

import json
import subprocess
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from bot4_live.events import Kind
from bot4_live.journal.reader import Journal
from bot4_live.market.feed_status import read
from bot4_live.market.verify_journal import verify_journal
from bot4_live.replay import replay
from bot4_live.simulation.further import LISTED

from .conftest import BOT4, Stack, clean_environment, compiled, read_line

pytestmark = pytest.mark.system

WATCHED = [one.symbol for one in LISTED[:19]]
MOST_BYTES = 500e6
MOST_SLOPE = 1e6  # bytes a minute
KEYS = {f"{role}-a0": {"secret": f"{role}-secret-a0", "account": "a0", "balance": "100000"} for role in ("run", "dog")}


class Served:
    """An exchange of 20 symbols in real time."""

    def __init__(self, folder: Path, seconds: float) -> None:
        compiled()
        (folder / "accounts.json").write_text(json.dumps(KEYS))
        with (folder / "exchange.err").open("wb") as errors:
            self.process = subprocess.Popen(
                [*BOT4, "exchange", "--seed", "7", "--duration", str(seconds), "--also", str(len(WATCHED)),
                 "--port", "0", "--accounts", str(folder / "accounts.json")],
                stdout=subprocess.PIPE, stderr=errors, env=clean_environment(),
            )  # fmt: skip
        ready = read_line(self.process, 60)
        assert ready, (folder / "exchange.err").read_text()
        self.rest, self.ws = ready["rest"], ready["ws"]

    def close(self) -> None:
        self.process.terminate()
        self.process.wait(10)
        self.process.stdout.close()


@pytest.fixture
def soaking(request, tmp_path):
    """An account on such an exchange, for `request.param` seconds."""
    served = Served(tmp_path, request.param + 120)
    made = Stack(served, tmp_path, "a0")
    try:
        made.start_watchdog()
        yield made, request.param
    finally:
        made.close()
        served.close()


def resident(pid: int) -> int:
    """Return the resident memory of a process in bytes, shared pages included."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise ProcessLookupError(pid)


def live_books(stack: Stack) -> int:
    shown = read(stack.settings.shm_dir)
    return sum(book["live"] for book in shown.content["books"]) if shown is not None else 0


def soak(stack: Stack, seconds: float) -> np.ndarray:
    """Trade one symbol and follow nineteen for a while; return rows of (s, bytes) of the runner."""
    # Pages of the journal's ring count once they were written: a small one is full within the first minutes.
    process, ready, _ = stack.start_runner(
        seconds=seconds + 100, BOT4_WATCH=",".join(WATCHED), BOT4_JOURNAL__RING_MB="33"
    )
    assert ready, stack.log("live")
    assert ready["watch"] == [f"binance_usdm:{name}" for name in WATCHED]
    stack.wait(lambda: live_books(stack) == 20, 30, "not all books are in use")
    rows, began = [], time.monotonic()
    while (elapsed := time.monotonic() - began) < seconds:
        rows.append((elapsed, resident(process.pid)))
        assert process.poll() is None, stack.log("live")
        time.sleep(min(1.0, seconds / 20))
    assert live_books(stack) == 20
    connections = [c["name"] for pool in read(stack.settings.shm_dir).content["pools"] for c in pool["connections"]]
    assert connections == ["btcusdt", "watch-0"]
    stack.stop_runner(process)
    return np.array(rows)


@pytest.mark.parametrize(
    "soaking",
    [pytest.param(3.0, id="3s"), pytest.param(900.0, id="15min", marks=[pytest.mark.slow, pytest.mark.timeout(1500)])],
    indirect=True,
)
def test_twenty_symbols(soaking: tuple[Stack, float]) -> None:
    stack, seconds = soaking
    rows = soak(stack, seconds)
    most = float(rows[:, 1].max())
    assert most < MOST_BYTES, f"{most / 1e6:.0f} MB"
    settled = rows[rows[:, 0] > seconds / 3]
    slope = 60 * float(np.polyfit(settled[:, 0], settled[:, 1], 1)[0])
    print(f"resident: most {most / 1e6:.1f} MB, then {slope / 1e6:+.3f} MB a minute for {seconds * 2 / 3:.0f} s")
    if seconds > 60:
        assert slope < MOST_SLOPE, f"{slope / 1e6:+.2f} MB a minute"

    proof = verify_journal(stack.settings.journal_dir)
    assert proof.ok, proof
    assert (proof.gaps, proof.quarantined) == (0, 0)
    assert proof.markets.split(", ") == [f"binance_usdm:{name}" for name in ("BTCUSDT", *WATCHED)]
    kinds: Counter[tuple[int, int]] = Counter()
    for segment in Journal(stack.settings.journal_dir).segments():
        heads = segment.headers
        kinds.update(zip(heads["instrument"].tolist(), heads["kind"].tolist(), strict=True))
    for number in range(20):
        for kind in (Kind.INSTRUMENT, Kind.DEPTH_SNAPSHOT, Kind.DEPTH_DIFF, Kind.BOOK_TICKER):
            assert kinds[number, kind] > 0, (number, kind)
    report = json.loads(next(stack.settings.state_dir.glob("latency-*.json")).read_text())
    assert report["counters"]["watched_events"] == sum(n for (number, kind), n in kinds.items() if number > 0) - 19
    assert sorted(report["watched"]) == sorted(WATCHED)
    assert replay(stack.settings.journal_dir).identical
