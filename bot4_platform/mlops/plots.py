"""Plots as PNG bytes, drawn without a display and without pyplot's global state."""

from __future__ import annotations

import base64
import io
from typing import Any

import dagster as dg
import numpy as np

INK, SOFT, GOOD, BAD = "#1f4e79", "#9fb8d0", "#2e7d4f", "#b3402a"


def axes(width: float = 6.4, height: float = 3.4, title: str = "", x: str = "", y: str = "") -> Any:
    """Return labelled axes of a new figure; `png` takes them."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    area = figure.add_subplot()
    area.set_title(title, fontsize=10)
    area.set_xlabel(x)
    area.set_ylabel(y)
    area.grid(alpha=0.25)
    return area


def png(area: Any) -> bytes:
    """Return the figure of `area` as PNG."""
    buffer = io.BytesIO()
    area.figure.savefig(buffer, format="png", dpi=100, metadata={"Software": ""})
    return buffer.getvalue()


def markdown(name: str, image: bytes) -> dg.MarkdownMetadataValue:
    """Return an image inside Markdown, for Dagster's metadata; needs no file and no network to be seen."""
    return dg.MetadataValue.md(f"![{name}](data:image/png;base64,{base64.b64encode(image).decode()})")


def importance(names: list[str], gain: np.ndarray) -> bytes:
    """Draw how much each feature contributes (share of the total), largest on top."""
    share = gain / gain.sum() if gain.sum() else gain
    order = np.argsort(share, kind="stable")
    area = axes(height=0.9 + 0.24 * len(names), title="Importance", x="share of gain")
    area.barh([names[i] for i in order], share[order], color=INK)
    return png(area)


def prediction(outcome: np.ndarray, forecast: np.ndarray) -> bytes:
    """Draw forecasts against outcomes of the holdout, both in bp."""
    area = axes(title="Forecast and outcome on the holdout", x="forecast, bp", y="outcome, bp")
    area.scatter(forecast, outcome, s=6, alpha=0.35, color=INK, linewidths=0)
    area.axhline(0, color=SOFT, linewidth=0.8)
    low, high = float(np.min(forecast)), float(np.max(forecast))
    area.plot([low, high], [low, high], color=BAD, linewidth=1, label="outcome = forecast")
    area.legend(fontsize=8)
    return png(area)


def calibration(outcome: np.ndarray, forecast: np.ndarray, bins: int = 10) -> bytes:
    """Draw the mean outcome (with its standard error) in groups of equal size by forecast."""
    area = axes(title="Calibration: what came when this was forecast", x="mean forecast, bp", y="mean outcome, bp")
    groups = [g for g in np.array_split(np.argsort(forecast, kind="stable"), bins) if g.size > 1]
    x = [float(forecast[g].mean()) for g in groups]
    y = [float(outcome[g].mean()) for g in groups]
    error = [float(outcome[g].std(ddof=1)) / g.size**0.5 for g in groups]
    area.errorbar(x, y, yerr=error, fmt="o", color=INK, capsize=2)
    area.plot([min(x), max(x)], [min(x), max(x)], color=BAD, linewidth=1)
    return png(area)


def skill_over_time(
    start_ns: np.ndarray, outcome: np.ndarray, forecast: np.ndarray, reference: np.ndarray, weight: np.ndarray
) -> bytes:
    """Draw the error saved against "no change", summed along the holdout, for a model and the baseline."""
    area = axes(title="Skill along the holdout", x="seconds into the holdout", y="skill so far")
    seconds = (start_ns - start_ns[0]) / 1e9
    total = float(np.sum(weight * outcome**2)) or 1.0
    for name, values, colour in (("baseline", reference, SOFT), ("model", forecast, INK)):
        saved = np.cumsum(weight * (outcome**2 - (outcome - values) ** 2)) / total
        area.plot(seconds, saved, color=colour, label=name)
    area.axhline(0, color=BAD, linewidth=0.8)
    area.legend(fontsize=8)
    return png(area)


def folds(scores: list[float], reference: list[float]) -> bytes:
    """Draw the skill of each validation fold, model beside baseline."""
    area = axes(height=2.8, title="Walk-forward folds", x="fold", y="skill")
    place = np.arange(1, len(scores) + 1)
    area.bar(place - 0.2, reference, 0.4, color=SOFT, label="baseline")
    area.bar(place + 0.2, scores, 0.4, color=INK, label="model")
    area.set_xticks(place)
    area.axhline(0, color="black", linewidth=0.8)
    area.legend(fontsize=8)
    return png(area)
