"""The report's pictures: matplotlib to inline SVG, so that one HTML file holds everything."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from bot4_platform.demo.depth import Depth
from bot4_platform.demo.story import Story

BID, ASK, MID, INK, SOFT = "#1a7f5a", "#b3392f", "#3b4252", "#1f2430", "#c9ced6"
WIDTH = 10.4
GAP_S = 0.9  # a line over a longer silence would tell of a market that nobody saw


def canvas(height: float = 2.8, rows: int = 1, **options: Any) -> tuple[Any, Any]:
    """Return (figure, axes) of matplotlib in the reports' style; `height` in inches, `options` as of subplots."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    plt.rcParams.update({
        "font.size": 9, "font.family": "sans-serif", "svg.fonttype": "none", "axes.spines.top": False,
        "axes.spines.right": False, "axes.edgecolor": "#8a93a3", "axes.labelcolor": "#4b5563",
        "xtick.color": "#4b5563", "ytick.color": "#4b5563", "axes.formatter.useoffset": False,
    })  # fmt: skip
    figure, axes = plt.subplots(rows, figsize=(WIDTH, height), layout="constrained", **options)
    return figure, axes


def to_svg(figure: Any, title: str) -> str:
    """Return a figure as inline SVG with a title for readers of screens, and close it."""
    from matplotlib import pyplot as plt

    out = io.StringIO()
    figure.savefig(out, format="svg", metadata={"Date": None}, transparent=True, dpi=110)
    plt.close(figure)
    text = out.getvalue()
    text = re.sub(r"<metadata>.*?</metadata>", "", text[text.index("<svg") :], flags=re.DOTALL)
    return text.replace("<svg", f'<svg role="img" aria-label="{title}"', 1)


def _sessions(axes: Any, story: Story, start: float) -> None:
    for at, speed in story.sessions:
        if at >= start:
            axes.axvline(at, color="#8a93a3", lw=0.8, ls=":")
            axes.annotate(
                f"{speed:g}x", (at, 1.0), (3, -2), xycoords=axes.get_xaxis_transform(), textcoords="offset points",
                va="top", fontsize=8, color="#4b5563",
            )  # fmt: skip


