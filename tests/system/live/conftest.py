"""Real processes for the live half: a simulated exchange, a watchdog, a runner; and an auditor who compares."""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections import Counter
from contextlib import ExitStack, contextmanager
from functools import cache

import pytest

from bot4_live.events import Kind, header_of
from bot4_live.execution.order_id import from_client_id
from bot4_live.execution.signing import signed_query
from bot4_live.journal.reader import Journal
from bot4_live.safety.control import CONTROL_FILE, ControlBlock
from bot4_live.settings import Settings

BOT4 = [sys.executable, "-m", "bot4_live"]
SPEED = 8.0
GENERATED = ("--seed", "7", "--duration", "7200", "--speed", str(SPEED))
TOKEN = "for-tests"
ACCOUNTS = 20
# Quotes that follow every move (many orders and cancels), and quotes that wait to be met (fills).
BUSY = {"BOT4_STRATEGY__REQUOTE_MS": "50", "BOT4_STRATEGY__HYSTERESIS_TICKS": "0"}
PATIENT = {"BOT4_STRATEGY__REQUOTE_MS": "50", "BOT4_STRATEGY__HYSTERESIS_TICKS": "1000000"}
TIGHT = {"BOT4_STRATEGY__ADVERSE_SELECTION_BP": "0"}


def clean_environment():
    return {name: value for name, value in os.environ.items() if not name.startswith("BOT4_")} | {
        name: os.environ[name] for name in ("BOT4_CACHE_DIR",) if name in os.environ
    }


def read_line(process, timeout_s, state=None):
    """Return the next line of stdout as JSON, that of `state` if one is given; None at the end or out of time."""
    deadline = time.monotonic() + timeout_s
    while select.select([process.stdout], [], [], max(0.0, deadline - time.monotonic()))[0]:
        line = process.stdout.readline()
        found = json.loads(line) if line else None
        if found is None or state is None or found.get("state") == state:
            return found
    return None


class Exchange:
    """The running exchange and what an account would be shown there."""

    def __init__(self, process, ready):
        self.process, self.rest, self.ws = process, ready["rest"], ready["ws"]

    def get(self, path, account, **params):
        stamp = json.loads(self._read(f"{self.rest}/fapi/v1/time"))["serverTime"]
        query = signed_query(params | {"timestamp": stamp, "recvWindow": 60_000}, f"run-secret-{account}")
        request = urllib.request.Request(f"{self.rest}{path}?{query}", headers={"X-MBX-APIKEY": f"run-{account}"})
        return json.loads(self._read(request))

    def post(self, path, body):
        data = json.dumps(body).encode()
        request = urllib.request.Request(f"{self.rest}{path}", data, {"X-Bot4-Token": TOKEN}, method="POST")
        return json.loads(self._read(request))

    @staticmethod
    def _read(request):
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.read()

    def open_orders(self, account):
        return self.get("/fapi/v1/openOrders", account, symbol="BTCUSDT")

    def position_lots(self, account):
        rows = self.get("/fapi/v2/positionRisk", account, symbol="BTCUSDT")
        return round(float(rows[0]["positionAmt"]) * 1000)

    def trades(self, account):
        return self._pages("/fapi/v1/userTrades", account, "fromId", "id")

    def orders(self, account):
        return self._pages("/fapi/v1/allOrders", account, "orderId", "orderId")

    def _pages(self, path, account, from_name, id_name):
        found, first = [], 0
        while True:
            rows = self.get(path, account, symbol="BTCUSDT", limit=1000, **{from_name: first})
            found += rows
            if len(rows) < 1000:
                return found
            first = rows[-1][id_name] + 1


@cache
def compiled():
    """Have compiled code before anything is timed."""
    subprocess.run([sys.executable, "-m", "bot4_live.warm"], check=True, env=clean_environment(), capture_output=True)


@contextmanager
def exchange_of(folder, *market):
    """Serve a market to a dozen accounts."""
    compiled()
    keys = {}
    for i in range(ACCOUNTS):
        for role in ("run", "dog"):
            keys[f"{role}-a{i}"] = {"secret": f"{role}-secret-a{i}", "account": f"a{i}", "balance": "100000"}
    (folder / "accounts.json").write_text(json.dumps(keys))
    command = [*BOT4, "exchange", "--port", "0", *market]
    command += ["--weight-limit", "100000"]  # the tests ask in loops, past any budget
    with (folder / "exchange.err").open("wb") as errors:
        process = subprocess.Popen(
            [*command, "--accounts", str(folder / "accounts.json")],
            stdout=subprocess.PIPE,
            stderr=errors,
            env=clean_environment() | {"BOT4_EXCHANGE_TOKEN": TOKEN},
        )
    ready = read_line(process, 60)
    assert ready, (folder / "exchange.err").read_text()
    try:
        yield Exchange(process, ready)
    finally:
        process.terminate()
        process.wait(10)
        process.stdout.close()


@pytest.fixture(scope="session")
def exchange(tmp_path_factory):
    """One exchange for all tests here: a generated market at 8x."""
    with exchange_of(tmp_path_factory.mktemp("exchange"), *GENERATED) as made:
        yield made


@pytest.fixture
def own_exchange(tmp_path_factory):
    """An exchange that one test may change for good."""
    with exchange_of(tmp_path_factory.mktemp("own_exchange"), *GENERATED) as made:
        yield made


