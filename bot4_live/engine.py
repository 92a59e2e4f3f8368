"""The engine: a pure function of its event log. `step` one record, or `run` a batch; both give the same bytes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple, Protocol

import numpy as np

from bot4_live import compile_cache
from bot4_live.engine_state import COUNTERS, MODEL_SLOTS, OUT_BYTES, STATE, layout_hash, new_state
from bot4_live.execution.account import equity_e8
from bot4_live.execution.orders import OrderState
from bot4_live.features.registry import N_FEATURES
from bot4_live.kernels import address
from bot4_live.models.bundle import digest_words
from bot4_live.risk.limits import Denial

SNAPSHOT_MAGIC = b"BOT4STA1"
_BATCH_OUT = max(1 << 20, 4 * OUT_BYTES)


class LoadableModel(Protocol):
    """What `Engine.load_model` takes: models.bundle.Bundle."""

    @property
    def digest(self) -> str:
        """Return the sha256 of the bundle, hex."""

    def fill(self, slot: np.ndarray) -> None:
        """Write the model into a slot, an array of shape (1,) of MODEL."""


class Order(NamedTuple):
    """One open order, for people and reconciliation."""

    id: int
    state: OrderState
    side: int
    price: int
    qty: int
    filled: int
    venue_id: int
    flags: int


class Engine:
    """Holds one state and steps it.

    >>> engine = Engine()
    >>> for record in journal.events():
    ...     commands = engine.step(record)
    """

    def __init__(self) -> None:
        """Begin before the first event: HOLD on, mode PAUSE, no book. Loads the compiled step (20 s when cold)."""
        compile_cache.install()
        from bot4_live.step import run_at, step_record

        self.state = new_state()
        self._step: Any = step_record
        self._run_at: Any = run_at
        self._address = address(self.state)
        self._out = memoryview(self.state["out"][0].view(np.uint8))

    def step(self, record: np.ndarray) -> bytes:
        """Take in one record (uint8, contiguous); return its command records back to back, b"" when none.

        Raises ValueError when it is not a whole record, TypeError for another kind of array.
        """
        size = self._step(self._address, record)
        if size > 0:
            return self._out[:size].tobytes()
        if size < 0:
            raise ValueError("not a whole event record")
        return b""

    def run(self, buffer: np.ndarray, offsets: np.ndarray) -> bytes:
        """Take in the records of `buffer` (uint8) that begin at `offsets` (int64); return all their commands.

        Raises ValueError at the first offset where no whole record lies; those before it were taken in.
        """
        starts = np.ascontiguousarray(offsets, np.int64)
        data = np.ascontiguousarray(buffer, np.uint8)
        out = np.empty(_BATCH_OUT, np.uint8)
        done = np.zeros(1, np.int64)
        parts, at = [], 0
        while at < starts.size:
            left = starts[at:]
            used = self._run_at(
                self._address, address(data), data.size, address(left), left.size, address(out), out.size, address(done)
            )
            if done[0] == 0:
                raise ValueError(f"there is no whole record at offset {left[0]} of {data.size} bytes")
            parts.append(out[:used].tobytes())
            at += int(done[0])
        return b"".join(parts)

    def load_model(self, slot: int, bundle: LoadableModel) -> None:
        """Put a checked bundle into a slot that is not in use; MODEL_SWAP then switches to it.

        Raises ValueError for the slot in use: its model may not change between events.
        """
        if not 0 <= slot < MODEL_SLOTS:
            raise ValueError(f"there is no model slot {slot}; slots are 0 to {MODEL_SLOTS - 1}")
        words = np.array(digest_words(bundle.digest))
        if slot == int(self.state["model"][0]):
            if np.array_equal(self.state["digest"][0, slot], words):
                return
            raise ValueError(f"model slot {slot} is in use; load into slot {self.spare_slot}")
        view = self.state["models"][0, slot : slot + 1]
        view[:] = np.zeros(1, view.dtype)
        bundle.fill(view)
        self.state["digest"][0, slot] = words

    @property
    def spare_slot(self) -> int:
        """Return the slot that is not in use."""
        return 1 if int(self.state["model"][0]) == 0 else 0

    def snapshot(self) -> bytes:
        """Return the state: magic, layout hash (32 bytes), then its bytes."""
        return SNAPSHOT_MAGIC + bytes.fromhex(layout_hash()) + self.state.tobytes()

    def restore(self, data: bytes) -> None:
        """Take on a state that `snapshot` gave. Raises ValueError for another layout or a truncated one."""
        head = len(SNAPSHOT_MAGIC) + 32
        if data[: len(SNAPSHOT_MAGIC)] != SNAPSHOT_MAGIC:
            raise ValueError("not a state snapshot (wrong magic); replay the journal instead")
        if data[len(SNAPSHOT_MAGIC) : head].hex() != layout_hash():
            raise ValueError("the snapshot has another state layout; replay the journal instead")
        if len(data) != head + STATE.itemsize:
            raise ValueError("the snapshot is not whole; replay the journal instead")
        self.state[:] = np.frombuffer(data, STATE, 1, head)

    # Probes: what the engine knows after the last event.

    @property
    def features(self) -> np.ndarray:
        """Return a copy of the feature vector, float64 (N_FEATURES,), in registry order."""
        return self.state["features"]["x"][0, :N_FEATURES].copy()

    @property
    def features_valid(self) -> bool:
        """Return whether the features may be used (book usable, look-backs filled)."""
        return bool(self.state["features"]["valid"][0])

    @property
    def prediction(self) -> float:
        """Return the model's score of the last market event (bp), NaN when there was none."""
        return float(self.state["prediction"][0]) if self.state["predicted"][0] else float("nan")

    @property
    def counters(self) -> dict[str, int]:
        """Return every counter; risk refusals are under `risk_rejections.<Denial>` and summed in `risk_rejections`."""
        result = {name: int(self.state["counters"][name][0]) for name in COUNTERS.names or ()}
        orders = self.state["orders"][0]
        for name in ("duplicate_fills", "late_fills", "foreign_fills", "foreign_orders", "contradictions"):
            result[name] = int(orders[name])
        result["position_corrections"] = int(self.state["account"]["corrections"][0])
        denied = self.denials
        result["risk_rejections"] = sum(denied.values())
        return result | {f"risk_rejections.{name}": count for name, count in denied.items()}

    @property
    def denials(self) -> dict[str, int]:
        """Return how many orders were refused, by reason; only reasons that occurred."""
        denied = self.state["risk"]["denied"][0]
        return {reason.name: int(denied[reason]) for reason in Denial if denied[reason]}

    @property
    def account(self) -> dict[str, int]:
        """Return position (lots), cash, fees and equity (1e-8 quote; profit since the journal's start)."""
        account = self.state["account"][0]
        result = {name: int(account[name]) for name in account.dtype.names}
        mid2, unit = int(self.state["mid2"][0]), int(self.state["instrument"]["unit_e8"][0])
        result["equity_e8"] = int(equity_e8.py_func(_Account(result), mid2, unit))
        return result

    @property
    def quotes(self) -> dict[str, float]:
        """Return the last evaluation: wanted prices and quantities, reservation price, half spread, inventory."""
        q = self.state["quoter"][0]
        values = {name: float(q[name]) for name in ("reservation", "half_spread", "inventory", "sigma", "intensity_k")}
        sides = {f"{side}{key}": int(q[name][row]) for row, side in enumerate(("bid", "ask")) for key, name in (
            ("", "price"), ("_qty", "qty"))}  # fmt: skip
        return sides | values

    def orders(self) -> Iterator[Order]:
        """Yield the open orders, oldest first."""
        rows = self.state["orders"]["rows"][0]
        for row in sorted(rows[rows["state"] >= OrderState.PENDING_SEND], key=lambda row: int(row["order"])):
            yield Order(
                int(row["id"]), OrderState(int(row["state"])), int(row["side"]), int(row["price"]), int(row["qty"]),
                int(row["filled"]), int(row["venue_id"]), int(row["flags"]),
            )  # fmt: skip

    @property
    def mode(self) -> int:
        """Return the control mode the engine is in (events.Mode)."""
        return int(self.state["mode"][0])

    @property
    def holding(self) -> bool:
        """Return whether HOLD is on."""
        return bool(self.state["hold"][0])

    @property
    def last_seq(self) -> int:
        """Return the seq of the last event taken in."""
        return int(self.state["last_seq"][0])


class _Account:
    """Attributes for the kernel's Python twin."""

    def __init__(self, values: dict[str, int]) -> None:
        self.__dict__.update(values)


def warm_up() -> None:
    """Compile `step`, or load it from the cache (20 to 60 s when cold, 1 s warm)."""
    Engine()
