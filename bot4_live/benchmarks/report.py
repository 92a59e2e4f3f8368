"""What a benchmark says, and how quiet the machine was while it was measured.

A machine that is shared steals time. Every run therefore records how much was stolen and how a fixed loop of 1 us
jittered; a result calls itself quiet when at least one run was, and names that run's figures. Noise only ever makes a
figure worse, so the best of several runs is taken, metric by metric.
"""

from __future__ import annotations

import os
import platform
import time
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numba import njit

MAX_STOLEN_PCT = 1.0
MAX_JITTER = 2.0
PERCENTILES = {"p50": 50.0, "p99": 99.0, "p999": 99.9}

Percentiles = dict[str, float]


@dataclass(frozen=True)
class Noise:
    """How disturbed one run was."""

    stolen_pct: float
    jitter_ratio: float

    @property
    def quiet(self) -> bool:
        """Return whether figures of this run may be held against a bound."""
        return self.stolen_pct <= MAX_STOLEN_PCT and self.jitter_ratio <= MAX_JITTER


@dataclass
class Result:
    """The outcome of a benchmark. A metric that cannot be measured yet is None, with a note that says why."""

    name: str
    metrics: dict[str, float | Percentiles | None]
    input: str
    noises: list[Noise]
    notes: dict[str, str] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON object of BENCH.md."""
        quietest = min(self.noises, key=lambda noise: (not noise.quiet, noise.stolen_pct, noise.jitter_ratio))
        return {
            "name": self.name,
            "metrics": self.metrics,
            "machine": machine(),
            "input": self.input,
            "runs": len(self.noises),
            "quiet": quietest.quiet,
            "stolen_pct": round(quietest.stolen_pct, 3),
            "jitter_ratio": round(quietest.jitter_ratio, 3),
            "run_noise": [{"stolen_pct": n.stolen_pct, "jitter_ratio": n.jitter_ratio} for n in self.noises],
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
        "kernel": platform.release(),
        "python": platform.python_version(),
        "numba": version("numba"),
        "numpy": version("numpy"),
    }


class NoiseMeter:
    """Measures the noise around one run: `with NoiseMeter() as meter: ...; meter.noise`."""

    noise: Noise

    def __enter__(self) -> NoiseMeter:
        self._before = _cpu_times()
        self._jitter = [_jitter()]
        return self

    def __exit__(self, *_: object) -> None:
        self._jitter.append(_jitter())
        stolen, total = (after - before for after, before in zip(_cpu_times(), self._before, strict=True))
        self.noise = Noise(100.0 * stolen / total if total > 0 else 0.0, max(self._jitter))


def _cpu_times() -> tuple[int, int]:
    """Return (stolen, all) jiffies over all processors; zeros where the kernel does not say."""
    stat = Path("/proc/stat")
    if not stat.exists():
        return 0, 0
    values = [int(v) for v in stat.read_text().splitlines()[0].split()[1:]]
    return (values[7] if len(values) > 7 else 0), sum(values[:8])


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
