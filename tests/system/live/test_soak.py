"""Twenty symbols and a burst of millions of frames: books right, journal whole, replay the same, memory bounded.

A runner trades one symbol and follows nineteen. A burst comes, as fast as the socket takes it, while the engine steps
nothing: all of it waits on disk at once. Then the engine catches up, the runner trades again, and the soak goes on. The
short form shows in seconds that everything in it works; `free` leaves the engine its own pace.
"""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from bot4_live.events import Kind, StaleCause
from bot4_live.instrument import BTCUSDT_USDM
from bot4_live.journal.reader import Journal
from bot4_live.market.feed_status import PUBLISH_S, read
from bot4_live.market.verify_journal import verify_journal
from bot4_live.replay import replay
from bot4_live.safety.control import RunnerState
from bot4_live.session.recovery import recover
from bot4_live.simulation.further import LISTED

from ..faults.books import depth
from .burst import FIRST_ID, FIRST_TRADE
from .burst_exchange import IDS_AFTER
from .conftest import TOKEN, Exchange, Stack, clean_environment, compiled, read_line

pytestmark = pytest.mark.system

HERE, ROOT = Path(__file__).parent, Path(__file__).resolve().parents[3]
WATCHED = [one.symbol for one in LISTED[:19]]
MOST_BYTES = 500e6
MOST_SLOPE = 1e6  # bytes a minute
SETTLED = 2 / 3  # the share of the time, at its end, over which memory must not grow
SLOWEST = 4000  # frames a second
STILL_S = 3 * PUBLISH_S
KEYS = {f"{role}-a0": {"secret": f"{role}-secret-a0", "account": "a0", "balance": "100000"} for role in ("run", "dog")}


@dataclass(frozen=True)
class Plan:
    """How long, how many frames burst, and how many events wait before the engine goes on."""

    seconds: float
    frames: int
    waiting: int

    @property
    def deadline_s(self) -> float:
        return 60 + self.frames / SLOWEST


class Served(Exchange):
    """An exchange of 20 symbols in real time, which can burst."""

    def __init__(self, folder: Path, plan: Plan) -> None:
        compiled()
        (folder / "accounts.json").write_text(json.dumps(KEYS))
        arguments = plan.frames, plan.seconds + plan.deadline_s + 300, len(WATCHED), folder / "accounts.json"
        with (folder / "exchange.err").open("wb") as errors:
            process = subprocess.Popen(
                [sys.executable, str(HERE / "burst_exchange.py"), *map(str, arguments)], stdout=subprocess.PIPE,
                stderr=errors, bufsize=0,
                env=clean_environment() | {"BOT4_EXCHANGE_TOKEN": TOKEN, "PYTHONPATH": str(ROOT)},
            )  # fmt: skip
        ready = read_line(process, 60)
        assert ready, (folder / "exchange.err").read_text()
        super().__init__(process, ready)

    def close(self) -> None:
        self.process.terminate()
        self.process.wait(10)
        self.process.stdout.close()


@pytest.fixture
def soaking(request, tmp_path):
    """An account on such an exchange, for a plan."""
    served = Served(tmp_path, request.param)
    made = Stack(served, tmp_path, "a0")
    try:
        made.start_watchdog()
        yield made, request.param
    finally:
        made.close()
        served.close()
        shutil.rmtree(made.settings.journal_dir, ignore_errors=True)  # gigabytes


