"""dbt's models as asset specs and its tests as check specs, by the step that builds them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import dagster as dg
from dagster_dbt import DagsterDbtTranslator

from bot4_platform import dbt_runner
from bot4_platform.beta import beta
from bot4_platform.checks import OWNERS

# Which folder of dbt/models/marts is in which group; a staging model goes with the marts that are made of it.
GROUPS = {"candles": "candles", "flow": "candles", "statements": "marts", "books": "marts", "basis": "cross_market"}
STAGING = {"stg_trades": "candles", "stg_mids": "cross_market"}

with beta():
    # What is made of all markets of a day.
    WHOLE_DAY = dg.MultiToSingleDimensionPartitionMapping(partition_dimension_name="day")


class Translator(DagsterDbtTranslator):
    """What dbt does not say: group, owners, and a description without the SQL (it is in the repository)."""

    def get_group_name(self, dbt_resource_props: Mapping[str, Any]) -> str:
        """Return the group of a model, by its folder."""
        if dbt_resource_props["fqn"][1] == "staging":
            return STAGING.get(dbt_resource_props["name"], "marts")
        return GROUPS[dbt_resource_props["fqn"][2]]

    def get_owners(self, dbt_resource_props: Mapping[str, Any]) -> list[str]:
        """Return the owners of all dbt models."""
        return OWNERS

    def get_description(self, dbt_resource_props: Mapping[str, Any]) -> str:
        """Return the description given in the project."""
        return str(dbt_resource_props["description"])


MANIFEST = dbt_runner.read_manifest()
TRANSLATOR = Translator()


@dataclass(frozen=True)
class Step:
    """The models of one group: specs and checks by dbt's id, and which of them are marts."""

    models: dict[str, dg.AssetSpec] = field(default_factory=dict)
    checks: dict[str, dg.AssetCheckSpec] = field(default_factory=dict)
    marts: frozenset[str] = frozenset()


def step_of(group: str) -> Step:
    """Return the models and tests of a group."""
    models, checks, marts = {}, {}, set()
    for name, node in MANIFEST["nodes"].items():
        if node["resource_type"] == "model" and TRANSLATOR.get_group_name(node) == group:
            spec = TRANSLATOR.get_asset_spec(MANIFEST, name, None)
            models[name] = spec.replace_attributes(deps=[_dep(dep) for dep in spec.deps], kinds={"dbt", "duckdb"})
            if node["fqn"][1] == "marts":
                marts.add(node["name"])
    for name, node in MANIFEST["nodes"].items():
        if node["resource_type"] == "test":
            for spec in models.values():
                if found := TRANSLATOR.get_asset_check_spec(spec, MANIFEST, name, None):
                    checks[name] = found
    return Step(models, checks, frozenset(marts))


def _dep(dep: dg.AssetDep) -> dg.AssetDep:
    """Return the dependency, on all markets of the day where it is on a table by market and the model is not."""
    if dep.asset_key.path[-1] == "mids_250ms":
        return dg.AssetDep(dep.asset_key, partition_mapping=WHOLE_DAY)
    return dep
