"""The table `source_quarantine`: what sources sent that could not become rows. Nothing in it is edited in place."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

from bot4_platform.lake import Lake, Written
from bot4_platform.sources.state import add_rows
from bot4_platform.sources.validation import Rejected

TABLE = "source_quarantine"
KEPT = 4096  # bytes of what came; `raw_bytes` and `id` are of all that was read


def quarantine(
    lake: Lake, source: str, day: str, market: str, rejected: Iterable[Rejected], *, now_ns: int
) -> Written | None:
    """Add rejected rows to a partition; return it, None when there is nothing to add.

    What was there before, with the same rule and bytes of the same source, keeps its `first_seen`.
    """
    import polars as pl

    from bot4_platform.tables import TABLES

    rows: dict[str, dict[str, Any]] = {}
    for item in rejected:
        digest = hashlib.sha256(b"\0".join((source.encode(), item.rule.encode(), item.raw))).hexdigest()[:32]
        rows[digest] = {
            "id": digest, "source": source, "rule": item.rule, "reason": item.reason[:500], "raw": item.raw[:KEPT],
            "raw_bytes": len(item.raw), "first_seen": now_ns,
        }  # fmt: skip
    if not rows:
        return None
    frame = pl.DataFrame(list(rows.values()), schema=TABLES[TABLE].schema())
    return add_rows(lake, TABLE, day, market, frame)
