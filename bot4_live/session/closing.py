"""The end of a session: stop quoting, cancel everything of ours, wait until the venue confirms it."""

from __future__ import annotations

import asyncio
import time

from bot4_live import engine_events
from bot4_live.execution.rest import VenueError, Withheld
from bot4_live.safety.control import RunnerState
from bot4_live.session.context import Context

STOP_S = 10.0


async def quiesce(context: Context) -> bool:
    """Empty the book of our orders; the position stays. False when that was not confirmed in time.

    Raises OSError when the journal takes nothing more.
    """
    context.control.set_state(RunnerState.STOPPING)
    deadline = time.monotonic() + STOP_S
    context.core.publish(engine_events.hold(0, True))  # the engine cancels what it quotes
    await context.dispatcher.drain(STOP_S / 2)
    while time.monotonic() < deadline:
        left = await _open_at_venue(context)
        if left == 0:
            context.remark("stopped: no order of ours is open")
            return True
        if left > 0:
            await _cancel_all(context)
        await asyncio.sleep(0.05)
    context.say(
        "not every cancel is confirmed; the countdown cancel empties the book within "
        f"{context.settings.countdown_ms} ms of market time"
    )
    return False


async def _open_at_venue(context: Context) -> int:
    """Return how many orders rest at the venue, -1 when it cannot be asked; at none, ours are asked about singly."""
    try:
        rows = await context.rest.call(context.gateway.open_orders())
    except VenueError:
        return -1
    if not rows:
        await asyncio.gather(*(context.dispatcher.resolve(order.id) for order in context.core.ledger.live_orders()))
    return len(rows)


async def _cancel_all(context: Context) -> None:
    """Cancel all; it is no decision of the engine, so only the attempt is in the log."""
    try:
        await context.dispatcher.cancel_unasked()
    except Withheld as stop:
        context.say(f"the gate is closed (cause {stop.cause}): the countdown cancel must empty the book")
    except VenueError as error:
        context.say(f"cancel-all: {error}")
