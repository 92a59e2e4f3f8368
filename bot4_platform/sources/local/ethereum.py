"""An Ethereum node on loopback: a deterministic chain that can grow, reorganise, and refuse as nodes do.

What its blocks hold is drawn from a seed, the branch and the block's number, so that a chain is the same in every
process; `events` is the truth behind the logs, for whoever wants to compare. Hashes are not Ethereum's (nobody checks
them against the contents), everything else is its JSON.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from functools import cache
from random import Random
from typing import Any

from bot4_platform.sources.ethereum import abi, known
from bot4_platform.sources.ethereum.abi import ZERO, Event
from bot4_platform.sources.local.http import LocalServer, Reply, Request

SLOT_S = 12
EARLIER_S = 90_000  # between the empty blocks before the first: cheap to read past
PARITY = 2**96
OTHERS = 24  # addresses without a label


@dataclass(frozen=True)
class Truth:
    """One event of a block, before it was encoded. `contract` is "" for ETH itself; `ok`: it succeeded."""

    contract: str
    event: Event | None
    values: dict[str, Any]
    tx_hash: str
    log_index: int
    ok: bool = True


@dataclass
class ChainBlock:
    """A block: its truth and its JSON."""

    number: int
    hash: str
    parent_hash: str
    time_s: int
    events: list[Truth] = field(default_factory=list)
    logs: list[dict[str, Any]] = field(default_factory=list)
    transactions: list[dict[str, Any]] = field(default_factory=list)


class Chain:
    """Blocks from `first` on, a slot apart, the first at `start_s` (Unix seconds)."""

    def __init__(self, *, seed: int = 1, first: int = 5_000, start_s: int, blocks: int) -> None:
        """Make `blocks` blocks."""
        self.seed, self.first, self.start_s = seed, first, start_s
        self.branch = 0
        self.blocks: list[ChainBlock] = []
        self.transactions: dict[str, Truth] = {}
        self.mine(blocks)

    @property
    def head(self) -> int:
        """Return the newest block's number."""
        return self.first + len(self.blocks) - 1

    def mine(self, count: int) -> None:
        """Add blocks."""
        for _ in range(count):
            self.blocks.append(self._block(self.head + 1))

    def reorganise(self, depth: int) -> None:
        """Replace the newest `depth` blocks by as many others."""
        for block in self.blocks[-depth:]:
            for truth in block.events:
                del self.transactions[truth.tx_hash]
        del self.blocks[-depth:]
        self.branch += 1
        self.mine(depth)

    def block(self, number: int) -> ChainBlock | None:
        """Return a block; None for one there is not. Before the first there are empty ones."""
        if number > self.head or number < 0:
            return None
        if number < self.first:
            return ChainBlock(number, _hash(self.seed, number), _hash(self.seed, number - 1), self._time(number))
        return self.blocks[number - self.first]

    def _time(self, number: int) -> int:
        ahead = number - self.first
        return self.start_s + ahead * (SLOT_S if ahead >= 0 else EARLIER_S)

    def _block(self, number: int) -> ChainBlock:
        parent = self.blocks[-1].hash if self.blocks else _hash(self.seed, number - 1)
        block = ChainBlock(number, _hash(parent, self.branch, number), parent, self._time(number))
        random = Random(f"{self.seed}/{self.branch}/{number}")
        # Prices move slowly and alike on all branches: dollars an ether, ether a bitcoin.
        ether = 2500 * (1 + 0.002 * Random(f"{self.seed}/price/{number // 5}").uniform(-1, 1))
        for contract, event, values in _content(random, ether):
            tx_hash = _hash(block.hash, len(block.events))
            ok = event is not None or random.random() < 0.9
            truth = Truth(contract, event, values, tx_hash, len(block.logs) if event else -1, ok)
            block.events.append(truth)
            self.transactions[tx_hash] = truth
            block.transactions.append(_transaction(block, truth))
            if event is not None:
                topics, data = abi.encode_log(event, values)
                block.logs.append(
                    {
                        "address": contract, "topics": topics, "data": data, "blockNumber": hex(number),
                        "blockHash": block.hash, "transactionHash": tx_hash, "logIndex": hex(truth.log_index),
                        "transactionIndex": hex(len(block.transactions) - 1), "removed": False,
                    }
                )  # fmt: skip
        return block


@cache
def _parties() -> tuple[list[str], list[str]]:
    """Return the addresses of exchanges, and these with others that nobody knows."""
    exchanges = sorted(address for address, label in known.labels().items() if label.kind == "exchange")
    others = ["0x" + hashlib.sha256(f"other {i}".encode()).hexdigest()[:40] for i in range(OTHERS)]
    return exchanges, exchanges + others


