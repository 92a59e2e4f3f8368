"""`python -m bot4_live.warm`: compile everything into the shared cache, so that others start at once."""

from __future__ import annotations

import fcntl
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from bot4_live import compile_cache


def _engine() -> None:
    from bot4_live.engine import warm_up

    warm_up()


def _feed() -> None:
    from bot4_live.instrument import BTCUSDT_USDM
    from bot4_live.market.feed_core import FeedCore
    from bot4_live.market.verify import warm_up

    FeedCore(BTCUSDT_USDM, lambda _: None)
    warm_up()


def _gate() -> None:
    from bot4_live.events import Kind
    from bot4_live.safety.control import ControlBlock
    from bot4_live.safety.gate import Gate

    with tempfile.TemporaryDirectory() as folder:
        Gate(ControlBlock.create(Path(folder) / "control")).admit(Kind.CMD_NEW)


def _features() -> None:
    from bot4_live.events import Kind, header_of, new_record
    from bot4_live.features.batch import compute
    from bot4_live.models.layout import new_slot
    from bot4_live.models.predict import predict_rows

    tick = new_record(Kind.TICK)
    header_of(tick)["seq"] = 1
    table = compute(tick, np.zeros(1, np.int64))
    predict_rows(new_slot()[0], np.zeros((1, table.x.shape[1])))


def _wire() -> None:
    import bot4_live.wire.path  # noqa: F401 - its kernels compile when they are imported


PARTS: dict[str, Callable[[], None]] = {
    "engine": _engine, "feed": _feed, "gate": _gate, "features": _features, "wire": _wire,
}  # fmt: skip


def main() -> None:
    """Compile under a file lock: of several processes one compiles and the others find it done."""
    folder = compile_cache.install()
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        began = time.monotonic()
        for name, compile_part in PARTS.items():
            compile_part()
            print(f"compiled: {name} ({time.monotonic() - began:.1f} s)", file=sys.stderr)


if __name__ == "__main__":
    main()
