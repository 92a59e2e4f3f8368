"""The kill (S1, DOMAIN.md): flag; cancel all; stop the runner; flatten at once; wait until nothing the runner signed is
still valid; sweep and flatten again; confirmed when there are zero orders and no position; connections shut last.

It knows no process and no file: venue, clock and what flags, stops and records are given to it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

from bot4_live.clock import boottime_ns
from bot4_live.safety.control import KillState
from bot4_live.safety.exchange_clock import ExchangeClock
from bot4_live.safety.flatten import Flattener
from bot4_live.safety.flatten import Venue as FlattenVenue

# What a venue or a malformed answer of its throws; none of it may end a kill.
TROUBLE = (OSError, ValueError, ArithmeticError, LookupError, TypeError, AttributeError)
_PAUSE_S = 0.05  # between attempts that got no answer


class Venue(FlattenVenue, Protocol):
    """What the kill needs of a venue; `SafetyVenue` has it. All methods raise OSError when they fail."""

    clock: ExchangeClock

    def sync_time(self) -> int: ...
    def open_orders(self) -> list[dict[str, Any]]: ...
    def cancel_all(self, symbol: str) -> None: ...
    def cancel_algo(self, symbol: str) -> bool: ...
    def close(self) -> None: ...


@dataclass
class Report:
    """What a kill did. Times in ms count from `pressed_ns` (CLOCK_BOOTTIME of the debounced press or the request)."""

    pressed_ns: int
    recv_window_ms: int
    confirmed: bool = False
    attempts: int = 0
    flat_ms: float | None = None  # to the first time that no position was left
    kill_ms: float | None = None  # to zero orders and flat, confirmed after the second sweep
    steps: list[dict[str, Any]] = field(default_factory=list)


@dataclass
class Hooks:
    """What the kill does outside the venue."""

    flag: Callable[[], None]  # take the right to send from everybody
    stop_runner: Callable[[], str]  # SIGKILL the runner; returns what was done
    state: Callable[[int], None] = lambda _state: None  # told each KillState
    step: Callable[[dict[str, Any]], None] = lambda _step: None  # told each step as it ends


class Kill:
    """One kill of one account; `run` may be called again until it is confirmed."""

    def __init__(
        self,
        venue: Venue,
        symbols: Iterable[str],
        hooks: Hooks,
        report: Report,
        *,
        budget_ns: int,
        clock: Callable[[], int] = boottime_ns,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """`symbols` are swept whether or not orders are seen there; others are added as they are found."""
        self._venue, self._hooks, self.report = venue, hooks, report
        self._symbols = list(dict.fromkeys(symbols))
        self._budget_ns, self._clock, self._sleep = budget_ns, clock, sleep
        self._deadline = 0
        self._flattener = Flattener(venue, self._note)
        self._fence_from: tuple[int, int | None] | None = None  # (clock, venue's ms) when the runner was stopped

    def run(self) -> Report:
        """Go through all steps within the budget; `report.confirmed` says how it ended. Errors become steps."""
        report = self.report
        report.attempts += 1
        self._deadline = self._clock() + self._budget_ns
        self._hooks.state(KillState.REQUESTED)
        self._hooks.flag()
        self._step("flag", "sending is off")
        self._hooks.state(KillState.FLAGGED)
        self._try("clock", lambda: f"venue time {self._venue.sync_time()}")
        cancelled = self._cancel("cancel-all")
        if cancelled:
            self._hooks.state(KillState.CANCELLED)
        self._stop_runner()
        if not cancelled and self._until(lambda: self._cancel("cancel-all")):
            self._hooks.state(KillState.CANCELLED)
        if self._until(self._flatten):
            self._hooks.state(KillState.FLAT)
        self._cancel_algo()
        self._fence()
        report.confirmed = self._until(self._sweep)
        if report.confirmed:
            report.kill_ms = self._since_press()
        self._venue.close()
        self._step("disconnect", "connections shut")
        self._hooks.state(KillState.CONFIRMED if report.confirmed else KillState.FAILED)
        return report

    # Steps.

    def _cancel(self, name: str) -> bool:
        def one(symbol: str) -> str:
            self._venue.cancel_all(symbol)
            return symbol

        results = [self._try(name, partial(one, symbol)) for symbol in self._symbols]
        return all(results)

    def _cancel_algo(self) -> None:
        def one(symbol: str) -> str:
            return symbol if self._venue.cancel_algo(symbol) else "the venue has none"

        for symbol in self._symbols:
            self._try("cancel-algo", partial(one, symbol))

    def _stop_runner(self) -> None:
        try:
            result = self._hooks.stop_runner()
        except OSError as error:
            result = f"not killed: {error}"
        if self._fence_from is None:
            self._fence_from = (self._clock(), self._venue.clock.now_ms() if self._venue.clock.known else None)
        self._step("stop-runner", result)

    def _flatten(self) -> bool:
        flat = False

        def once() -> str:
            nonlocal flat
            left = self._flattener.once()
            for position in left:
                if position.symbol not in self._symbols:
                    self._symbols.append(position.symbol)
            flat = not left
            return "flat" if flat else ", ".join(f"{p.symbol} {p.amount}" for p in left)

        self._try("flatten", once)
        if flat and self.report.flat_ms is None:
            self.report.flat_ms = self._since_press()
        return flat

    def _fence(self) -> None:
        """Wait until whatever the runner signed has expired: recvWindow of the venue's time since it was stopped.

        A simulated exchange may run faster (then real recvWindow is more than enough) or slower. While one stands
        still nothing expires, so waiting would not help: the runner is dead, and the sweep follows.
        """
        assert self._fence_from is not None
        started, venue_ms = self._fence_from
        window_ms = self.report.recv_window_ms
        while (left := started + window_ms * 1_000_000 - self._clock()) > 0:
            self._sleep(left / 1e9)
        expired, before_ms = "recvWindow over", None
        while venue_ms is not None and self._clock() < self._deadline:
            try:
                now_ms = self._venue.sync_time()
            except TROUBLE:
                expired = "recvWindow over (venue's clock not read)"
                break
            if now_ms - venue_ms >= window_ms:
                break
            if now_ms == before_ms:
                expired = "the venue's clock stands still"
                break
            before_ms = now_ms
            self._sleep(_PAUSE_S)
        self._step("wait", expired)

    def _sweep(self) -> bool:
        """Cancel and flatten again, then ask: True when the venue says zero orders and flat."""
        if not self._cancel("sweep") or not self._flatten():
            return False
        clean = False

        def ask() -> str:
            nonlocal clean
            orders = self._venue.open_orders()
            for order in orders:
                if order["symbol"] not in self._symbols:
                    self._symbols.append(order["symbol"])
            positions = self._venue.positions()
            clean = not orders and not positions
            return f"{len(orders)} open orders, {len(positions)} positions"

        self._try("verify", ask)
        return clean

    # Bookkeeping.

    def _until(self, attempt: Callable[[], bool]) -> bool:
        """Repeat until it succeeds or the budget is spent."""
        while not attempt():
            if self._clock() >= self._deadline:
                return False
            self._sleep(_PAUSE_S)
        return True

    def _try(self, name: str, action: Callable[[], str]) -> bool:
        """Run one step; what the venue or a malformed answer throws is its result, never the end of the kill."""
        started = self._clock()
        try:
            result, done = action(), True
        except TROUBLE as error:
            result, done = f"failed: {error}", False
        self._step(name, result, started, done)
        return done

    def _note(self, name: str, result: Any) -> None:
        self._step(name, result)

    def _step(self, name: str, result: Any, started: int | None = None, done: bool = True) -> None:
        now = self._clock()
        step = {
            "step": name,
            "at_ms": self._since_press(),
            "took_ms": round((now - (now if started is None else started)) / 1e6, 3),
            "boottime_ns": now,
            "ok": done,
            "result": result,
        }
        last = self.report.steps[-1] if self.report.steps else None
        if last is not None and not done and (last["step"], last["result"]) == (name, result):
            last.update(step, repeats=last.get("repeats", 1) + 1)  # a venue that is down is one line, not thousands
            return
        self.report.steps.append(step)
        self._hooks.step(step)

    def _since_press(self) -> float:
        return round((self._clock() - self.report.pressed_ns) / 1e6, 3)
