"""Named places where a test may let the process die, as kill -9 would: nothing is flushed, no handler runs.

`BOT4_CRASH_AT=name:n` in the environment kills the process the n-th time it reaches `name`; without it a point costs
one comparison.
"""

from __future__ import annotations

import os
import signal

ENVIRONMENT = "BOT4_CRASH_AT"

# Just before and just after each hop to and from the venue.
POINTS = (
    "decided",  # commands are journaled, nothing is under way
    "before_send",  # SEND_ATTEMPT is journaled, the bytes have not left
    "after_send",  # the bytes have been handed to the kernel
    "before_ack",  # the answer to a new order is here, not journaled
    "after_ack",
    "before_fill",  # a fill is here, not journaled
    "after_fill",
    "before_cancel",
    "after_cancel",
    "reconciling",  # the venue has answered, HOLD is on
)


def _parse(text: str) -> tuple[str, int]:
    if not text:
        return "", 0
    name, _, count = text.partition(":")
    if name not in POINTS or not (count or "1").isdigit():
        raise ValueError(f"{ENVIRONMENT}={text} names no crash point; known are {', '.join(POINTS)} (name:n)")
    return name, int(count or "1")


_name, _left = _parse(os.environ.get(ENVIRONMENT, ""))


def reach(name: str) -> None:
    """Die here if this is the place and the time."""
    global _left
    if name == _name:
        _left -= 1
        if _left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