def _broken(time: np.ndarray, value: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the line with a hole wherever nothing was seen for a while."""
    holes = np.flatnonzero(np.diff(time) > GAP_S) + 1
    return np.insert(time, holes, np.nan), np.insert(value, holes, np.nan)


def view(story: Story, start: float) -> tuple[float, float]:
    """Return the prices between which the chart of quotes looks, with a margin."""
    seen = np.concatenate([story.mid[story.mid_t >= start], story.quote_px[story.quote_t >= start]])
    if not seen.size:
        return 0.0, 1.0
    low, high = np.percentile(seen, (0.2, 99.8))
    margin = 0.08 * (high - low) + 1.0
    return float(low - margin), float(high + margin)


def _depth(axes: Any, depth: Depth) -> None:
    """Draw resting liquidity behind everything, darker where there is more; sizes spread over decades, so by log."""
    resting = np.log(np.where(depth.resting > 0, depth.resting, np.nan))
    known = resting[np.isfinite(resting)]
    if not known.size:
        return
    faint, dark = np.percentile(known, (10, 99.8))
    extent = (depth.seconds[0], depth.seconds[-1], depth.prices[0], depth.prices[-1])
    axes.imshow(
        resting, extent=extent, origin="lower", aspect="auto", cmap="Blues", alpha=0.45,
        vmin=float(faint), vmax=float(max(dark, faint + 1.0)), interpolation="nearest", zorder=0,
    )  # fmt: skip


def book_and_quotes(story: Story, start: float, depth: Depth | None = None) -> str:
    """Return mid, our quotes and our fills from `start` seconds on, over the book's depth when it is given."""
    figure, axes = canvas(4.2)
    if depth is not None:
        _depth(axes, depth)
    shown = story.mid_t >= start
    axes.plot(*_broken(story.mid_t[shown], story.mid[shown]), color=MID, lw=1.1, label="mid")
    for sell, colour, name in ((False, BID, "our bids"), (True, ASK, "our asks")):
        rows = (story.quote_sell == sell) & (story.quote_t >= start)
        if rows.any():
            axes.plot(story.quote_t[rows], story.quote_px[rows], ".", ms=3, color=colour, alpha=0.75, label=name)
    for buys, colour, marker in ((True, BID, "^"), (False, ASK, "v")):
        rows = (story.fill_qty > 0) == buys
        if rows.any():
            name = "bought" if buys else "sold"
            axes.plot(story.fill_t[rows], story.fill_px[rows], marker, ms=7, color=colour, mec=INK, mew=0.6, label=name)
    axes.set_ylim(*view(story, start))
    if shown.any():
        axes.set_xlim(start, float(story.mid_t[-1]) + 1.0)
    _sessions(axes, story, start)
    axes.set_xlabel("seconds of market time")
    axes.set_ylabel("price, USDT")
    axes.legend(ncols=5, fontsize=8.5, frameon=False, loc="lower left", bbox_to_anchor=(0.0, 1.0), markerscale=1.6)
    return to_svg(figure, "book and quotes")


def position_and_pnl(story: Story, start: float) -> str:
    """Return marked PnL after fees, and the position below it."""
    figure, (money, held) = canvas(3.6, 2, sharex=True, height_ratios=(1.5, 1))
    time, pnl = story.equity()
    shown = time >= start
    money.plot(*_broken(time[shown], pnl[shown]), color=INK, lw=1.3)
    end = max(float(time[-1]) if time.size else start, start)
    edge = [start, *story.fill_t, end]
    position = [0.0, *story.position, story.position[-1] if story.position.size else 0.0]
    held.step(edge, position, where="post", color=BID, lw=1.3)
    held.fill_between(edge, position, step="post", color=BID, alpha=0.15, lw=0)
    for axes, label in ((money, "PnL after fees, USDT"), (held, "position, BTC")):
        axes.axhline(0, color=SOFT, lw=0.8, zorder=0)
        axes.set_ylabel(label)
    _sessions(money, story, start)
    held.set_xlim(start, end + 1.0)
    held.set_xlabel("seconds of market time")
    return to_svg(figure, "position and PnL")


def latency(histograms: Mapping[str, tuple[np.ndarray, np.ndarray]], bins: int = 60) -> str:
    """Return histograms on a common logarithmic grid, as shares: name to (n + 1 bin edges in us, n counts)."""
    figure, axes = canvas(2.8)
    drawn = {name: (edges[1:], counts) for name, (edges, counts) in histograms.items() if counts.sum()}
    if drawn:
        low = min(float(upper[0]) for upper, _ in drawn.values())
        high = max(float(upper[-1]) for upper, _ in drawn.values())
        grid = np.geomspace(low * 0.95, high * 1.05, bins + 1)
        for (name, (upper, counts)), colour in zip(drawn.items(), (BID, ASK, MID), strict=False):
            share = np.histogram(upper, grid, weights=counts)[0] / counts.sum() * 100
            axes.stairs(share, grid, fill=True, alpha=0.35, color=colour, label=name)
            axes.stairs(share, grid, color=colour, lw=1.0)
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
        axes.legend(frameon=False, fontsize=8.5)
    axes.set_xlabel("microseconds")
    axes.set_ylabel("share, %")
    return to_svg(figure, "latency")


def kill_timeline(steps: Sequence[tuple[str, float]]) -> str:
    """Return the kill's steps at their milliseconds after the debounced press."""
    figure, axes = canvas(0.9 + 0.27 * len(steps))
    for i, (_, at) in enumerate(steps):
        axes.plot([0, at], [i, i], color="#e3e6eb", lw=5, solid_capstyle="butt")
        axes.plot(at, i, "o", color=ASK, ms=5.5)
        axes.annotate(f"{at:.1f} ms", (at, i), (8, 0), textcoords="offset points", va="center", fontsize=8.5)
    axes.set_yticks(range(len(steps)), [name for name, _ in steps])
    axes.tick_params(axis="y", length=0)
    axes.invert_yaxis()
    axes.set_xlim(0, max((at for _, at in steps), default=1) * 1.12 + 1)
    axes.set_xlabel("ms after the debounced press")
    return to_svg(figure, "timeline of the kill")


def bars(values: Mapping[str, float], label: str, digits: int = 1) -> str:
    """Return horizontal bars with their values, e.g. feature importance."""
    figure, axes = canvas(0.7 + 0.24 * len(values))
    names = list(values)
    drawn = axes.barh(names, [values[name] for name in names], color=BID, alpha=0.65, height=0.66)
    axes.bar_label(drawn, fmt=f"{{:,.{digits}f}}", padding=4, fontsize=8.5, color="#4b5563")
    axes.tick_params(axis="y", length=0)
    axes.margins(x=0.09)
    axes.invert_yaxis()
    axes.set_xlabel(label)
    return to_svg(figure, label)
