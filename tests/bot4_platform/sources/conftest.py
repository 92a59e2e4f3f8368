"""A real HTTP server on loopback that answers as a script says, also badly; and a client without waits."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from bot4_platform.sources.hosts import Hosts
from bot4_platform.sources.http import SourceClient
from bot4_platform.sources.settings import HttpSettings
from tests.http_script import Answer, Script, serve

__all__ = ["Answer", "Hands", "Script"]


@pytest.fixture
def script() -> Iterator[Script]:
    """Serve a script on a free port."""
    with serve() as told:
        yield told


@dataclass
class Hands:
    """A clock that only moves when somebody sleeps, and what they slept."""

    now: float = 1000.0
    slept: list[float] = field(default_factory=list)

    def sleep(self, seconds: float) -> None:
        """Let time pass."""
        self.slept.append(seconds)
        self.now += seconds


@pytest.fixture
def hands() -> Hands:
    """Return the clock of `client`."""
    return Hands()


@pytest.fixture
def client(hands: Hands) -> Iterator[Callable[..., SourceClient]]:
    """Return what makes clients that share hosts and never really wait."""
    hosts = Hosts(lambda: hands.now)
    made = []

    def make(**policy: Any) -> SourceClient:
        made.append(SourceClient("test", HttpSettings(**policy), hosts=hosts, sleep=hands.sleep))
        return made[-1]

    yield make
    for one in made:
        one.close()
