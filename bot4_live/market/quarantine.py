"""The frames of a journal that could not become events: which rule caught them, and their bytes as they came."""

from __future__ import annotations

import base64
from collections import Counter, deque
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from bot4_live.events import Kind, Reason
from bot4_live.journal.reader import Journal

SHOWN_BYTES = 200


@dataclass(frozen=True)
class QuarantinedFrame:
    """One frame; `raw` is None when the raw log does not hold it. `recv_ns` is the engine's clock."""

    seq: int
    recv_ns: int
    market: str
    rule: str
    stream: int
    raw: bytes | None

    @property
    def time(self) -> str:
        """Return when it came."""
        return datetime.fromtimestamp(self.recv_ns / 1e9, UTC).strftime("%Y-%m-%d %H:%M:%S.%f")

    def text(self, most: int = SHOWN_BYTES) -> str:
        """Return its first bytes in ASCII, others escaped; never a control character."""
        if self.raw is None:
            return "(its bytes are not in the raw log)"
        cut = f" ... ({len(self.raw):,} bytes)" if len(self.raw) > most else ""
        return ascii(self.raw[:most])[2:-1] + cut

    def as_dict(self) -> dict[str, Any]:
        """Return it for JSON, its bytes in base64 (they may be anything)."""
        plain = {"seq": self.seq, "recv_ns": self.recv_ns, "market": self.market, "rule": self.rule}
        raw = None if self.raw is None else base64.b64encode(self.raw).decode()
        return plain | {"stream": self.stream, "raw_base64": raw}


def quarantined(directory: Path, last: int) -> tuple[dict[str, dict[str, int]], list[QuarantinedFrame]]:
    """Return (counts by market and rule, the newest `last` frames in log order) of a journal.

    Raises FileNotFoundError when there is no journal, ValueError when it is damaged.
    """
    journal = Journal(directory)
    counts: dict[str, Counter[str]] = {}
    newest: deque[tuple[Any, str, str]] = deque(maxlen=last)
    for segment in journal.segments():
        names = segment.header.markets
        heads = segment.headers
        for head in heads[np.flatnonzero(heads["kind"] == Kind.QUARANTINE)]:
            market = names.get(int(head["instrument"]), segment.header.market)
            rule = _rule(int(head["a"]))
            counts.setdefault(market, Counter())[rule] += 1
            newest.append((head, market, rule))
    frames = [
        QuarantinedFrame(
            int(head["seq"]), int(head["recv_ns"]), market, rule, int(head["b"]), _raw(journal, int(head["c"]))
        )
        for head, market, rule in newest
    ]
    return {market: dict(sorted(rules.items())) for market, rules in sorted(counts.items())}, frames


def _rule(code: int) -> str:
    return Reason(code).name.lower() if code in set(Reason) else f"reason_{code}"


def _raw(journal: Journal, ref: int) -> bytes | None:
    try:
        return journal.raw(ref).raw if ref >= 0 else None
    except KeyError:
        return None
