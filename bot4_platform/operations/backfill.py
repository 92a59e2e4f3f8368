"""Backfills in process: day after day, resumable, with what is left said all along.

Each partition is a run of its own in the account's instance, so the UI shows them. What one call left undone (by a
failure, by kill -9) the next one does: a partition is done when a run of this backfill, with these versions of the
code, succeeded.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from itertools import product

import dagster as dg
from dagster import AssetKey

from bot4_live.settings import Settings
from bot4_platform.instance import open_instance
from bot4_platform.journal_source import seals
from bot4_platform.partitions import DAYS, MARKETS, MarketDay
from bot4_platform.run import Selection, Step, divide, materialize

TAG = "bot4/backfill"
ALL = "all"  # the one part of what is not partitioned
ROOT = AssetKey("raw_segments")


@dataclass(frozen=True)
class Part:
    """A run of a backfill: a market day, a day, or ALL."""

    name: str
    keys: tuple[AssetKey, ...]
    at: MarketDay | None


@dataclass
class Progress:
    """How far a backfill is; `parts` are those that had to be run, `left_s` None until it can be said."""

    parts: int
    done: int = 0
    current: str = ""
    step: str = ""
    left_s: float | None = None


@dataclass
class Outcome:
    """What a backfill did: names of parts; `failed` with the first cause."""

    identity: str
    parts: int
    made: list[str] = field(default_factory=list)
    done_before: list[str] = field(default_factory=list)
    without_data: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    failed_checks: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def complete(self) -> bool:
        """Return whether nothing is left that could be made."""
        return not self.failed


def days_between(first: str, last: str) -> list[str]:
    """Return the UTC days from `first` to `last`, both included. Raises ValueError for no days, or none of ours."""
    try:
        start, end = date.fromisoformat(first), date.fromisoformat(last)
    except ValueError:
        raise ValueError(f"{first!r} to {last!r} are not days; write them as 2024-08-08") from None
    if end < start:
        raise ValueError(f"--from {start} is after --to {end}")
    begin, today = DAYS.start.date(), datetime.now(UTC).date()
    if start < begin or end > today:
        raise ValueError(f"days lie between {begin} (BOT4_PLATFORM__DAY_START) and today, {today}")
    return [(start + timedelta(i)).isoformat() for i in range((end - start).days + 1)]


def backfill(
    selection: Selection,
    days: Sequence[str],
    markets: Sequence[str],
    settings: Settings,
    *,
    again: bool = False,
    progress: Callable[[Progress], None] = lambda progress: None,
    definitions: dg.Definitions | None = None,
) -> Outcome:
    """Make `selection` for each of `days` and `markets`, in order of days; then what is not partitioned.

    What failed is kept and the rest goes on. Parts that this backfill made before are passed over unless `again`, and
    so are market days of which no sealed segment tells, where the selection is made from the journal. Raises ValueError
    for an unknown market or a selection that selects nothing.
    """
    if definitions is None:
        from bot4_platform.definitions import data_definitions

        definitions = data_definitions()
    unknown = sorted(set(markets) - set(MARKETS.get_partition_keys()))
    if unknown:
        raise ValueError(f"no market {unknown[0]}: known are {', '.join(MARKETS.get_partition_keys())}")
    by_market, by_day, rest = divide(selection, definitions)
    parts = [
        Part(f"{day}|{market}", tuple(by_market), MarketDay(day, market))
        for day, market in product(days, markets) if by_market
    ]  # fmt: skip
    parts += [Part(day, tuple(by_day), MarketDay(day, markets[0])) for day in days if by_day]
    parts += [Part(ALL, tuple(rest), None)] if rest else []
    outcome = Outcome(identity(definitions, [*by_market, *by_day, *rest]), len(parts))
    began = time.monotonic()
    known = set() if again else _made_before(settings, outcome.identity)
    recorded = _recorded(settings) if by_market and _of_journal(definitions, by_market) else None
    wanted = []
    for part in parts:
        if part.name in known and part.at is not None:  # what is not partitioned is made of all parts: always
            outcome.done_before.append(part.name)
        elif recorded is not None and part.keys == tuple(by_market) and part.at and part.at not in recorded:
            outcome.without_data.append(part.name)
        else:
            wanted.append(part)
    state = Progress(len(wanted))
    for part in wanted:
        _run(part, settings, definitions, outcome, state, progress)
        state.done += 1
        state.left_s = (time.monotonic() - began) / state.done * (state.parts - state.done)
        progress(state)
    outcome.seconds = time.monotonic() - began
    return outcome


def _run(
    part: Part, settings: Settings, definitions: dg.Definitions, outcome: Outcome, state: Progress,
    progress: Callable[[Progress], None],
) -> None:  # fmt: skip
    def told(step: Step) -> None:
        state.step = step.name
        progress(state)

    state.current, state.step = part.name, ""
    progress(state)
    summary = materialize(
        dg.AssetSelection.assets(*part.keys), [part.at] if part.at else [], settings, progress=told,
        definitions=definitions, tags={TAG: outcome.identity, f"{TAG}-part": part.name},
    )  # fmt: skip
    outcome.failed_checks += [f"{part.name} {name}" for name in summary.failed_checks]
    if summary.success:
        outcome.made.append(part.name)
    else:
        step, why = next(iter(summary.failed_steps.items()))
        outcome.failed[part.name] = f"{step}: {why}"


def identity(definitions: dg.Definitions, keys: Sequence[AssetKey]) -> str:
    """Return what a backfill is known by: its assets and the versions of their code, whatever days it spans."""
    graph = definitions.resolve_asset_graph()
    text = "\n".join(sorted(f"{key.to_user_string()}:{graph.get(key).code_version}" for key in keys))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _made_before(settings: Settings, name: str) -> set[str]:
    with open_instance(settings) as instance:
        runs = instance.get_runs(dg.RunsFilter(tags={TAG: name}, statuses=[dg.DagsterRunStatus.SUCCESS]))
        return {run.tags[f"{TAG}-part"] for run in runs}


def _recorded(settings: Settings) -> set[MarketDay]:
    return {
        MarketDay(day, market) for seal in seals(settings.journal_dir)
        for day, market in product({*seal.days, seal.receive_day}, seal.markets)
    }  # fmt: skip


def _of_journal(definitions: dg.Definitions, keys: Sequence[AssetKey]) -> bool:
    graph = definitions.resolve_asset_graph()
    return all(key == ROOT or ROOT in graph.get_ancestor_asset_keys(key) for key in keys)