def _content(random: Random, ether: float) -> list[tuple[str, Event | None, dict[str, Any]]]:
    """Return what happens in a block: (contract, event, arguments)."""
    exchanges, everyone = _parties()

    def party() -> str:
        return random.choice(exchanges) if random.random() < 0.5 else random.choice(everyone)

    found: list[tuple[str, Event | None, dict[str, Any]]] = []
    dollars = {"WETH": ether, "WBTC": ether * 24, "ETH": ether}
    for _ in range(random.randint(1, 4)):
        token = random.choice([*known.TOKENS.values(), known.ETH])
        amount = int(random.lognormvariate(13.3, 1.4) / dollars.get(token.symbol, 1.0) * 10**token.decimals)
        values = {"sender": party(), "receiver": party(), "amount": amount}
        found.append((token.address, abi.TRANSFER if token.address else None, values))
    active = [pool for pool in known.POOLS.values() if random.random() < 0.7]
    found += [(pool.address, *_swap(random, pool, ether)) for pool in active]
    if random.random() < 0.08:
        found += _supply(random)
    return found


def _swap(random: Random, pool: known.Pool, ether: float) -> tuple[Event, dict[str, Any]]:
    worth = {"USDC": 1.0, "USDT": 1.0, "WETH": ether, "WBTC": ether * 24}
    value = random.lognormvariate(9.5, 1.3)
    amounts = [int(value / worth[token.symbol] * 10**token.decimals) for token in (pool.token0, pool.token1)]
    inward = random.random() < 0.5
    base = {"sender": "0x" + "7a" * 20, "receiver": "0x" + "8b" * 20}
    if pool.protocol == "uniswap_v2":
        return abi.SWAP_V2, base | {
            "amount0_in": amounts[0] * inward, "amount1_in": amounts[1] * (not inward),
            "amount0_out": amounts[0] * (not inward), "amount1_out": amounts[1] * inward,
        }  # fmt: skip
    # sqrt(token 1 per token 0), in base units
    price = worth[pool.token0.symbol] / worth[pool.token1.symbol] * 10 ** (pool.token1.decimals - pool.token0.decimals)
    sign = 1 if inward else -1
    return abi.SWAP_V3, base | {
        "amount0": sign * amounts[0], "amount1": -sign * amounts[1], "sqrt_price_x96": int(price**0.5 * PARITY),
        "liquidity": 10**19, "tick": 200_000,
    }  # fmt: skip


def _supply(random: Random) -> list[tuple[str, Event | None, dict[str, Any]]]:
    """Return a mint or burn as the token's contract logs it: Circle's with the ERC-20 Transfer beside it."""
    token = random.choice([known.USDT, known.USDC, known.DAI])
    minted = random.random() < 0.6
    amount = random.randint(1, 200) * 10**6 * 10**token.decimals
    whom = "0x" + "5c" * 20
    if token.supply == "tether":
        if not minted and random.random() < 0.2:
            return [(token.address, abi.DESTROYED, {"sender": whom, "amount": amount})]
        return [(token.address, abi.ISSUE if minted else abi.REDEEM, {"amount": amount})]
    moved = {"sender": ZERO if minted else whom, "receiver": whom if minted else ZERO, "amount": amount}
    transfer: tuple[str, Event | None, dict[str, Any]] = (token.address, abi.TRANSFER, moved)
    if token.supply == "circle":
        own = {"sender": whom, "receiver": whom, "amount": amount}
        return [(token.address, abi.MINT if minted else abi.BURN, own), transfer]
    return [transfer]


def _transaction(block: ChainBlock, truth: Truth) -> dict[str, Any]:
    native = truth.event is None
    return {
        "hash": truth.tx_hash, "blockNumber": hex(block.number), "blockHash": block.hash,
        "from": truth.values["sender"] if native else "0x" + "7a" * 20,
        "to": truth.values["receiver"] if native else truth.contract,
        "value": hex(truth.values["amount"] if native else 0), "type": "0x2", "input": "0x",
    }  # fmt: skip


def _hash(*parts: object) -> str:
    return "0x" + hashlib.sha3_256("/".join(map(str, parts)).encode()).hexdigest()


