"""`spin`: the session's loop polls the market's socket between everything else that it does.

A bounded number of polls, then one turn of asyncio for timers, REST and user stream, and again: at once when a frame
had commands, so that they leave.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Iterator

from bot4_live.session.hot_market import HotMarket
from bot4_live.wire.spin_stream import SpinStream

POLLS = 16  # of the socket for one turn of asyncio
ALONE_S = 0.001  # between two turns while there is no connection
SWITCH_S = 0.0005


async def spin(stream: SpinStream, market: HotMarket) -> None:
    """Poll until cancelled, then hang up. Raises what the core's consumers raise, e.g. for a full disk."""
    poll, ready = stream.poll, market.path.ready
    with _quick_switches():
        try:
            while True:
                ready()
                market.commanded = False
                for _ in range(POLLS):
                    poll()
                    if market.commanded:
                        break
                await asyncio.sleep(0 if stream.connected else ALONE_S)
        finally:
            stream.close()


@contextlib.contextmanager
def _quick_switches() -> Iterator[None]:
    """Let a thread that works meanwhile keep the interpreter for half a millisecond, not five, before it is asked."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(SWITCH_S)
    try:
        yield
    finally:
        sys.setswitchinterval(before)
