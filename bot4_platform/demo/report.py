"""`report.html`: one file, readable offline, of everything a run did."""

from __future__ import annotations

import html
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

STYLE = Path(__file__).with_name("report.css")


def escape(value: object) -> str:
    """Return text safe in HTML."""
    return html.escape(str(value))


def number(value: object, digits: int = 2) -> str:
    """Return a number for people; what is no number is said in words."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.{digits}f}" if abs(value) >= 10**-digits or value == 0 else f"{value:.3g}"
    return escape(value)


def card(label: str, value: object, tone: str = "") -> str:
    """Return one figure."""
    return f'<div class="card"><b class="{tone}">{number(value)}</b><span>{escape(label)}</span></div>'


def table(head: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    """Return a table; numbers are set right."""
    top = "".join(f"<th>{escape(name)}</th>" for name in head)
    body = ""
    for row in rows:
        cells = ""
        for value in row:
            numeric = isinstance(value, int | float) and not isinstance(value, bool)
            cells += f'<td class="num">{number(value, 4)}</td>' if numeric else f"<td>{number(value)}</td>"
        body += f"<tr>{cells}</tr>"
    return f"<table><tr>{top}</tr>{body}</table>"


def section(anchor: str, title: str, *parts: str) -> str:
    """Return a section; empty parts are left out."""
    return f'<h2 id="{anchor}">{escape(title)}</h2>' + "".join(part for part in parts if part)


def paragraph(text: str, kind: str = "") -> str:
    """Return a paragraph of plain text."""
    return f'<p class="{kind}">{escape(text)}</p>'


def render(summary: Mapping[str, Any], sections: Iterable[tuple[str, str, str]]) -> str:
    """Return the page. `sections` are (anchor, title, html)."""
    parts = list(sections)
    pnl = float(summary["pnl_quote"])
    cards = [
        card("PnL after fees, USDT", pnl, "good" if pnl >= 0 else "bad"),
        card("fills", summary["fills"]),
        card("orders sent", summary["orders_sent"]),
        card("events", summary["events"]),
        card("decisions", summary["decisions"]),
        card("replay identical", summary["replay_identical"], "good" if summary["replay_identical"] else "bad"),
        card("kill: first flat, ms", float(summary["flat_ms"])),
        card("kill: confirmed, ms", float(summary["kill_ms"])),
        card(f"champion (version {summary['model_version']})", summary["model_name"]),
        card("checks passed / failed", f"{summary['asset_checks_passed']} / {summary['asset_checks_failed']}"),
    ]
    nav = "".join(f'<a href="#{anchor}">{escape(title)}</a>' for anchor, title, _ in parts)
    body = "".join(section(anchor, title, text) for anchor, title, text in parts)
    raw = escape(json.dumps(summary, indent=1, default=str))
    took = number(float(summary["stages_total_s"]))
    lead = f"{summary['source']}; {took} s on {summary['machine']}; {summary['finished_at']}."
    return (
        "<!doctype html><html lang=en><head><meta charset=utf-8><meta name=viewport content='width=device-width'>"
        f"<title>Bot4: the main job</title><style>{STYLE.read_text()}</style></head><body>"
        f"<h1>Bot4: the main job, end to end</h1><p class=lead>{escape(lead)} Paper trading on the simulated "
        f"exchange.</p><nav>{nav}</nav><div class=cards>{''.join(cards)}</div>{body}<h2 id=summary>summary.json</h2>"
        f"<details><summary>all figures</summary><pre>{raw}</pre></details></body></html>"
    )
