"""The runner as a process: is it the one we saw, is it alive, and SIGKILL that cannot hit another."""

from __future__ import annotations

import os
import select
import signal
from dataclasses import dataclass
from pathlib import Path

from bot4_live.safety.control import ControlBlock


@dataclass(frozen=True)
class Identity:
    """A process that cannot be mistaken for a later one with the same pid."""

    pid: int
    start_ticks: int
    command: str


def identify(pid: int) -> Identity | None:
    """Return the identity of a living process; None when it is gone (or a zombie)."""
    if pid <= 0:
        return None
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except (OSError, ValueError):
        return None
    fields = stat.rpartition(")")[2].split()
    if fields[0] in ("Z", "X"):
        return None
    return Identity(pid, int(fields[19]), command.replace(b"\0", b" ").decode(errors="replace").strip())


def alive(identity: Identity) -> bool:
    """Return whether that very process still lives."""
    now = identify(identity.pid)
    return now is not None and now.start_ticks == identity.start_ticks


def maps(pid: int, block: ControlBlock) -> bool:
    """Return whether process `pid` has this account's control block mapped."""
    wanted = os.stat(block.path).st_ino
    try:
        lines = Path(f"/proc/{pid}/maps").read_text().splitlines()
    except OSError:
        return False
    return any(int(line.split(maxsplit=5)[4]) == wanted and str(block.path) in line for line in lines)


def kill_runner(block: ControlBlock, seen: Identity | None, wait_s: float = 0.5) -> str:
    """SIGKILL the runner named by the control block and wait for its death; return what was done in one word or line.

    It must be the process `seen` before (when given), not this one, and have our control block mapped: a stale pid
    may by now be anybody's.
    """
    pid = block.get("runner_pid")
    if pid == 0:
        return "no runner"
    try:
        handle = os.pidfd_open(pid)
    except (OSError, ValueError, OverflowError):  # gone, or no pid at all
        return "already gone"
    try:
        found = identify(pid)  # after pidfd_open: what is checked here is what the handle kills
        if found is None:
            return "already gone"
        if seen is not None and seen.pid == pid and seen.start_ticks != found.start_ticks:
            return "already gone"
        if pid == os.getpid() or not maps(pid, block):
            return f"not killed: process {pid} is not this account's runner"
        signal.pidfd_send_signal(handle, signal.SIGKILL)
        ready, _, _ = select.select([handle], [], [], wait_s)
        return "killed" if ready else "killed, not yet gone"
    except ProcessLookupError:
        return "already gone"
    except PermissionError:
        return f"not killed: no permission to signal process {pid}"
    finally:
        os.close(handle)
