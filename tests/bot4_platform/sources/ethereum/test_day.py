"""A day of the chain in the lake equals the chain's truth: after limits, reorganisations, kills and nonsense."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot4_platform.lake import Lake
from bot4_platform.sources.errors import BadPage, SourceRefused, SourceUnavailable
from bot4_platform.sources.ethereum import abi, day, known
from bot4_platform.sources.ethereum.blocks import parse_block
from bot4_platform.sources.ethereum.node import Node
from bot4_platform.sources.ethereum.rows import parse_logs
from bot4_platform.sources.ethereum.settings import EthereumSettings
from bot4_platform.sources.hosts import Hosts
from bot4_platform.sources.http import SourceClient
from bot4_platform.sources.local.ethereum import Chain, ChainBlock, LocalNode, Truth
from bot4_platform.sources.local.http import HTML, Reply
from bot4_platform.sources.settings import HttpSettings

DAY = "2024-08-08"
START_S = 1_723_075_200  # its first second
NOW_NS = (START_S + 30 * 86_400) * 10**9
SETTINGS = EthereumSettings(confirmations=4, span=50)
TABLES = (day.BLOCKS, *day.ROWS)


@pytest.fixture
def chain() -> Chain:
    # Twenty blocks of the day before, so that prices are known when the day begins.
    return Chain(start_s=START_S - 20 * 12, blocks=80)


@pytest.fixture
def server(chain: Chain) -> Iterator[LocalNode]:
    with LocalNode(chain) as server:
        yield server


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path / "lake")


def read(lake: Lake, server: LocalNode, wanted: EthereumSettings = SETTINGS, **options: Any) -> day.DayResult:
    policy = HttpSettings(per_s=1000, first_wait_s=0.001, attempts=3, breaker_failures=50, page_mb=4)
    client = SourceClient("ethereum", policy, hosts=Hosts(), sleep=lambda _: None)
    node = Node(client, server.url, sleep=lambda _: None)
    try:
        return day.read_day(lake, node, wanted, DAY, now=lambda: NOW_NS, **({"backfill": True} | options))
    finally:
        client.close()


def files(lake: Lake) -> dict[str, str]:
    return {table: hashlib.sha256(lake.path(table, DAY, day.SCOPE).read_bytes()).hexdigest() for table in TABLES}


def todays(chain: Chain, confirmations: int = 4) -> list[ChainBlock]:
    return [block for block in chain.blocks if block.time_s >= START_S and block.number <= chain.head - confirmations]


def truths(chain: Chain, confirmations: int = 4) -> list[tuple[ChainBlock, Truth]]:
    return [(block, truth) for block in todays(chain, confirmations) for truth in block.events]


def expected_supply(chain: Chain) -> list[tuple[str, str, str]]:
    """Each mint and burn once, told by the event of its own that its token has."""
    own = {
        (known.USDT.address, abi.ISSUE): "mint", (known.USDT.address, abi.REDEEM): "burn",
        (known.USDT.address, abi.DESTROYED): "burn", (known.USDC.address, abi.MINT): "mint",
        (known.USDC.address, abi.BURN): "burn",
    }  # fmt: skip
    found = []
    for _, truth in truths(chain):
        kind = own.get((truth.contract, truth.event)) if truth.event else None
        if truth.contract == known.DAI.address and abi.ZERO in (truth.values["sender"], truth.values["receiver"]):
            kind = "mint" if truth.values["sender"] == abi.ZERO else "burn"
        if kind:
            found.append((f"{truth.tx_hash}:{truth.log_index}", kind, str(truth.values["amount"])))
    return sorted(found)


def check_truth(lake: Lake, chain: Chain) -> None:
    """Compare the day's tables with what the chain holds."""
    blocks = lake.read(day.BLOCKS, DAY)
    assert blocks["id"].to_list() == [block.hash for block in todays(chain)]
    par = {token.address: token for token in known.TOKENS.values() if token.par}
    transfers = lake.read("onchain_transfers", DAY)
    stable = transfers.filter(transfers["token"].is_in(["USDT", "USDC", "DAI"]))
    assert sorted(stable.select("id", "amount", "usd_cents").rows()) == sorted(
        (f"{truth.tx_hash}:{truth.log_index}", str(amount), amount * 100 // 10 ** par[truth.contract].decimals)
        for _, truth in truths(chain)
        if truth.contract in par and truth.event is abi.TRANSFER
        if (amount := truth.values["amount"]) >= 1_000_000 * 10 ** par[truth.contract].decimals
    )
    native = set(transfers.filter(transfers["token"] == "ETH")["tx_hash"])
    ether = {truth.tx_hash: truth for _, truth in truths(chain) if truth.event is None}
    assert native == {
        tx for tx, truth in ether.items() if truth.ok and truth.values["amount"] * 2500 >= 1_002_000 * 10**18
    } | {tx for tx in native if 998_000 * 10**18 <= ether[tx].values["amount"] * 2500 < 1_002_000 * 10**18}
    assert all(ether[tx].ok for tx in native)
    supply = lake.read("stablecoin_supply", DAY)
    assert sorted(supply.select("id", "kind", "amount").rows()) == expected_supply(chain)
    swaps = lake.read("dex_swaps", DAY)
    v3 = {
        f"{truth.tx_hash}:{truth.log_index}": (str(truth.values["amount0"]), str(truth.values["amount1"]))
        for _, truth in truths(chain)
        if truth.event is abi.SWAP_V3
    }
    found = {
        row[0]: row[1:]
        for row in swaps.filter(swaps["protocol"] == "uniswap_v3").select("id", "amount0", "amount1").rows()
    }
    assert found
    assert all(v3[key] == amounts for key, amounts in found.items())
    assert swaps["usd_cents"].min() >= 10_000 * 100


def test_the_day_is_what_the_chain_says(lake: Lake, server: LocalNode, chain: Chain) -> None:
    result = read(lake, server)
    assert (result.first_block, result.last_block) == (chain.first + 20, chain.head - 4)
    assert result.rejected == 0
    check_truth(lake, chain)
    frame = lake.read("onchain_transfers", DAY)
    lag = 5 * 12 * 10**9
    assert ((frame["created_ns"] - frame["event_ns"]) == lag).all()


def test_flows_are_named_by_the_labels(lake: Lake, server: LocalNode, tmp_path: Path) -> None:
    read(lake, server)
    frame = lake.read("onchain_transfers", DAY)
    names = known.labels()
    for row in frame.iter_rows(named=True):
        sender, receiver = names.get(row["sender"]), names.get(row["receiver"])
        assert row["sender_entity"] == (sender.entity if sender else "")
        assert (row["flow"] in ("inflow", "between", "internal")) == (
            receiver is not None and receiver.kind == "exchange" and sender is not known.NULL
        )
    assert {"inflow", "outflow", "between"} <= set(frame["flow"])
    # A user's own label makes an exchange of an address that was none.
    other = frame.filter(frame["flow"] == "inflow")["sender"][0]
    extra = tmp_path / "labels.csv"
    extra.write_text(f"address,entity,name,kind\n{other.upper().replace('0X', '0x')},mine,My exchange,exchange\n")
    again = Lake(tmp_path / "again")
    read(again, server, SETTINGS.model_copy(update={"labels": extra}))
    mine = again.read("onchain_transfers", DAY).filter(again.read("onchain_transfers", DAY)["sender"] == other)
    assert set(mine["sender_entity"]) == {"mine"}
    extra.write_text("address,entity,name,kind\n0x12,a,b,exchange\n")
    with pytest.raises(ValueError, match="row 2: '0x12' is no address"):
        known.read_labels(extra)


def test_a_second_run_changes_nothing_and_asks_almost_nothing(lake: Lake, server: LocalNode) -> None:
    read(lake, server)
    before, asked = files(lake), len(server.seen)
    assert read(lake, server).blocks == 0
    assert files(lake) == before
    assert len(server.seen) - asked < 25  # the head, the last hash, the end of the day


def test_growth_is_added_and_equals_one_reading(lake: Lake, tmp_path: Path, server: LocalNode, chain: Chain) -> None:
    read(lake, server)
    chain.mine(30)
    assert read(lake, server).blocks == 30
    whole = Lake(tmp_path / "whole")
    read(whole, server)
    assert files(lake) == files(whole)
    check_truth(lake, chain)


SLOW = pytest.mark.slow


@pytest.mark.parametrize("depth", [pytest.param(3, marks=SLOW), 5, pytest.param(17, marks=SLOW), 59])
def test_a_reorganisation_is_corrected(lake: Lake, tmp_path: Path, server: LocalNode, chain: Chain, depth: int) -> None:
    read(lake, server)
    chain.reorganise(depth)
    chain.mine(2)
    result = read(lake, server)
    assert result.taken_back == max(0, depth - 4)
    check_truth(lake, chain)
    fresh = Lake(tmp_path / "fresh")
    read(fresh, server)
    assert files(lake) == files(fresh)


def test_a_chain_that_moves_while_it_is_read(lake: Lake, server: LocalNode, chain: Chain) -> None:
    answer, moved = server._answer, []

    def move(call: Any) -> Any:
        if call["method"] == "eth_getLogs" and len(moved) == 1:
            chain.reorganise(30)
        moved.extend([1] if call["method"] == "eth_getLogs" else [])
        return answer(call)

    server._answer = move  # type: ignore[method-assign]
    read(lake, server)
    server._answer = answer  # type: ignore[method-assign]
    check_truth(lake, chain)


@pytest.mark.parametrize("at", [3, *(pytest.param(at, marks=SLOW) for at in (0, 9, 14))])
def test_a_run_that_fails_goes_on_where_it_stopped(
    lake: Lake, tmp_path: Path, server: LocalNode, at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(day, "CHUNK", 8)
    monkeypatch.setattr(day, "SAVE_EVERY", 16)
    whole = Lake(tmp_path / "whole")
    read(whole, server)
    wrong, count = server.answer, len(server.seen)
    server.answer = lambda request: Reply(b"", 500) if len(server.seen) - count > 14 + at else wrong(request)  # type: ignore[method-assign]
    with pytest.raises(SourceUnavailable, match="the next run goes on"):
        read(lake, server)
    server.answer = wrong  # type: ignore[method-assign]
    read(lake, server)
    assert files(lake) == files(whole)


KILLED = """
import sys
from bot4_platform.lake import Lake
from bot4_platform.sources.ethereum import day
from bot4_platform.sources.ethereum.node import Node
from bot4_platform.sources.ethereum.settings import EthereumSettings
from bot4_platform.sources.http import SourceClient
from bot4_platform.sources.settings import HttpSettings
from pathlib import Path
day.CHUNK, day.SAVE_EVERY = 4, 4
node = Node(SourceClient("ethereum", HttpSettings(per_s=1000)), sys.argv[1])
print("begins", flush=True)
day.read_day(Lake(Path(sys.argv[2])), node, EthereumSettings(confirmations=4, span=50), "2024-08-08",
    now=lambda: int(sys.argv[3]), backfill=True, tell=lambda p: print(p, flush=True))
"""


def kill_a_reader(lake: Lake, server: LocalNode, lines: int) -> None:
    """Start a process that reads the day and kill it when it has said so many lines."""
    child = subprocess.Popen(
        [sys.executable, "-c", KILLED, server.url, str(lake.root), str(NOW_NS)], stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    with child.stdout:
        for _ in range(lines):
            assert child.stdout.readline()
        child.kill()
        child.wait()


@pytest.mark.slow
def test_a_reader_that_is_killed_again_and_again(lake: Lake, tmp_path: Path, server: LocalNode) -> None:
    whole = Lake(tmp_path / "whole")
    read(whole, server)
    for _ in range(6):
        kill_a_reader(lake, server, 3)
    read(lake, server)
    assert files(lake) == files(whole)


def test_a_killed_reader_leaves_what_the_next_one_completes(lake: Lake, tmp_path: Path, server: LocalNode) -> None:
    whole = Lake(tmp_path / "whole")
    read(whole, server)
    kill_a_reader(lake, server, 4)
    assert 0 < lake.read(day.BLOCKS, DAY).height < 56
    read(lake, server)
    assert files(lake) == files(whole)


def test_bad_logs_are_quarantined_and_the_rest_stays(lake: Lake, server: LocalNode, chain: Chain) -> None:
    block = chain.blocks[30]
    good = block.logs[0]
    amount = "0x" + f"{10**40:064x}"
    transfer = {"address": known.USDT.address, "topics": [abi.TRANSFER.topic, *["0x" + "00" * 12 + "ab" * 20] * 2]}
    wrong = [
        good | {"data": "0x1"}, good | {"data": None}, good | {"logIndex": "-0x1"}, {"address": good["address"]}, "log",
        good | transfer | {"data": "0x"}, good | transfer | {"data": amount, "logIndex": "0x99"},
        good | {"topics": good["topics"][:1]}, good | {"blockNumber": None}, good | {"blockNumber": "0x1"},
    ]  # fmt: skip
    block.logs += wrong
    block.logs.append(good | transfer | {"data": amount, "removed": True})
    server._eth_getLogs = lambda what: [  # type: ignore[method-assign]
        log
        for found in chain.blocks
        if int(what["fromBlock"], 16) <= found.number <= int(what["toBlock"], 16)
        for log in found.logs
    ]
    result = read(lake, server)
    assert result.rejected == len(wrong)
    quarantined = lake.read("source_quarantine", DAY)
    assert sorted(set(quarantined["rule"])) == ["out_of_range", "schema"]
    assert set(quarantined["source"]) == {"ethereum"}
    assert quarantined["reason"].str.len_chars().min() > 5
    block.logs = [log for log in block.logs if log not in wrong]
    check_truth(lake, chain)


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"timestamp": hex(NOW_NS // 10**9 + 60)}, "future"), ({"timestamp": "-0x5"}, "schema"),
        ({"timestamp": "NaN"}, "schema"),
        ({"hash": None}, "schema"), ({"number": "0x1"}, "schema"), ({"parentHash": "0x12"}, "schema"),
    ],
)  # fmt: skip
def test_a_block_that_is_none_stops_the_run(
    lake: Lake, server: LocalNode, chain: Chain, change: dict[str, Any], rule: str
) -> None:
    get, number = server._eth_getBlockByNumber, chain.first + 40
    server._eth_getBlockByNumber = lambda tag, whole: (  # type: ignore[method-assign]
        (get(tag, whole) or {}) | (change if whole and int(tag, 16) == number else {})
    )
    with pytest.raises(BadPage) as caught:
        read(lake, server)
    assert caught.value.rule == rule
    assert lake.read("source_quarantine", DAY)["rule"].to_list() == [rule]


def test_a_page_of_html_stops_the_run_and_nothing_is_lost(lake: Lake, server: LocalNode, chain: Chain) -> None:
    server.fail_next(HTML)
    with pytest.raises(BadPage) as caught:
        read(lake, server)
    assert caught.value.rule == "html"
    assert lake.read("source_quarantine", DAY)["reason"].to_list() == ["a page of HTML came instead of JSON"]
    read(lake, server)
    check_truth(lake, chain)


def test_another_chain_is_refused(lake: Lake, server: LocalNode) -> None:
    server._eth_chainId = lambda: "0xaa36a7"  # type: ignore[method-assign]
    with pytest.raises(SourceRefused, match="chain 11155111"):
        read(lake, server)


def test_headers_alone_when_ether_is_not_wanted(lake: Lake, server: LocalNode) -> None:
    read(lake, server, SETTINGS.model_copy(update={"native": False}))
    assert "ETH" not in set(lake.read("onchain_transfers", DAY)["token"])
    assert not any(b"true" in request.body for request in server.seen)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["number", "hash", "topics", "a"]), inner, max_size=4)
    ),
    max_leaves=8,
)
FIELDS = ("address", "topics", "data", "blockNumber", "blockHash", "transactionHash", "logIndex", "removed")


@given(st.lists(JSON, max_size=4), st.sampled_from(FIELDS), JSON)
@settings(max_examples=40, deadline=None)
def test_whatever_comes_as_a_log_is_a_row_or_rejected(raws: list[Any], name: str, value: Any) -> None:
    topics, data = abi.encode_log(abi.TRANSFER, {"sender": abi.ZERO, "receiver": "0x" + "12" * 20, "amount": 5})
    log = {
        "address": known.USDC.address, "topics": topics, "data": data, "blockNumber": "0x1",
        "blockHash": "0x" + "0" * 64, "transactionHash": "0x" + "1" * 64, "logIndex": "0x0",
    }  # fmt: skip
    good, bad = parse_logs([log, *raws, log | {name: value}])
    assert good[0].values["amount"] == 5
    assert len(bad) >= len(raws)
    assert all(item.rule == "schema" and item.reason and item.raw is not None for item in bad)
    for raw in raws:
        with pytest.raises(BadPage):
            parse_block(raw, 1, time.time_ns())
