"""How far the data of everything reach: journal, lake, training files, online store, the model in use.

Times are ns of the engine clock, which is what ages are counted by: where a table has original exchange time, the
session's shift is added. Nothing is asked of Dagster, Feast or MLflow.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from bot4_live.settings import Settings
from bot4_platform.lake import Lake
from bot4_platform.settings import platform_settings
from bot4_platform.sources.switched import assets_off
from bot4_platform.staleness.rules import JOURNAL, SEALED, Rule, rule_of
from bot4_platform.tables import TABLES

if TYPE_CHECKING:
    from bot4_platform.journal_source import Seal

EVERYTHING = ""  # the scope of what is not divided by market or source


@dataclass
class Reach:
    """The newest data of one asset by scope (a market, a source, or EVERYTHING), and the rule it is held to."""

    rule: Rule | None
    newest_ns: dict[str, int] = field(default_factory=dict)


def observe(settings: Settings, assets: list[str]) -> dict[str, Reach]:
    """Return how far each of `assets` reaches, and with them the journal's events and its sealed segments.

    Raises ValueError when something that is there cannot be read: a damaged seal, bundle or current.json.
    """
    from bot4_platform.journal_source import seals

    known = seals(settings.journal_dir)
    special = {
        "labels": _training_file, "training_set": _training_file, "online_slow_features": _online, "champion": _model,
    }  # fmt: skip
    found = {
        JOURNAL: Reach(rule_of(JOURNAL, {}), _events(settings)),
        SEALED: Reach(rule_of(SEALED, {}), sealed_until(known)),
    }
    lake, off = Lake(settings.lake_dir), assets_off(platform_settings().sources)
    for name in assets:
        # A source that was never set up is not missed; one that was and gave data is.
        never = name in off and not lake.partitions(name)
        rule = None if never else rule_of(name, TABLES[name].columns if name in TABLES else {})
        if name in special:
            newest = special[name](settings, name, known)
        elif rule is not None and rule.column:
            newest = _table(lake, name, rule, known)
        else:
            newest = {}
        found[name] = Reach(rule, newest)
    return found


def _events(settings: Settings) -> dict[str, int]:
    """Return the newest event of each market in the journal, sealed or not."""
    from bot4_platform.staleness.journal_head import newest_events

    newest: dict[str, int] = {}
    for path in sorted(settings.journal_dir.glob("seg-*.b4j"), reverse=True):
        try:
            seen = newest_events(path)
        except FileNotFoundError:  # it was empty and its writer has ended
            continue
        newest = seen | newest
        if len(newest) >= len(seen) > 0:
            break
    return newest


def sealed_until(known: list[Seal]) -> dict[str, int]:
    """Return the newest sealed event of each market; of a segment in the archive the end that its seal states."""
    from bot4_platform.journal_source import archived
    from bot4_platform.staleness.journal_head import newest_events

    newest: dict[str, int] = {}
    for seal in reversed(known):
        if not seal.markets.keys() <= newest.keys():
            found = dict.fromkeys(seal.markets, seal.last_recv_ns) if archived(seal) else newest_events(seal.path)
            newest = found | newest
    return newest


def _table(lake: Lake, name: str, rule: Rule, known: list[Seal]) -> dict[str, int]:
    """Return the newest row of each market or source of a table, looking back past partitions without rows."""
    newest: dict[str, int] = {}
    for day, scope in reversed(lake.partitions(name)):
        if scope in newest:
            continue
        last = lake.read(name, day, scope, columns=[rule.column])[rule.column].max()
        if isinstance(last, int):
            newest[scope] = last + (_shift(known, scope, day) if rule.clock == "exchange" else 0)
    return newest


def _shift(known: list[Seal], market: str, day: str) -> int:
    return next((seal.shift_ns for seal in reversed(known) if market in seal.markets and day in seal.days), 0)


def _training_file(settings: Settings, name: str, known: list[Seal]) -> dict[str, int]:
    from bot4_platform.mlops import files

    path = {"labels": files.labels_path, "training_set": files.training_set_path}[name](settings).with_suffix(".json")
    if not path.is_file():
        return {}
    try:
        return {EVERYTHING: int(json.loads(path.read_text())["until_ns"])}
    except (ValueError, KeyError, TypeError):
        raise ValueError(f"{path} does not say until when its data reach: materialize the asset {name} again") from None


def _online(settings: Settings, name: str, known: list[Seal]) -> dict[str, int]:
    """Return the event time of what the online store serves of each market that the journal knows."""
    from bot4_platform.feature_store.online import stored

    newest = {}
    for market in sorted({market for seal in known for market in seal.markets}):
        at, _ = stored(settings, market)
        if at:
            shifts = [seal.shift_ns for seal in known if market in seal.markets]
            newest[market] = at + shifts[-1]
    return newest


def _model(settings: Settings, name: str, known: list[Seal]) -> dict[str, int]:
    """Return until when the model in use was trained or, where a newer challenger was refused, judged."""
    from bot4_live.models.bundle import MANIFEST
    from bot4_live.models.current import read_current
    from bot4_platform.mlops.evidence import decision_path

    current = read_current(settings.models_dir)
    if current is None:
        return {}
    manifest = settings.models_dir / "sha256" / current.digest / MANIFEST
    times: list[Any] = []
    for path, inner in ((manifest, "evidence"), (decision_path(settings), None)):
        try:
            said = json.loads(path.read_text())
            times.append((said[inner] if inner else said).get("train_until_ns"))
        except FileNotFoundError:
            if inner:
                raise ValueError(f"{path} is missing: current.json names a bundle that is not there") from None
        except (ValueError, KeyError, AttributeError):
            raise ValueError(f"{path} cannot be read; promote a model again") from None
    return {EVERYTHING: max(times)} if (times := [at for at in times if isinstance(at, int)]) else {}
