"""dbt's models as asset specs and its tests as check specs, by the step that builds them."""

from dataclasses import dataclass, field

import dagster as dg

from bot4_platform import dbt_assets
from bot4_platform.beta import beta
from bot4_platform.checks import OWNERS

with beta():
    # What is made of all markets of a day.
    WHOLE_DAY = dg.MultiToSingleDimensionPartitionMapping(partition_dimension_name="day")


@dataclass(frozen=True)
class Step:
    """The models of one group: specs and checks by dbt's id, and which of them are marts."""

    models: dict[str, dg.AssetSpec] = field(default_factory=dict)
    checks: dict[str, dg.AssetCheckSpec] = field(default_factory=dict)
    marts: frozenset[str] = frozenset()


def step_of(group: str) -> Step:
    """Return the models and tests of a group."""
    described = dbt_assets.read()
    of_group = {name: model for name, model in described["models"].items() if model["group"] == group}
    models = {
        name: dg.AssetSpec(
            model["name"],
            deps=[_dep(dep) for dep in model["deps"]],
            description=model["description"],
            metadata={
                "dagster/column_schema": dg.TableSchema([dg.TableColumn(*column) for column in model["columns"]])
            },
            skippable=True,
            group_name=group,
            code_version=model["code_version"],
            owners=OWNERS,
            kinds={"dbt", "duckdb"},
        )
        for name, model in of_group.items()
    }
    checks = {
        name: dg.AssetCheckSpec(
            check["name"],
            asset=models[check["model"]].key,
            description=check["description"],
            additional_deps=check["deps"],
            blocking=check["blocking"],
        )
        for name, check in described["checks"].items()
        if check["model"] in models
    }
    return Step(models, checks, frozenset(model["name"] for model in of_group.values() if model["mart"]))


def _dep(name: str) -> dg.AssetDep:
    """Return the dependency, on all markets of the day where it is on a table by market and the model is not."""
    return dg.AssetDep(name, partition_mapping=WHOLE_DAY if name == "mids_250ms" else None)
