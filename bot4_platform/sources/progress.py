"""How far a long fetch is: what assets log and commands show."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Progress:
    """One step of a fetch: `done` of `total` units (days, blocks; 0: not known), rows and requests so far."""

    source: str
    done: int
    total: int
    rows: int
    requests: int
    rejected: int = 0

    def __str__(self) -> str:
        """Return it as one line."""
        of = f"{self.done} of {self.total}" if self.total else str(self.done)
        bad = f", {self.rejected} quarantined" if self.rejected else ""
        return f"{self.source}: {of}, {self.rows} rows, {self.requests} requests{bad}"


Tell = Callable[[Progress], None]


def silent(_: Progress) -> None:
    """Tell nobody."""
