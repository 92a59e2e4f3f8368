"""Checks of what was exported: the registry, current.json and the bundle agree."""

import dagster as dg

from bot4_platform.resources import Bot4Resource


@dg.asset_check(
    asset="champion",
    blocking=True,
    description="current.json names the registry's champion, its bundle is whole (hashes, feature layout, golden rows "
    "to the bit), and the version's tags are sealed to it.",
)
def bundle_is_the_champion(context: dg.AssetCheckExecutionContext, bot4: Bot4Resource) -> dg.AssetCheckResult:
    """Load what a runner would load and compare it with the registry."""
    from bot4_live.models.current import load_current
    from bot4_platform.bundles.export import verify
    from bot4_platform.mlops import registry
    from bot4_platform.mlops.config import load_models

    settings = bot4.settings()
    version = registry.aliased(
        registry.client(settings), next(iter(load_models().values())).registered_model, "champion"
    )
    try:
        current, loaded = load_current(settings.models_dir)
        if version is None:
            raise ValueError("the registry has no champion")
        verify(version)
    except ValueError as error:
        return dg.AssetCheckResult(passed=False, metadata={"problem": str(error)})
    same = (current.digest, current.version) == (version.digest, version.number)
    return dg.AssetCheckResult(
        passed=same and loaded.info.version == version.number and current.baseline == (version.role == "baseline"),
        metadata={"digest": current.digest, "version": current.version, "baseline": current.baseline},
    )


@dg.asset_check(
    asset="champion",
    description="The judged challenger carries who, why and every gate with its numbers; what was refused is not "
    "champion.",
)
def promotion_is_explained(context: dg.AssetCheckExecutionContext, bot4: Bot4Resource) -> dg.AssetCheckResult:
    """Read the tags back."""
    import json

    from bot4_platform.mlops import registry
    from bot4_platform.mlops.config import load_models

    settings = bot4.settings()
    found = registry.client(settings)
    model = next(iter(load_models().values())).registered_model
    judged = [v for v in registry.versions(found, model) if "bot4.verdict" in v.tags]
    holder = registry.aliased(found, model, "champion")
    problems = []
    for version in judged:
        failed = [gate for gate in json.loads(version.tags["bot4.gates"]) if not gate["passed"]]
        if not version.tags.get("bot4.why") or not version.tags.get("bot4.who"):
            problems.append(f"v{version.number} does not say who or why")
        if bool(failed) != (version.tags["bot4.verdict"] == "refused"):
            problems.append(f"v{version.number} is {version.tags['bot4.verdict']} with {len(failed)} failed gates")
        if failed and holder is not None and holder.number == version.number:
            problems.append(f"v{version.number} was refused and is champion")
    return dg.AssetCheckResult(
        passed=bool(judged) and not problems, metadata={"judged": len(judged), "problems": "; ".join(problems)}
    )
