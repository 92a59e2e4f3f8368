"""`python -m bot4_live.warm`: compile the engine into the shared cache, so that others start at once."""

from __future__ import annotations

import fcntl
import sys
import time

from bot4_live import compile_cache


def main() -> None:
    """Compile under a file lock: of several processes one compiles and the others find it done."""
    folder = compile_cache.install()
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        began = time.monotonic()
        from bot4_live.engine import warm_up

        warm_up()
        print(f"compiled code is ready ({time.monotonic() - began:.1f} s)", file=sys.stderr)


if __name__ == "__main__":
    main()
