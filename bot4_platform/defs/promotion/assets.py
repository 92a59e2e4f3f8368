"""The champion: what passed the gates of mlflow/promotion.yaml, exported for the runner."""

import dagster as dg

from bot4_platform.checks import OWNERS
from bot4_platform.resources import Bot4Resource


@dg.asset(
    deps=["training_set", "baseline_model", "lightgbm_model"],
    group_name="promotion",
    owners=OWNERS,
    kinds={"mlflow"},
    code_version="1",
    pool="promotion",
    description="Judges the newest challenger by mlflow/promotion.yaml: sound, and more skill than the baseline at "
    "95 % by block bootstrap on the holdout. Moves the aliases champion, challenger and previous, and exports the "
    "champion as a bundle under its digest, then current.json. The baseline is champion when there is none; a "
    "refusal is a normal, green outcome with its reasons below.",
)
def champion(context: dg.AssetExecutionContext, bot4: Bot4Resource) -> dg.MaterializeResult:
    """Promote or refuse, and export."""
    from bot4_platform.mlops import dataset, evidence, registry
    from bot4_platform.mlops.config import load_models, load_policy
    from bot4_platform.mlops.promote import promote
    from bot4_platform.reporting import table, when

    settings = bot4.settings()
    data, model = dataset.read(settings), next(iter(load_models().values())).registered_model
    decision = promote(
        settings, registry.client(settings), model, data, load_policy(), f"dagster run {context.run.run_id}"
    )
    evidence.save(settings, decision)
    context.log.info(f"{decision.verdict}: {decision.why}; champion is v{decision.champion.number}")
    verdicts = [(g.name, "passed" if g.passed else "REFUSED", g.value, g.limit) for g in decision.gates]
    return dg.MaterializeResult(
        metadata={
            "verdict": decision.verdict,
            "why": decision.why,
            "gates": table(("gate", "verdict", "found", "asked"), verdicts),
            "champion_version": decision.champion.number,
            "champion_is_baseline": decision.current.baseline,
            "challenger_version": decision.challenger.number if decision.challenger else 0,
            "digest": decision.current.digest,
            "bundle": dg.MetadataValue.path(str(settings.models_dir / "sha256" / decision.current.digest)),
            "train_until_ns": decision.train_until_ns,
            "train_until": when(decision.train_until_ns),
        }
    )
