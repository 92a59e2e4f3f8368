"""`report.html`: one file, readable offline, of everything a run did."""

from __future__ import annotations

import html
import json
from collections.abc import Iterable, Mapping
from typing import Any

STYLE = """
:root { --ink:#1f2430; --dim:#6b7280; --line:#e5e7eb; --good:#1a7f5a; --bad:#b3392f; --warn:#9a6700; }
* { box-sizing: border-box; }
body { font: 15px/1.55 system-ui, sans-serif; color: var(--ink); margin: 0 auto; max-width: 1040px; padding: 28px 22px 60px; }
h1 { font-size: 27px; margin: 0 0 2px; } h2 { font-size: 19px; margin: 38px 0 8px; border-bottom: 1px solid var(--line); padding-bottom: 4px; }
p.lead, .dim { color: var(--dim); } .cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(148px, 1fr)); gap: 10px; margin: 18px 0; }
.card { border: 1px solid var(--line); border-radius: 8px; padding: 10px 12px; } .card b { display: block; font-size: 20px; font-variant-numeric: tabular-nums; }
.card span { color: var(--dim); font-size: 12.5px; } .good { color: var(--good); } .bad { color: var(--bad); } .warn { color: var(--warn); }
table { border-collapse: collapse; width: 100%; font-size: 13.5px; margin: 8px 0; } th, td { text-align: left; padding: 4px 10px 4px 0; border-bottom: 1px solid var(--line); vertical-align: top; }
td.num, th.num { text-align: right; font-variant-numeric: tabular-nums; } svg, img { max-width: 100%; height: auto; } pre { background: #f6f7f9; padding: 10px; overflow-x: auto; font-size: 12.5px; }
nav a { margin-right: 14px; color: var(--dim); text-decoration: none; font-size: 13px; }
"""


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
    return (
        "<!doctype html><html lang=en><head><meta charset=utf-8><meta name=viewport content='width=device-width'>"
        f"<title>Bot4: the main job</title><style>{STYLE}</style></head><body>"
        f"<h1>Bot4: the main job, end to end</h1><p class=lead>{escape(summary['source'])}, "
        f"{number(float(summary['stages_total_s']))} s on {escape(summary['machine'])}, {escape(summary['finished_at'])}. "
        f"Paper trading on the simulated exchange.</p><nav>{nav}</nav><div class=cards>{''.join(cards)}</div>{body}"
        f"<h2 id=summary>summary.json</h2><details><summary>all figures</summary><pre>{raw}</pre></details></body></html>"
    )
