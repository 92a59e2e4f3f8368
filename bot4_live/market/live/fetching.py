"""Snapshots that a venue does not send on its stream: fetched for a feed until it has what it wants."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

import numpy as np

from bot4_live.market.live.patience import StreamTimes
from bot4_live.market.venues.base import VenueFeed

log = logging.getLogger(__name__)

Fetch = Callable[[str], Awaitable[bytes]]


class Fetching:
    """The fetches for one feed. `fetch(path)` returns the body of GET `path` at the venue's REST endpoint."""

    def __init__(
        self,
        feed: VenueFeed,
        fetch: Fetch,
        now_ns: Callable[[], int],
        take: Callable[[list[np.ndarray]], None],
        times: StreamTimes,
    ) -> None:
        """Begin with none; `take` gets the records that snapshots make."""
        self._feed, self._fetch, self._now_ns, self._take, self._times = feed, fetch, now_ns, take, times
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._gone: set[asyncio.Task[None]] = set()  # cancelled and not yet ended
        self._failed: BaseException | None = None

    def look(self) -> None:
        """Fetch for each book that wants it. Raises what `take` raised."""
        if self._failed is not None:
            raise self._failed
        for name in self._feed.wants_snapshot:
            if name not in self._tasks:
                task = self._tasks[name] = asyncio.create_task(self._until_content(name))
                task.add_done_callback(self._ended)

    def cancel(self) -> None:
        """Let go of all that is under way: its connection is gone."""
        for task in self._tasks.values():
            task.cancel()
        self._gone.update(self._tasks.values())
        self._tasks.clear()

    async def close(self) -> None:
        """Let go, and wait until nothing is under way. Raises what `take` raised and nobody has heard yet."""
        self.cancel()
        await asyncio.gather(*self._gone, return_exceptions=True)
        if self._failed is not None:
            raise self._failed

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._gone.discard(task)
        for name, mine in list(self._tasks.items()):
            if mine is task:
                del self._tasks[name]
        if not task.cancelled() and (error := task.exception()) is not None:
            self._failed = error

    async def _until_content(self, name: str) -> None:
        wait = self._times.snapshot_retry_s
        while name in self._feed.wants_snapshot:
            try:
                body = await self._fetch(self._feed.snapshot_path(name))
            except (OSError, TimeoutError, ValueError) as error:
                log.warning("%s: no snapshot: %s", name, error)
            else:
                self._take(self._feed.on_snapshot(self._now_ns(), name, body))
                if name not in self._feed.wants_snapshot:
                    return
            await asyncio.sleep(wait)
            wait = min(2 * wait, self._times.snapshot_slowest_s)
