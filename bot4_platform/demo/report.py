"""`report.html`: one file, readable offline, of everything a run did."""

from __future__ import annotations

import html
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

STYLE = Path(__file__).with_name("report.css")


class Html(str):
    """Text that is HTML already and is not escaped again."""


def escape(value: object) -> str:
    """Return text safe in HTML."""
    return value if isinstance(value, Html) else html.escape(str(value))


def number(value: object, digits: int = 2) -> str:
    """Return a number for people; what is no number is said in words."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.{digits}f}" if abs(value) >= 10**-digits or value == 0 else f"{value:.2g}"
    return escape(value)


def pill(text: object, good: bool | None = None) -> Html:
    """Return a verdict in a coloured field."""
    tone = {True: " good", False: " bad", None: ""}[good]
    return Html(f'<span class="pill{tone}">{escape(text)}</span>')


def card(label: str, value: object, tone: str = "", digits: int = 2) -> str:
    """Return one figure."""
    return f'<div class="card"><b class="{tone}">{number(value, digits)}</b><span>{escape(label)}</span></div>'


def table(head: Iterable[str], rows: Iterable[Iterable[object]], digits: int = 4) -> str:
    """Return a table; columns of numbers are set right."""
    body = [list(row) for row in rows]

    def numeric(value: object) -> bool:
        return isinstance(value, int | float) and not isinstance(value, bool)

    right = [all(numeric(row[i]) or row[i] is None for row in body) for i in range(len(body[0]))] if body else []
    top = "".join(
        f'<th class="num">{escape(name)}</th>' if i < len(right) and right[i] else f"<th>{escape(name)}</th>"
        for i, name in enumerate(head)
    )
    lines = ""
    for row in body:
        cells = (f"<td{' class=num' if right[i] else ''}>{number(v, digits)}</td>" for i, v in enumerate(row))
        lines += f"<tr>{''.join(cells)}</tr>"
    return f'<div class="scroll"><table><tr>{top}</tr>{lines}</table></div>'


def section(anchor: str, title: str, *parts: str) -> str:
    """Return a section; empty parts are left out."""
    return f'<section><h2 id="{anchor}">{escape(title)}</h2>{"".join(part for part in parts if part)}</section>'


def paragraph(text: str, kind: str = "") -> str:
    """Return a paragraph of plain text."""
    return f'<p class="{kind}">{escape(text)}</p>'


def render(summary: Mapping[str, Any], sections: Iterable[tuple[str, str, str]]) -> str:
    """Return the page. `sections` are (anchor, title, html)."""
    parts = list(sections)
    pnl, checks = float(summary["pnl_quote"]), f"{summary['asset_checks_passed']} / {summary['asset_checks_failed']}"
    cards = [
        card("PnL after fees, USDT", pnl, "good" if pnl >= 0 else "bad", 4),
        card("fills", summary["fills"]),
        card("orders sent", summary["orders_sent"]),
        card("events journaled", summary["events"]),
        card("decisions", summary["decisions"]),
        card("replay identical", summary["replay_identical"], "good" if summary["replay_identical"] else "bad"),
        card("kill: first flat, ms", float(summary["flat_ms"]), digits=1),
        card("kill: confirmed, ms", float(summary["kill_ms"]), digits=1),
        card(f"champion, version {summary['model_version']}", summary["model_name"]),
        card("checks passed / failed", checks, "bad" if summary["asset_checks_failed"] else "good"),
    ]
    nav = "".join(f'<a href="#{anchor}">{escape(title)}</a>' for anchor, title, _ in parts)
    body = "".join(section(anchor, title, text) for anchor, title, text in parts)
    raw = escape(json.dumps(summary, indent=1, default=str))
    took = number(float(summary["stages_total_s"]), 0)
    lead = (
        f"Paper trading on the simulated exchange. Market: {summary['source']}. {took} s on {summary['machine']}; "
        f"{summary['finished_at']}."
    )
    figures = section("summary", "All figures", f"<details><summary>summary.json</summary><pre>{raw}</pre></details>")
    return page(
        "Bot4: the main job",
        f'<h1>Bot4: the main job, end to end</h1><p class="lead">{escape(lead)}</p>'
        f'<nav>{nav}</nav><div class="cards">{"".join(cards)}</div>{body}{figures}',
    )


def page(title: str, body: str) -> str:
    """Return a whole page that needs nothing but itself; `body` is HTML."""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE.read_text()}</style></head><body>{body}</body></html>"
    )
