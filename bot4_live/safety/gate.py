"""The gate: the last test before bytes leave. It reads the control page and answers 0 or why not.

The page is written by another process, so every word is loaded by an atomic acquire load: a plain read may be
hoisted out of a spin loop or merged with an earlier one. Whatever is not exactly a valid, current lease is a no:
zero, garbage, a lease longer than any watchdog gives, another arming epoch than the one the sender started in.
The lease stops everything, cancels too: the watchdog cancels with a key of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit, types
from numba.extending import intrinsic

from bot4_live.clock import boottime_ns
from bot4_live.events import Flag, Kind, Mode, SuppressCause
from bot4_live.safety.control import LEASE_NS, MAGIC, RENEW_NS, RUN_MAGIC, WORD, ControlBlock, RunnerState

# A lease ending later than this was not given by the watchdog (one renewal of slack for a sender that was descheduled
# between reading the clock and reading the page).
LONGEST_NS = LEASE_NS + RENEW_NS

_MAGIC, _FLAG, _UNTIL, _EPOCH, _MODE, _STATE = (
    WORD[name] for name in ("magic", "flag", "run_until_ns", "arming_epoch", "mode", "runner_state")
)
_STOPPED, _DISARMED, _NO_LEASE = int(SuppressCause.STOPPED), int(SuppressCause.DISARMED), int(SuppressCause.NO_LEASE)
_HOLD, _BY_MODE = int(SuppressCause.HOLD), int(SuppressCause.MODE)
_CANCEL, _CANCEL_ALL, _NEW = int(Kind.CMD_CANCEL), int(Kind.CMD_CANCEL_ALL), int(Kind.CMD_NEW)
_REDUCE_ONLY = int(Flag.REDUCE_ONLY)
_NORMAL, _REDUCE, _PAUSE = int(Mode.NORMAL), int(Mode.REDUCE), int(Mode.PAUSE)
_TRADING = RunnerState.TRADING


def _load(typingctx: Any, words: Any, index: Any) -> Any:
    """Return `words[index]` by an atomic acquire load (8 bytes, aligned) that the compiler may not move or drop."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        array = context.make_array(signature.args[0])(context, builder, args[0])
        address = builder.gep(array.data, [args[1]])
        return builder.load_atomic(address, "acquire", 8)

    return types.int64(words, types.intp), codegen


load_acquire: Any = intrinsic(_load)


@njit(cache=True)
def check(words: np.ndarray, now_ns: int) -> int:
    """Return 0 when the lease holds at CLOCK_BOOTTIME `now_ns`, else the SuppressCause. `words`: int64 (512,)."""
    if load_acquire(words, _MAGIC) != MAGIC or load_acquire(words, _FLAG) != RUN_MAGIC:
        return _STOPPED
    if load_acquire(words, _EPOCH) <= 0:
        return _DISARMED
    left = load_acquire(words, _UNTIL) - now_ns
    if left <= 0 or left > LONGEST_NS:
        return _NO_LEASE
    return 0


@njit(cache=True)
def admit(words: np.ndarray, now_ns: int, epoch: int, kind: int, flags: int) -> int:
    """Return 0 when a command may leave now, else the SuppressCause.

    `epoch` is the arming epoch the sender started in, `kind` a command Kind, `flags` its header flags. Until the
    runner trades (HOLD) and in REDUCE and PAUSE only cancels and reduce-only orders leave; in EMERGENCY, or a mode
    that does not exist, nothing does.
    """
    cause = check(words, now_ns)
    if cause != 0:
        return cause
    if load_acquire(words, _EPOCH) != epoch:
        return _DISARMED
    mode = load_acquire(words, _MODE)
    if mode not in (_NORMAL, _REDUCE, _PAUSE):
        return _BY_MODE
    if kind in (_CANCEL, _CANCEL_ALL):
        return 0
    if kind != _NEW:
        return _STOPPED
    if flags & _REDUCE_ONLY:
        return 0
    if load_acquire(words, _STATE) != _TRADING:
        return _HOLD
    return 0 if mode == _NORMAL else _BY_MODE


class Gate:
    """The gate over a mapped control block, bound to the arming epoch it found (or the first one it meets).

    >>> gate = Gate(ControlBlock(path))
    >>> cause = gate.admit(Kind.CMD_NEW, flags)  # 0: send it
    """

    def __init__(self, block: ControlBlock, clock: Callable[[], int] = boottime_ns) -> None:
        self._words, self._clock = block.words, clock
        self.epoch = 0
        self._bind()
        admit(self._words, 0, 0, 0, 0)  # compiles (or loads) both now: not between a clock's reading and its use
        check(self._words, 0)

    def _bind(self) -> None:
        self.epoch = max(0, int(self._words[_EPOCH]))

    def check(self) -> int:
        """Return 0 when the lease holds now, else the SuppressCause."""
        return int(check(self._words, self._clock()))

    def admit(self, kind: int, flags: int = 0) -> int:
        """Return 0 when a command of `kind` with `flags` may leave now, else the SuppressCause."""
        if self.epoch == 0:
            self._bind()
        return int(admit(self._words, self._clock(), self.epoch, kind, flags))
