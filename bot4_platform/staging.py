"""Files on their way to where they are read: written outside every reader's glob, then renamed, whole or not at all."""

from __future__ import annotations

import os
import re
import shutil
import uuid
from pathlib import Path

from bot4_live.safety.durable import sync_path

FOLDER = ".staging"
_OWNER = re.compile(r"\.(\d+)\.[0-9a-f]{8}(\.\w+)?$")


def stage(root: Path, name: str, ending: str = ".parquet") -> Path:
    """Return a fresh path below `root` to write to; removes what killed writers left there."""
    folder = root / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    for left in folder.iterdir():
        owner = _OWNER.search(left.name)
        if owner and not _alive(int(owner[1])):
            if left.is_dir():
                shutil.rmtree(left, ignore_errors=True)
            else:
                left.unlink(missing_ok=True)
    return folder / f"{name}.{os.getpid()}.{uuid.uuid4().hex[:8]}{ending}"


def publish(staged: Path, target: Path) -> int:
    """Make a staged file the target: fsync, rename, fsync of the folder. Return its bytes."""
    target.parent.mkdir(parents=True, exist_ok=True)
    sync_path(staged)
    size = staged.stat().st_size
    os.replace(staged, target)
    sync_path(target.parent)
    return size


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
