"""What this machine has and lacks, for `bot4 doctor`: one finding a subject, each with what to do about it."""

from __future__ import annotations

import errno
import mmap
import os
import platform
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bot4_live import compile_cache
from bot4_live.settings import PROJECT_ROOT, Settings

SHM_BYTES, DISK_BYTES, MEMORY_BYTES = 128 << 20, 2 << 30, 2 << 30
# What listens where unless told otherwise; `bot4 platform` and MLflow look for others by themselves.
PORTS = {"exchange": 8411, "dagster": 3000, "mlflow": 5000}
_CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
_SERVERS = Path("/usr/lib/postgresql")  # Debian keeps each version apart, off the PATH


@dataclass(frozen=True)
class Finding:
    """One subject. `state` is ok, note (works, but less well) or missing; only what is `required` fails the doctor."""

    name: str
    state: str
    text: str
    advice: str = ""
    required: bool = False

    def public(self) -> dict[str, Any]:
        """Return it for JSON."""
        return asdict(self)


def _ok(name: str, text: str) -> Finding:
    return Finding(name, "ok", text)


def python() -> Finding:
    """3.11 it must be: numba's kernels and the lock are built for it."""
    version = platform.python_version()
    if sys.version_info[:2] == (3, 11):
        return _ok("python", version)
    return Finding("python", "missing", version, "make setup with PYTHON=python3.11", True)


def cores() -> Finding:
    """Cores this process may use (two: runner and the rest; `spin` wants four)."""
    count = len(os.sched_getaffinity(0))
    if count >= 2:
        return _ok("cores", f"{count} usable" + ("" if count >= 4 else " (spin mode wants 4)"))
    return Finding("cores", "note", f"{count} usable", "the demo takes longer than five minutes on fewer than 2")


def memory() -> Finding:
    """Memory, the cgroup's limit included."""
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    for limit in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        text = _read(Path(limit))
        if text.isdigit():
            total = min(total, int(text))
    text = f"{total / 2**30:.1f} GiB"
    return _ok("memory", text) if total >= MEMORY_BYTES else Finding("memory", "note", text, "2 GiB are recommended")


def shared_memory() -> Finding:
    """/dev/shm carries control block and rings: it must be there, mappable and large enough."""
    folder = Path("/dev/shm")
    try:
        free = shutil.disk_usage(folder).free
        with tempfile.NamedTemporaryFile(dir=folder) as file:
            os.posix_fallocate(file.fileno(), 0, 4096)
            mmap.mmap(file.fileno(), 4096).close()
    except OSError as error:
        return Finding("shared memory", "missing", str(error), "mount a writable tmpfs on /dev/shm", True)
    text = f"{free >> 20} MiB free in /dev/shm"
    if free < SHM_BYTES:
        advice = f"at least {SHM_BYTES >> 20} MiB are needed (docker: --shm-size=256m)"
        return Finding("shared memory", "missing", text, advice, True)
    return _ok("shared memory", text)


def clock() -> Finding:
    """CLOCK_BOOTTIME carries leases: it must be there, fine enough and cheap to read."""
    try:
        resolution = time.clock_getres(time.CLOCK_BOOTTIME)
    except (AttributeError, OSError):
        return Finding("clock", "missing", "no CLOCK_BOOTTIME", "Linux is needed", True)
    began = time.perf_counter_ns()
    for _ in range(1000):
        time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    each = (time.perf_counter_ns() - began) / 1000
    source = _read(Path("/sys/devices/system/clocksource/clocksource0/current_clocksource")) or "unknown"
    text = f"CLOCK_BOOTTIME, {resolution * 1e9:.0f} ns steps, {each:.0f} ns a reading, source {source}"
    if each > 1000:
        return Finding("clock", "note", text, "readings go through the kernel: latencies measure high here")
    return _ok("clock", text)


