"""`bot4` with an engine that falls behind: once frames come too fast, it steps nothing until so many events wait.

Run as `python behind_runner.py WAITING live ...`; WAITING 0 leaves the engine its own pace. A line of JSON on stdout
each says that so many wait (and how many of them on disk only), and that the engine is level with the log again.
"""

from __future__ import annotations

import json
import sys
import time

from bot4_live import cli
from bot4_live.session import core
from bot4_live.session.pace import Pace

WAITING = int(sys.argv.pop(1))


class Behind(Pace):
    """A pace whose engine does nothing until WAITING events wait, once."""

    held = True
    went_on = 0.0

    def catch_up(self, most: int) -> int:
        """Step nothing yet, or as ever."""
        backlog = self._sequencer.backlog
        assert backlog is not None
        if self.held:
            if len(backlog) < WAITING:
                return 0
            self.held, self.went_on = False, time.monotonic()
            self._say("waited", on_disk=backlog.on_disk)
        return super().catch_up(most)

    def _draw_level(self) -> None:
        self._say("level", seconds=round(time.monotonic() - self.went_on, 1))
        super()._draw_level()

    def _say(self, state: str, **what: float) -> None:
        backlog = self._sequencer.backlog
        assert backlog is not None
        counts = {"waiting": len(backlog), "most": backlog.most, "from_disk": backlog.from_disk}
        print(json.dumps({"state": state, "times_ahead": self.times_ahead} | counts | what), flush=True)


if __name__ == "__main__":
    core.Pace = Behind  # type: ignore[misc]
    cli.main()
