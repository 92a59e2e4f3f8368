"""Blocks of a node, checked: headers or whole ones, the range of a UTC day, where two chains part."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, Any

import msgspec

from bot4_live.clock import DAY_NS, day_start_ns
from bot4_platform.sources.errors import BadPage, SourceUnavailable
from bot4_platform.sources.ethereum.abi import quantity
from bot4_platform.sources.ethereum.node import Node
from bot4_platform.sources.http import SHOWN
from bot4_platform.sources.validation import FUTURE_NS, raw_bytes

SECOND_NS = 1_000_000_000
Quantity = Annotated[str, msgspec.Meta(pattern="^0x[0-9a-fA-F]{1,64}$")]
Hash = Annotated[str, msgspec.Meta(pattern="^0x[0-9a-f]{64}$")]
Address = Annotated[str, msgspec.Meta(pattern="^0x[0-9a-fA-F]{40}$")]


class Transaction(msgspec.Struct, frozen=True):
    """What of a transaction is read."""

    hash: Hash
    value: Quantity
    sender: Address = msgspec.field(name="from")
    receiver: Address | None = msgspec.field(name="to", default=None)


class RawBlock(msgspec.Struct, frozen=True):
    """What of a block is read; the transactions stay raw, to be checked one by one."""

    number: Quantity
    hash: Hash
    timestamp: Quantity
    parent_hash: Hash = msgspec.field(name="parentHash")
    transactions: list[Any] = msgspec.field(default_factory=list)


class Block(msgspec.Struct, frozen=True):
    """A block: `event_ns` is its slot's time."""

    number: int
    hash: str
    parent_hash: str
    event_ns: int
    transactions: list[Any]


def parse_block(raw: object, number: int, now_ns: int) -> Block:
    """Return a block. Raises BadPage (`schema`, `future`): without it nothing of the range can be placed."""
    try:
        found = msgspec.convert(raw, RawBlock)
        block = Block(
            quantity(found.number),
            found.hash,
            found.parent_hash,
            quantity(found.timestamp) * SECOND_NS,
            found.transactions,
        )
    except (msgspec.ValidationError, ValueError) as error:
        raise BadPage("schema", f"block {number}: {error}", raw_bytes(raw)[:SHOWN]) from None
    if block.number != number:
        raise BadPage("schema", f"block {number} was asked for, {block.number} came", raw_bytes(raw)[:SHOWN])
    if block.event_ns > now_ns + FUTURE_NS:
        raise BadPage(
            "future", f"block {number} is {(block.event_ns - now_ns) / 1e9:.0f} s ahead", raw_bytes(raw)[:SHOWN]
        )
    return block


def get_blocks(node: Node, numbers: Sequence[int], *, whole: bool, now_ns: int) -> list[Block]:
    """Return blocks by number. Raises SourceUnavailable for one that the node does not have (any more)."""
    raws = node.batch([("eth_getBlockByNumber", [hex(number), whole]) for number in numbers])
    if None in raws:
        raise SourceUnavailable(
            f"{node.client.source}: the node has no block {numbers[raws.index(None)]}; ask again later"
        )
    return [parse_block(raw, number, now_ns) for raw, number in zip(raws, numbers, strict=True)]


def day_range(node: Node, day: str, head: int, now_ns: int) -> tuple[int, int]:
    """Return the first and last block of a UTC day up to `head`; an empty range (first > last) when there is none."""
    first = _first_at(node, day_start_ns(day), head, now_ns)
    return first, last_of_day(node, day, head, now_ns, first)


def last_of_day(node: Node, day: str, head: int, now_ns: int, low: int) -> int:
    """Return the last block of a UTC day up to `head`; `low` is one that is not after it."""
    return _first_at(node, day_start_ns(day) + DAY_NS, head, now_ns, low) - 1


def _first_at(node: Node, at_ns: int, head: int, now_ns: int, low: int = 0) -> int:
    """Return the first block at or after a time, head + 1 when there is none: bisection, times only grow."""
    high = head + 1
    while low < high:
        middle = (low + high) // 2
        if get_blocks(node, [middle], whole=False, now_ns=now_ns)[0].event_ns < at_ns:
            low = middle + 1
        else:
            high = middle
    return low


def still_there(node: Node, known: Sequence[tuple[int, str]], now_ns: int) -> int:
    """Return how many of the known (number, hash), oldest first, are on the node's chain: all before a reorganisation.

    The newest is asked first; going back doubles its step, then bisects.
    """

    def same(index: int) -> bool:
        raw = node.call("eth_getBlockByNumber", hex(known[index][0]), False)
        return raw is not None and parse_block(raw, known[index][0], now_ns).hash == known[index][1]

    high, step = len(known), 1  # known[high:] is gone
    while high > 0 and not same(low := max(0, high - step)):
        high, step = low, step * 2
    if high == 0:
        return 0
    low = max(0, high - step)
    while low + 1 < high:
        middle = (low + high) // 2
        low, high = (middle, high) if same(middle) else (low, middle)
    return low + 1


def linked(blocks: Sequence[Block], before: str | None) -> bool:
    """Return whether each block's parent is the one before it; `before` is the hash before the first."""
    previous = [before, *(block.hash for block in blocks)]
    return all(parent in (None, block.parent_hash) for parent, block in zip(previous, blocks, strict=False))


def chunks(first: int, last: int, size: int) -> Iterator[range]:
    """Yield ranges that cover first to last, both included."""
    for start in range(first, last + 1, size):
        yield range(start, min(last, start + size - 1) + 1)
