"""Promotion and rollback: the only writer of the registry's aliases and of `current.json`."""

from __future__ import annotations

import fcntl
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from bot4_live.models.bundle import Bundle
from bot4_live.models.current import Current
from bot4_live.settings import Settings
from bot4_platform.bundles.export import export, fetch, seal, verify
from bot4_platform.mlops import registry
from bot4_platform.mlops.config import Policy
from bot4_platform.mlops.dataset import Dataset
from bot4_platform.mlops.gates import Gate, against_champion, sanity, skilled
from bot4_platform.mlops.registry import CHALLENGER, CHAMPION, PREVIOUS, Version

if TYPE_CHECKING:
    from mlflow import MlflowClient


@dataclass(frozen=True)
class Decision:
    """What promotion decided. `verdict`: promoted, refused or unchanged (the challenger is the champion already)."""

    verdict: str
    why: str
    champion: Version
    current: Current
    challenger: Version | None
    gates: list[Gate]  # the challenger's; the baseline's when there is no challenger
    train_until_ns: int


@contextmanager
def sole_writer(settings: Settings) -> Iterator[None]:
    """Hold the lock of the aliases: MLflow has no compare-and-swap for them. Raises ValueError when it is taken."""
    path = settings.root / "mlflow" / "promotion.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ValueError("another promotion or rollback is under way: try again when it has ended") from None
        yield


def promote(settings: Settings, found: MlflowClient, model: str, data: Dataset, policy: Policy, who: str) -> Decision:
    """Judge the newest challenger, move the aliases, export the champion, and say why.

    The newest baseline becomes champion when there is none. A refusal is a normal outcome. Raises ValueError when
    there is no version to promote, when the baseline itself is unsound, or when the champion's alias was moved by hand.
    """
    with sole_writer(settings):
        everything = registry.versions(found, model)
        baseline = next((v for v in reversed(everything) if v.role == "baseline"), None)
        challenger = next((v for v in reversed(everything) if v.role == "challenger"), None)
        champion = registry.aliased(found, model, CHAMPION)
        gates: list[Gate] = []
        verdict, why = "unchanged", "there is no challenger"
        if champion is None:
            if baseline is None:
                raise ValueError(f"{model} has no baseline version: materialize baseline_model first")
            gates = sanity(fetch(found, baseline, settings.models_dir), data, policy)
            why = "the first champion is the baseline"
            _judged(found, baseline, gates, "promoted", why, who)
            unsound = [gate.name for gate in gates if not gate.passed]
            if unsound:
                raise ValueError(f"baseline v{baseline.number} does not pass {', '.join(unsound)}: train it again")
            found.set_registered_model_alias(model, CHAMPION, str(baseline.number))
            champion, verdict = registry.aliased(found, model, CHAMPION), "promoted"
            assert champion is not None
        else:
            verify(champion)
        if challenger is not None and challenger.number == champion.number:
            verdict, why = "unchanged", "the newest challenger is the champion already"
            gates = [Gate(**gate) for gate in json.loads(champion.tags[f"{registry.TAG}gates"])]
        elif challenger is not None:
            gates = _gates(settings, found, challenger, champion, data, policy)
            failed = [gate for gate in gates if not gate.passed]
            verdict = "refused" if failed else "promoted"
            why = "; ".join(f"{gate.name} is {gate.value}, asked {gate.limit}" for gate in failed) or "all gates passed"
            _judged(found, challenger, gates, verdict, why, who)
            if failed:
                found.set_registered_model_alias(model, CHALLENGER, str(challenger.number))
            else:
                _crown(found, model, champion, challenger)
                champion = registry.aliased(found, model, CHAMPION)
                assert champion is not None
        current = export(settings, found, model)
    return Decision(verdict, why, champion, current, challenger, gates, data.until_ns)


def rollback(settings: Settings, found: MlflowClient, model: str, why: str, who: str) -> Current:
    """Make `previous` the champion again, export it, and return what `current.json` says.

    The two swap aliases, so a second rollback undoes the first. Raises ValueError when there is no previous champion.
    """
    with sole_writer(settings):
        previous, champion = registry.aliased(found, model, PREVIOUS), registry.aliased(found, model, CHAMPION)
        if previous is None or champion is None:
            raise ValueError(f"{model} has no previous champion to return to")
        verify(previous)
        fetch(found, previous, settings.models_dir)  # before any alias moves
        found.set_registered_model_alias(model, CHAMPION, str(previous.number))
        found.set_registered_model_alias(model, PREVIOUS, str(champion.number))
        registry.tag(found, previous, {"why": f"rollback from v{champion.number}: {why}", "who": who})
        return export(settings, found, model)


def _gates(
    settings: Settings, found: MlflowClient, challenger: Version, champion: Version, data: Dataset, policy: Policy
) -> list[Gate]:
    """Return the challenger's verdicts; one whose bundle does not load fails a single gate."""
    try:
        candidate = fetch(found, challenger, settings.models_dir)
    except ValueError as error:
        return [Gate("golden_rows", False, str(error), "the engine scores what the trainer did")]
    gates = sanity(candidate, data, policy) + skilled(candidate, data, policy)
    if champion.role != "baseline":
        incumbent: Bundle = fetch(found, champion, settings.models_dir)
        gates.append(against_champion(candidate, incumbent, data, policy))
    return gates


def _judged(found: MlflowClient, version: Version, gates: list[Gate], verdict: str, why: str, who: str) -> None:
    """Write the verdicts into the version's tags, sealed to its digest."""
    text = json.dumps([asdict(gate) for gate in gates], sort_keys=True)
    registry.tag(
        found,
        version,
        {"gates": text, "seal": seal(version.digest, text), "verdict": verdict, "why": why, "who": who},
    )


def _crown(found: MlflowClient, model: str, old: Version, new: Version) -> None:
    """Move the aliases: champion last, since it is what is acted upon."""
    found.set_registered_model_alias(model, PREVIOUS, str(old.number))
    held = registry.aliased(found, model, CHALLENGER)
    if held is not None:
        found.delete_registered_model_alias(model, CHALLENGER)
    found.set_registered_model_alias(model, CHAMPION, str(new.number))
