"""dbt's documentation as a page: models, columns, tests, exposures and the lineage between them."""

import dagster as dg

from bot4_platform.checks import OWNERS
from bot4_platform.resources import Bot4Resource


@dg.asset(
    group_name="documentation",
    owners=OWNERS,
    kinds={"dbt", "html"},
    code_version="1",
    description="dbt's documentation of sources, models, tests and exposures with their lineage, one page that reads "
    "offline: var/<account>/dbt_docs/index.html.",
)
def dbt_docs(bot4: Bot4Resource) -> dg.MaterializeResult:
    """Write the page."""
    from bot4_platform import dbt_assets, dbt_runner
    from bot4_platform.reporting import table
    from bot4_platform.settings import dbt_docs_dir

    settings = bot4.settings()
    page = dbt_runner.write_docs(dbt_docs_dir(settings), settings.root / "dbt")
    models = dbt_assets.read()["models"].values()
    rows = [(model["name"], len(model["columns"]), model["description"]) for model in models]
    return dg.MaterializeResult(
        metadata={
            "page": dg.MetadataValue.url(page.as_uri()),
            "bytes": page.stat().st_size,
            "models": table(("model", "columns", "what it is"), rows),
        }
    )


@dg.asset_check(asset="dbt_docs", description="The page has every model of the project with its description.")
def docs_have_every_model(bot4: Bot4Resource) -> dg.AssetCheckResult:
    """Look for each model's id and description in the page."""
    import json

    from bot4_platform import dbt_assets
    from bot4_platform.settings import dbt_docs_dir

    page = (dbt_docs_dir(bot4.settings()) / "index.html").read_text()
    missing = [
        name
        for name, model in dbt_assets.read()["models"].items()
        if not (f'"{name}"' in page and json.dumps(model["description"]).strip('"') in page)
    ]
    return dg.AssetCheckResult(passed=not missing, metadata={"missing": ", ".join(missing) or "none"})
