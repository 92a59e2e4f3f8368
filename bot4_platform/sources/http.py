"""A polite HTTP client: paced, bounded, retried.

`PoliteSession` is a `requests.Session` that waits its turn at the host and reads no more of a page than is allowed; a
library that brings its own requests (ccxt) is given one. `SourceClient` adds what is tried again and when (SPEC H1:
100 ms to 30 s by factor 2, breaker after 5 failures for 5 minutes), and returns pages.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar
from urllib.parse import urlsplit

import requests
import tenacity
import urllib3

from bot4_platform.sources.errors import BadPage, Retry, SourceRefused, SourceUnavailable
from bot4_platform.sources.hosts import HOSTS, Host, Hosts
from bot4_platform.sources.settings import HttpSettings

T = TypeVar("T")
SHOWN = 65_536  # bytes of a bad page that an error carries
CHUNK = 65_536
USER_AGENT = "bot4"
ASKED_TO_WAIT = (418, 429)


def host_of(url: str) -> str:
    """Return `host:port` of an address; nothing of its path or query, where keys may be."""
    parts = urlsplit(url)
    return f"{parts.hostname}:{parts.port or (443 if parts.scheme == 'https' else 80)}"


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds of a Retry-After, which is a number or a date (RFC 9110, 10.2.3); None when there is none.

    Mastodon says it by X-RateLimit-Reset, an ISO 8601 time.
    """
    text = headers.get("Retry-After", "").strip()
    if text.replace(".", "", 1).isdigit():
        return float(text)
    try:
        at = parsedate_to_datetime(text) if text else datetime.fromisoformat(headers.get("X-RateLimit-Reset", ""))
    except ValueError:
        return None
    return max(0.0, (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() - datetime.now(UTC).timestamp())


class PoliteSession(requests.Session):
    """A session that asks a host no oftener than allowed, and cuts off a page that does not end."""

    def __init__(
        self,
        policy: HttpSettings,
        *,
        per_s: float | None = None,
        hosts: Hosts = HOSTS,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Take the policy; `per_s` for a host with a pace of its own."""
        super().__init__()
        self.policy, self.per_s, self._hosts, self._sleep = policy, per_s or policy.per_s, hosts, sleep
        self.headers["User-Agent"] = USER_AGENT
        self.hooks["response"].append(_leave_redirection)

    def host(self, url: str) -> Host:
        """Return what is known of an address's host."""
        return self._hosts[host_of(url)]

    def request(self, method: str, url: str, **options: Any) -> requests.Response:  # type: ignore[override]
        """Wait for the turn, ask, and read the page.

        Raises SourceUnavailable (breaker, silence), BadPage (too large, too slow) and what requests raises.
        """
        host = self.host(url)
        wait = host.turn(self.policy, self.per_s)
        if wait > 0:
            self._sleep(wait)
        options["timeout"] = options.get("timeout") or self.policy.timeout_s
        try:
            response = super().request(method, url, **options | {"stream": True})
            self._read(response)
        except requests.RequestException as error:
            host.failed(self.policy, type(error).__name__)
            raise
        if response.status_code in ASKED_TO_WAIT:
            host.silence(retry_after(response.headers) or self.policy.first_wait_s)
            host.answered()  # it is alive, and says so
        elif response.status_code >= 500:
            if (asked := retry_after(response.headers)) is not None:
                host.silence(asked)
            host.failed(self.policy, f"HTTP {response.status_code}")
        else:
            host.answered()
        return response

    def _read(self, response: requests.Response) -> None:
        """Read the page within its limits; what requests keeps is then the page."""
        most, until = int(self.policy.page_mb * (1 << 20)), time.monotonic() + self.policy.page_s
        page = bytearray()
        try:
            for chunk in _chunks(response):  # unpacked: a small gzip may be a large page
                page += chunk
                if len(page) > most:
                    raise BadPage(
                        "too_large", f"the page is larger than {self.policy.page_mb:g} MiB", bytes(page[:SHOWN])
                    )
                if time.monotonic() > until:
                    raise BadPage(
                        "too_slow", f"the page took longer than {self.policy.page_s:g} s", bytes(page[:SHOWN])
                    )
        except BadPage:
            response.close()
            raise
        response._content = bytes(page)


def _leave_redirection(response: requests.Response, *_: Any, **__: Any) -> None:
    """Take a page that sends elsewhere for empty: requests would read all of it before it follows."""
    if response.is_redirect:
        response._content = b""


def _chunks(response: requests.Response) -> Iterator[bytes]:
    """Yield a page as it arrives. `iter_content` waits for a whole piece, which a page that drips never fills."""
    try:
        while chunk := response.raw.read1(CHUNK, decode_content=True):
            yield chunk
    except urllib3.exceptions.HTTPError as error:
        raise requests.ConnectionError(f"Connection broken: {type(error).__name__}") from error


@dataclass(frozen=True)
class Page:
    """An answer: its bytes, its status and headers."""

    content: bytes
    status: int
    headers: Mapping[str, str]

    def json(self, *, exact: bool = False) -> Any:
        """Return the JSON within; `exact` gives fractions as Decimal. NaN comes through, for the rows' check.

        Raises BadPage: HTML or anything else that is no JSON.
        """
        return parse_json(self.content, self.headers.get("Content-Type", ""), exact=exact)


def parse_json(content: bytes, content_type: str = "", *, exact: bool = False) -> Any:
    """Return the JSON of a page. Raises BadPage (`html`, `not_json`)."""
    try:
        return json.loads(content, parse_float=Decimal, parse_constant=Decimal) if exact else json.loads(content)
    except (ValueError, RecursionError) as error:
        head = content[:256].lstrip().lower()
        if head.startswith((b"<!doctype", b"<html", b"<head", b"<?xml")) or "html" in content_type.lower():
            raise BadPage("html", "a page of HTML came instead of JSON", content[:SHOWN]) from None
        raise BadPage("not_json", f"the page is not JSON: {error}", content[:SHOWN]) from None


class SourceClient:
    """A client of one source. Keys go in headers or parameters; neither is in any error or log."""

    def __init__(
        self, source: str, policy: HttpSettings, *, per_s: float | None = None, hosts: Hosts = HOSTS,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:  # fmt: skip
        """Be the client of `source`, which is its name in errors."""
        self.source, self.policy, self._sleep = source, policy, sleep
        self.session = PoliteSession(policy, per_s=per_s, hosts=hosts, sleep=sleep)

    def get(self, url: str, params: Mapping[str, Any] | None = None, headers: Mapping[str, str] | None = None) -> Page:
        """Return a page. Raises SourceUnavailable, SourceRefused (other 4xx) and BadPage."""
        return self._ask("GET", url, params=params, headers=headers)

    def post(self, url: str, body: Any, headers: Mapping[str, str] | None = None) -> Page:
        """Return the page that answers a JSON body; only for questions, since it may be sent again. Raises as `get`."""
        return self._ask("POST", url, json=body, headers=headers)

    def _ask(self, method: str, url: str, **options: Any) -> Page:
        def attempt() -> Page:
            try:
                response = self.session.request(method, url, **options)
            except requests.RequestException as error:
                raise Retry(f"{host_of(url)} does not answer ({type(error).__name__})") from None
            status = response.status_code
            if status in ASKED_TO_WAIT or status >= 500:
                raise Retry(f"{host_of(url)} answers {status}")
            if status >= 400:
                raise SourceRefused(f"{self.source}: {host_of(url)} refuses the request with {status}", status)
            return Page(response.content, status, response.headers)

        return retrying(self.source, attempt, self.policy, self._sleep)

    def close(self) -> None:
        """Close its connections."""
        self.session.close()


def retrying(
    source: str, attempt: Callable[[], T], policy: HttpSettings, sleep: Callable[[float], None] = time.sleep
) -> T:
    """Return what `attempt` returns; it is called again when it raises Retry.

    The silence that a host asked for is waited for by its session; here only the growing pause between attempts.
    Raises SourceUnavailable after the last attempt.
    """

    def pause(state: tenacity.RetryCallState) -> float:
        step: float = min(policy.longest_wait_s, policy.first_wait_s * 2.0 ** (state.attempt_number - 1))
        return step * random.uniform(0.5, 1.0)

    again = tenacity.Retrying(
        stop=tenacity.stop_after_attempt(policy.attempts),
        wait=pause,
        retry=tenacity.retry_if_exception_type(Retry),
        sleep=sleep,
        reraise=True,
    )
    try:
        return again(attempt)
    except Retry as error:
        raise SourceUnavailable(
            f"{source}: {error}, after {policy.attempts} attempts; the next run goes on where this one stopped"
        ) from None
