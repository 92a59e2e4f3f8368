"""The runner's end of the feeder: starts the process, takes its records, starts it again when it died."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator

import numpy as np

from bot4_live.clock import MarketClock
from bot4_live.cores import keep_to
from bot4_live.feeder import RING_FILE
from bot4_live.instrument import Instrument
from bot4_live.journal.ring import Ring
from bot4_live.settings import Settings

RESTART_S = 5.0


class FeederLink:
    """A feeder process and the ring between."""

    def __init__(
        self,
        settings: Settings,
        instrument: Instrument,
        clock: MarketClock,
        shift_ns: int,
        cores: frozenset[int] | None = None,
    ) -> None:
        """Start the feeder, on `cores`."""
        self._cores = cores
        self.ring = Ring.create(settings.shm_dir / RING_FILE, settings.feeder_ring_kb << 10)
        self._command = [
            sys.executable, "-m", "bot4_live.feeder",
            "--store", str(settings.online_store), "--ring", str(self.ring.path), "--market", instrument.market,
            "--poll-s", str(settings.feeder_poll_s), "--ttl-s", str(settings.strategy.slow_ttl_s),
            "--shift-ns", str(shift_ns),
            "--start-market-ns", str(clock.start_market_ns), "--start-mono-ns", str(clock.start_mono_ns),
            "--speed-milli", str(clock.speed_milli),
        ]  # fmt: skip
        self.restarts = 0
        self._started = time.monotonic()
        self._process = self._spawn()

    def _spawn(self) -> subprocess.Popen[bytes]:
        process = subprocess.Popen([*self._command, "--parent", str(os.getpid())], stdin=subprocess.DEVNULL)
        keep_to(process, self._cores)
        return process

    def take(self) -> Iterator[np.ndarray]:
        """Yield the records that came; look after the process."""
        while (payload := self.ring.pop()) is not None:
            yield np.frombuffer(payload, np.uint8).copy()
        if self._process.poll() is not None and time.monotonic() - self._started > RESTART_S:
            self.restarts += 1
            self._started = time.monotonic()
            self._process = self._spawn()

    def close(self) -> None:
        """End the feeder."""
        self.ring.close_producer()
        self._process.terminate()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self.ring.unmap()
        self.ring.path.unlink(missing_ok=True)
