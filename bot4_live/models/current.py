"""`current.json`: which bundle the runner is to use. Promotion and rollback replace it; the runner watches it."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from pathlib import Path

from bot4_live.models.bundle import Bundle, load_digest
from bot4_live.safety.durable import read_json, write_json

FILE = "current.json"


@dataclass(frozen=True)
class Current:
    """The model in use. `baseline` says that it must not skew quotes."""

    digest: str
    version: int
    alias: str = "champion"
    baseline: bool = False


def read_current(models_dir: Path) -> Current | None:
    """Return what `current.json` says, None where there is none. Raises ValueError when it cannot be read."""
    path = Path(models_dir) / FILE
    try:
        raw = read_json(path)
    except ValueError as error:
        raise ValueError(f"{error}; promote a model again") from None
    if raw is None:
        return None
    wanted: dict[str, type] = {"digest": str, "version": int, "alias": str, "baseline": bool}
    if set(raw) != set(wanted) or any(type(raw[k]) is not t for k, t in wanted.items()):
        raise ValueError(f"{path} must hold {', '.join(wanted)}; promote a model again")
    if not re.fullmatch(r"[0-9a-f]{64}", raw["digest"]):
        raise ValueError(f"{path}: {raw['digest']!r} is not a sha256; promote a model again")
    return Current(**raw)


def write_current(models_dir: Path, current: Current) -> None:
    """Replace `current.json` atomically; it is on disk when this returns. The bundle must be there and intact."""
    load_digest(models_dir, current.digest)
    write_json(Path(models_dir) / FILE, asdict(current))


def load_current(models_dir: Path) -> tuple[Current, Bundle]:
    """Return what is in use and its checked bundle. Raises ValueError when there is none."""
    current = read_current(models_dir)
    if current is None:
        raise ValueError(f"no model in {models_dir}: train and promote one first")
    return current, load_digest(models_dir, current.digest)