class Memory:
    """What the processes of a runner hold, a row for each look: s, bytes of the runner, of all, of all shared once."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._runner, self._began = psutil.Process(process.pid), time.monotonic()
        self._rows: list[tuple[float, ...]] = []
        self.names: set[str] = set()

    @property
    def elapsed(self) -> float:
        return time.monotonic() - self._began

    def look(self) -> None:
        held = [self._runner.memory_full_info()]
        for child in self._runner.children(recursive=True):
            held.append(child.memory_full_info())
            self.names.add(child.cmdline()[2])
        self._rows.append((self.elapsed, held[0].rss, sum(one.rss for one in held), sum(one.pss for one in held)))

    @property
    def most(self) -> np.ndarray:
        """Return the most of each in bytes."""
        return np.array(self._rows)[:, 1:].max(axis=0)

    def slopes(self, seconds: float) -> np.ndarray:
        """Return how fast each grew in the last `seconds`, in bytes a minute (least squares)."""
        rows = np.array(self._rows)
        rows = rows[rows[:, 0] >= rows[-1, 0] - seconds]
        return 60 * np.polyfit(rows[:, 0], rows[:, 1:], 1)[0]


def live_books(stack: Stack) -> int:
    shown = read(stack.settings.shm_dir)
    return sum(book["live"] for book in shown.content["books"]) if shown is not None else 0


def connections(stack: Stack) -> dict[str, int]:
    """Return how many frames came over each connection of the runner."""
    shown = read(stack.settings.shm_dir)
    return {one["name"]: one["frames"] for pool in shown.content["pools"] for one in pool["connections"]}


class Soak:
    """One run of a plan; `said` are the lines of runner and exchange by their state."""

    def __init__(self, stack: Stack, plan: Plan) -> None:
        self.stack, self.plan = stack, plan
        program = [sys.executable, str(HERE / "behind_runner.py"), str(plan.waiting)]
        self.process, ready, _ = stack.start_runner(
            seconds=plan.seconds + plan.deadline_s + 200, program=program,
            BOT4_WATCH=",".join(WATCHED), PYTHONPATH=str(ROOT),
        )  # fmt: skip
        assert ready, stack.log("live")
        assert ready["watch"] == [f"binance_usdm:{name}" for name in WATCHED]
        stack.wait(lambda: live_books(stack) == 20, 30, "not all books are in use")
        self.memory = Memory(self.process)
        self.said: dict[str, dict[str, float]] = {}

    def hear(self, process: subprocess.Popen[bytes], state: str) -> None:
        """Look at the memory until a line of this state is there."""
        deadline = time.monotonic() + self.plan.deadline_s
        while (line := read_line(process, 1.0, state)) is None:
            assert time.monotonic() < deadline, (state, self.said, self.stack.log("live"))
            assert self.process.poll() is None, self.stack.log("live")
            self.memory.look()
        self.said[state] = line | {"at": round(self.memory.elapsed, 1)}

    def run(self) -> None:
        """Soak, burst, catch up, and soak on."""
        stack, plan, exchange = self.stack, self.plan, self.stack.exchange
        stack.wait(lambda: exchange.open_orders(stack.account), 20, "no order rests")
        exchange.process.send_signal(signal.SIGUSR1)
        self.hear(exchange.process, "burst")
        if plan.waiting:
            self.hear(self.process, "waited")
            assert not exchange.open_orders(stack.account), "orders rest while the engine is behind"
        self.hear(exchange.process, "over")
        self.hear(self.process, "level")
        trading = RunnerState.TRADING
        stack.wait(lambda: stack.control("runner_state") == trading, 60, "it did not trade again")
        stack.wait(lambda: live_books(stack) == 20, 60, "not all books are in use again")
        stack.wait(lambda: exchange.open_orders(stack.account), 20, "it does not quote again")
        self.memory.look()
        while self.memory.elapsed < plan.seconds:
            time.sleep(min(1.0, plan.seconds / 20))
            assert self.process.poll() is None, stack.log("live")
            self.memory.look()
        assert list(connections(stack)) == ["btcusdt", "watch-0"]

    def end(self) -> dict[str, Any]:
        """Stop the market and then the runner; return the exchange's book and best quote."""
        stack = self.stack
        stack.wait(stack.agrees, 10, "position and open orders are not the exchange's")
        stack.exchange.post("/bot4/clock", {"paused": True})
        book = self.public("ticker/bookTicker?symbol=BTCUSDT") | self.public("depth?symbol=BTCUSDT&limit=1000")
        seen, since = {}, time.monotonic()

        def still() -> bool:
            nonlocal seen, since
            if (now := connections(stack)) != seen:
                seen, since = now, time.monotonic()
            return time.monotonic() - since > STILL_S

        stack.wait(still, 60, "frames come from a market that stands still")
        stack.stop_runner(self.process)
        for line in self.process.stdout:  # an engine of its own pace may be behind more than once
            if (said := json.loads(line))["state"] == "level":
                self.said["level"] = said
        return book

    def public(self, what: str) -> dict[str, Any]:
        exchange = self.stack.exchange
        return json.loads(exchange._read(f"{exchange.rest}/fapi/v1/{what}"))


