"""Features over recorded events: the engine's own kernels over the journal, in log order.

A `BatchState` is the book and the feature state; carried from segment to segment (and day to day) it makes many calls
equal to one, and both equal to what the engine computed live. Rows are sampled on a grid of TICKs: a row is the state
right after that TICK, when all events before it in the log, and none after it, have been taken in.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit

from bot4_live.clock import TICK_NS
from bot4_live.events import FIRST_COMMAND, MARKET_KINDS, Flag, Kind
from bot4_live.features.kernels import FEATURE_STATE, update, usable_instrument
from bot4_live.features.registry import N_FEATURES, NAMES, layout_hash
from bot4_live.kernels import address, header_at, slots_at
from bot4_live.market.book import BOOK, book_apply, book_clear

BATCH = np.dtype(
    [
        ("started", "<i8"),
        ("last_seq", "<i8"),
        ("exch_ns", "<i8"),  # latest venue time
        ("known", "<i8"),  # 1 once an INSTRUMENT event came
        ("chosen", "<i8"),  # 1 once one came in this session: others are watched only
        ("instrument", "<i8"),
        ("version", "<i8"),
        ("tick_e8", "<i8"),
        ("lot_e8", "<i8"),
        ("features", FEATURE_STATE),
        ("book", BOOK),
    ],
    align=True,
)

_TICK, _TRADE, _TICKER = int(Kind.TICK), int(Kind.TRADE), int(Kind.BOOK_TICKER)
_SNAPSHOT, _DIFF, _INSTRUMENT = int(Kind.DEPTH_SNAPSHOT), int(Kind.DEPTH_DIFF), int(Kind.INSTRUMENT)
_SESSION = int(Kind.SESSION)
_INVALID = int(Flag.INVALID)

# Slots a record must have; kinds that carry ticks and lots. As in bot4_live.step (a test compares the outcome).
_NEEDS = np.zeros(256, np.int64)
_NEEDS[[_SNAPSHOT, _DIFF, _TRADE]] = 1
_NEEDS[_TICKER], _NEEDS[_INSTRUMENT] = 2, 4
_PRICED = np.zeros(256, np.bool_)
_PRICED[[_SNAPSHOT, _DIFF, _TRADE, _TICKER]] = True
_MARKET = np.zeros(256, np.bool_)
_MARKET[list(MARKET_KINDS)] = True


@dataclass(frozen=True)
class FeatureTable:
    """Sampled features, n rows in log order."""

    seq: np.ndarray  # int64 (n,): the event after which the row was taken
    recv_ns: np.ndarray  # int64 (n,): engine clock
    exch_ns: np.ndarray  # int64 (n,): latest venue time seen by then, 0 before the first
    x: np.ndarray  # float64 (n, N_FEATURES), columns as in registry.NAMES
    mid2: np.ndarray  # int64 (n,): best bid + best ask in ticks, 0 where the book was not usable
    mid: np.ndarray  # float64 (n,): mid in quote currency, NaN where the book was not usable
    valid: np.ndarray  # bool (n,): every feature is filled

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.seq)

    def column(self, name: str) -> np.ndarray:
        """Return one feature's column. Raises ValueError for an unknown name."""
        if name not in NAMES:
            raise ValueError(f"unknown feature {name!r}; known are: {', '.join(NAMES)}")
        return self.x[:, NAMES.index(name)]


class BatchState:
    """Book and features between two calls of `compute`; `encode` and `decode` keep it between days."""

    def __init__(self) -> None:
        self.array = np.zeros(1, BATCH)

    def encode(self) -> bytes:
        """Return the state as bytes, with the layout's hash before it."""
        return bytes.fromhex(_state_hash()) + self.array.tobytes()

    @classmethod
    def decode(cls, data: bytes) -> BatchState:
        """Return the state of `encode`'s bytes. Raises ValueError when the layout is another or bytes are missing."""
        if data[:32].hex() != _state_hash() or len(data) != 32 + BATCH.itemsize:
            raise ValueError("the feature state is of another layout or cut short; compute the days before it again")
        state = cls()
        state.array = np.frombuffer(data, BATCH, 1, 32).copy()
        return state


