"""What names the account's own folder by its absolute path and is read back by it: brought to where it is restored.

MLflow's database keeps each artifact's place as a URI, and the last promotion the paths of its plots. Dagster's history
keeps the paths of past runs too; that is history and stays.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

COLUMNS = (
    ("experiments", "artifact_location"), ("runs", "artifact_uri"), ("model_versions", "source"),
    ("model_versions", "storage_location"), ("logged_models", "artifact_location"),
)  # fmt: skip


def relocate(unit: Path, before: Path, after: Path) -> list[str]:
    """Change paths below `before` to ones below `after` in the staged account at `unit`; return the files changed."""
    if before == after:
        return []
    changed = []
    for database in sorted(unit.rglob("mlflow/mlflow.db")):
        with closing(sqlite3.connect(database)) as connection, connection:
            tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            for table, column in COLUMNS:
                if table in tables:
                    for old, new in ((before.as_uri(), after.as_uri()), (str(before), str(after))):
                        connection.execute(
                            f"UPDATE {table} SET {column} = ? || substr({column}, ?) WHERE substr({column}, 1, ?) = ?",
                            (f"{new}/", len(old) + 2, len(old) + 1, f"{old}/"),
                        )
        changed.append(database.relative_to(unit).as_posix())
    for decision in sorted(unit.rglob("mlflow/decision.json")):
        decision.write_text(decision.read_text().replace(f'"{before}/', f'"{after}/'))
        changed.append(decision.relative_to(unit).as_posix())
    return changed
