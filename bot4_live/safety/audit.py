"""The audit trail: JSON lines that are only ever appended, fsynced one by one and chained by hash.

Each line carries the sha256 of the line before it, so a removed or edited line breaks the chain at a known number.
Watchdog and operator commands append to the same file, one at a time (flock). A line torn by a power cut is kept:
the next append ends it and says how many bytes it had, and verification accepts exactly that.
"""

from __future__ import annotations

import fcntl
import getpass
import hashlib
import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bot4_live.clock import boottime_ns
from bot4_live.safety.durable import sync_path

FILE = "audit.jsonl"
START = "0" * 64
LOCK_S = 2.0
_TAIL = 1 << 16


@dataclass(frozen=True)
class Verdict:
    """What `verify` found: number of good lines, torn tails that were declared, and the first fault or None."""

    lines: int
    torn: int
    fault: str | None


def append(path: Path, event: str, by: str, **details: Any) -> dict[str, Any]:
    """Append one line and return it; it is on disk when this returns.

    `event` names what happened (`kill.confirmed`), `by` who did it (`watchdog`, `operator:<user>`). Raises
    TimeoutError when another process (hung, then) keeps the trail locked for two seconds.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        _lock(fd, path)
        number, previous, rest = _last(fd)
        whole = _parse(rest)
        if whole is not None:  # only its newline is missing
            number, previous = int(whole["n"]), whole["hash"]
        torn = 0 if whole is not None else len(rest)
        line: dict[str, Any] = {
            "n": number + 1,
            "event": event,
            "by": by,
            "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "boottime_ns": boottime_ns(),
            "boot_id": boot_id(),
            "pid": os.getpid(),
            **details,
            "previous": previous,
        }
        if torn:
            line["torn_bytes"] = torn
        line["hash"] = digest(line)
        os.write(fd, (b"\n" if rest else b"") + _encode(line) + b"\n")
        os.fsync(fd)
        if number == 0:
            sync_path(path.parent)
    finally:
        os.close(fd)
    return line


def _lock(fd: int, path: Path) -> None:
    deadline = time.monotonic() + LOCK_S
    while True:
        try:
            return fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise TimeoutError(f"another process keeps {path} locked") from None
            time.sleep(0.002)


def digest(line: dict[str, Any]) -> str:
    """Return the sha256 of a line without its own hash; it covers `previous`, which makes the chain."""
    return hashlib.sha256(_encode({key: value for key, value in line.items() if key != "hash"})).hexdigest()


def _encode(line: dict[str, Any]) -> bytes:
    return json.dumps(line, sort_keys=True, separators=(",", ":")).encode()


def _parse(raw: bytes) -> dict[str, Any] | None:
    try:
        line = json.loads(raw)
    except ValueError:
        return None
    return line if isinstance(line, dict) and isinstance(line.get("hash"), str) and "n" in line else None


def _last(fd: int) -> tuple[int, str, bytes]:
    """Return (number, hash) of the last ended line and what follows it without an end."""
    size = os.fstat(fd).st_size
    length = _TAIL
    while True:
        start = max(0, size - length)
        tail = os.pread(fd, size - start, start)
        ended, _, rest = tail.rpartition(b"\n")
        for raw in reversed(ended.split(b"\n")[0 if start == 0 else 1 :]):
            line = _parse(raw)
            if line is not None:
                return int(line["n"]), line["hash"], rest
        if start == 0:
            return 0, START, rest
        length *= 4


def entries(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the whole lines of the trail in order; nothing when there is none yet."""
    if not path.exists():
        return
    with path.open("rb") as file:
        for raw in file:
            line = _parse(raw)
            if line is not None:
                yield line


def verify(path: Path) -> Verdict:
    """Check numbers, hashes and the chain from the first line. Raises FileNotFoundError when there is no trail."""
    lines = torn = 0
    previous, broken = START, 0
    with path.open("rb") as file:
        for raw in file:
            line = _parse(raw)
            if line is None:
                if broken:
                    return Verdict(lines, torn, f"line {lines + 1}: not a line of this trail")
                broken = len(raw.rstrip(b"\n"))
                continue
            if line.get("torn_bytes", 0) != broken:
                return Verdict(lines, torn, f"line {lines + 1}: a line before it was damaged after it was written")
            if line["n"] != lines + 1 or line.get("previous") != previous:
                return Verdict(lines, torn, f"line {lines + 1}: the chain is broken (a line is missing or was moved)")
            if line["hash"] != digest(line):
                return Verdict(lines, torn, f"line {lines + 1}: its content was changed")
            lines, torn, previous, broken = lines + 1, torn + bool(broken), line["hash"], 0
    if broken:
        return Verdict(lines, torn, f"line {lines + 1}: torn, and nothing was appended since")
    return Verdict(lines, torn, None)


def operator() -> str:
    """Return who runs an operator's command, for `by`."""
    try:
        return f"operator:{getpass.getuser()}"
    except (OSError, KeyError):
        return f"operator:uid{os.getuid()}"


def boot_id() -> str:
    """Return the kernel's id of this boot; CLOCK_BOOTTIME values compare only within one."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
