"""The way out: commands to the venue, through the gate, each with exactly one end in the log.

A command ends as an answer, as SUPPRESSED (nothing left), or as ORDER_UNKNOWN that a query resolves; nothing is ever
sent twice. New orders go out concurrently; a cancel waits for the answer to its order, because a cancel that
overtakes its order cancels nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Protocol

import numpy as np

from bot4_live.clock import MS
from bot4_live.crash_points import reach
from bot4_live.events import Flag, Kind, Source, SuppressCause, header_of, new_record, note
from bot4_live.execution.gateways.binance_usdm import NO_SUCH_ORDER, UNKNOWN_ORDER, Gateway
from bot4_live.execution.ledger import Ledger, OrderState
from bot4_live.execution.rest import (
    TIMESTAMP_OUTSIDE_WINDOW,
    NotSent,
    RateLimited,
    RestClient,
    UnknownFate,
    VenueError,
    VenueRejected,
    Withheld,
)

MARGIN_MS = 250  # beyond recvWindow, exchange time: how far the two clocks may be apart
FIRST_RETRY_S, LAST_RETRY_S = 0.02, 1.0
# What reading an answer that is not of the documented shape may raise.
UNREADABLE = (LookupError, TypeError, ValueError, ArithmeticError)
CONFIRM_S = 0.5  # a cancelled order that the stream has not confirmed by then is asked about


Written = Callable[[], None]


class Admission(Protocol):
    """The gate: `bot4_live.safety.gate.Gate`."""

    def admit(self, kind: int, flags: int = 0) -> int:
        """Return 0 when it may leave, else a SuppressCause."""


class Dispatcher:
    """Sends commands and resolves doubts; `emit` takes records into the log."""

    def __init__(
        self,
        rest: RestClient,
        gateway: Gateway,
        gate: Admission,
        ledger: Ledger,
        emit: Callable[[np.ndarray], None],
        fresh: Callable[[int], bool] = lambda _: True,
    ) -> None:
        """`fresh(recv_ns)` says whether an order that an event of this engine time caused may still open risk."""
        self._rest, self._gateway, self._gate, self._ledger, self._emit = rest, gateway, gate, ledger, emit
        self._fresh = fresh
        self._tasks: set[asyncio.Task[None]] = set()
        self._acks: dict[int, asyncio.Event] = {}
        self._resolving: dict[int, asyncio.Task[None]] = {}
        self.fetch_fills: Callable[[], Coroutine[Any, Any, int]] | None = None
        self.counts = {"sent": 0, "suppressed": 0, "unknown": 0, "rejected": 0, "cancels": 0, "unasked": 0}

    def submit(self, command: np.ndarray, written: Written | None = None) -> None:
        """Take one command; `written()` is called once its request has been written to the socket."""
        kind, order_id = int(header_of(command)["kind"]), int(header_of(command)["a"])
        if kind == Kind.CMD_NEW:
            self._acks[order_id] = asyncio.Event()
            self._start(self._new(command, order_id, written))
        elif kind == Kind.CMD_CANCEL:
            self._start(self._cancel(command, order_id, written))
        else:
            self._start(self._cancel_all(command, written))

    async def cancel_unasked(self, order_id: int = 0) -> Any:
        """Send a cancel that the engine did not decide (0: of everything) like any command; return the venue's answer.

        It passes the gate and leaves a SEND_ATTEMPT. Raises Withheld when the gate is closed, VenueError otherwise.
        """
        command = self._mark(Kind.CMD_CANCEL if order_id else Kind.CMD_CANCEL_ALL, order_id, 0, 0)
        return await self._rest.call(self._gateway.request(command), self._guard(command, None, "unasked"))

    async def drain(self, timeout_s: float | None = None) -> bool:
        """Wait until every command submitted so far has its end; False when that took too long."""
        if self._tasks:
            _, pending = await asyncio.wait(list(self._tasks), timeout=timeout_s)
            return not pending
        return True

    async def close(self) -> None:
        """Stop working; what is not answered stays unknown in the log."""
        for task in list(self._tasks) + list(self._resolving.values()):
            task.cancel()
        await asyncio.gather(*self._tasks, *self._resolving.values(), return_exceptions=True)

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            # A defect here must be loud: the order it concerns would stay in limbo.
            asyncio.get_running_loop().call_exception_handler(
                {"message": "a command could not be carried out", "exception": task.exception(), "task": task}
            )

    def _guard(self, command: np.ndarray, written: Written | None, counted: str = "") -> Callable[[], None]:
        """Return what runs just before the bytes leave; `counted` is the name under which the attempt counts."""
        head = header_of(command)
        kind, order_id, flags = int(head["kind"]), int(head["a"]), int(head["flags"])
        opens, caused_ns = kind == Kind.CMD_NEW and not flags & Flag.REDUCE_ONLY, int(head["recv_ns"])
        counted = counted or ("sent" if kind == Kind.CMD_NEW else "cancels")

        def guard() -> None:
            cause = self._gate.admit(kind, flags)
            if not cause and opens and not self._fresh(caused_ns):
                cause = SuppressCause.BEHIND
            if cause:
                raise Withheld(cause)
            self._emit(self._mark(Kind.SEND_ATTEMPT, order_id, kind, 0))
            reach("before_send" if kind == Kind.CMD_NEW else "before_cancel")
            self.counts[counted] += 1
            loop = asyncio.get_running_loop()
            if written is not None:
                loop.call_soon(written)  # the write itself follows this guard without a pause
            if kind == Kind.CMD_NEW:
                loop.call_later(0.001, reach, "after_send")

        return guard

    def _mark(self, kind: Kind, order_id: int, b: int, c: int) -> np.ndarray:
        record = new_record(kind)
        head = header_of(record)
        head["source"], head["a"], head["b"], head["c"] = Source.RUNNER, order_id, b, c
        return record

    def _suppress(self, command: np.ndarray, stop: Withheld | NotSent) -> None:
        self.counts["suppressed"] += 1
        unsent = SuppressCause.RATE if isinstance(stop, RateLimited) else SuppressCause.DISCONNECTED
        cause = stop.cause if isinstance(stop, Withheld) else unsent
        head = header_of(command)
        self._emit(self._mark(Kind.SUPPRESSED, int(head["a"]), cause, int(head["kind"])))

    async def _ask(self, command: np.ndarray, order_id: int, written: Written | None) -> list[np.ndarray]:
        """Send a command and return what its answer tells; one that cannot be read says nothing of the order's fate."""
        answer = await self._rest.call(self._gateway.request(command), self._guard(command, written))
        try:
            return self._gateway.on_order(order_id, answer)
        except UNREADABLE as error:
            raise UnknownFate(f"order {order_id:#x}: an answer that cannot be read ({error!r})") from None

    async def _new(self, command: np.ndarray, order_id: int, written: Written | None) -> None:
        try:
            told = await self._ask(command, order_id, written)
        except (Withheld, NotSent) as stop:
            self._suppress(command, stop)
        except VenueRejected as error:
            self.counts["rejected"] += 1
            self._emit(self._gateway.refused(Kind.ORDER_REJECTED, order_id, error.code))
            await self._after_refusal(error)
        except UnknownFate as error:
            self.counts["unknown"] += 1
            self._emit(self._gateway.refused(Kind.ORDER_UNKNOWN, order_id, 1))
            self._emit(note(str(error)))
            self.resolve(order_id)
        else:
            reach("before_ack")
            for record in told:
                self._emit(record)
            reach("after_ack")
        finally:
            self._acks.pop(order_id).set()

    async def _cancel(self, command: np.ndarray, order_id: int, written: Written | None) -> None:
        ack = self._acks.get(order_id)
        if ack is not None:
            await ack.wait()
        order = self._ledger.orders.get(order_id)
        if order is not None and order.state == OrderState.CLOSED:
            return  # it ended while the cancel waited; the log says how
        try:
            told = await self._ask(command, order_id, written)
        except (Withheld, NotSent) as stop:
            self._suppress(command, stop)
        except VenueRejected as error:
            self._emit(self._gateway.refused(Kind.CANCEL_REJECTED, order_id, error.code))
            await self._after_refusal(error)
            # Mostly it has just filled and the stream says so in a moment.
            self.resolve(order_id, after_s=0.0 if error.code != UNKNOWN_ORDER else FIRST_RETRY_S)
        except UnknownFate:
            self._emit(self._gateway.refused(Kind.CANCEL_REJECTED, order_id, 0))
            self.resolve(order_id)
        else:
            for record in told:
                self._emit(record)
            reach("after_cancel")

    async def _cancel_all(self, command: np.ndarray, written: Written | None) -> None:
        for ack in list(self._acks.values()):
            await ack.wait()
        orders = [order.id for order in self._ledger.live_orders()]
        try:
            await self._rest.call(self._gateway.request(command), self._guard(command, written))
        except (Withheld, NotSent) as stop:
            self._suppress(command, stop)
            return
        except VenueError as error:
            self._emit(note(f"cancel-all: {error}"))
            for order_id in orders:
                self._emit(self._gateway.refused(Kind.CANCEL_REJECTED, order_id, getattr(error, "code", 0)))
        for order_id in orders:
            self.resolve(order_id, after_s=CONFIRM_S)

    async def _after_refusal(self, error: VenueRejected) -> None:
        if error.code == TIMESTAMP_OUTSIDE_WINDOW:
            try:
                await self._rest.sync_time()
            except VenueError as trouble:
                self._emit(note(f"the venue's time could not be asked: {trouble}"))

    def resolve(self, order_id: int, *, after_s: float = 0.0) -> asyncio.Task[None]:
        """Ask about an order until its fate is known; one asker an order."""
        task = self._resolving.get(order_id)
        if task is None:
            task = self._resolving[order_id] = asyncio.create_task(self._resolve(order_id, after_s))
            task.add_done_callback(lambda _: self._resolving.pop(order_id, None))
        return task

    async def _resolve(self, order_id: int, after_s: float) -> None:
        await asyncio.sleep(after_s)
        pause, complained = FIRST_RETRY_S, False
        while True:
            order = self._ledger.orders.get(order_id)
            if order is None or order.state in (OrderState.CLOSED, OrderState.DECIDED):
                return
            settled_ns = order.sent_ns + (self._rest.recv_window_ms + MARGIN_MS) * MS
            certain = self._rest.time.clock.now_ns() > settled_ns  # before the query leaves
            try:
                answer = await self._rest.call(self._gateway.query(order_id))
            except VenueRejected as error:
                if error.code == NO_SUCH_ORDER and certain:
                    self._never_arrived(order_id)
                    return
                await self._after_refusal(error)
            except (NotSent, UnknownFate):
                pass
            else:
                try:
                    await self._tell(order_id, answer)
                    return
                except UNREADABLE as error:
                    if not complained:
                        self._emit(note(f"what the venue says of order {order_id:#x} cannot be read: {error!r}"))
                        complained = True
            await asyncio.sleep(pause)
            pause = min(2 * pause, LAST_RETRY_S)

    def _never_arrived(self, order_id: int) -> None:
        order = self._ledger.orders[order_id]
        if order.venue_id:
            # It was there once: gone without a trace is an end too, but one a person should hear of.
            self._emit(note(f"the venue no longer knows order {order_id:#x}, which it had accepted"))
            record = self._gateway.refused(Kind.ORDER_CANCELED, order_id, order.venue_id)
            header_of(record)["c"] = order.done
        else:
            record = self._gateway.refused(Kind.ORDER_REJECTED, order_id, NO_SUCH_ORDER)
        header_of(record)["flags"] = Flag.REPLAYED
        self._emit(record)

    async def _tell(self, order_id: int, answer: dict[str, Any]) -> None:
        """Log what a query said; when it tells of fills that the stream has not, fetch them first."""
        order = self._ledger.orders[order_id]
        if not order.venue_id:
            order.venue_id = int(answer["orderId"])
            self._ledger.by_venue[order.venue_id] = order_id
        executed = self._gateway.instrument.lots(answer.get("executedQty") or "0")
        if executed > order.filled and self.fetch_fills is not None:
            try:
                await self.fetch_fills()
            except VenueError as error:
                self._emit(note(f"fills of order {order_id:#x} could not be asked: {error}"))
        for record in self._gateway.on_order(order_id, answer, flags=Flag.REPLAYED):
            self._emit(record)
