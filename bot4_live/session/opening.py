"""The beginning of a session: the segment header, and the events by which the engine learns what it runs under."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bot4_live import compile_cache, engine_events
from bot4_live.engine import Engine
from bot4_live.events import SCHEMA, Kind
from bot4_live.execution.exchange_time import ExchangeTime
from bot4_live.instrument import Instrument
from bot4_live.journal.layout import SegmentHeader
from bot4_live.session.venue import Market
from bot4_live.settings import PROJECT_ROOT, Settings

NO_BUNDLE = "0" * 64


def header(
    settings: Settings, market: Market, instruments: Sequence[Instrument], session: str, epoch: int, first_seq: int
) -> SegmentHeader:
    """Return the segment header of a session; the first of `instruments` is traded."""
    return SegmentHeader(
        account=settings.account,
        session=session,
        first_seq=first_seq,
        market=instruments[0].market,
        shift_ns=market.shift_ns,
        speed_milli=market.clock.speed_milli,
        start_market_ns=market.clock.start_market_ns,
        start_mono_ns=market.clock.start_mono_ns,
        order_epoch=epoch,
        source_hash=compile_cache.source_hash(),
        lock_hash=_sha256(PROJECT_ROOT / "requirements.lock"),
        cpu=platform.machine(),
        schema=SCHEMA,
        settings=settings.public(),
        instruments=[instrument.describe() for instrument in instruments],
    )


def events(
    settings: Settings,
    market: Market,
    instruments: Sequence[Instrument],
    epoch: int,
    engine: Engine,
    swap: np.ndarray | None,
) -> list[np.ndarray]:
    """Return what opens a session, in order; receive times are set when it is published.

    The first of `instruments` is traded: the engine takes the session's first INSTRUMENT for its own. `swap` is the
    champion's MODEL_SWAP; without one a model of an earlier session is left.
    """
    clock = market.clock
    found = [
        engine_events.session(0, epoch, shift_ns=market.shift_ns, speed_milli=clock.speed_milli, restarts=epoch - 1),
        engine_events.hold(0, True),
        *(instrument.record(0) for instrument in instruments),
        engine_events.params(0, settings.strategy),
        engine_events.record(Kind.CLOCK_OFFSET, 0, clock.start_market_ns - clock.start_mono_ns, market.error_ns),
    ]
    if swap is not None:
        found.append(swap)
    elif int(engine.state["model"][0]) >= 0:
        found.append(engine_events.model_swap(0, -1, NO_BUNDLE, 0, use=False))
    return found


def venue_offset(venue: ExchangeTime) -> np.ndarray:
    """Return what is known of the venue's clock as an event."""
    return engine_events.record(Kind.VENUE_OFFSET, 0, venue.offset_ns, venue.error_ns, venue.rtt_ns)


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else ""
