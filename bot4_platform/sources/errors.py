"""What can be wrong with a source: it is off, it does not answer, it refuses, or it answers with nonsense."""

from __future__ import annotations


class SourceOff(ValueError):
    """A source that is not set up; the text says how, and that nothing else is affected."""


class SourceUnavailable(OSError):
    """A source that cannot be asked now: no answer after all attempts, or the breaker is open. The next run goes on."""


class SourceRefused(OSError):
    """A request that the source will never answer: wrong key, wrong symbol, wrong path. `status` is HTTP's."""

    def __init__(self, text: str, status: int) -> None:
        """Take what to say and the status."""
        super().__init__(text)
        self.status = status


class BadPage(ValueError):
    """A page that is none: to be quarantined whole. `rule` names the check, `raw` what came, as far as it was read."""

    def __init__(self, rule: str, reason: str, raw: bytes) -> None:
        """Take the rule that caught it, why, and the bytes."""
        super().__init__(reason)
        self.rule, self.reason, self.raw = rule, reason, raw


class Retry(Exception):
    """An attempt that may be repeated."""


def off(kind: str, name: str, variable: str) -> SourceOff:
    """Return the one line for a source whose key is missing."""
    return SourceOff(f"{kind} source {name} is off: set {variable}; nothing else is affected")
