"""A small venue with real order state over HTTP, and the real watchdog process, for the safety tests."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from bot4_live.safety.control import CONTROL_FILE, ControlBlock
from bot4_live.settings import Settings

KEY, SECRET = "watchdog-key", "watchdog-secret"


class Refusal(Exception):
    def __init__(self, code: int, text: str, status: int = 400) -> None:
        super().__init__(text)
        self.code, self.status = code, status


class SmallVenue:
    """One account: resting orders, a position, a book of (price, quantity) levels that IOC orders eat.

    `speed` is the pace of its clock; `hooks[path]` is called with the parameters before a request is carried out and
    may raise Refusal; `drop_after` holds paths whose answer is lost once, after the request was carried out, and
    `answer_after` the (status, body) by which one such answer is replaced.
    """

    def __init__(self, speed: float = 1.0) -> None:
        self.lock = threading.RLock()
        self.speed, self._start = speed, time.monotonic()
        self.orders: dict[str, dict[str, Any]] = {}
        self.position = Decimal(0)
        self.bids = [(Decimal("60000.0"), Decimal("1000"))]
        self.asks = [(Decimal("60000.1"), Decimal("1000"))]
        self.done: dict[str, dict[str, Any]] = {}
        self.calls: list[tuple[float, str]] = []
        self.hooks: dict[str, Callable[[dict[str, str]], None]] = {}
        self.drop_after: list[str] = []
        self.answer_after: dict[str, tuple[int, bytes]] = {}
        venue = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def log_message(self, format: str, *args: Any) -> None:
                return

            def serve(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
                parts = urlsplit(self.path)
                query = body or parts.query
                name = f"{self.command} {parts.path}"
                try:
                    status, answer = 200, venue.answer(name, query, self.headers.get("X-MBX-APIKEY", ""))
                except Refusal as refusal:
                    status, answer = refusal.status, {"code": refusal.code, "msg": str(refusal)}
                if name in venue.drop_after:
                    venue.drop_after.remove(name)
                    self.close_connection = True
                    return
                status, raw = venue.answer_after.pop(name, (status, json.dumps(answer).encode()))
                self.send_response(status)
                self.send_header("Content-Length", str(len(raw)))
                self.end_headers()
                self.wfile.write(raw)

            do_GET = do_POST = do_DELETE = serve

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request: Any, client_address: Any) -> None:
                return

        self.server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        self._thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()

    def time_ms(self) -> int:
        return 1_723_100_000_000 + int((time.monotonic() - self._start) * 1000 * self.speed)

    def rest(self, client_id: str, side: str = "BUY", price: str = "59000.0", qty: str = "0.010") -> None:
        with self.lock:
            self.orders[client_id] = {
                "clientOrderId": client_id, "symbol": "BTCUSDT", "side": side, "price": price, "origQty": qty,
                "status": "NEW", "executedQty": "0",
            }  # fmt: skip

    def names(self) -> list[str]:
        return [name for _, name in self.calls]

    def answer(self, name: str, query: str, key: str) -> Any:
        params = {k: v[0] for k, v in parse_qs(query).items()}
        if hook := self.hooks.get(name):
            hook(params)
        with self.lock:
            self.calls.append((time.monotonic(), name))
            if name == "GET /fapi/v1/time":
                return {"serverTime": self.time_ms()}
            if name == "GET /fapi/v1/depth":
                return {side: [[str(p), str(q)] for p, q in getattr(self, side)] for side in ("bids", "asks")}
            if name == "GET /fapi/v1/exchangeInfo":
                filters = [
                    {"filterType": "PRICE_FILTER", "tickSize": "0.10"},
                    {"filterType": "LOT_SIZE", "stepSize": "0.001", "maxQty": "1000"},
                    {"filterType": "MARKET_LOT_SIZE", "stepSize": "0.001", "maxQty": "120"},
                ]
                return {"symbols": [{"symbol": "BTCUSDT", "filters": filters}]}
            self.authorise(query, params, key)
            match name:
                case "GET /fapi/v1/openOrders":
                    return list(self.orders.values())
                case "GET /fapi/v3/positionRisk":
                    return [{"symbol": "BTCUSDT", "positionAmt": str(self.position), "markPrice": "60000.0"}]
                case "DELETE /fapi/v1/allOpenOrders":
                    self.orders = {k: v for k, v in self.orders.items() if v["symbol"] != params["symbol"]}
                    return {"code": 200, "msg": "The operation of cancel all open order is done."}
                case "POST /fapi/v1/order":
                    return self.trade(params)
                case "GET /fapi/v1/order":
                    if params["origClientOrderId"] not in self.done:
                        raise Refusal(-2013, "Order does not exist.")
                    return self.done[params["origClientOrderId"]]
        raise Refusal(-5000, "Path not found", 404)

    def authorise(self, query: str, params: dict[str, str], key: str) -> None:
        text, _, signature = query.rpartition("&signature=")
        expected = hmac.new(SECRET.encode(), text.encode(), hashlib.sha256).hexdigest()
        if key != KEY or not hmac.compare_digest(expected, signature):
            raise Refusal(-1022, "Signature for this request is not valid.")
        late = self.time_ms() - int(params["timestamp"])
        if not -1000 < late <= int(params["recvWindow"]):
            raise Refusal(-1021, "Timestamp for this request is outside of the recvWindow.")

    def trade(self, params: dict[str, str]) -> dict[str, Any]:
        assert params["timeInForce"] == "IOC"
        assert params["reduceOnly"] == "true"
        if params["newClientOrderId"] in self.done:
            raise Refusal(-4116, "ClientOrderId is duplicated.")
        sell, limit = params["side"] == "SELL", Decimal(params["price"])
        if self.position == 0 or sell != (self.position > 0):
            raise Refusal(-2022, "ReduceOnly Order is rejected.")
        left = min(Decimal(params["quantity"]), abs(self.position))
        levels, filled = (self.bids if sell else self.asks), Decimal(0)
        while left and levels and (levels[0][0] >= limit if sell else levels[0][0] <= limit):
            price, quantity = levels[0]
            taken = min(left, quantity)
            left, filled = left - taken, filled + taken
            levels[:1] = [(price, quantity - taken)] if quantity > taken else []
        self.position += -filled if sell else filled
        order = {"orderId": len(self.done) + 1, "clientOrderId": params["newClientOrderId"], "avgPrice": str(limit),
                 "status": "EXPIRED" if left else "FILLED", "executedQty": str(filled)}  # fmt: skip
        self.done[params["newClientOrderId"]] = order
        return order


@pytest.fixture
def small_venue() -> Iterator[SmallVenue]:
    venue = SmallVenue()
    yield venue
    venue.close()


@pytest.fixture
def account(tmp_path: Path, small_venue: SmallVenue) -> Iterator[Settings]:
    """Settings of an account of its own at the small venue."""
    settings = Settings(
        var=tmp_path, account="guarded", rest_url=small_venue.url, recv_window_ms=250, mode_cooldown_s=0.5,
        watchdog_api_key=KEY, watchdog_api_secret=SECRET,
    )  # fmt: skip
    yield settings
    shutil.rmtree(settings.shm_dir, ignore_errors=True)


class Guarded:
    """The real processes of one account: watchdog and commands."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.dogs: list[subprocess.Popen[str]] = []
        own = {k: v for k, v in os.environ.items() if not k.startswith("BOT4_") or k == "BOT4_CACHE_DIR"}
        self.environment = {
            **own,
            "BOT4_VAR": str(settings.var), "BOT4_ACCOUNT": settings.account, "BOT4_REST_URL": settings.rest_url,
            "BOT4_RECV_WINDOW_MS": str(settings.recv_window_ms),
            "BOT4_MODE_COOLDOWN_S": str(settings.mode_cooldown_s),
            "BOT4_WATCHDOG_API_KEY": settings.watchdog_api_key.get_secret_value(),
            "BOT4_WATCHDOG_API_SECRET": settings.watchdog_api_secret.get_secret_value(),
        }  # fmt: skip

    def watchdog(self) -> dict[str, Any]:
        """Start the watchdog and return its ready line."""
        dog = subprocess.Popen(
            [sys.executable, "-m", "bot4_live", "watchdog"], env=self.environment, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True, start_new_session=True,
        )  # fmt: skip
        self.dogs.append(dog)
        assert dog.stdout is not None
        line = dog.stdout.readline()
        if not line:
            assert dog.stderr is not None
            raise AssertionError(dog.stderr.read())
        ready: dict[str, Any] = json.loads(line)
        assert ready["pid"] == dog.pid
        return ready

    def run(self, *arguments: str, timeout: float = 60) -> subprocess.CompletedProcess[str]:
        """Run one bot4 command."""
        return subprocess.run(
            [sys.executable, "-m", "bot4_live", *arguments], env=self.environment, capture_output=True, text=True,
            timeout=timeout,
        )  # fmt: skip

    def block(self) -> ControlBlock:
        return ControlBlock(self.settings.shm_dir / CONTROL_FILE)

    def runner(self, code: str = "", *, open_orders: int = 1) -> subprocess.Popen[str]:
        """Start a process that maps the control block as the runner does and beats its heart; `code` runs before."""
        program = (
            "import os, sys, time, pathlib\n"
            "from bot4_live.clock import boottime_ns\n"
            "from bot4_live.safety.control import ControlBlock, RunnerState\n"
            f"block = ControlBlock(pathlib.Path({str(self.settings.shm_dir / CONTROL_FILE)!r}))\n"
            f"{code}\n"
            "block.set('runner_request', 0)\n"
            f"block.set('open_orders', {open_orders})\n"
            "block.set('runner_beat_ns', boottime_ns())\n"
            "block.set('runner_state', RunnerState.TRADING)\n"
            "block.set('runner_pid', os.getpid())\n"
            "print('up', flush=True)\n"
            "while True:\n"
            "    block.set('runner_beat_ns', boottime_ns())\n"
            "    time.sleep(0.02)\n"
        )
        process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
        self.dogs.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        return process

    def status(self) -> dict[str, Any]:
        path = self.settings.shm_dir / "watchdog.json"
        return json.loads(path.read_text()) if path.exists() else {}

    def kill_record(self) -> dict[str, Any]:
        path = self.settings.state_dir / "kill.json"
        return json.loads(path.read_text()) if path.exists() else {}

    def close(self) -> None:
        for dog in self.dogs:
            if dog.poll() is None:
                dog.send_signal(signal.SIGKILL)
            dog.communicate()


@pytest.fixture
def guarded(account: Settings) -> Iterator[Guarded]:
    processes = Guarded(account)
    yield processes
    processes.close()


@pytest.fixture
def until() -> Callable[..., None]:
    """Return a function that waits for a condition and fails with its name when it does not come true."""

    def wait(condition: Callable[[], object], seconds: float = 10.0) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, f"did not come true within {seconds} s"
            time.sleep(0.005)

    return wait
