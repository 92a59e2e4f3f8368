"""A thread that does jobs in order, so that the loop that renews the lease never waits for a disk or a venue."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable


class Worker:
    """Jobs may raise OSError and ValueError: `on_error(name, error)` is told, the next job goes on."""

    def __init__(self, name: str, on_error: Callable[[str, Exception], None]) -> None:
        self._queue: queue.SimpleQueue[tuple[str, Callable[[], object]] | None] = queue.SimpleQueue()
        self._pending: set[str] = set()
        self._on_error = on_error
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    def put(self, name: str, job: Callable[[], object]) -> None:
        """Queue a job."""
        self._queue.put((name, job))

    def put_once(self, name: str, job: Callable[[], object]) -> None:
        """Queue a job unless one of that name is queued or at work."""
        if name not in self._pending:
            self._pending.add(name)
            self.put(name, job)

    def _work(self) -> None:
        while (item := self._queue.get()) is not None:
            name, job = item
            try:
                job()
            except (OSError, ValueError, LookupError, TypeError) as error:
                self._on_error(name, error)
            finally:
                self._pending.discard(name)

    def close(self, timeout_s: float) -> None:
        """Finish the queued jobs, for `timeout_s` at most."""
        self._queue.put(None)
        self._thread.join(timeout_s)
