"""JSON-RPC against a node that limits, fails and answers out of order."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import pairwise

import pytest

from bot4_platform.sources.errors import BadPage, SourceRefused, SourceUnavailable
from bot4_platform.sources.ethereum.abi import TRANSFER
from bot4_platform.sources.ethereum.known import TOKENS
from bot4_platform.sources.ethereum.node import Node
from bot4_platform.sources.hosts import Hosts
from bot4_platform.sources.http import SourceClient
from bot4_platform.sources.local.ethereum import Chain, LocalNode
from bot4_platform.sources.local.http import HTML, Reply
from bot4_platform.sources.settings import HttpSettings

START_S = 1_723_075_200


@pytest.fixture(scope="module")
def chain() -> Chain:
    return Chain(start_s=START_S, blocks=60)


@pytest.fixture
def server(chain: Chain) -> Iterator[LocalNode]:
    with LocalNode(chain) as server:
        yield server


def node_at(server: LocalNode, **policy: float) -> Node:
    settings = HttpSettings(**({"per_s": 1000, "first_wait_s": 0.001, "attempts": 4, "breaker_failures": 20} | policy))
    pauses: list[float] = []
    client = SourceClient("ethereum", settings, hosts=Hosts(), sleep=pauses.append)
    return Node(client, f"{server.url}/v3/secret-key", batch=7, sleep=pauses.append)


def all_logs(node: Node, chain: Chain, span: int) -> tuple[list[str], list[int]]:
    ids, widths = [], []
    for first, last, found in node.logs(chain.first, chain.head, list(TOKENS), [TRANSFER.topic], span=span):
        widths.append(last - first + 1)
        ids += [f"{log['transactionHash']}:{log['logIndex']}" for log in found]
    return ids, widths


def test_answers_come_in_the_order_of_the_questions(server: LocalNode, chain: Chain) -> None:
    node = node_at(server)
    numbers = [chain.first + i for i in (5, 3, 17, 0, 9, 11, 30, 31, 32)]
    blocks = node.batch([("eth_getBlockByNumber", [hex(number), False]) for number in numbers])
    assert [int(block["number"], 16) for block in blocks] == numbers
    assert node.requests == 2  # nine calls, seven at once


def test_too_many_results_make_the_range_smaller_and_it_grows_again(server: LocalNode, chain: Chain) -> None:
    whole, widths = all_logs(node_at(server), chain, 200)
    assert widths == [60]
    server.most_logs, server.most_blocks = 12, 40
    paged, widths = all_logs(node_at(server), chain, 200)
    assert paged == whole
    assert len(whole) == len(set(whole)) > 60
    assert max(widths) <= 40
    assert any(later > earlier for earlier, later in pairwise(widths))


def test_a_page_past_our_own_limit_makes_the_range_smaller(server: LocalNode, chain: Chain) -> None:
    whole, _ = all_logs(node_at(server), chain, 200)
    paged, widths = all_logs(node_at(server, page_mb=0.01), chain, 200)
    assert paged == whole
    assert len(widths) > 4


def test_one_block_that_is_too_much_is_said_so(server: LocalNode, chain: Chain) -> None:
    server.most_logs = 0
    with pytest.raises(SourceRefused, match=r"the logs of block \d+ alone are too many"):
        all_logs(node_at(server), chain, 50)


def test_a_batch_whose_page_is_too_large_is_asked_for_in_parts(server: LocalNode, chain: Chain) -> None:
    node = node_at(server, page_mb=0.005)
    numbers = [chain.first + i for i in range(20)]
    blocks = node.batch([("eth_getBlockByNumber", [hex(number), True]) for number in numbers])
    assert [int(block["number"], 16) for block in blocks] == numbers
    assert node.requests > 4
    with pytest.raises(BadPage, match="larger"):
        node_at(server, page_mb=0.0005).batch([("eth_getBlockByNumber", [hex(chain.first), True])] * 2)


def test_a_limit_is_waited_for(server: LocalNode) -> None:
    server.fail_next(server.refusal(), Reply(b"{}", 503), server.refusal())
    node = node_at(server)
    assert node.chain_id() == 1
    assert len(server.seen) == 4


def test_a_busy_node_is_asked_again_and_the_key_is_in_no_error(server: LocalNode) -> None:
    busy = Reply(
        json.dumps({"jsonrpc": "2.0", "id": 0, "error": {"code": -32005, "message": "limit exceeded"}}).encode()
    )
    server.fail_next(busy, busy)
    assert node_at(server).chain_id() == 1
    server.fail_next(*[busy] * 9)
    with pytest.raises(SourceUnavailable) as caught:
        node_at(server).chain_id()
    assert "secret-key" not in str(caught.value)
    assert "limit exceeded" in str(caught.value)


def test_a_call_that_is_refused_is_not_repeated(server: LocalNode) -> None:
    with pytest.raises(SourceRefused, match="-32601"):
        node_at(server).call("eth_notThere")
    assert len(server.seen) == 1
    error = {"code": -32000, "message": "the method is deprecated"}  # no word of a rate
    server.fail_next(Reply(json.dumps({"jsonrpc": "2.0", "id": 0, "error": error}).encode()))
    with pytest.raises(SourceRefused, match="deprecated"):
        node_at(server).chain_id()
    assert len(server.seen) == 2


@pytest.mark.parametrize(
    ("reply", "rule"),
    [
        (HTML, "html"),
        (Reply(b'{"jsonrpc":"2.0","id":0,"resu'), "not_json"),
        (Reply(b"[]"), "schema"),
        (Reply(b'"0x1"'), "schema"),
        (Reply(b'{"jsonrpc":"2.0","id":0,"result":1}'), "schema"),
        (Reply(b'{"jsonrpc":"2.0","id":0,"result":"-0x1"}'), "schema"),
        (Reply(b'{"jsonrpc":"2.0","id":0,"result":NaN}'), "schema"),
        (Reply(b'{"jsonrpc":"2.0","id":8,"result":"0x1"}'), "schema"),
        (Reply(b'{"jsonrpc":"2.0","id":0,"result":"' + b"f" * 300_000 + b'"}'), "too_large"),
    ],
)
def test_nonsense_is_a_bad_page(server: LocalNode, reply: Reply, rule: str) -> None:
    server.fail_next(reply)
    with pytest.raises(BadPage) as caught:
        node_at(server, page_mb=0.25).chain_id()
    assert caught.value.rule == rule


def test_a_connection_that_breaks_off_is_asked_again(server: LocalNode) -> None:
    server.fail_next(Reply(b'{"jsonrpc"', promised=500))
    assert node_at(server).block_number() == server.chain.head
