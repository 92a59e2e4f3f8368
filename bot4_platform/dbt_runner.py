"""dbt in this process.

`dbt` as a subprocess costs 4 s of imports a partition, and dagster-dbt's own client first calls `dbt --version`,
which asks a package index. In process a build takes 0.7 s after the first. What a build works on reaches the models
by environment variables: with `--vars` dbt would parse everything anew for each partition.
"""

from __future__ import annotations

import json
import os
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bot4_live.safety.durable import write_bytes
from bot4_platform.settings import DBT_DIR

if TYPE_CHECKING:
    from bot4_platform.timescale.settings import PostgresSettings

_lock = threading.Lock()


@dataclass(frozen=True)
class Outcome:
    """What became of one node: `kind` is model or test, `status` dbt's own word.

    `seconds` is what dbt took for it, `sql_seconds` the part in which the database worked (the adapter's own timing of
    each statement); the rest is dbt's overhead.
    """

    unique_id: str
    kind: str
    status: str
    seconds: float
    sql_seconds: float
    message: str
    failures: int

    @property
    def ok(self) -> bool:
        """Return whether it ran and, if a test, passed."""
        return self.status in ("success", "pass")


@dataclass(frozen=True)
class Freshness:
    """How old the data of a source was: `newest` is its newest event, `status` pass, warn, error or dbt's own word."""

    table: str
    status: str
    newest: str
    age_s: float
    message: str


def build(
    lake_dir: Path,
    out_dir: Path,
    day: str,
    market: str,
    target_path: Path,
    *,
    server: PostgresSettings | None = None,
    select: Iterable[str] = (),
    markets: Iterable[str] = (),
) -> list[Outcome]:
    """Run models and their tests on one partition; the marts land in `out_dir` as `<model>.parquet`.

    With a `server` they are built there instead, out of its tables, as rows of `marts.<model>`. `select` names models,
    which are built with all that they are made of; without it all are. `markets` are those of a model over several.
    Returns the outcomes in order of completion, also when some failed; a test runs when all that it looks at was
    built. Raises ValueError when dbt did not get as far as running anything.
    """
    variables = {"DBT_LAKE": str(lake_dir), "DBT_OUT": str(out_dir), "DBT_DAY": day, "DBT_MARKET": market}
    variables |= {"DBT_MARKETS": ",".join(markets)} | ({} if server is None else _login(server))
    target = "duckdb" if server is None else "postgres"
    chosen = [f"+{name}" for name in select]
    arguments = ["build", "--target", target, *(["--select", *chosen] if chosen else [])]
    spent: Counter[str] = Counter()

    def on_event(event: Any) -> None:
        if event.info.name == "SQLQueryStatus":
            spent[event.data.node_info.unique_id] += event.data.elapsed

    result = _invoke([*arguments, "--indirect-selection", "buildable"], target_path, variables, on_event)
    if result.result is None:
        raise ValueError(f"dbt could not start: {result.exception}")
    return [
        Outcome(
            unique_id=found.node.unique_id,
            kind=str(found.node.resource_type),
            status=str(found.status),
            seconds=found.execution_time,
            sql_seconds=spent[found.node.unique_id],
            message=found.message or "",
            failures=found.failures or 0,
        )
        for found in result.result.results
    ]


def freshness(
    lake_dir: Path, day: str, market: str, target_path: Path, *, tables: Iterable[str] = ()
) -> list[Freshness]:
    """Return how old the data of the sources was, of one partition: against now, or the day's end once it is over.

    `tables` are those that the partition has; without it all that have a bound. Raises ValueError when dbt could not
    start.
    """
    variables = {"DBT_LAKE": str(lake_dir), "DBT_DAY": day, "DBT_MARKET": market}
    chosen = [f"source:lake.{table}" for table in tables]
    arguments = ["source", "freshness", "--target", "duckdb", *(["--select", *chosen] if chosen else [])]
    result = _invoke(arguments, target_path, variables)
    if result.result is None:
        raise ValueError(f"dbt could not start: {result.exception}")
    return [
        Freshness(
            table=found.node.name,
            status=str(found.status),
            newest=found.max_loaded_at.isoformat() if hasattr(found, "max_loaded_at") else "",
            age_s=getattr(found, "age", 0.0),
            message=found.message or "",
        )
        for found in result.result.results
    ]


def write_docs(target: Path, target_path: Path) -> Path:
    """Write dbt's documentation as one page that reads offline, `target/index.html`, and return it.

    The page before is replaced whole. Raises ValueError when dbt cannot make it.
    """
    result = _invoke(["docs", "generate", "--static", "--empty-catalog", "--target", "duckdb"], target_path, {})
    if not result.success:
        raise ValueError(f"dbt cannot document {DBT_DIR}: {result.exception}")
    target.mkdir(parents=True, exist_ok=True)
    page = target / "index.html"
    write_bytes(page, (target_path / "static_index.html").read_bytes())
    return page


def parse(target_path: Path) -> dict[str, Any]:
    """Parse the project anew and return dbt's manifest of it. Raises ValueError when dbt cannot."""
    result = _invoke(["parse", "--no-partial-parse"], target_path, {})
    if not result.success:
        raise ValueError(f"dbt cannot parse {DBT_DIR}: {result.exception}")
    manifest: dict[str, Any] = json.loads((target_path / "manifest.json").read_text())
    return manifest


def _invoke(
    arguments: list[str],
    target_path: Path,
    variables: dict[str, str],
    on_event: Callable[[Any], None] | None = None,
) -> Any:
    from dbt.cli.main import dbtRunner

    flags = ["--quiet", "--no-use-colors", "--log-level-file", "none"]
    where = [
        "--project-dir",
        DBT_DIR,
        "--profiles-dir",
        DBT_DIR,
        "--target-path",
        target_path,
        "--log-path",
        target_path,
    ]
    target_path.mkdir(parents=True, exist_ok=True)
    with _lock, _environment(variables):
        return dbtRunner(callbacks=[on_event] if on_event else []).invoke([*flags, *arguments, *map(str, where)])


def _login(server: PostgresSettings) -> dict[str, str]:
    """Return what dbt/profiles.yml asks for; dbt keeps what begins with DBT_ENV_SECRET_ out of all it writes."""
    return {
        "PGHOST": server.host, "PGPORT": str(server.port), "PGUSER": server.user, "PGDATABASE": server.database,
        "PGSSLMODE": server.sslmode, "DBT_ENV_SECRET_PGPASSWORD": server.password.get_secret_value(),
    }  # fmt: skip


@contextmanager
def _environment(variables: dict[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
