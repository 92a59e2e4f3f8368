"""Compile the engine once before the tests: numba's cache on disk is then shared by all test processes."""

from __future__ import annotations

import fcntl
import sys
import time

from bot4_live import compile_cache


def main() -> None:
    """Warm the cache under a file lock; the others wait and then find it warm."""
    root = compile_cache.install()
    root.mkdir(parents=True, exist_ok=True)
    with (root / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        begin = time.monotonic()
        from bot4_live.engine import warm_up

        warm_up()
        print(f"compiled code is ready ({time.monotonic() - begin:.1f} s)", file=sys.stderr)


if __name__ == "__main__":
    main()