def compute(
    buffer: np.ndarray,
    offsets: np.ndarray,
    grid_ms: int = 100,
    state: BatchState | None = None,
    *,
    every_event: bool = False,
) -> FeatureTable:
    """Return the features of the records in `buffer` (uint8) that begin at `offsets` (int64), in log order.

    `state` is continued and changed in place; without it a fresh one is used. A row is taken after each TICK whose
    time is a multiple of `grid_ms`, or after every market event and TICK with `every_event`. Raises ValueError for a
    grid that is not a multiple of 10 ms.
    """
    if grid_ms <= 0 or grid_ms * 1_000_000 % TICK_NS:
        raise ValueError(f"grid must be a multiple of {TICK_NS // 1_000_000} ms, not {grid_ms}")
    state = state or BatchState()
    at = address(buffer) + np.ascontiguousarray(offsets, np.int64)
    grid_ns = 0 if every_event else grid_ms * 1_000_000
    most = _count(at, grid_ns)
    ints = np.zeros((most, 5), np.int64)
    x = np.zeros((most, N_FEATURES))
    mid = np.zeros(most)
    rows = _compute(state.array[0], at, grid_ns, ints, x, mid)
    ints = ints[:rows]
    return FeatureTable(
        seq=ints[:, 0].copy(),
        recv_ns=ints[:, 1].copy(),
        exch_ns=ints[:, 2].copy(),
        x=x[:rows],
        mid2=ints[:, 3].copy(),
        mid=mid[:rows],
        valid=ints[:, 4] == 1,
    )


@njit(cache=True)
def _sampled(kind: int, recv_ns: int, grid_ns: int) -> bool:
    """Return whether a row is taken after this record."""
    if grid_ns > 0:
        return kind == _TICK and recv_ns % grid_ns == 0
    return kind in (_TICK, _TRADE, _TICKER, _DIFF, _SNAPSHOT)


@njit(cache=True)
def _count(at: np.ndarray, grid_ns: int) -> int:
    """Return how many rows there are at most."""
    rows = 0
    for i in range(len(at)):
        h = header_at(at[i])
        if _sampled(h.kind, h.recv_ns, grid_ns):
            rows += 1
    return rows


@njit(cache=True)
def _taken_in(s: Any, h: Any, slots: np.ndarray) -> bool:
    """Return whether the engine takes this record in: an event, new, valid, whole, of the instrument's version."""
    kind = h.kind
    seq = np.int64(h.seq)
    if kind >= FIRST_COMMAND or (s.started != 0 and seq <= s.last_seq):
        return False
    s.started = 1
    s.last_seq = seq
    n = slots.shape[0]
    if h.flags & _INVALID or n < _NEEDS[kind]:
        return False
    if kind in (_SNAPSHOT, _DIFF) and not 0 <= slots[0, 1] <= n - 1:
        return False
    if kind == _SESSION:
        s.chosen = 0
    elif h.instrument != s.instrument and ((_MARKET[kind] and s.known == 1) or (kind == _INSTRUMENT and s.chosen == 1)):
        return False  # of an instrument that is watched only
    if _PRICED[kind]:
        return s.known == 1 and h.inst_version == s.version and h.instrument == s.instrument
    return True


@njit(cache=True)
def _on_instrument(s: Any, h: Any, slots: np.ndarray) -> None:
    """Follow the instrument; another one, or another tick or lot, voids the book."""
    if not usable_instrument(slots):
        return
    if s.known == 1 and (slots[0, 0] != s.tick_e8 or slots[0, 1] != s.lot_e8 or h.instrument != s.instrument):
        book_clear(s.book)
    s.known = s.chosen = 1
    s.instrument = h.instrument
    s.version = h.inst_version
    s.tick_e8 = slots[0, 0]
    s.lot_e8 = slots[0, 1]


@njit(cache=True)
def apply(s: Any, h: Any, slots: np.ndarray) -> bool:
    """Take one record into book and features, as `step` does; return False for one that the engine passes over."""
    if not _taken_in(s, h, slots):
        return False
    s.exch_ns = max(s.exch_ns, h.exch_ns)
    if h.kind == _INSTRUMENT:
        _on_instrument(s, h, slots)
    else:
        book_apply(s.book, h, slots)
    update(s.features, s.book, h, slots)
    return True


@njit(cache=True)
def _compute(s: Any, at: np.ndarray, grid_ns: int, ints: np.ndarray, x: np.ndarray, mid: np.ndarray) -> int:
    """Fill rows; return how many."""
    row = 0
    for i in range(len(at)):
        h = header_at(at[i])
        if not apply(s, h, slots_at(at[i])) or not _sampled(h.kind, h.recv_ns, grid_ns):
            continue
        ints[row, 0] = h.seq
        ints[row, 1] = h.recv_ns
        ints[row, 2] = s.exch_ns
        ints[row, 3] = s.features.mid2
        ints[row, 4] = s.features.valid
        mid[row] = 0.5 * s.features.mid2 * s.features.tick if s.features.mid2 > 0 else np.nan
        for k in range(N_FEATURES):
            x[row, k] = s.features.x[k]
        row += 1
    return row


def _state_hash() -> str:
    return hashlib.sha256(f"{BATCH!r}{layout_hash()}".encode()).hexdigest()
