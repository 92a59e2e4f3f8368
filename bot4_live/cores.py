"""Which cores a session runs on, and that they do not sleep.

The loop of `spin` wants a core for itself; that of `async` wakes sooner on one.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from bot4_live.settings import Settings

SPIN_CORES = 4  # exchange or network, journal writer, watchdog and feeder need the others
LATENCY = Path("/dev/cpu_dma_latency")  # holds the most microseconds that an idle processor may take to wake


@dataclass(frozen=True)
class Cores:
    """The loop's own core and those of everything else; `others` is None when nothing is pinned."""

    loop: int | None = None
    others: frozenset[int] | None = None

    def pin_loop(self) -> None:
        """Pin the calling thread, which is the loop's; call it after the first helpers were started."""
        if self.loop is not None:
            os.sched_setaffinity(0, {self.loop})

    def workers(self) -> ThreadPoolExecutor:
        """Return a pool of threads that keep off the loop's core: threads inherit it otherwise."""
        others = self.others
        return ThreadPoolExecutor(4, "bot4-worker", None if others is None else lambda: os.sched_setaffinity(0, others))


def choose(settings: Settings) -> Cores:
    """Return the cores of a session. Raises ValueError, saying what to do, for what this machine does not have."""
    usable = frozenset(os.sched_getaffinity(0))
    if settings.transport == "spin" and len(usable) < SPIN_CORES and not settings.spin_force:
        raise ValueError(
            f"BOT4_TRANSPORT=spin never sleeps: it takes one of {SPIN_CORES} cores, and this process may use "
            f"{len(usable)}; leave it at async, or set BOT4_SPIN_FORCE=1 where nothing else runs"
        )
    if settings.loop_cpu is None:
        return Cores()
    if settings.loop_cpu not in usable:
        allowed = ",".join(map(str, sorted(usable)))
        raise ValueError(f"BOT4_LOOP_CPU={settings.loop_cpu}: this process may use the cores {allowed}; choose one")
    return Cores(settings.loop_cpu, usable - {settings.loop_cpu} or usable)


def keep_to(process: subprocess.Popen[bytes], cores: frozenset[int] | None) -> None:
    """Move a process that was just started to `cores` (None: leave it): it inherits the core of a pinned thread."""
    if cores is not None:
        with contextlib.suppress(ProcessLookupError):
            os.sched_setaffinity(process.pid, cores)


@contextlib.contextmanager
def kept_awake(wanted: bool = True) -> Iterator[bool]:
    """Let no processor of this machine halt while it is idle; yields whether that is `wanted` and granted.

    One that has halted takes tens of microseconds to wake, in a virtual machine up to a hundred, before the loop hears
    of a frame at all. The kernel holds it awake while somebody keeps a request for no latency open (PM QoS,
    docs.kernel.org/power/pm_qos_interface.html), which is for root unless the device's permissions say otherwise. Other
    processes lose nothing; it costs power.
    """
    try:
        device = os.open(LATENCY, os.O_WRONLY | os.O_CLOEXEC) if wanted else -1
    except OSError:
        device = -1
    try:
        if device >= 0:
            os.write(device, bytes(4))
        yield device >= 0
    finally:
        if device >= 0:
            os.close(device)
