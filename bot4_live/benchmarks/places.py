"""Where the two sides of `bot4 bench wire` run: the venue takes no processor time of ours."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from bot4_live.cores import Cores


@dataclass(frozen=True)
class Places:
    """The cores of the sender, of a session that sleeps, and of one that polls (its loop has one where it can)."""

    sender: frozenset[int] | None  # None: there is one core for all
    sleeping: Cores
    polling: Cores

    @classmethod
    def of(cls, usable: list[int]) -> Places:
        """Return them where these cores may be used."""
        first, *rest = usable
        if not rest:
            return cls(None, Cores(), Cores())
        mine = frozenset(rest)
        polling = Cores(rest[0], frozenset(rest[1:])) if len(rest) > 1 else Cores(None, mine)
        return cls(frozenset({first}), Cores(None, mine), polling)


@contextmanager
def running_on(cores: Cores) -> Iterator[None]:
    """Let this thread run where a session's loop would."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, before if cores.others is None else cores.others)
    cores.pin_loop()
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
