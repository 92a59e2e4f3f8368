"""The page as HTML: pass rate and trend first, then where it was lost, what failed, what drifted, what is old."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from bot4_platform.demo.report import Html, escape
from bot4_platform.quality.agreement import BOUND_BP, FEWEST_S, SHARE
from bot4_platform.quality.drift import DRIFTED, HALVES, MOVED
from bot4_platform.quality.page import charts
from bot4_platform.quality.page.charts import percent
from bot4_platform.quality.page.facts import DRIFT_SHOWN, Facts
from bot4_platform.quarantine.frames import readable
from bot4_platform.reporting import when
from bot4_platform.staleness.report import span
from bot4_platform.staleness.trace import Cause

STYLE = Path(__file__).with_name("page.css")
DOCS = "data_docs"  # beside the page
TITLE = "Bot4 data quality"


def render(facts: Facts, now_ns: int) -> str:
    """Return the page. Everything it needs is in it; its links go to the Data Docs beside it."""
    body = "".join(
        (_head(facts), _trend(facts), _where(facts), _expectations(facts), _quarantine(facts), _drift(facts),
         _agreement(facts), _ages(facts))
    )  # fmt: skip
    made = datetime.fromtimestamp(now_ns / 1e9, UTC).strftime("%Y-%m-%d %H:%M UTC")
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{TITLE}: {escape(facts.account)}</title><style>{STYLE.read_text()}</style></head><body>{body}"
        f"<footer>Account {escape(facts.account)}, made {made} from the lake. The rules and where each lives: "
        "docs/quality.md.</footer></body></html>\n"
    )


def _head(facts: Facts) -> str:
    newest = next(reversed(facts.days), None)
    rate = facts.days[newest] if newest else facts.all
    met = sum(found.met for found in facts.days.values())
    findings = [one for suite in facts.suites for one in suite["findings"]]
    drifted, judged = facts.drifted
    stale = len(facts.ages.stale) if facts.ages else 0
    total = facts.all
    figures = [
        _figure(f"{met} of {len(facts.days)}", "days at or above 99.9 %", met == len(facts.days)),
        _figure(f"{total.total:,}", "frames judged"),
        _figure(f"{total.refused:,}", "refused, with their bytes kept"),
        _figure(f"{sum(one['met'] for one in findings)} of {len(findings)}", "expectations met",
                all(one["met"] for one in findings)),
        _figure(f"{drifted} of {judged}" if judged else "no reference yet", "features drifted",
                None if not judged else drifted == 0),
        _figure(f"{stale}", "stale tables, views, models", stale == 0),
    ]  # fmt: skip
    of = f"of the frames of {newest} passed validation" if newest else "nothing was judged yet"
    return (
        f'<header><div><h1>{TITLE}</h1><p class="rate {"good" if rate.met else "bad"}">{percent(rate.share)}</p>'
        f'<p class="sub">{of}; the target is 99.9 %.</p></div><div class="figures">{"".join(figures)}</div></header>'
    )


def _figure(value: str, label: str, good: bool | None = None) -> str:
    tone = {True: "good", False: "bad", None: ""}[good]
    return f'<div class="figure"><b class="{tone}">{escape(value)}</b><span>{escape(label)}</span></div>'


def _trend(facts: Facts) -> str:
    if not facts.days:
        return _section("trend", "Pass rate by day", "No day was counted yet: materialize the asset pass_rates.", "")
    return _section(
        "trend", "Pass rate by day",
        "Each step up is ten times fewer refused frames. What lies in the shaded field misses the target.",
        _panel(charts.trend(facts.days)),
    )  # fmt: skip


def _where(facts: Facts) -> str:
    if not facts.cells:
        return ""
    tables = sorted({table for _, table in facts.cells})
    rows = []
    for market in sorted({market for market, _ in facts.cells}):
        cells: list[object] = [market]
        for table in tables:
            rate = facts.cells.get((market, table))
            if rate is None or not rate.total:
                cells.append(Html('<span class="dim">-</span>'))
            elif table == "unknown":
                cells.append(Html(f'<span class="warn">{rate.refused:,} refused</span>'))
            else:
                tone = "good" if rate.met else "bad"
                cells.append(Html(f'<span class="{tone}" title="{rate.total:,} frames">{percent(rate.share)}</span>'))
        rows.append(cells)
    table = _table(["market", *tables], rows, right=range(1, len(tables) + 1))
    venues: dict[str, list[int]] = {}
    for (market, _), rate in facts.cells.items():
        counts = venues.setdefault(market.partition(":")[0], [0, 0])
        counts[0], counts[1] = counts[0] + rate.passed, counts[1] + rate.refused
    by_venue = [
        (venue, f"{passed + refused:,}", f"{refused:,}", percent(passed / max(1, passed + refused)))
        for venue, (passed, refused) in sorted(venues.items())
    ]
    rules = charts.bars(facts.rules) if facts.rules else '<p class="sub">No frame was refused.</p>'
    return _section(
        "where", "Where frames were refused",
        "By market and table over all days; frames that could not even be told a stream are counted as unknown.",
        _panel(table) + '<div class="split" style="margin-top:18px">' + _panel(f"<h3>By rule</h3><br>{rules}")
        + _panel("<h3>By venue</h3><br>" + _table(["venue", "frames", "refused", "passed"], by_venue, right=(1, 2, 3)))
        + "</div>",
    )  # fmt: skip


def _expectations(facts: Facts) -> str:
    about = "Great Expectations over profiles, samples and slow sources; each name opens its page in the Data Docs."
    if not facts.suites:
        return _section("expectations", "Expectations", f"{about} None were judged yet.", "")
    failing = [
        f'<div class="fail"><h3><a href="{_docs(suite)}">{escape(suite["suite"])}</a></h3>'
        f'<p><code>{escape(one["expected"])}</code></p><p class="bad">{escape(_short(one["found"]))}</p>'
        f'<p class="dim">{escape(one["why"])}</p></div>'
        for suite in facts.suites
        for one in suite["findings"]
        if not one["met"]
    ]
    rows = []
    for suite in facts.suites:
        met = sum(one["met"] for one in suite["findings"])
        good = met == len(suite["findings"])
        rows.append((
            Html(f'<a href="{_docs(suite)}">{escape(suite["suite"])}</a>'), suite["table"],
            Html(f'<span class="chip {"good" if good else "bad"}">{"passed" if good else "failed"}</span>'),
            f"{met} of {len(suite['findings'])}", f"{suite['rows']:,}",
        ))  # fmt: skip
    shown = _panel("".join(failing)) if failing else ""
    listed = _table(["suite", "table", "", "expectations", "rows judged"], rows, right=(3, 4))
    gap = '<div style="height:18px"></div>' if failing else ""
    return _section("expectations", "Expectations", about, shown + gap + _panel(listed))


def _docs(suite: dict[str, str]) -> str:
    return f"{DOCS}/{escape(suite['page'] or 'index.html')}"


def _short(found: str) -> str:
    return found if len(found) <= 160 else found[:160] + " ..."


def _quarantine(facts: Facts) -> str:
    if not facts.samples:
        return ""
    parts = []
    for rule, samples in facts.samples.items():
        count = facts.rules.get(rule, len(samples))
        lines = "".join(
            f'<p class="dim">{when(one.first_seen)} · {escape(one.where)}'
            + (f" · seq {one.seq}" if one.seq is not None else "")
            + (' <span class="chip good">released</span>' if one.state == "released" else "")
            + f"</p><pre>{escape(readable(one.raw, 600))}</pre>"
            for one in reversed(samples)
        )
        parts.append(
            f'<details><summary>{escape(rule)} <span class="dim">{count:,} in all</span></summary>{lines}</details>'
        )
    return _section(
        "quarantine", "Quarantine",
        "The newest of each rule, as they came. bot4 quarantine shows all and releases what was refused wrongly.",
        _panel("".join(parts)),
    )  # fmt: skip


def _drift(facts: Facts) -> str:
    parts = []
    for market, frame in facts.drift.items():
        reference = frame["reference"][0] if frame.height else ""
        worst = frame.filter(frame["verdict"] != "few").sort("psi", descending=True).head(DRIFT_SHOWN)
        cells = []
        for row in worst.iter_rows(named=True):
            bins = json.loads(row["bins"])
            tone = {"stable": "good", "moved": "warn", "drifted": "bad"}[row["verdict"]]
            drawn = charts.histogram(bins["reference"], bins["current"], f"{row['feature']} then and now")
            cells.append(
                f'<div><h3>{escape(row["feature"])}</h3><p class="dim" style="margin:0 0 6px;font-size:13px">'
                f'<span class="chip {tone}">{row["verdict"]}</span> PSI {row["psi"]:.2f}, KS {row["ks"]:.2f}</p>'
                f"{drawn}</div>"
            )
        against = "no earlier day to compare with: the day's own halves, shown and not judged"
        title = f"{market}, {facts.drift_day[market]}" + (f" ({against})" if reference == HALVES else "")
        few = '<p class="sub">Too few rows to compare.</p>'
        parts.append(
            f'<h3 style="margin:0 0 14px">{escape(title)}</h3>'
            + (f'<div class="grid-small">{"".join(cells)}</div>' if cells else few)
        )
    if not parts:
        return ""
    key = (
        f'<p class="key">Bars: the newest day. Line: its reference. Moved from PSI {MOVED:g}, drifted from {DRIFTED:g}.'
        "</p>"
    )
    gap = '<div style="height:26px"></div>'
    return _section("drift", "Drift of the features", "The most changed first.", _panel(gap.join(parts) + key))


def _agreement(facts: Facts) -> str:
    if not facts.agreement:
        return ""
    rows = [
        (
            row["day"], f"{row['market']} against {row['other']}", f"{row['seconds']:,}", f"{row['bp_median']:+.2f}",
            f"{row['bp_p99']:.2f}", f"{row['within']:.1%}",
            Html('<span class="chip">too few seconds</span>' if row["seconds"] < FEWEST_S
                 else '<span class="chip good">agree</span>' if row["within"] >= SHARE
                 else '<span class="chip bad">apart</span>'),
        )
        for row in facts.agreement
    ]  # fmt: skip
    head = ["day", "markets", "seconds", "median, bp", "p99, bp", f"within {BOUND_BP:g} bp", ""]
    return _section(
        "agreement", "Agreement of venues", "Mids of the same asset on the same seconds of exchange time.",
        _panel(_table(head, rows, right=(2, 3, 4, 5))),
    )  # fmt: skip


def _ages(facts: Facts) -> str:
    if facts.ages is None:
        return ""
    rows = []
    for one in sorted(facts.ages.items, key=lambda found: (not found.causes, found.item)):
        used = 1.0 if one.age_s is None else min(1.0, max(0.02, one.age_s / one.limit_s))
        chip = '<span class="chip bad">stale</span>' if one.causes else '<span class="chip good">fresh</span>'
        trading = ' <span class="chip warn">trading reads it</span>' if one.causes and one.trading else ""
        because = ", ".join(str(cause) for cause in one.causes if cause != one.item)
        rows.append((
            one.item.name, one.item.scope or "all", Html(chip + trading),
            Html(f'<span class="meter"><i class="{"bad" if one.causes else ""}" style="width:{used:.0%}"></i></span>'),
            span(one.age_s), span(one.limit_s), because,
        ))  # fmt: skip
    whys = "".join(
        f'<div class="fail"><h3>{escape(found.item)}</h3><p class="dim">{escape(found.why)}</p>{_holds(found)}</div>'
        for found in facts.ages.causes
    )
    head = ["what", "of", "", "", "age", "allowed", "held up by"]
    return _section(
        "ages", "Ages of sources, tables, views and models",
        "By the time of the data, not of the last run. bot4 why-stale says the same at any time.",
        (_panel(whys) + '<div style="height:18px"></div>' if whys else "")
        + _panel(f"<details><summary>All {len(rows)} items, {len(facts.ages.stale)} of them stale</summary>"
                 + _table(head, rows, right=(4, 5)) + "</details>"),
    )  # fmt: skip


def _holds(cause: Cause) -> str:
    """Return what a cause holds up, and what trading reads of it."""
    parts = []
    if cause.holds_up:
        names = list(dict.fromkeys(item.name for item in cause.holds_up))
        more = f" and {len(names) - 6} more" if len(names) > 6 else ""
        parts.append(f"<p>Holds up {escape(', '.join(names[:6]))}{more}.</p>")
    if cause.threatens:
        names = list(dict.fromkeys(item.name for item in cause.threatens))
        parts.append(f'<p class="warn">Will hold up {escape(", ".join(names))}, which trading reads.</p>')
    return "".join(parts)


def _section(anchor: str, title: str, about: str, body: str) -> str:
    return f'<section id="{anchor}"><h2>{escape(title)}</h2><p class="sub">{escape(about)}</p>{body}</section>'


def _panel(body: str) -> str:
    return f'<div class="panel">{body}</div>'


def _table(head: Sequence[str], rows: Iterable[Sequence[object]], right: Iterable[int] = ()) -> str:
    numeric = set(right)
    top = "".join(f"<th{' class=num' if i in numeric else ''}>{escape(name)}</th>" for i, name in enumerate(head))
    lines = "".join(
        "<tr>" + "".join(
            f'<td class="{"num" if i in numeric else "first" if i == 0 else ""}">{escape(cell)}</td>'
            for i, cell in enumerate(row)
        ) + "</tr>"
        for row in rows
    )  # fmt: skip
    return f"<table><thead><tr>{top}</tr></thead><tbody>{lines}</tbody></table>"