class LocalNode(LocalServer):
    """The node. `most_logs` and `most_blocks` are its limits of eth_getLogs, `most_batch` of a request."""

    def __init__(
        self, chain: Chain, *, most_logs: int = 10_000, most_blocks: int = 2_000, most_batch: int = 1000,
        limit: int | None = None,
    ) -> None:  # fmt: skip
        """Serve a chain."""
        super().__init__(limit=limit)
        self.chain, self.most_logs, self.most_blocks, self.most_batch = chain, most_logs, most_blocks, most_batch

    def refusal(self) -> Reply:
        """Return what hosted nodes answer past the limit."""
        error = {"code": -32005, "message": "daily request count exceeded, request rate limited"}
        return Reply(_body({"jsonrpc": "2.0", "id": None, "error": error}), 429, headers={"Retry-After": "0.05"})

    def answer(self, request: Request) -> Reply:
        """Answer a call or a batch of them."""
        try:
            asked = json.loads(request.body)
        except ValueError:
            return Reply(_body(_error(None, -32700, "parse error")))
        if not isinstance(asked, list):
            return Reply(_body(self._answer(asked)))
        if not asked or len(asked) > self.most_batch:
            return Reply(_body(_error(None, -32600, f"batch of {len(asked)} calls; {self.most_batch} are allowed")))
        answers = [self._answer(call) for call in asked]
        return Reply(_body(answers[::-1]))  # the order of a batch's answers is free (JSON-RPC 2.0, section 6)

    def _answer(self, call: Any) -> dict[str, Any]:
        if not isinstance(call, dict) or call.get("jsonrpc") != "2.0":
            return _error(None, -32600, "invalid request")
        number, params = call.get("id"), call.get("params") or []
        name = str(call.get("method"))
        method = getattr(self, f"_{name}", None) if name.startswith("eth_") else None
        if method is None:
            return _error(number, -32601, f"the method {name} does not exist/is not available")
        try:
            return {"jsonrpc": "2.0", "id": number, "result": method(*params)}
        except _Refused as error:
            return _error(number, error.code, str(error))
        except (TypeError, ValueError, KeyError, AttributeError):
            return _error(number, -32602, "invalid argument")

    def _eth_blockNumber(self) -> str:
        return hex(self.chain.head)

    def _eth_chainId(self) -> str:
        return "0x1"

    def _eth_getBlockByNumber(self, tag: str, whole: bool) -> dict[str, Any] | None:
        block = self.chain.block(self._number(tag))
        if block is None:
            return None
        return {
            "number": hex(block.number), "hash": block.hash, "parentHash": block.parent_hash,
            "timestamp": hex(block.time_s), "gasUsed": "0xe4e1c0", "baseFeePerGas": "0x3b9aca00",
            "transactions": block.transactions if whole else [one["hash"] for one in block.transactions],
        }  # fmt: skip

    def _eth_getTransactionReceipt(self, tx_hash: str) -> dict[str, Any] | None:
        found = self.chain.transactions.get(tx_hash)
        return {"transactionHash": tx_hash, "status": "0x1" if found.ok else "0x0"} if found else None

    def _eth_getLogs(self, wanted: dict[str, Any]) -> list[dict[str, Any]]:
        first, last = self._number(wanted.get("fromBlock", "latest")), self._number(wanted.get("toBlock", "latest"))
        if last - first + 1 > self.most_blocks:
            raise _Refused(-32600, f"exceed maximum block range: {self.most_blocks}")
        addresses = wanted.get("address")
        addresses = {addresses} if isinstance(addresses, str) else set(addresses or ())
        topics = wanted.get("topics") or []
        found = []
        for number in range(max(first, self.chain.first), min(last, self.chain.head) + 1):
            block = self.chain.block(number)
            assert block is not None
            found += [
                log for log in block.logs
                if (not addresses or log["address"] in addresses) and _matches(topics, log["topics"])
            ]  # fmt: skip
        if len(found) > self.most_logs:
            raise _Refused(-32005, f"query returned more than {self.most_logs} results")
        return found

    def _number(self, tag: str) -> int:
        named = {
            "latest": self.chain.head,
            "safe": self.chain.head - 32,
            "finalized": self.chain.head - 64,
            "earliest": 0,
        }
        return named[tag] if tag in named else int(tag, 16)


class _Refused(Exception):
    """A call that is refused with a code."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


def _matches(wanted: list[Any], topics: list[str]) -> bool:
    """Return whether topics match position by position; null matches all, a list any of its own."""
    if len(wanted) > len(topics):
        return False
    return all(
        one is None or (topic in one if isinstance(one, list) else topic == one)
        for one, topic in zip(wanted, topics, strict=False)
    )


def _error(number: Any, code: int, text: str) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": number, "error": {"code": code, "message": text}}


def _body(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()
