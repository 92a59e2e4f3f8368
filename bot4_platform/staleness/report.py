"""`bot4 why-stale` without the command line: the graph of the definitions, judged; as JSON and as lines."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from bot4_live.settings import Settings
from bot4_platform.lake import Lake
from bot4_platform.staleness.ages import EVERYTHING, observe
from bot4_platform.staleness.rules import JOURNAL, SEALED
from bot4_platform.staleness.trace import Graph, Item, Report, judge

if TYPE_CHECKING:
    import dagster as dg


def look(settings: Settings, now_ns: int, definitions: dg.Definitions | None = None) -> Report:
    """Judge the account's data at `now_ns`. Dagster need not run; its definitions are only read."""
    if definitions is None:
        from bot4_platform.definitions import defs

        definitions = defs
    assets = definitions.resolve_asset_graph()
    above: dict[str, tuple[str, ...]] = {JOURNAL: (), SEALED: (JOURNAL,)}
    partitioned = {JOURNAL, SEALED}
    for key in assets.toposorted_asset_keys:
        name, node = key.to_user_string(), assets.get(key)
        own = tuple(sorted(parent.to_user_string() for parent in node.parent_keys if parent != key))
        above[name] = (SEALED,) if name == "raw_segments" else own  # the journal stands before its ledger
        if node.is_partitioned:
            partitioned.add(name)
    reach = observe(settings, [name for name in above if name not in (JOURNAL, SEALED)])
    graph = Graph(above, reach, frozenset(partitioned), f"binance_usdm:{settings.symbol}")
    return judge(graph, now_ns, refused_answers(Lake(settings.lake_dir)))


def refused_answers(lake: Lake) -> dict[str, str]:
    """Return the newest quarantined answer of each source by its scope, in words."""
    found = {}
    for day, scope in reversed(lake.partitions("source_quarantine")):
        if scope not in found:
            rows = lake.read("source_quarantine", day, scope, columns=["first_seen", "rule", "reason"])
            last = rows.sort("first_seen").row(-1, named=True)
            found[scope] = f"{last['rule']}, {last['reason']}"
    return found


def as_dict(report: Report) -> dict[str, Any]:
    """Return a report for JSON. Times are ns, ages seconds."""

    def name(item: Item) -> dict[str, str]:
        return {"name": item.name, "scope": item.scope}

    return {
        "now_ns": report.now_ns,
        "judged": report.judged,
        "trading_is_held_up": report.blocks_trading,
        "causes": [
            name(found.item)
            | {
                "newest_ns": found.newest_ns,
                "why": found.why,
                "holds_up": [name(item) for item in found.holds_up],
                "threatens": [name(item) for item in found.threatens],
            }
            for found in report.causes
        ],
        "stale": [
            name(found.item)
            | {
                "kind": found.kind,
                "newest_ns": found.newest_ns,
                "age_s": found.age_s,
                "limit_s": found.limit_s,
                "trading": found.trading,
                "causes": [name(item) for item in found.causes],
            }
            for found in report.stale
        ],
    }


def span(seconds: float | None) -> str:
    """Return an age as it is said: 45 s, 12 min, 3.2 h, 18 d."""
    if seconds is None:
        return "-"
    for unit, size, digits in (("d", 86_400, 0), ("h", 3_600, 1), ("min", 60, 0)):
        if seconds >= 2 * size:
            return f"{seconds / size:,.{digits}f} {unit}"
    return f"{seconds:.0f} s"


def lines(report: Report) -> Iterator[str]:
    """Yield the report for a terminal: causes with what they hold up, then a table of what is stale."""
    from bot4_platform.reporting import when

    if not report.stale:
        yield f"all {report.judged} items are as new as they should be"
        return
    for found in report.causes:
        yield f"{found.item}: {found.why}"
        if found.holds_up:
            yield f"    holds up {_list(found.holds_up)}"
        if found.threatens:
            yield f"    will hold up {_list(found.threatens)}, which trading reads"
    yield ""
    head = ("stale", "of", "data until", "age", "allowed", "because of", "")
    rows = [
        (
            row.item.name,
            row.item.scope or "all",
            when(row.newest_ns)[:19] if row.newest_ns is not None else "nothing yet",
            span(row.age_s),
            span(row.limit_s),
            "itself" if row.causes == (row.item,) else ", ".join(sorted({item.name for item in row.causes})),
            "trading reads it" if row.trading else "",
        )
        for row in report.stale
    ]
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]
    for row in [head, *rows]:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
    trading = [str(found.item) for found in report.stale if found.trading]
    yield ""
    yield f"{len(report.stale)} of {report.judged} items are stale; " + (
        f"trading reads {len(trading)} of them: {', '.join(trading)}" if trading else "trading reads none of them"
    )


def _list(items: tuple[Item, ...]) -> str:
    scopes: dict[str, list[str]] = {}
    for item in items:
        scopes.setdefault(item.scope, []).append(item.name)
    parts = [f"{', '.join(names)}{f' of {scope}' if scope != EVERYTHING else ''}" for scope, names in scopes.items()]
    return "; ".join(parts)
