"""Records that steer the engine, built from values: what a runner, a test or a backtest feeds into the sequencer."""

from __future__ import annotations

import numpy as np

from bot4_live.events import Kind, Mode, Source, float_bits, header_of, new_record, slots_of
from bot4_live.instrument import Instrument
from bot4_live.models.bundle import digest_words
from bot4_live.settings import StrategyParams


def record(kind: int, recv_ns: int, a: int = 0, b: int = 0, c: int = 0, slots: int = 0, source: int = 0) -> np.ndarray:
    """Return a record with these header fields and `slots` zeroed slots."""
    made = new_record(kind, slots)
    head = header_of(made)
    head["recv_ns"], head["a"], head["b"], head["c"] = recv_ns, a, b, c
    head["source"] = source or Source.RUNNER
    return made


def session(recv_ns: int, epoch: int, *, shift_ns: int = 0, speed_milli: int = 1000, restarts: int = 0) -> np.ndarray:
    """Return SESSION: the book is void, HOLD is on, order ids come from `epoch`."""
    made = record(Kind.SESSION, recv_ns, shift_ns, speed_milli, epoch, slots=1)
    slots_of(made)[0] = (restarts, 0)
    return made


def params(recv_ns: int, values: StrategyParams) -> np.ndarray:
    """Return PARAMS with every setting."""
    pairs = values.pairs()
    made = record(Kind.PARAMS, recv_ns, slots=len(pairs))
    slots_of(made)[:] = [(key, float_bits(value)) for key, value in pairs]
    return made


def mode(recv_ns: int, value: Mode, source: int = Source.RUNNER) -> np.ndarray:
    """Return MODE."""
    return record(Kind.MODE, recv_ns, int(value), source=source)


def hold(recv_ns: int, on: bool) -> np.ndarray:
    """Return HOLD."""
    return record(Kind.HOLD, recv_ns, int(on))


def budget(recv_ns: int, orders_per_s: int, burst: int) -> np.ndarray:
    """Return BUDGET."""
    return record(Kind.BUDGET, recv_ns, orders_per_s, burst)


def intent(recv_ns: int, lots: int) -> np.ndarray:
    """Return INTENT: an operator asks for `lots` (signed) more position, at once."""
    return record(Kind.INTENT, recv_ns, lots, source=Source.OPERATOR)


def backlog(recv_ns: int, begins: bool, seq: int, count: int) -> np.ndarray:
    """Return BACKLOG: events from `seq` on wait to be stepped, or (it ends) are stepped at once; `count` waited."""
    return record(Kind.BACKLOG, recv_ns, int(begins), seq, count)


def slow_feature(recv_ns: int, key: int, value: float, event_ns: int, created_ns: int) -> np.ndarray:
    """Return SLOW_FEATURE; `key` is an id of settings.SLOW_FEATURES and both times are on the engine's clock."""
    made = record(Kind.SLOW_FEATURE, recv_ns, key, created_ns, slots=1, source=Source.FEEDER)
    slots_of(made)[0] = (event_ns, float_bits(value))
    return made


def model_swap(recv_ns: int, slot: int, digest: str, version: int, *, use: bool) -> np.ndarray:
    """Return MODEL_SWAP to the bundle `digest` (sha256, hex) that lies in `slot`; `use` lets it skew quotes."""
    made = record(Kind.MODEL_SWAP, recv_ns, slot, version, int(use), slots=2)
    slots_of(made)[:] = np.array(digest_words(digest)).reshape(2, 2)
    return made


def words_digest(words: np.ndarray) -> str:
    """Return the sha256 (hex) that MODEL_SWAP carries in its two slots."""
    return np.ascontiguousarray(words, "<i8").tobytes().hex()


def opening(
    instrument: Instrument,
    values: StrategyParams,
    recv_ns: int,
    epoch: int,
    *,
    shift_ns: int = 0,
    speed_milli: int = 1000,
) -> list[np.ndarray]:
    """Return what begins a session: SESSION, INSTRUMENT, PARAMS. MODE and HOLD off come when the venue was asked."""
    return [
        session(recv_ns, epoch, shift_ns=shift_ns, speed_milli=speed_milli),
        instrument.record(recv_ns),
        params(recv_ns, values),
    ]
