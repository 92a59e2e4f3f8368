"""Which frames were released, by whom and why: a chained trail that is only ever appended to.

A release and its taking back are both lines; what holds is the last line of a frame. Nothing is edited in place: the
journal, the quarantine and what features and training are made of stay as the feed judged.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bot4_live.safety import audit
from bot4_live.settings import Settings

RELEASED, REVOKED = "quarantine.released", "quarantine.revoked"


@dataclass(frozen=True)
class Override:
    """A frame that is released: its `seq` and partition in the quarantine, the digest of its bytes, who and why."""

    market: str
    day: str
    seq: int
    rule: str
    sha256: str
    who: str
    why: str
    time: str


def trail(settings: Settings) -> Path:
    """Return where the trail lies."""
    return settings.root / "quarantine" / "overrides.jsonl"


def history(settings: Settings, market: str, seq: int) -> list[dict[str, Any]]:
    """Return every line of one frame, oldest first."""
    return [line for line in audit.entries(trail(settings)) if (line.get("market"), line.get("seq")) == (market, seq)]


def released(settings: Settings, market: str | None = None) -> dict[tuple[str, int], Override]:
    """Return what is released now, by (market, seq). Raises ValueError when the trail was tampered with."""
    path = trail(settings)
    if not path.exists():
        return {}
    fault = audit.verify(path).fault
    if fault is not None:
        raise ValueError(f"{path}: {fault}; what was released is not certain, restore the trail from a backup")
    found: dict[tuple[str, int], Override] = {}
    for line in audit.entries(path):
        key = (line["market"], line["seq"])
        if line["event"] == REVOKED:
            found.pop(key, None)
        elif market in (None, line["market"]):
            kept = {name: line[name] for name in ("market", "day", "seq", "rule", "sha256", "why", "time")}
            found[key] = Override(**kept, who=line["by"])
    return found


def release(settings: Settings, row: dict[str, Any], market: str, day: str, who: str, why: str) -> bool:
    """Write that a frame is released; False when it is already. On disk when this returns."""
    if (market, row["seq"]) in released(settings, market):
        return False
    audit.append(
        trail(settings), RELEASED, who, market=market, day=day, seq=row["seq"], rule=row["rule"],
        sha256=hashlib.sha256(row["raw"]).hexdigest(), why=why,
    )  # fmt: skip
    return True


def revoke(settings: Settings, market: str, seq: int, who: str, why: str) -> Override | None:
    """Write that a frame is no longer released and return what it was; None when it was not released."""
    was = released(settings, market).get((market, seq))
    if was is not None:
        audit.append(trail(settings), REVOKED, who, market=market, day=was.day, seq=seq, rule=was.rule, why=why)
    return was


def tag(settings: Settings, market: str) -> str:
    """Return a short name of what is released of a market, empty when nothing: another set makes other ticks."""
    keys = sorted(f"{seq}:{one.sha256}" for (_, seq), one in released(settings, market).items())
    return f"+{hashlib.sha256(','.join(keys).encode()).hexdigest()[:12]}" if keys else ""
