"""Writing slow features into the online store: one writer, old rows never win, a correction is one microsecond newer.

Feast's SQLite store overwrites whatever is there and its Redis store skips what is not newer; so the stored time is
read first (by the very codec the runner reads with), and a row that corrects values of the same event time is written
with one microsecond added. Times in the store are original exchange time; the lake's slow features are on the engine
clock of their session, so its shift is removed here.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Literal

from bot4_live.feeder import OnlineStore
from bot4_live.settings import SLOW_FEATURES, Settings
from bot4_platform.journal_source import Seal

if TYPE_CHECKING:
    from feast import FeatureStore

VIEW = "slow_features"
SECOND_NS = 10**9
Action = Literal["written", "corrected", "unchanged", "older", "nothing"]


@dataclass(frozen=True)
class SlowRow:
    """The slow features of a market at one time (original exchange time, ns); None where the fit was insufficient."""

    market: str
    event_ns: int
    created_ns: int
    values: dict[str, float | None]

    def known(self) -> dict[str, float]:
        """Return the values that are numbers."""
        return {name: value for name, value in self.values.items() if value is not None}


def shift_at(seals: list[Seal], recv_ns: int) -> int:
    """Return the shift of the session whose segments hold engine time `recv_ns`, else of the last one before it."""
    before = [seal for seal in seals if seal.first_recv_ns <= recv_ns]
    inside = [seal for seal in before if recv_ns <= seal.last_recv_ns]
    best = (inside or before or seals)[-1:]
    return best[0].shift_ns if best else 0


def stored(settings: Settings, market: str) -> tuple[int, dict[str, float]]:
    """Return (event time in ns to the second, values) of what the store holds of a market; (0, {}) when nothing."""
    reader = OnlineStore(settings.online_store, market)
    try:
        found = reader.read()
    finally:
        reader.close()
    return max((value.event_ns for value in found), default=0), {value.name: value.value for value in found}


def write(store: FeatureStore, settings: Settings, row: SlowRow) -> Action:
    """Bring the store to `row`, unless what it holds is newer or the same; return what was done."""
    import pandas as pd

    at, values = stored(settings, row.market)
    second = row.event_ns // SECOND_NS * SECOND_NS
    if second < at:
        return "older"
    if second == at and values == row.known():
        return "unchanged"
    event = _moment(row.event_ns)
    action: Action = "written"
    if second == at:
        event, action = max(event, _moment(at)) + timedelta(microseconds=1), "corrected"
    frame = pd.DataFrame(
        {
            "market": [row.market],
            "event_timestamp": pd.to_datetime([event], utc=True),
            "created": pd.to_datetime([_moment(row.created_ns)], utc=True),
            **{name: [row.values.get(name)] for name in SLOW_FEATURES.values()},
        }
    ).astype(dict.fromkeys(SLOW_FEATURES.values(), "float64"))
    # A null stays a null: pandas' NaN would be served as a number.
    frame = frame.astype(dict.fromkeys(SLOW_FEATURES.values(), "Float64"))
    store.write_to_online_store(VIEW, frame)
    return action


def _moment(ns: int) -> datetime:
    return datetime.fromtimestamp(ns // SECOND_NS, UTC) + timedelta(microseconds=ns % SECOND_NS // 1000)
