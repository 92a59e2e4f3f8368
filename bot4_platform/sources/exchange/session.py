"""The session that ccxt is given: paced and bounded like every source's, JSON or nothing, within the venue's budget."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import requests

from bot4_live.execution.rest_budget import RestBudget, Throttled
from bot4_live.execution.weights import cost
from bot4_platform.sources.errors import SourceUnavailable
from bot4_platform.sources.hosts import HOSTS, Hosts
from bot4_platform.sources.http import PoliteSession, parse_json
from bot4_platform.sources.settings import HttpSettings


class ExchangeSession(PoliteSession):
    """Claims each request from the budget that runner, watchdog and recorders share, when the venue has one.

    A page that should be JSON and is not is a BadPage here, where ccxt would make an empty list of it.
    """

    def __init__(
        self,
        policy: HttpSettings,
        budget: RestBudget | None,
        *,
        hosts: Hosts = HOSTS,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Take the policy and the venue's budget."""
        super().__init__(policy, hosts=hosts, sleep=sleep)
        self._budget = budget
        self.asked = 0

    def request(self, method: str, url: str, **options: Any) -> requests.Response:  # type: ignore[override]
        """Claim, ask, and note what the venue said. Raises as PoliteSession does, and BadPage for what is no JSON."""
        self.asked += 1
        if self._budget is None:
            return _checked(super().request(method, url, **options))
        parts = urlsplit(url)
        weight, priority = cost(method, parts.path, dict(parse_qsl(parts.query)))
        waited = 0.0
        while True:
            try:
                ticket = self._budget.claim(weight, priority)
                break
            except Throttled as refused:
                waited += refused.wait_s
                if waited > self.policy.longest_silence_s:
                    raise SourceUnavailable(f"{refused}; the next run goes on where this one stopped") from None
                self._sleep(refused.wait_s)
        try:
            response = super().request(method, url, **options)
        except SourceUnavailable:
            self._budget.give_back(ticket)  # it never left
            raise
        text = response.text if response.status_code in (418, 429) else ""
        self._budget.note(ticket, response.status_code, response.headers, text=text)
        found = _checked(response)
        if parts.path.endswith("/exchangeInfo") and response.status_code == 200:
            self._budget.learn(response.json().get("rateLimits"))
        return found


def _checked(response: requests.Response) -> requests.Response:
    if response.status_code == 200:
        parse_json(response.content, response.headers.get("Content-Type", ""))
    return response
