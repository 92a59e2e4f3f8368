"""Where numba keeps compiled code.

Numba notices a change in the file that holds a function, not in the files of the functions it calls. So the
cache lies in a directory named by a hash of every source that holds compiled code, the installed versions of
numba and numpy, and the CPU: a change anywhere starts an empty cache instead of running stale code.
"""

from __future__ import annotations

import hashlib
import os
import platform
import sys
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent


def hot_sources() -> list[Path]:
    """Every source file of bot4_live that holds compiled code, sorted by path."""
    return [p for p in sorted(PACKAGE.rglob("*.py")) if b"njit" in p.read_bytes() and p != Path(__file__)]


@lru_cache(maxsize=1)
def source_hash() -> str:
    """Return the sha256 (hex) of all hot sources; it names what a journal was written by."""
    digest = hashlib.sha256()
    for path in hot_sources():
        digest.update(str(path.relative_to(PACKAGE)).encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def cache_root() -> Path:
    """Return the folder above all numba caches (`BOT4_CACHE_DIR`, else the user's cache folder)."""
    configured = os.environ.get("BOT4_CACHE_DIR")
    if configured:
        return Path(configured)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "bot4"


def install() -> Path:
    """Point numba at the cache for this source; an explicit `NUMBA_CACHE_DIR` is left alone."""
    configured = os.environ.get("NUMBA_CACHE_DIR")
    if configured and not configured.startswith(str(cache_root())):
        return Path(configured)
    toolchain = f"{version('numba')}-{version('numpy')}-{platform.machine()}-{os.environ.get('NUMBA_CPU_NAME', '')}"
    name = hashlib.sha256(f"{source_hash()}-{toolchain}".encode()).hexdigest()[:20]
    path = cache_root() / "numba" / name
    os.environ["NUMBA_CACHE_DIR"] = str(path)
    if "numba" in sys.modules:
        sys.modules["numba"].config.CACHE_DIR = str(path)
    return path
