"""Tables of unpartitioned assets: a Parquet file and what is known about it, under `<account>/training`."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bot4_platform import staging

if TYPE_CHECKING:
    import polars as pl

    from bot4_live.settings import Settings


def labels_path(settings: Settings) -> Path:
    """Return where the labels lie."""
    return settings.root / "training" / "labels.parquet"


def training_set_path(settings: Settings) -> Path:
    """Return where the training set lies."""
    return settings.root / "training" / "training_set.parquet"


def write(path: Path, frame: pl.DataFrame, about: dict[str, Any]) -> None:
    """Replace a table and its `.json` beside it: each whole or not at all, on disk when this returns.

    The facts carry the number of rows, so that a table and facts of two writes are told apart by `read`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    staged = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        frame.write_parquet(staged, compression="snappy", statistics=True)
        staging.publish(staged, path)
        staged.write_text(json.dumps(about | {"rows": frame.height}, indent=1, sort_keys=True) + "\n")
        staging.publish(staged, path.with_suffix(".json"))
    finally:
        staged.unlink(missing_ok=True)


def read(path: Path) -> tuple[pl.DataFrame, dict[str, Any]]:
    """Return a table and its facts. Raises ValueError when one is missing or they do not belong together."""
    import polars as pl

    name = path.stem
    if not path.is_file() or not path.with_suffix(".json").is_file():
        raise ValueError(f"there is no {path}: materialize the asset {name} first")
    frame, about = pl.read_parquet(path), json.loads(path.with_suffix(".json").read_text())
    if frame.height != about["rows"]:
        raise ValueError(f"{path} and its facts are of two writes: materialize the asset {name} again")
    return frame, about
