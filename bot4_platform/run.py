"""Materialize assets in this process, with the account's instance, so that the runs show in its UI."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from uuid import uuid4

import dagster as dg
from dagster import AssetKey, DagsterEventType, DagsterInvalidSubsetError, EventLogEntry

from bot4_live.settings import Settings
from bot4_platform.beta import beta
from bot4_platform.instance import open_instance
from bot4_platform.operations.dead_runs import PROCESS_TAG, bury_dead_runs, this_process
from bot4_platform.operations.errors import first_cause
from bot4_platform.partitions import DAYS, MARKET_DAYS, MarketDay

Selection = str | Sequence[str] | dg.AssetSelection


@dataclass(frozen=True)
class Step:
    """One finished step, for progress: assets and checks are counted over the whole call."""

    name: str
    ok: bool
    seconds: float
    partition: str | None
    done: int
    total: int


@dataclass
class RunSummary:
    """What a call of `materialize` did: counts over all its runs, failed checks and steps by name."""

    run_ids: list[str] = field(default_factory=list)
    assets_materialized: int = 0
    asset_checks_passed: int = 0
    asset_checks_failed: int = 0
    failed_checks: list[str] = field(default_factory=list)
    failed_steps: dict[str, str] = field(default_factory=dict)
    materialized: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def success(self) -> bool:
        """Return whether every step ran; a failed check that blocks nothing leaves this true."""
        return not self.failed_steps

    def add(self, other: RunSummary) -> None:
        """Take in the counts of another call."""
        for name, value in vars(other).items():
            mine = getattr(self, name)
            setattr(self, name, mine | value if isinstance(mine, dict) else mine + value)

    def raise_for_failure(self) -> None:
        """Raise RuntimeError naming the first failed step and why."""
        for name, why in self.failed_steps.items():
            raise RuntimeError(f"materialization of {name} failed: {why}")


def materialize(
    selection: Selection,
    partitions: Iterable[MarketDay | tuple[str, str]],
    settings: Settings,
    *,
    progress: Callable[[Step], None] | None = None,
    definitions: dg.Definitions | None = None,
    tags: Mapping[str, str] | None = None,
) -> RunSummary:
    """Materialize `selection` with its checks; return the counts, also when steps failed.

    What is partitioned by day and market runs once for each of `partitions` (day, market), in order; then what is
    partitioned by day alone once for each of their days, and what is not partitioned once. How old the data are is
    not checked: what is made may be of last year. `selection` is in Dagster's syntax (`"*"`, `'+key:"features"'` with
    all upstream), a list of asset names, or an AssetSelection; assets that one step makes together come together.
    Raises ValueError for a partition that the settings do not span, an unknown asset, or a selection that selects
    nothing.
    """
    if definitions is None:
        from bot4_platform.definitions import data_definitions

        definitions = data_definitions()
    parts = [MarketDay(*part) for part in partitions]
    for part in parts:
        if not MARKET_DAYS.has_partition_key(part.key):
            raise ValueError(
                f"no partition {part.key}: the first day is in BOT4_PLATFORM__DAY_START, markets in _MARKETS"
            )
    by_market, by_day, rest = divide(selection, definitions)
    partitioned = by_market + by_day
    if partitioned and not parts:
        raise ValueError(f"{partitioned[0].to_user_string()} is partitioned: name at least one (day, market)")
    summary = RunSummary()
    started = time.monotonic()
    plan: list[tuple[list[AssetKey], str | None]] = [(by_market, part.key) for part in parts if by_market]
    plan += [(by_day, day) for day in sorted({part.day for part in parts}) if by_day]
    if rest:
        plan.append((rest, None))
    with open_instance(settings) as instance:
        bury_dead_runs(instance)
        watcher = _Watcher(summary, progress, plan, definitions, tags or {})
        for keys_of_run, run_key in plan:
            watcher.run(instance, settings, keys_of_run, run_key)
            if not summary.success:
                break
    summary.seconds = time.monotonic() - started
    return summary


def divide(selection: Selection, definitions: dg.Definitions) -> tuple[list[AssetKey], list[AssetKey], list[AssetKey]]:
    """Return the selected assets, what is upstream first: by day and market, by day alone, and unpartitioned.

    Raises ValueError for an unknown asset, or a selection that selects nothing.
    """
    graph = definitions.resolve_asset_graph()
    try:
        keys = _resolve(selection).required_multi_asset_neighbors().resolve(graph)
    except DagsterInvalidSubsetError as error:
        raise ValueError(f"selection {selection!r}: {str(error).splitlines()[0]}") from error
    if not keys:
        raise ValueError(f"the selection {selection!r} selects no asset")
    ordered = [key for key in graph.toposorted_asset_keys if key in keys]
    by_day = [key for key in ordered if graph.get(key).partitions_def == DAYS]
    by_market = [key for key in ordered if graph.get(key).is_partitioned and key not in by_day]
    return by_market, by_day, [key for key in ordered if not graph.get(key).is_partitioned]


class _Watcher:
    """Runs one job after the other and turns Dagster's events into counts and progress."""

    def __init__(
        self,
        summary: RunSummary,
        progress: Callable[[Step], None] | None,
        plan: list[tuple[list[AssetKey], str | None]],
        definitions: dg.Definitions,
        tags: Mapping[str, str],
    ) -> None:
        self._tags = tags
        self._summary, self._progress = summary, progress
        self._job = definitions.resolve_implicit_global_asset_job_def()
        self._subsets = [self._job.get_subset(asset_selection=set(keys)) for keys, _ in plan]
        self._total = sum(len(job.nodes_in_topological_order) for job in self._subsets)
        self._done = 0
        self._begun: dict[str, float] = {}
        self._partition: str | None = None

    def run(self, instance: dg.DagsterInstance, settings: Settings, keys: list[AssetKey], key: str | None) -> None:
        """Execute one run and add what it did to the summary."""
        run_id = str(uuid4())
        self._partition = None if key is None else str(key)
        instance.add_event_listener(run_id, self.on_event)
        self._summary.run_ids.append(run_id)
        self._job.execute_in_process(
            instance=instance,
            run_id=run_id,
            asset_selection=keys,
            partition_key=key,
            raise_on_error=False,
            tags={"bot4/account": settings.account, PROCESS_TAG: this_process(), **self._tags},
            run_config={
                "resources": {"bot4": {"config": {"var": str(settings.var), "account": settings.account}}},
                "loggers": {"console": {"config": {"log_level": "CRITICAL"}}},
            },
        )

    def on_event(self, entry: EventLogEntry) -> None:
        """Count one event."""
        event = entry.dagster_event
        if event is None:
            return
        kind, step = event.event_type, event.step_key or ""
        if kind == DagsterEventType.STEP_START:
            self._begun[step] = time.monotonic()
        elif kind == DagsterEventType.ASSET_MATERIALIZATION:
            self._summary.assets_materialized += 1
            if event.asset_key:
                self._summary.materialized.append(event.asset_key.to_user_string())
        elif kind == DagsterEventType.ASSET_CHECK_EVALUATION:
            found = event.asset_check_evaluation_data
            if found.passed:
                self._summary.asset_checks_passed += 1
            else:
                self._summary.asset_checks_failed += 1
                self._summary.failed_checks.append(f"{found.asset_key.to_user_string()}:{found.check_name}")
        elif kind == DagsterEventType.STEP_FAILURE:
            self._summary.failed_steps[step] = first_cause(event.step_failure_data.error)
            self._tell(step, False)
        elif kind == DagsterEventType.STEP_SUCCESS:
            self._tell(step, True)
        elif kind == DagsterEventType.RUN_FAILURE and not self._summary.failed_steps:
            self._summary.failed_steps["run"] = " ".join((event.message or "the run failed").split())

    def _tell(self, step: str, ok: bool) -> None:
        self._done += 1
        if self._progress:
            seconds = time.monotonic() - self._begun.get(step, time.monotonic())
            self._progress(Step(step, ok, seconds, self._partition, self._done, self._total))


def _resolve(selection: Selection) -> dg.AssetSelection:
    if isinstance(selection, dg.AssetSelection):
        return selection
    if isinstance(selection, str):
        with beta():
            return dg.AssetSelection.from_string(selection)
    return dg.AssetSelection.assets(*selection)
