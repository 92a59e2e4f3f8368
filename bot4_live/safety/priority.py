"""What a guardian asks of the kernel: a session of its own, precedence, memory that stays, not to be its victim.

All of it is best effort; what was refused (it takes rights that a user may not have) is reported, not hidden.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from pathlib import Path

NICE = -10
OOM_SCORE = -1000
_CURRENT, _FUTURE, _ON_FAULT = 1, 2, 4  # mlockall: on fault, so that thread stacks are not filled


def claim() -> dict[str, str]:
    """Ask for all of it and return {what: "ok" or why not}."""
    return {
        "session": _attempt(_own_session),
        "nice": _attempt(lambda: os.setpriority(os.PRIO_PROCESS, 0, NICE)),
        "mlockall": _attempt(_lock_memory),
        "oom_score_adj": _attempt(lambda: _write(Path("/proc/self/oom_score_adj"), OOM_SCORE)),
    }


def _attempt(action: Callable[[], object]) -> str:
    try:
        action()
    except OSError as error:
        return (error.strerror or str(error)).lower()
    return "ok"


def _own_session() -> None:
    if os.getsid(0) != os.getpid():
        os.setsid()


def _lock_memory() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mlockall(_CURRENT | _FUTURE | _ON_FAULT):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def _write(path: Path, value: int) -> None:
    path.write_text(str(value))
