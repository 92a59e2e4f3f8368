"""The report's pictures: matplotlib to inline SVG, so that one HTML file holds everything."""

from __future__ import annotations

import io
from typing import Any

import numpy as np

from bot4_platform.demo.story import Story

BID, ASK, MID, INK = "#1a7f5a", "#b3392f", "#555555", "#1f2430"


def _figure(height: float = 2.8) -> tuple[Any, Any]:
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    plt.rcParams.update({"font.size": 9, "svg.fonttype": "none", "axes.spines.top": False, "axes.spines.right": False})
    figure, axes = plt.subplots(figsize=(9.5, height), layout="constrained")
    return figure, axes


def _svg(figure: Any) -> str:
    from matplotlib import pyplot as plt

    out = io.StringIO()
    figure.savefig(out, format="svg", metadata={"Date": None})
    plt.close(figure)
    text = out.getvalue()
    return text[text.index("<svg") :]


def _sessions(axes: Any, story: Story, start: float) -> None:
    for at, speed in story.sessions:
        if at >= start:
            axes.axvline(at, color="#999999", lw=0.7, ls=":")
            axes.text(
                at, 1.0, f" {speed:g}x", transform=axes.get_xaxis_transform(), va="top", fontsize=7, color="#777777"
            )


def book_and_quotes(story: Story, start: float) -> str:
    """Return mid, our quotes and our fills from `start` seconds on."""
    figure, axes = _figure(3.4)
    shown = story.mid_t >= start
    axes.plot(story.mid_t[shown], story.mid[shown], color=MID, lw=0.9, label="mid")
    for sell, colour, name in ((False, BID, "our bids"), (True, ASK, "our asks")):
        rows = (story.quote_sell == sell) & (story.quote_t >= start)
        if rows.any():
            axes.plot(story.quote_t[rows], story.quote_px[rows], ".", ms=2.2, color=colour, alpha=0.6, label=name)
    for buys, colour, marker in ((True, BID, "^"), (False, ASK, "v")):
        rows = (story.fill_qty > 0) == buys
        if rows.any():
            name = "bought" if buys else "sold"
            axes.plot(story.fill_t[rows], story.fill_px[rows], marker, ms=6, color=colour, mec=INK, mew=0.5, label=name)
    _sessions(axes, story, start)
    axes.set_xlabel("seconds of market time")
    axes.set_ylabel("price")
    axes.legend(ncols=5, fontsize=8, frameon=False, loc="upper center", bbox_to_anchor=(0.5, 1.14))
    return _svg(figure)


def position_and_pnl(story: Story, start: float) -> str:
    """Return position and marked PnL after fees."""
    figure, axes = _figure()
    time, pnl = story.equity()
    shown = time >= start
    axes.plot(time[shown], pnl[shown], color=INK, lw=1.1, label="PnL after fees (quote)")
    axes.axhline(0, color="#bbbbbb", lw=0.6)
    axes.set_xlabel("seconds of market time")
    axes.set_ylabel("PnL")
    other = axes.twinx()
    other.spines["right"].set_visible(True)
    edge = [start, *story.fill_t, max(float(time[-1]) if time.size else start, start)]
    held = [0.0, *story.position, story.position[-1] if story.position.size else 0.0]
    other.step(edge, held, where="post", color=BID, lw=0.9, alpha=0.8, label="position (base)")
    other.set_ylabel("position")
    handles = [*axes.get_lines()[:1], *other.get_lines()]
    axes.legend(handles, [h.get_label() for h in handles], frameon=False, fontsize=8, loc="upper left")
    return _svg(figure)


def latency(histograms: dict[str, tuple[np.ndarray, np.ndarray]]) -> str:
    """Return histograms: name to (bin edges in us, counts)."""
    figure, axes = _figure()
    for (name, (edges, counts)), colour in zip(histograms.items(), (BID, ASK, MID), strict=False):
        axes.stairs(counts, edges, fill=True, alpha=0.5, color=colour, label=name)
    axes.set_xscale("log")
    axes.set_xlabel("microseconds")
    axes.set_ylabel("events")
    axes.legend(frameon=False, fontsize=8)
    return _svg(figure)


def kill_timeline(steps: list[tuple[str, float]]) -> str:
    """Return the kill's steps at their milliseconds after the debounced press."""
    figure, axes = _figure(0.9 + 0.28 * len(steps))
    for i, (_, at) in enumerate(steps):
        axes.plot([0, at], [i, i], color="#dddddd", lw=4, solid_capstyle="butt")
        axes.plot(at, i, "o", color=ASK, ms=5)
        axes.text(at, i, f"  {at:.1f} ms", va="center", fontsize=8)
    axes.set_yticks(range(len(steps)), [name for name, _ in steps])
    axes.invert_yaxis()
    axes.set_xlim(0, max((at for _, at in steps), default=1) * 1.18 + 1)
    axes.set_xlabel("ms after the debounced press")
    return _svg(figure)


def bars(values: dict[str, float], label: str) -> str:
    """Return horizontal bars, e.g. feature importance."""
    figure, axes = _figure(0.8 + 0.2 * len(values))
    names = list(values)
    axes.barh(names, [values[name] for name in names], color=BID, alpha=0.7)
    axes.invert_yaxis()
    axes.set_xlabel(label)
    return _svg(figure)
