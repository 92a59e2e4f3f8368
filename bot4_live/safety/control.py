"""The control block: one shared page between watchdog, runner and operator.

Each field has one writer. Sending is allowed while `flag == RUN_MAGIC and CLOCK_BOOTTIME < run_until_ns`; the
watchdog renews `run_until_ns`, so a dead watchdog stops trading unaided. Zero or garbage means stop. All fields
are aligned 8-byte words, so that a reader never sees half of one. The page is a file mapped from shared memory
(Python's SharedMemory would be unlinked by the first process that exits).
"""

from __future__ import annotations

import mmap
import os
from pathlib import Path

import numpy as np

SIZE = 4096
MAGIC = 0x42345F43_54524C31  # "B4_CTRL1"
RUN_MAGIC = 0x5255_4E21_B074_0001
STOP = 0
LEASE_NS = 250_000_000
RENEW_NS = 50_000_000
CONTROL_FILE = "control"  # the block's name in `settings.shm_dir`

CONTROL = np.dtype(
    {
        "names": [
            "magic",
            # written by the watchdog
            "flag",
            "run_until_ns",
            "arming_epoch",
            "mode",
            "watchdog_pid",
            "watchdog_beat_ns",
            "kill_state",
            "mode_since_ns",
            "rearm_done",
            # written by the runner
            "runner_pid",
            "runner_beat_ns",
            "runner_state",
            "runner_request",
            "open_orders",
            "position_lots",
            "last_seq",
            "disconnected",
            # written by the operator's commands
            "kill_request",
            "mode_request",
            "mode_request_id",
            "rearm_request",
            "operator_pid",
            "intent_lots",
            "intent_id",
        ],
        "formats": ["<u8"] + ["<i8"] * 24,
        "offsets": [0]
        + [64 + 8 * i for i in range(9)]
        + [256 + 8 * i for i in range(8)]
        + [448 + 8 * i for i in range(7)],
        "itemsize": SIZE,
    }
)

# Index of each field in `ControlBlock.words`.
WORD = {name: int(field[1]) // 8 for name, field in (CONTROL.fields or {}).items()}


class RunnerState:
    """What the runner says of itself in `runner_state`."""

    STARTING = 1
    HOLD = 2
    TRADING = 3
    STOPPING = 4
    STOPPED = 5


class KillState:
    """How far a kill has come, in `kill_state`; the next state is written when that step is done."""

    IDLE = 0
    REQUESTED = 1
    FLAGGED = 2
    CANCELLED = 3
    FLAT = 4
    CONFIRMED = 5
    FAILED = 6


class ControlBlock:
    """The mapped page. Attributes of `.fields` are read and written in place.

    >>> block = ControlBlock.create(path)
    >>> block.fields["run_until_ns"] = boottime_ns() + LEASE_NS
    """

    def __init__(self, path: Path, *, writable: bool = True) -> None:
        """Map an existing block. Raises FileNotFoundError, or ValueError when the file is not a control block."""
        self.path = path
        flags = os.O_RDWR if writable else os.O_RDONLY
        fd = os.open(path, flags | os.O_CLOEXEC)
        try:
            if os.fstat(fd).st_size < SIZE:
                raise ValueError(f"{path} is not a control block (too short)")
            access = mmap.ACCESS_WRITE if writable else mmap.ACCESS_READ
            self._map = mmap.mmap(fd, SIZE, access=access)
        finally:
            os.close(fd)
        self.fields: np.ndarray = np.frombuffer(self._map, CONTROL, 1)[0:1]
        self.words: np.ndarray = np.frombuffer(self._map, np.int64)
        if int(self.fields["magic"][0]) != MAGIC:
            raise ValueError(f"{path} is not a control block (wrong magic)")

    @classmethod
    def create(cls, path: Path) -> ControlBlock:
        """Create the block when it is missing (stopped, no lease) and map it."""
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        page = np.zeros(1, CONTROL)
        page["magic"] = MAGIC
        temporary = path.with_name(f".{path.name}.{os.getpid()}")
        temporary.write_bytes(page.tobytes())
        try:
            os.link(temporary, path)  # atomic, and never over an existing block
        except FileExistsError:
            pass
        finally:
            temporary.unlink()
        return cls(path)

    def get(self, name: str) -> int:
        """Return one field."""
        return int(self.fields[name][0])

    def set(self, name: str, value: int) -> None:
        """Store one field; only its one writer may."""
        self.fields[name][0] = value

    def may_send(self, now_ns: int) -> bool:
        """Return whether the lease holds at CLOCK_BOOTTIME `now_ns`."""
        return self.get("flag") == RUN_MAGIC and now_ns < self.get("run_until_ns")
