"""What stays where an archived file was: its name with `.archived.json`, saying where the bytes are and what they are.

A stub is written (fsynced, renamed) only after the object was read back from the archive and had the file's digest;
only then may the file go. A file beside its stub is newer than it, or about to be removed: it is the one that counts.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

from bot4_live.safety.durable import read_json, write_json

SUFFIX = ".archived.json"


@dataclass(frozen=True)
class Stub:
    """Where an archived file is: its key below the archive's prefix, its bytes, sha256, rows (0 of no table)."""

    key: str
    size: int
    sha256: str
    rows: int = 0


def stub_path(path: Path) -> Path:
    """Return where the stub of a file lies."""
    return path.with_name(path.name + SUFFIX)


def read_stub(path: Path) -> Stub | None:
    """Return the stub of a file, None when it was never archived. Raises ValueError when the stub is damaged."""
    found = read_json(stub_path(path))
    if found is None:
        return None
    try:
        stub = Stub(**found)
    except TypeError:
        stub = None
    if stub is None or not isinstance(stub.key, str) or not isinstance(stub.sha256, str) or len(stub.sha256) != 64:
        raise ValueError(f"{stub_path(path)} is damaged; restore it from a backup")
    return stub


def write_stub(path: Path, stub: Stub) -> None:
    """Say that a file is in the archive, durably."""
    write_json(stub_path(path), asdict(stub))
