"""Stage by stage: what is done, how long it took; for the terminal and for summary.json."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager


class Stages:
    """Times stages; writes one line each to stderr, updated in place on a terminal."""

    def __init__(self) -> None:
        self.begin = time.monotonic()
        self.seconds: dict[str, float] = {}
        self._live = sys.stderr.isatty()
        self._title = ""

    @contextmanager
    def stage(self, name: str, title: str) -> Iterator[None]:
        """Run one stage under `name` (a key in summary.json) and `title` (for people)."""
        self._title = title
        started = time.monotonic()
        print(f"[{started - self.begin:5.1f} s] {title}", file=sys.stderr, flush=True)
        try:
            yield
        finally:
            self.seconds[name] = round(time.monotonic() - started, 2)

    def say(self, text: str) -> None:
        """Write a detail of the current stage."""
        print(f"          {text}", file=sys.stderr, flush=True)

    def tick(self, text: str) -> None:
        """Write progress: in place on a terminal, not at all elsewhere."""
        if self._live:
            print(f"\r          {text:<90}", end="\r", file=sys.stderr, flush=True)

    @property
    def total(self) -> float:
        """Return seconds since the start."""
        return round(time.monotonic() - self.begin, 2)
