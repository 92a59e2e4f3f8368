"""How often a host may be asked, shared by all clients of this process: pace, silence that it asked for, breaker."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from bot4_platform.sources.errors import SourceUnavailable
from bot4_platform.sources.settings import HttpSettings


@dataclass
class Host:
    """One host. Times are those of `monotonic`, seconds."""

    name: str
    monotonic: Callable[[], float] = time.monotonic
    failures: int = 0  # in a row
    open_until: float = 0.0
    silent_until: float = 0.0
    next_at: float = 0.0
    last_failure: str = ""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def turn(self, policy: HttpSettings, per_s: float) -> float:
        """Take the next turn and return the seconds to wait for it.

        Raises SourceUnavailable while the breaker is open, or when the silence asked for is longer than we wait.
        """
        with self._lock:
            now = self.monotonic()
            if now < self.open_until:
                raise SourceUnavailable(
                    f"{self.name} failed {self.failures} times in a row ({self.last_failure}); it is asked again in "
                    f"{self.open_until - now:.0f} s"
                )
            silence = self.silent_until - now
            if silence > policy.longest_silence_s:
                raise SourceUnavailable(
                    f"{self.name} wants no request for {silence:.0f} s; the next run goes on where this one stopped"
                )
            at = max(now, self.silent_until, self.next_at)
            self.next_at = at + 1.0 / per_s
            return at - now

    def silence(self, seconds: float) -> None:
        """Ask nothing of it for `seconds` from now: its own wish (Retry-After of 429, 418 and 503)."""
        with self._lock:
            self.silent_until = max(self.silent_until, self.monotonic() + seconds)

    def failed(self, policy: HttpSettings, why: str) -> None:
        """Count a failure. The breaker opens with the last that is allowed, and again with each trial that fails."""
        with self._lock:
            self.failures += 1
            self.last_failure = why
            if self.failures >= policy.breaker_failures:
                self.open_until = self.monotonic() + policy.breaker_open_s

    def answered(self) -> None:
        """Close the breaker."""
        with self._lock:
            self.failures, self.open_until = 0, 0.0


class Hosts:
    """The hosts that were asked, by name and port."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        """Begin without any."""
        self._monotonic = monotonic
        self._known: dict[str, Host] = {}
        self._lock = threading.Lock()

    def __getitem__(self, name: str) -> Host:
        """Return the host of a name, such as `api.example.org:443`."""
        with self._lock:
            return self._known.setdefault(name, Host(name, self._monotonic))


HOSTS = Hosts()
