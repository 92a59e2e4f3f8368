"""The events we read, as the Solidity ABI writes them: topics, and what a log's topics and data decode to.

Topic 0 is keccak-256 of the signature (Ethereum's contract ABI specification, "Events"). `uint256` stays a Python
integer, which is exact.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

ZERO = "0x" + "0" * 40


@dataclass(frozen=True)
class Event:
    """An event: the arguments in order as (name, type, indexed)."""

    name: str
    topic: str
    arguments: tuple[tuple[str, str, bool], ...]

    @property
    def signature(self) -> str:
        """Return what topic 0 is the hash of."""
        return f"{self.name}({','.join(kind for _, kind, _ in self.arguments)})"


TRANSFER = Event(
    "Transfer",
    "0xddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef",
    (("sender", "address", True), ("receiver", "address", True), ("amount", "uint256", False)),
)  # ERC-20
SWAP_V2 = Event(
    "Swap",
    "0xd78ad95fa46c994b6551d0da85fc275fe613ce37657fb8d5e3d130840159d822",
    (("sender", "address", True), ("amount0_in", "uint256", False), ("amount1_in", "uint256", False),
     ("amount0_out", "uint256", False), ("amount1_out", "uint256", False), ("receiver", "address", True)),
)  # UniswapV2Pair # fmt: skip
SWAP_V3 = Event(
    "Swap",
    "0xc42079f94a6350d7e6235f29174924f928cc2ac818eb64fed8004e115fbcca67",
    (("sender", "address", True), ("receiver", "address", True), ("amount0", "int256", False),
     ("amount1", "int256", False), ("sqrt_price_x96", "uint160", False), ("liquidity", "uint128", False),
     ("tick", "int24", False)),
)  # UniswapV3Pool # fmt: skip
ISSUE = Event(
    "Issue", "0xcb8241adb0c3fdb35b70c24ce35c5eb0c17af7431c99f827d44a445ca624176a", (("amount", "uint256", False),)
)  # TetherToken, as the next two
REDEEM = Event(
    "Redeem", "0x702d5967f45f6513a38ffc42d6ba9bf230bd40e8f53b16363c7eb4fd2deb9a44", (("amount", "uint256", False),)
)
DESTROYED = Event(
    "DestroyedBlackFunds",
    "0x61e6e66b0d6339b2980aecc6ccc0039736791f0ccde9ed512e789a7fbdd698c6",
    (("sender", "address", False), ("amount", "uint256", False)),
)
MINT = Event(
    "Mint",
    "0xab8530f87dc9b59234c4623bf917212bb2536d647574c8e7e5da92c2ede0c9f8",
    (("sender", "address", True), ("receiver", "address", True), ("amount", "uint256", False)),
)  # Circle's FiatToken, as the next
BURN = Event(
    "Burn",
    "0xcc16f5dbb4873280815c1ee09dbd06736cffcc184412cf7a71a0fdb75d397ca5",
    (("sender", "address", True), ("amount", "uint256", False)),
)
EVENTS = (TRANSFER, SWAP_V2, SWAP_V3, ISSUE, REDEEM, DESTROYED, MINT, BURN)


def encode_log(event: Event, values: dict[str, Any]) -> tuple[list[str], str]:
    """Return the (topics, data) of an event with these arguments."""
    from eth_abi.abi import encode

    indexed = [(kind, values[name]) for name, kind, hashed in event.arguments if hashed]
    plain = [(kind, values[name]) for name, kind, hashed in event.arguments if not hashed]
    topics = [event.topic, *("0x" + encode([kind], [value]).hex() for kind, value in indexed)]
    return topics, "0x" + encode([kind for kind, _ in plain], [value for _, value in plain]).hex()


def decode_log(event: Event, topics: list[str], data: str) -> dict[str, Any]:
    """Return the arguments by name; addresses in lower case. Raises ValueError when the log is not such an event."""
    from eth_abi.abi import decode
    from eth_abi.exceptions import DecodingError

    indexed = [(name, kind) for name, kind, hashed in event.arguments if hashed]
    plain = [(name, kind) for name, kind, hashed in event.arguments if not hashed]
    if len(topics) != 1 + len(indexed) or topics[0] != event.topic:
        raise ValueError(f"{len(topics)} topics are not those of {event.signature}")
    try:
        values = {name: decode([kind], _bytes(text))[0] for (name, kind), text in zip(indexed, topics[1:], strict=True)}
        raw = _bytes(data)
        if len(raw) != 32 * len(plain):
            raise ValueError(f"{len(raw)} bytes of data are not those of {event.signature}")
        found = decode([kind for _, kind in plain], raw)
    except (DecodingError, OverflowError) as error:
        raise ValueError(f"not the data of {event.signature}: {' '.join(str(error).split())[:120]}") from None
    values |= {name: value for (name, _), value in zip(plain, found, strict=True)}
    return {name: value.lower() if isinstance(value, str) else value for name, value in values.items()}


def quantity(text: object) -> int:
    """Return a JSON-RPC quantity (`0x41`) as an integer. Raises ValueError for anything else, signs included."""
    if not isinstance(text, str) or not text.startswith("0x") or not 3 <= len(text) <= 66:
        raise ValueError(f"{str(text)[:80]!r} is no hexadecimal quantity")
    if not all(letter in "0123456789abcdefABCDEF" for letter in text[2:]):
        raise ValueError(f"{text[:80]!r} is no hexadecimal quantity")
    return int(text[2:], 16)


def _bytes(text: object) -> bytes:
    if not isinstance(text, str) or not text.startswith("0x"):
        raise ValueError(f"{str(text)[:80]!r} is no hexadecimal data")
    return bytes.fromhex(text[2:])