@pytest.fixture
def stack_on(tmp_path):
    """Serve a market of a test's own: `with stack_on(*market, accounts=...) as stacks`, each with a watchdog."""

    @contextmanager
    def serve(*market, accounts):
        with exchange_of(tmp_path, *market) as made, ExitStack() as closing:
            stacks = []
            for account in accounts:
                (tmp_path / account).mkdir()
                stacks.append(Stack(made, tmp_path / account, account))
                closing.callback(stacks[-1].close)
                stacks[-1].start_watchdog()
            yield stacks

    return serve


class Stack:
    """One account on the exchange: its settings, its watchdog, and runners one after another."""

    def __init__(self, exchange, folder, account):
        self.exchange, self.folder, self.account = exchange, folder, account
        self.environment = clean_environment() | {
            "BOT4_VAR": str(folder), "BOT4_ACCOUNT": account, "BOT4_REST_URL": exchange.rest,
            "BOT4_WS_URL": exchange.ws, "BOT4_API_KEY": f"run-{account}", "BOT4_API_SECRET": f"run-secret-{account}",
            "BOT4_WATCHDOG_API_KEY": f"dog-{account}", "BOT4_WATCHDOG_API_SECRET": f"dog-secret-{account}",
            "BOT4_RECV_WINDOW_MS": "1000",
        }  # fmt: skip
        self.settings = Settings(var=folder, account=account)
        self.watchdog = None
        self._started = []

    def start_watchdog(self):
        self.watchdog = self._spawn(["watchdog"], {})
        assert read_line(self.watchdog, 30), self.log("watchdog")

    def _spawn(self, arguments, extra, program=BOT4):
        with (self.folder / f"{arguments[0]}.err").open("ab") as errors:
            process = subprocess.Popen(
                [*program, *arguments], stdout=subprocess.PIPE, stderr=errors, env=self.environment | extra, bufsize=0
            )
        self._started.append(process)
        return process

    def log(self, name):
        path = self.folder / f"{name}.err"
        return path.read_text()[-4000:] if path.exists() else ""

    def start_runner(self, *, patient=False, seconds=120, program=BOT4, **extra):
        """Start a runner; return (process, ready line, seconds to it)."""
        began = time.monotonic()
        quotes = TIGHT | (PATIENT if patient else BUSY)
        process = self._spawn(["live", "--no-model", "--seconds", str(seconds)], quotes | extra, program)
        ready = read_line(process, 60, "trading")
        return process, ready, time.monotonic() - began

    def control(self, field):
        return ControlBlock(self.settings.shm_dir / CONTROL_FILE, writable=False).get(field)

    def wait(self, condition, timeout_s, what):
        deadline = time.monotonic() + timeout_s
        while not condition():
            assert time.monotonic() < deadline, f"{what}\n{self.log('live')}"
            time.sleep(0.02)

    def agrees(self):
        """Return whether the runner and the venue name the same position and number of open orders."""
        ours = self.control("position_lots"), self.control("open_orders")
        theirs = self.exchange.position_lots(self.account), len(self.exchange.open_orders(self.account))
        return ours == theirs

    def stop_runner(self, process):
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0, self.log("live")

    def close(self):
        for process in self._started:
            if process.poll() is None:
                process.terminate()
                try:
                    process.wait(15)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
            process.stdout.close()
        shutil.rmtree(self.settings.shm_dir, ignore_errors=True)

    def audit(self):
        """Compare the whole journal with the venue's books; return counts. Nothing may be doubled or missing."""
        records = list(Journal(self.settings.journal_dir).records())
        heads = [header_of(record) for record in records]
        decided = Counter(int(h["a"]) for h in heads if h["kind"] == Kind.CMD_NEW)
        attempts = Counter(int(h["a"]) for h in heads if h["kind"] == Kind.SEND_ATTEMPT and h["b"] == Kind.CMD_NEW)
        fills = Counter((int(h["b"]), int(h["c"])) for h in heads if h["kind"] == Kind.ORDER_FILL)
        venue_orders = self.exchange.orders(self.account)
        venue_ids = Counter(from_client_id(row["clientOrderId"]) for row in venue_orders)
        venue_fills = {(row["id"], row["orderId"]) for row in self.exchange.trades(self.account)}
        assert max(decided.values(), default=1) == 1, "an order id was decided twice"
        assert max(attempts.values(), default=1) == 1, "an order was sent twice"
        assert max(venue_ids.values(), default=1) == 1, "the venue has a client id twice"
        assert max(fills.values(), default=1) == 1, "a fill is in the log twice"
        assert set(venue_ids) <= set(attempts), "the venue has an order whose attempt is not in the log"
        assert set(fills) == venue_fills, "the log's fills are not the venue's"
        return {"orders": len(venue_ids), "fills": len(fills), "attempts": len(attempts)}


@pytest.fixture
def accounts(request):
    """Hands out account names of the shared exchange, each once."""
    counter = request.config.stash.setdefault(_USED, [0])
    name = f"a{counter[0]}"
    counter[0] += 1
    assert counter[0] <= ACCOUNTS
    return name


_USED = pytest.StashKey[list[int]]()


@pytest.fixture
def own_stack(own_exchange, tmp_path):
    """The same on an exchange of its own."""
    made = Stack(own_exchange, tmp_path, "a0")
    try:
        made.start_watchdog()
        yield made
    finally:
        made.close()


@pytest.fixture
def stack(exchange, accounts, tmp_path):
    """One account with a running watchdog."""
    made = Stack(exchange, tmp_path, accounts)
    try:
        made.start_watchdog()
        yield made
    finally:
        made.close()


@pytest.fixture
def faults(exchange):
    """Set the exchange's faults for a while."""

    @contextmanager
    def during(**plan):
        exchange.post("/bot4/faults", plan)
        try:
            yield
        finally:
            exchange.post("/bot4/faults", {})

    return during
