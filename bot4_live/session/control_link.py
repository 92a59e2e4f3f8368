"""The runner's end of the control block: what the watchdog says, and what the runner says of itself."""

from __future__ import annotations

import os

from bot4_live.clock import boottime_ns
from bot4_live.events import Mode
from bot4_live.safety.control import CONTROL_FILE, RUN_MAGIC, ControlBlock, RunnerState
from bot4_live.safety.gate import Gate
from bot4_live.settings import Settings

ALIVE_NS = 1_000_000_000


class ControlLink:
    """Opens the block of a running watchdog. Fields written here are the runner's own."""

    def __init__(self, settings: Settings) -> None:
        """Map the block. Raises ValueError, saying what to do, when no watchdog runs or trading is stopped."""
        path = settings.shm_dir / CONTROL_FILE
        try:
            self.block = ControlBlock(path)
        except FileNotFoundError:
            raise ValueError(
                f"no watchdog guards account {settings.account}; start `bot4 watchdog` first (it holds the lease "
                "without which nothing may be sent)"
            ) from None
        if boottime_ns() - self.block.get("watchdog_beat_ns") > ALIVE_NS:
            raise ValueError(f"the watchdog of account {settings.account} is not running; start `bot4 watchdog` again")
        if self.block.get("flag") != RUN_MAGIC:
            raise ValueError(
                f"account {settings.account} is stopped (mode {self.mode_name}); look at why, then re-arm with "
                f"`bot4 mode rearm --confirm {settings.account}`"
            )
        self.gate = Gate(self.block)
        self._intent = self.block.get("intent_id")  # what was asked before this session is not for it
        self.set_state(RunnerState.STARTING)
        self.block.set("disconnected", 0)
        self.block.set("runner_request", 0)
        self.beat()

    @property
    def mode(self) -> int:
        """Return the mode in force; what is no mode counts as PAUSE."""
        value = self.block.get("mode")
        return value if value in (Mode.NORMAL, Mode.REDUCE, Mode.PAUSE, Mode.EMERGENCY) else int(Mode.PAUSE)

    @property
    def mode_name(self) -> str:
        """Return its name."""
        return Mode(self.mode).name

    def set_state(self, state: int) -> None:
        """Say how far the runner is (RunnerState); the gate reads it too."""
        self.block.set("runner_state", state)

    @property
    def state(self) -> int:
        """Return what was said last."""
        return self.block.get("runner_state")

    def ask_mode(self, mode: Mode) -> bool:
        """Ask the watchdog for a mode (NORMAL takes a request back); return whether that is a change."""
        changed = self.block.get("runner_request") != mode
        if changed:
            self.block.set("runner_request", mode)
        return changed

    def take_intent(self) -> int:
        """Return the lots (signed) an operator newly asked for, 0 when there is nothing new."""
        wanted = self.block.get("intent_id")
        if wanted == self._intent:
            return 0
        self._intent = wanted
        return self.block.get("intent_lots")

    def beat(self, open_orders: int = 0, position: int = 0, last_seq: int = 0) -> None:
        """Say that the runner lives, and what it holds."""
        block = self.block
        block.set("runner_pid", os.getpid())
        block.set("open_orders", open_orders)
        block.set("position_lots", position)
        block.set("last_seq", last_seq)
        block.set("runner_beat_ns", boottime_ns())

    def leave(self) -> None:
        """Say that the runner has stopped and is disconnected."""
        self.block.set("disconnected", 1)
        self.set_state(RunnerState.STOPPED)
        self.block.set("runner_pid", 0)
