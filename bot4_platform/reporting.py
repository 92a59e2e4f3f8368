"""Metadata people look at in Dagster: small tables and plots as Markdown, times and prices as they are read."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import dagster as dg

from bot4_platform.lake import Written

if TYPE_CHECKING:
    import numpy as np


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> dg.MarkdownMetadataValue:
    """Return a Markdown table."""
    lines = [f"| {' | '.join(header)} |", "|" + "---|" * len(header)]
    lines += [f"| {' | '.join(str(cell) for cell in row)} |" for row in rows]
    return dg.MetadataValue.md("\n".join(lines))


def when(ns: int) -> str:
    """Return a time as ISO 8601 UTC with microseconds."""
    seconds, rest = divmod(int(ns), 10**9)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S}.{rest // 1000:06d}Z"


def written(result: Written) -> dict[str, Any]:
    """Return the metadata of a partition that was written."""
    return {
        "dagster/row_count": result.rows,
        "path": dg.MetadataValue.path(str(result.path)),
        "bytes": result.size,
    }


def line_plot(x_s: np.ndarray, lines: dict[str, np.ndarray], y_label: str, title: str) -> dg.MarkdownMetadataValue:
    """Return a plot of lines over seconds as an image within Markdown; needs no file and no network to be seen."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 2.6), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for name, values in lines.items():
        axes.plot(x_s, values, linewidth=0.8, label=name)
    axes.set_xlabel("seconds since the first row")
    axes.set_ylabel(y_label)
    axes.set_title(title, fontsize=10)
    axes.grid(alpha=0.3)
    if len(lines) > 1:
        axes.legend(fontsize=8)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=90)
    return dg.MetadataValue.md(f"![{title}](data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()})")