def numba_cache() -> Finding:
    """Where compiled kernels are kept, and whether they are there already."""
    path = compile_cache.install()
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path):
            pass
    except OSError as error:
        return Finding(
            "numba cache", "missing", str(error), "point BOT4_CACHE_DIR at a folder that can be written", True
        )
    count = sum(1 for _ in path.rglob("*.nbc"))
    text = f"{count} compiled kernels in {path}" if count else f"empty: {path}"
    return (
        _ok("numba cache", text) if count else Finding("numba cache", "note", text, "the first start compiles, ~20 s")
    )


def disk(settings: Settings) -> Finding:
    """Room for journals and the lake under `var`."""
    folder = settings.var
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    text = f"{free / 2**30:.1f} GiB free for {settings.var}"
    if not os.access(folder, os.W_OK):
        return Finding("disk", "missing", f"{folder} cannot be written", "set BOT4_VAR to a folder of yours", True)
    if free < DISK_BYTES:
        return Finding(
            "disk", "missing", text, f"{DISK_BYTES >> 30} GiB are needed: a journal segment is 256 MiB", True
        )
    return _ok("disk", text)


def captures() -> Finding:
    """Recorded markets; without one the demo generates its market."""
    folder = Path(os.environ.get("BOT4_SHARED_DATA") or PROJECT_ROOT.parent / "shared" / "data") / "captures"
    found = sorted(folder.glob("*/*.gz")) if folder.is_dir() else []
    if found:
        return _ok("captures", f"{len(found)} in {folder}")
    return Finding(
        "captures", "note", f"none in {folder}", "the demo uses a generated market (or make run CAPTURE=FILE)"
    )


def gpio() -> Finding:
    """Pins for the panel; the mock panel stands in for them."""
    chips = sorted(Path("/dev").glob("gpiochip*"))
    if any(os.access(chip, os.R_OK | os.W_OK) for chip in chips):
        return _ok("gpio", ", ".join(chip.name for chip in chips))
    if chips:
        return Finding(
            "gpio", "note", f"no right to use {chips[0]}", "add this user to the group gpio; else the mock panel"
        )
    return Finding("gpio", "note", "no pins here", "the mock panel is used: bot4 watchdog press")


def postgres_folder() -> Path | None:
    """Return the folder of the newest PostgreSQL's programs, None without one."""
    found = sorted(_SERVERS.glob("*/bin/postgres"), key=lambda path: int(path.parent.parent.name))
    if found:
        return found[-1].parent
    on_path = shutil.which("postgres")
    return Path(on_path).resolve().parent if on_path else None


def programs() -> Iterator[Finding]:
    """Programs that tests and the services profile use."""
    chromium = next((path for name in _CHROMIUM if (path := shutil.which(name))), None) or _playwright_chromium()
    yield _program("chromium", chromium, "only the browser tests need it: playwright install chromium")
    yield _program("redis", shutil.which("redis-server"), "only the services profile needs it")
    postgres = postgres_folder()
    yield _program("postgres", str(postgres / "postgres") if postgres else None, "only the services profile needs it")


def _program(name: str, path: str | None, advice: str) -> Finding:
    return _ok(name, path) if path else Finding(name, "note", "not found", advice)


def _playwright_chromium() -> str | None:
    root = os.environ.get("PLAYWRIGHT_BROWSERS_PATH")
    folder = Path(root) if root and root != "0" else Path.home() / ".cache" / "ms-playwright"
    found = sorted([*folder.glob("chromium*/*/chrome"), *folder.glob("chromium*/*/*headless*shell")])
    return str(found[-1]) if found else None


def ports() -> Finding:
    """The default ports; all can be chosen."""
    busy = [f"{port} ({name})" for name, port in PORTS.items() if not _free(port)]
    if not busy:
        return _ok("ports", f"{', '.join(str(port) for port in PORTS.values())} free")
    return Finding("ports", "note", f"in use: {', '.join(busy)}", "Bot4 runs already, or choose others with --port")


def _free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            return error.errno != errno.EADDRINUSE
    return True


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""


def examine(settings: Settings) -> list[Finding]:
    """Return all findings, what is required first."""
    checks: list[Callable[[], Finding]] = [
        python, shared_memory, lambda: disk(settings), clock, numba_cache, cores, memory, ports, captures, gpio,
    ]  # fmt: skip
    return [check() for check in checks] + list(programs())
