"""JSON-RPC 2.0 to an Ethereum node: single calls, batches, its errors told apart.

Methods and shapes: the execution API's specification (github.com/ethereum/execution-apis). Errors are not specified
there; the texts matched here are those of the clients and hosts in use (geth, Erigon, Infura, Alchemy, QuickNode).
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

from bot4_platform.sources.errors import BadPage, Retry, SourceRefused
from bot4_platform.sources.ethereum.abi import quantity
from bot4_platform.sources.http import SHOWN, SourceClient, host_of, retrying
from bot4_platform.sources.validation import raw_bytes

TOO_MUCH = re.compile(
    r"more than \d+ results|block range|range (is )?too|response size|too many (results|logs|blocks)|query timeout|"
    r"max(imum)? .*(results|blocks|range)|exceeds? .*(range|limit of)|limited to .* (blocks|range)", re.IGNORECASE
)  # fmt: skip
BUSY = re.compile(r"\brate\b|too many requests|capacity|busy|overload|throughput|try again|timed? ?out", re.IGNORECASE)
LIMIT_EXCEEDED = -32005  # Infura's, of both kinds; the text says which
Call = tuple[str, list[Any]]


class TooMuch(Exception):
    """The answer would be larger than the node gives: ask for less."""


class Node:
    """A node. The address may hold a key and is in no error."""

    def __init__(
        self, client: SourceClient, url: str, *, batch: int = 50, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        """Ask at `url`, `batch` calls in a request at most."""
        self.client, self._url, self.batch_size, self._sleep = client, url, batch, sleep
        self.requests = 0

    def call(self, method: str, *params: Any) -> Any:
        """Return the result of one call. Raises TooMuch, SourceRefused, SourceUnavailable, BadPage."""
        return self.batch([(method, list(params))])[0]

    def batch(self, calls: Sequence[Call]) -> list[Any]:
        """Return the results of calls, in their order; fewer at once where a page is too large. Raises as `call`."""
        results: list[Any] = []
        size = self.batch_size
        while len(results) < len(calls):
            part = calls[len(results) : len(results) + size]
            try:
                results += retrying(self.client.source, partial(self._ask, part), self.client.policy, self._sleep)
            except BadPage as page:
                if page.rule != "too_large" or len(part) == 1:
                    raise
                size = len(part) // 2
        return results

    def block_number(self) -> int:
        """Return the newest block's number."""
        return _result_quantity(self.call("eth_blockNumber"))

    def chain_id(self) -> int:
        """Return the chain's id; 1 is the main net."""
        return _result_quantity(self.call("eth_chainId"))

    def logs(
        self, first: int, last: int, addresses: list[str], topics: list[str], *, span: int
    ) -> Iterator[tuple[int, int, list[Any]]]:
        """Yield (from, to, logs) over blocks `first` to `last`, both included, with what the node sends unchecked.

        The range is halved when it is too much for the node or for a page, and grows again to `span`. Raises
        SourceRefused when one block alone is too much.
        """
        at, width = first, span
        while at <= last:
            to = min(last, at + width - 1)
            what = {"fromBlock": hex(at), "toBlock": hex(to), "address": addresses, "topics": [topics]}
            try:
                found = self.call("eth_getLogs", what)
            except (TooMuch, BadPage) as error:
                if isinstance(error, BadPage) and error.rule != "too_large":
                    raise
                if to == at:
                    raise SourceRefused(
                        f"{self.client.source}: the logs of block {at} alone are too many", 200
                    ) from None
                width = (to - at + 1) // 2
                continue
            if not isinstance(found, list):
                raise BadPage("schema", "eth_getLogs returned no list", raw_bytes(found)[:SHOWN])
            yield at, to, found
            at, width = to + 1, min(span, width * 2)

    def _ask(self, part: Sequence[Call]) -> list[Any]:
        """Ask once, `part` in one request."""
        body = [
            {"jsonrpc": "2.0", "id": number, "method": method, "params": params}
            for number, (method, params) in enumerate(part)
        ]
        self.requests += 1
        page = self.client.post(self._url, body if len(body) > 1 else body[0])
        found = page.json()
        answers = found if isinstance(found, list) else [found]
        by_id: dict[int, dict[str, Any]] = {}
        for answer in answers:
            if not isinstance(answer, dict):
                raise BadPage("schema", "an answer of JSON-RPC is an object", page.content[:SHOWN])
            if answer.get("error"):
                self._raise(answer["error"])
            if "result" in answer and isinstance(answer.get("id"), int):
                by_id[answer["id"]] = answer
        if sorted(by_id) != list(range(len(body))):
            raise BadPage("schema", f"{len(by_id)} of {len(body)} calls were answered", page.content[:SHOWN])
        return [by_id[number]["result"] for number in range(len(body))]

    def _raise(self, error: object) -> None:
        """Raise what an error object means: again later, less at once, or never."""
        given = error if isinstance(error, dict) else {}
        code, text = given.get("code"), " ".join(str(given.get("message", error)).split())[:200]
        if TOO_MUCH.search(text):
            raise TooMuch(text)
        if code == LIMIT_EXCEEDED or BUSY.search(text) or code == -32603:
            raise Retry(f"{host_of(self._url)} answers {code} ({text})")
        raise SourceRefused(f"{self.client.source}: {host_of(self._url)} refuses the call: {code} ({text})", 200)


def _result_quantity(result: object) -> int:
    try:
        return quantity(result)
    except ValueError as error:
        raise BadPage("schema", str(error), raw_bytes(result)[:SHOWN]) from None
