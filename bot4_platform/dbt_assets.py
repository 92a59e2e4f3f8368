"""What the definitions take of dbt's project: dbt/assets.json, made of it by dagster-dbt.

dbt and dagster-dbt take 3 s to import, in each process that loads the definitions; this file takes a millisecond.
`python -m bot4_platform.dbt_assets` renews it after a change in dbt/; a test compares the two.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bot4_platform.dbt_runner import parse
from bot4_platform.settings import DBT_DIR

if TYPE_CHECKING:
    import dagster as dg

ASSETS = DBT_DIR / "assets.json"

# Which folder of dbt/models/marts is in which group; a staging model goes with the marts that are made of it.
GROUPS = {"candles": "candles", "flow": "candles", "statements": "marts", "books": "marts", "basis": "cross_market"}
STAGING = {"stg_trades": "candles", "stg_mids": "cross_market"}


@cache
def read() -> Mapping[str, dict[str, Any]]:
    """Return `models` and `checks`, each by dbt's unique id, as `describe` made them."""
    described: dict[str, dict[str, Any]] = json.loads(ASSETS.read_text())
    return described


def sources_of(models: Iterable[str]) -> list[str]:
    """Return the lake's tables that models (by name), and all that they are made of, read."""
    parents = {model["name"]: model["deps"] for model in read()["models"].values()}
    tables, waiting = set(), list(models)
    while waiting:
        for parent in parents[waiting.pop()]:
            if parent in parents:
                waiting.append(parent)
            else:
                tables.add(parent)
    return sorted(tables)


def describe(manifest: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return what dagster-dbt says of a manifest's models and tests, of each what the definitions take.

    Keys of assets are the names of models and tables. Raises KeyError for a model in a folder without a group, and
    ValueError for an asset's key of several parts.
    """
    from dagster_dbt import DagsterDbtTranslator

    translator = DagsterDbtTranslator()
    models, checks = {}, {}
    for name, node in sorted(manifest["nodes"].items()):
        if node["resource_type"] != "model":
            continue
        spec = translator.get_asset_spec(manifest, name, None)
        models[name] = {
            "name": _name(spec.key),
            "mart": node["fqn"][1] == "marts",
            "group": GROUPS[node["fqn"][2]] if node["fqn"][1] == "marts" else STAGING.get(node["name"], "marts"),
            "description": node["description"],
            "code_version": spec.code_version,
            "deps": _names(spec.deps),
            "columns": [[c.name, c.type, c.description] for c in spec.metadata["dagster/column_schema"].columns],
        }
        for test in manifest["child_map"][name]:
            if test.startswith("test.") and (check := translator.get_asset_check_spec(spec, manifest, test, None)):
                also = _names(check.additional_deps)
                checks[test] = {"name": check.name, "model": name, "deps": also, "blocking": check.blocking}
                checks[test] |= {"description": check.description}
    return {"models": models, "checks": dict(sorted(checks.items()))}


def _names(deps: Iterable[dg.AssetDep]) -> list[str]:
    """Return them in an order of our own: dagster-dbt's is that of a set."""
    return sorted(_name(dep.asset_key) for dep in deps)


def _name(key: dg.AssetKey) -> str:
    (name,) = key.path
    return name


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        text = json.dumps(describe(parse(Path(folder))), indent=1, sort_keys=True) + "\n"
    ASSETS.write_text(text)
    sys.stdout.write(f"wrote {ASSETS} ({len(text)} bytes)\n")