@pytest.mark.parametrize(
    "soaking",
    [
        pytest.param(Plan(1, 100_000, 80_000), id="short"),
        pytest.param(
            Plan(900, 10_000_000, 10_000_000), id="15min", marks=[pytest.mark.slow, pytest.mark.timeout(5400)]
        ),
        pytest.param(Plan(1, 10_000_000, 0), id="free", marks=[pytest.mark.slow, pytest.mark.timeout(5400)]),
    ],
    indirect=True,
)
def test_twenty_symbols_and_a_burst(soaking: tuple[Stack, Plan]) -> None:
    stack, plan = soaking
    soak = Soak(stack, plan)
    soak.run()
    said, memory = soak.said, soak.memory
    book = soak.end()
    slopes = memory.slopes(max(plan.seconds * SETTLED, 60))
    print(json.dumps(said, indent=1))
    print(f"runner, its {len(memory.names) + 1} processes, shared pages once: most {memory.most / 1e6} MB, ", end="")
    print(f"then {slopes / 1e6} MB a minute, for {memory.elapsed:.0f} s")

    assert memory.names == {"bot4_live.journal.writer", "bot4_live.feeder"}
    assert memory.most[0] < MOST_BYTES
    assert memory.most[2] < MOST_BYTES
    if plan.seconds > 60:
        # Of shared pages a process's part grows when another ends: what is counted once may grow while nothing does.
        assert (slopes[:2] < MOST_SLOPE).all()
    level = said["level"]
    assert level["times_ahead"] > 0
    if plan.waiting:
        assert said["waited"]["waiting"] >= plan.waiting
        assert said["waited"]["on_disk"] > 0
        assert level["from_disk"] >= said["waited"]["on_disk"]
    if plan.waiting > 1_000_000:
        assert said["waited"]["on_disk"] > 0.99 * plan.waiting
    check_books(stack, book)
    check_journal(stack, said["burst"])


def units(price: str, qty: str) -> tuple[int, int]:
    return BTCUSDT_USDM.ticks(price), BTCUSDT_USDM.lots(qty)


def check_books(stack: Stack, book: dict[str, Any]) -> None:
    """The books are proven by their own best quotes, and the engine's is the exchange's, level by level."""
    proof = verify_journal(stack.settings.journal_dir)
    assert proof.ok, proof
    assert (proof.gaps, proof.quarantined) == (1, 0)  # the hole at the burst's end
    assert proof.markets.split(", ") == [f"binance_usdm:{name}" for name in ("BTCUSDT", *WATCHED)]
    settings = stack.settings
    ours = recover(settings.journal_dir, settings.state_dir, settings.models_dir).engine.state["book"]
    assert int(ours["update_id"][0]) == book["lastUpdateId"]
    for name, side in (("bid", 1), ("ask", -1)):
        best = units(book[f"{name}Price"], book[f"{name}Qty"])  # it may be newer than the diffs: no level is better
        levels = [units(*row) for row in book[f"{name}s"]]
        assert depth(ours, side) == [best, *(level for level in levels if side * (best[0] - level[0]) > 0)]


def check_journal(stack: Stack, sent: dict[str, float]) -> None:
    """Every frame of the burst is there once, no event is missing, and what was decided follows from them."""
    kinds: Counter[tuple[int, int]] = Counter()
    burst: Counter[str] = Counter()
    events, backlog, gaps = 0, [], 0
    for segment in Journal(stack.settings.journal_dir).segments(sealed_only=True):
        heads, seqs = segment.headers, segment.event_seqs
        assert np.array_equal(seqs, np.arange(events + 1, events + seqs.size + 1))
        events += seqs.size
        numbers, counts = np.unique(heads["instrument"].astype(np.int64) << 8 | heads["kind"], return_counts=True)
        kinds.update({divmod(int(n), 256): int(count) for n, count in zip(numbers, counts, strict=True)})
        backlog += heads[heads["kind"] == Kind.BACKLOG][["a", "c"]].tolist()
        gaps += int(((heads["kind"] == Kind.BOOK_STALE) & (heads["a"] == StaleCause.GAP)).sum())
        traded = heads["instrument"] == 0
        for name, kind, number, first, span in (
            ("quotes", Kind.BOOK_TICKER, "a", FIRST_ID, IDS_AFTER // 10),
            ("diffs", Kind.DEPTH_DIFF, "b", FIRST_ID, IDS_AFTER // 10),
            ("trades", Kind.TRADE, "a", FIRST_TRADE, FIRST_TRADE // 100),
        ):
            ids = np.unique(heads[number][traded & (heads["kind"] == kind)])
            burst[name] += int(((ids >= first) & (ids < first + span)).sum())
    assert {name: sent[name] for name in burst} == burst
    assert sum(burst.values()) == sent["frames"]
    assert gaps == 1
    assert [began for began, _ in backlog] == [1, 0] * (len(backlog) // 2)
    assert len(backlog) >= 2
    for number in range(20):
        for kind in (Kind.INSTRUMENT, Kind.DEPTH_SNAPSHOT, Kind.DEPTH_DIFF, Kind.BOOK_TICKER):
            assert kinds[number, kind] > 0, (number, kind)
    report = json.loads(next(stack.settings.state_dir.glob("latency-*.json")).read_text())
    assert report["counters"]["watched_events"] == sum(n for (number, kind), n in kinds.items() if number > 0) - 19
    assert sorted(report["watched"]) == sorted(WATCHED)
    assert replay(stack.settings.journal_dir).identical
