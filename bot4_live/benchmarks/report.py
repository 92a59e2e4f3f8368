"""What a benchmark says, and how quiet the machine was while it was measured.

A machine that is shared steals time. Every run therefore records how much was stolen, how a fixed loop of 1 us
jittered, and how many processors' worth of time other processes took (they slow caches and memory even from another
core); a result calls itself quiet when at least one run was, and names that run's figures. Noise only ever makes a
figure worse, so the best of several runs is taken, metric by metric.
"""

from __future__ import annotations

import os
import platform
import time
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numba import njit

MAX_STOLEN_PCT = 1.0
MAX_JITTER = 2.0
MAX_OTHERS = 0.25  # processors
PERCENTILES = {"p50": 50.0, "p99": 99.0, "p999": 99.9}

Percentiles = dict[str, float]


@dataclass(frozen=True)
class Noise:
    """How disturbed one run was."""

    stolen_pct: float
    jitter_ratio: float
    others: float = 0.0  # processors that were busy with other processes than this one and its children

    @property
    def quiet(self) -> bool:
        """Return whether figures of this run may be held against a bound."""
        return self.stolen_pct <= MAX_STOLEN_PCT and self.jitter_ratio <= MAX_JITTER and self.others <= MAX_OTHERS


@dataclass
class Result:
    """The outcome of a benchmark. A metric that cannot be measured yet is None, with a note that says why."""

    name: str
    metrics: dict[str, float | Percentiles | str | None]
    input: str
    noises: list[Noise]
    notes: dict[str, str] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON object of BENCH.md."""
        quietest = min(
            self.noises, key=lambda noise: (not noise.quiet, noise.others, noise.stolen_pct, noise.jitter_ratio)
        )
        return {
            "name": self.name,
            "metrics": self.metrics,
            "machine": machine(),
            "input": self.input,
            "runs": len(self.noises),
            "quiet": quietest.quiet,
            "stolen_pct": round(quietest.stolen_pct, 3),
            "jitter_ratio": round(quietest.jitter_ratio, 3),
            "others": round(quietest.others, 3),
            "run_noise": [asdict(noise) for noise in self.noises],
            "notes": self.notes,
        }


def percentiles(ns: np.ndarray) -> Percentiles | None:
    """Return p50, p99 and p999 in microseconds of durations in ns, None of none."""
    if len(ns) == 0:
        return None
    return {name: round(float(np.percentile(ns, q)) / 1e3, 3) for name, q in PERCENTILES.items()}


def best(runs: list[dict[str, Any]], higher: frozenset[str], ratios: frozenset[str] = frozenset()) -> dict[str, Any]:
    """Return each metric's best value: the highest for names in `higher`, else the lowest (percentiles one by one).

    Of `ratios`, each of two things timed in one run, the median is taken: noise in the reference would flatter.
    """
    out: dict[str, Any] = {}
    for name in runs[0]:
        values = [run[name] for run in runs if run[name] is not None]
        if not values:
            out[name] = None
        elif isinstance(values[0], dict):
            out[name] = {key: min(value[key] for value in values) for key in values[0]}
        elif name in ratios:
            out[name] = sorted(values)[len(values) // 2]
        else:
            out[name] = max(values) if name in higher else min(values)
    return out


def machine() -> dict[str, Any]:
    """Return what a figure depends on: processor, cores, system, versions."""
    model = platform.processor()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [line.split(":", 1)[1].strip() for line in cpuinfo.read_text().splitlines() if "model name" in line]
        model = names[0] if names else model
    return {
        "cpu": model,
        "cores": len(os.sched_getaffinity(0)),
        "load": round(os.getloadavg()[0], 2),  # over the last minute, this benchmark included
        "runnable": _runnable(),  # threads that run or wait for a processor now, this one included
        "kernel": platform.release(),
        "python": platform.python_version(),
        "numba": version("numba"),
        "numpy": version("numpy"),
    }


class NoiseMeter:
    """Measures the noise around one run: `with NoiseMeter() as meter: ...; meter.noise`."""

    noise: Noise

    def __enter__(self) -> NoiseMeter:
        self._jitter = [_jitter()]
        self._own, self._before = own_time(), _cpu_times()
        self._since = time.monotonic()
        return self

    def __exit__(self, *_: object) -> None:
        taken = time.monotonic() - self._since
        now, own = _cpu_times(), own_time() - self._own
        stolen, busy, total = (after - before for after, before in zip(now, self._before, strict=True))
        others = max(0.0, busy / os.sysconf("SC_CLK_TCK") - own) / max(taken, 1e-3)
        self._jitter.append(_jitter())
        self.noise = Noise(100.0 * stolen / total if total > 0 else 0.0, max(self._jitter), others if busy else 0.0)


def _cpu_times() -> tuple[int, int, int]:
    """Return (stolen, busy, all) jiffies over all processors; zeros where the kernel does not say."""
    stat = Path("/proc/stat")
    if not stat.exists():
        return 0, 0, 0
    values = [*(int(v) for v in stat.read_text().splitlines()[0].split()[1:9]), *(0,) * 8][:8]
    user, nice, system, _, _, irq, softirq, stolen = values
    return stolen, user + nice + system + irq + softirq, sum(values)


def own_time() -> float:
    """Return the processor seconds of this process, of its children, and of theirs, whether they still run or not."""
    parents: dict[int, int] = {}
    taken: dict[int, float] = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = entry.read_text().rpartition(")")[2].split()
        except OSError:  # it ended meanwhile
            continue
        pid = int(entry.parent.name)
        parents[pid] = int(fields[1])
        taken[pid] = sum(int(v) for v in fields[11:15]) / os.sysconf("SC_CLK_TCK")
    times = os.times()
    total = times.user + times.system + times.children_user + times.children_system
    for pid in taken:
        above = parents.get(pid)
        while above is not None and above != os.getpid():
            above = parents.get(above)
        if above is not None:
            total += taken[pid]
    return total


def _runnable() -> int | None:
    """Return how many threads run or wait for a processor, None where the kernel does not say."""
    path = Path("/proc/loadavg")
    return int(path.read_text().split()[3].partition("/")[0]) if path.exists() else None


@njit(cache=True)
def _spin(n: int) -> int:
    state = 88172645463325252
    for _ in range(n):
        state ^= state << 13
        state ^= state >> 7
        state ^= state << 17
    return state


def _jitter(samples: int = 20_000) -> float:
    """Return p99 / p50 of a loop of about 1 us."""
    clock = time.perf_counter_ns
    _spin(1)
    count = 100
    before = clock()
    _spin(1_000_000)
    count = max(1, round(1000 / max(1e-3, (clock() - before) / 1_000_000)))
    taken = np.empty(samples, np.int64)
    for i in range(samples):
        before = clock()
        _spin(count)
        taken[i] = clock() - before
    return float(np.percentile(taken, 99) / np.percentile(taken, 50))
