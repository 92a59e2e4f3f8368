"""From ages to causes: what is old, what upstream made it old, and what it holds up downstream.

An item is old when its data end before `now - limit`. The search goes from it upstream through everything whose data
end before that same time; where all inputs of such a thing reach further, it was not computed, and where there are no
inputs, the source itself has stopped. So a table with a lenient limit is found as the cause of an impatient view.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from bot4_platform.staleness.ages import EVERYTHING, Reach
from bot4_platform.staleness.rules import JOURNAL, SEALED

SECOND_NS = 10**9


class Item(NamedTuple):
    """One asset of one scope: a market, a source, or everything."""

    name: str
    scope: str

    def __str__(self) -> str:
        """Return it for people."""
        return f"{self.name} ({self.scope})" if self.scope else self.name


@dataclass(frozen=True)
class Stale:
    """An item that was judged: missing when `newest_ns` is None, as new as it should be when it has no `causes`."""

    item: Item
    kind: str
    newest_ns: int | None
    age_s: float | None
    limit_s: int
    trading: bool
    causes: tuple[Item, ...]


@dataclass(frozen=True)
class Cause:
    """Where staleness begins: why, what is old because of it, and what trading reads that it will make old."""

    item: Item
    newest_ns: int | None
    why: str
    holds_up: tuple[Item, ...]
    threatens: tuple[Item, ...]


@dataclass(frozen=True)
class Report:
    """Everything that was judged at `now_ns`: all items, those that are stale, and the causes, most harm first."""

    now_ns: int
    items: tuple[Stale, ...]
    stale: tuple[Stale, ...]
    causes: tuple[Cause, ...] = field(default=())

    @property
    def judged(self) -> int:
        """Return how many items were judged."""
        return len(self.items)

    @property
    def blocks_trading(self) -> bool:
        """Return whether something that a running session reads is stale."""
        return any(found.trading for found in self.stale)


@dataclass
class Graph:
    """Assets with their direct inputs, how far each reaches, which are partitioned, and the market that is traded."""

    parents: Mapping[str, tuple[str, ...]]
    reach: Mapping[str, Reach]
    partitioned: frozenset[str]
    traded: str

    def items(self) -> list[Item]:
        """Return every item with a rule of its own: what is there, and what should be."""
        found = []
        for name, reach in self.reach.items():
            if reach.rule is not None:
                scopes = set(reach.newest_ns)
                if not scopes and (reach.rule.trading or JOURNAL in self.upstream(name) | {name}):
                    scopes = {self._expected(name)}  # a source that never gave anything is off, not stale
                if reach.rule.trading and EVERYTHING not in scopes:
                    scopes.add(self.traded)
                found += [Item(name, scope) for scope in sorted(scopes)]
        return found

    def _expected(self, name: str) -> str:
        """Return the scope in which an item without any data is missed: its market, if it comes of the journal."""
        of_market = name in self.partitioned and JOURNAL in self.upstream(name) | {name}
        return self.traded if of_market else EVERYTHING

    def upstream(self, name: str) -> set[str]:
        """Return the names of everything before an asset."""
        seen: set[str] = set()
        waiting = [name]
        while waiting:
            for parent in self.parents.get(waiting.pop(), ()):
                if parent not in seen:
                    seen.add(parent)
                    waiting.append(parent)
        return seen

    def inputs(self, item: Item) -> list[Item]:
        """Return the items that an item is made from: those of its scope; of everything, the traded market's."""
        found = []
        for parent in self.parents.get(item.name, ()):
            reach = self.reach[parent]
            scopes = set(reach.newest_ns)
            if item.scope in scopes or reach.rule is None or not scopes:
                wanted = {item.scope if item.scope or reach.rule is None else self._expected(parent)}
            elif self.traded in scopes:
                wanted = {self.traded}
            else:
                wanted = scopes
            found += [Item(parent, scope) for scope in sorted(wanted)]
        return found

    def newest(self, item: Item) -> int | None:
        """Return until when an item's data reach: its own say, or that of the oldest input; None when unknown."""
        reach = self.reach[item.name]
        if reach.rule is not None:
            return reach.newest_ns.get(item.scope)
        times = [self.newest(parent) for parent in self.inputs(item)]
        known = [time for time in times if time is not None]
        return min(known) if known and len(known) == len(times) else None

    def roots(self, item: Item, before_ns: int) -> set[Item]:
        """Return where upstream the lack of data after `before_ns` begins."""
        late = [parent for parent in self.inputs(item) if (self.newest(parent) or 0) < before_ns]
        return set().union(*(self.roots(parent, before_ns) for parent in late)) if late else {item}


