"""The page's pictures as inline SVG that takes its colours from the page, so they read in light and dark."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from bot4_platform.demo.report import escape
from bot4_platform.quality.page.facts import Rate
from bot4_platform.quality.pass_rates import TARGET

WIDTH, HEIGHT = 1000, 250
LEFT, RIGHT, TOP, BOTTOM = 74, 20, 18, 34
MOST_NINES = 6.0


def nines(share: float) -> float:
    """Return how many nines a share has: 0.999 is 3; what lost nothing has MOST_NINES."""
    return min(MOST_NINES, -math.log10(max(1.0 - share, 10**-MOST_NINES)))


def trend(days: Mapping[str, Rate]) -> str:
    """Return the pass rate by day on an axis of nines, with the target as a line."""
    names, rates = list(days), list(days.values())
    low = min([2.0, *(math.floor(nines(rate.share)) for rate in rates)])
    span_x, span_y = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM

    def x(i: int) -> float:
        return LEFT + span_x * ((i + 0.5) / len(rates) if len(rates) < 8 else i / (len(rates) - 1))

    def y(value: float) -> float:
        return TOP + span_y * (1 - (value - low) / (MOST_NINES - low))

    parts = []
    for n in range(int(low), int(MOST_NINES) + 1):
        label = "100 %" if n == MOST_NINES else f"{100 * (1 - 10**-n):.{max(0, n - 2)}f} %"
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(n):.1f}" y2="{y(n):.1f}"/>')
        parts.append(f'<text class="tick" x="{LEFT - 10}" y="{y(n) + 4:.1f}" text-anchor="end">{label}</text>')
    at = y(nines(TARGET))
    parts.append(f'<rect class="short" x="{LEFT}" y="{at:.1f}" width="{span_x}" height="{TOP + span_y - at:.1f}"/>')
    parts.append(f'<line class="target" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{at:.1f}" y2="{at:.1f}"/>')
    parts.append(
        f'<text class="target-text" x="{WIDTH - RIGHT}" y="{at - 6:.1f}" text-anchor="end">target 99.9 %</text>'
    )
    points = [(x(i), y(nines(rate.share))) for i, rate in enumerate(rates)]
    path = " ".join(f"{px:.1f},{py:.1f}" for px, py in points)
    parts.append(f'<polyline class="line" points="{path}"/>')
    every = max(1, math.ceil(len(names) / 8))
    for i, ((px, py), name, rate) in enumerate(zip(points, names, rates, strict=True)):
        tone = "dot" if rate.met else "dot bad"
        note = f"{name}: {percent(rate.share)} of {rate.total:,} frames passed, {rate.refused:,} refused"
        parts.append(f'<circle class="{tone}" cx="{px:.1f}" cy="{py:.1f}" r="4.5"><title>{note}</title></circle>')
        if i % every == 0:
            parts.append(f'<text class="tick" x="{px:.1f}" y="{HEIGHT - 10}" text-anchor="middle">{name}</text>')
    return _svg("Pass rate by day", WIDTH, HEIGHT, parts)


def bars(values: Mapping[str, int]) -> str:
    """Return horizontal bars with their counts."""
    row, most = 26, max(values.values(), default=1)
    left, width = 190, 640
    parts = []
    for i, (name, count) in enumerate(values.items()):
        y, length = i * row, max(3.0, (width - left - 90) * count / most)
        parts.append(f'<text class="name" x="{left - 12}" y="{y + 17}" text-anchor="end">{escape(name)}</text>')
        parts.append(f'<rect class="bar" x="{left}" y="{y + 5}" width="{length:.1f}" height="15" rx="3"/>')
        parts.append(f'<text class="count" x="{left + length + 8:.1f}" y="{y + 17}">{count:,}</text>')
    return _svg("Refused frames by rule", width, max(row, row * len(values)), parts)


def histogram(reference: Sequence[float], current: Sequence[float], title: str) -> str:
    """Return the shares by bin: the reference as steps, the current ones as bars."""
    width, height, base = 220, 84, 78
    most = max([*reference, *current, 1e-9])
    step = width / max(len(current), 1)
    parts = []
    for i, share in enumerate(current):
        tall = (base - 6) * share / most
        parts.append(
            f'<rect class="bar" x="{i * step + 1:.1f}" y="{base - tall:.1f}" width="{step - 2:.1f}" '
            f'height="{tall:.1f}"/>'
        )
    corners = []
    for i, share in enumerate(reference):
        level = base - (base - 6) * share / most
        corners += [f"{i * step:.1f},{level:.1f}", f"{(i + 1) * step:.1f},{level:.1f}"]
    parts.append(f'<polyline class="reference" points="{" ".join(corners)}"/>')
    parts.append(f'<line class="grid" x1="0" x2="{width}" y1="{base}" y2="{base}"/>')
    return _svg(title, width, height, parts)


def percent(share: float) -> str:
    """Return a share with as many decimals as its nines need."""
    if share >= 1.0:
        return "100 %"
    digits = min(5, max(1, math.ceil(nines(share))))
    text = f"{100 * share:.{digits}f}"
    return f"{text} %" if float(text) < 100 else f"{100 * share:.6f} %"


def _svg(title: str, width: int, height: int, parts: Sequence[str]) -> str:
    return (
        f'<svg role="img" aria-label="{escape(title)}" viewBox="0 0 {width} {height}" '
        f'style="max-width:{width}px">{"".join(parts)}</svg>'
    )