def judge(graph: Graph, now_ns: int, hints: Mapping[str, str] | None = None) -> Report:
    """Return what is stale and why. `hints`: by scope what a source answered last, where that was refused."""
    judged, items = [], graph.items()
    by_cause: dict[Item, list[Stale]] = {}
    for item in items:
        rule = graph.reach[item.name].rule
        assert rule is not None
        newest = graph.newest(item)
        before = now_ns - rule.limit_s * SECOND_NS
        fresh = newest is not None and newest >= before
        causes = () if fresh else tuple(sorted(graph.roots(item, before)))
        trading = rule.trading and item.scope in (EVERYTHING, graph.traded)
        age = None if newest is None else (now_ns - newest) / SECOND_NS
        found = Stale(item, rule.kind, newest, age, rule.limit_s, trading, causes)
        judged.append(found)
        for cause in causes:
            by_cause.setdefault(cause, []).append(found)
    stale = tuple(found for found in judged if found.causes)
    old = {found.item for found in stale}
    causes_found = []
    for cause, held in by_cause.items():
        threatened = tuple(
            other for other in items
            if other not in old and graph.reach[other.name].rule.trading  # type: ignore[union-attr]
            and other.scope in (EVERYTHING, graph.traded) and cause in _before(graph, other)
        )  # fmt: skip
        holds = tuple(found.item for found in held if found.item != cause)
        causes_found.append(Cause(cause, graph.newest(cause), why(graph, cause, hints or {}), holds, threatened))
    harm = {cause: sum(found.trading for found in held) for cause, held in by_cause.items()}
    causes_found.sort(key=lambda found: (-harm[found.item], -len(found.holds_up), found.item))
    return Report(now_ns, tuple(judged), stale, tuple(causes_found))


def why(graph: Graph, item: Item, hints: Mapping[str, str]) -> str:
    """Return in words why an item is where staleness begins."""
    from bot4_platform.reporting import when

    newest = graph.newest(item)
    reached = f"ends at {when(newest)}" if newest is not None else "has no data"
    inputs = graph.inputs(item)
    if item.name == JOURNAL:
        return f"the journal {reached}: no session or recorder writes this market; `bot4 feeds` shows who runs"
    if item.name == SEALED:
        return (
            f"what is sealed {reached}, the journal goes on to {_reach(graph, inputs)}: a segment is sealed every "
            "BOT4_JOURNAL__ROTATE_S seconds or when its session ends"
        )
    if not inputs:
        refused = f"; its last answer was quarantined: {hints[item.scope]}" if item.scope in hints else ""
        return f"the source {reached} and gave nothing since{refused}"
    verb = "was never computed" if newest is None else f"{reached} and was not computed since"
    return f"{verb}: its inputs reach {_reach(graph, inputs)}; materialize {item.name}"


def _reach(graph: Graph, inputs: list[Item]) -> str:
    from bot4_platform.reporting import when

    times = [time for parent in inputs if (time := graph.newest(parent)) is not None]
    return when(min(times)) if times else "nothing"


def _before(graph: Graph, item: Item) -> set[Item]:
    seen: set[Item] = set()
    waiting = [item]
    while waiting:
        for parent in graph.inputs(waiting.pop()):
            if parent not in seen:
                seen.add(parent)
                waiting.append(parent)
    return seen
