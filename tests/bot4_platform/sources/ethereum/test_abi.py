"""Topics and data of the events we read: hashes checked by a keccak of our own, values to the last bit."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot4_platform.sources.ethereum.abi import EVENTS, SWAP_V3, TRANSFER, decode_log, encode_log, quantity

ROUNDS = (
    0x0000000000000001, 0x0000000000008082, 0x800000000000808A, 0x8000000080008000, 0x000000000000808B,
    0x0000000080000001, 0x8000000080008081, 0x8000000000008009, 0x000000000000008A, 0x0000000000000088,
    0x0000000080008009, 0x000000008000000A, 0x000000008000808B, 0x800000000000008B, 0x8000000000008089,
    0x8000000000008003, 0x8000000000008002, 0x8000000000000080, 0x000000000000800A, 0x800000008000000A,
    0x8000000080008081, 0x8000000000008080, 0x0000000080000001, 0x8000000080008008,
)  # fmt: skip
MASK = 2**64 - 1


def keccak(data: bytes) -> str:
    """keccak-256 (the Keccak reference, before FIPS 202 changed the padding)."""

    def turn(value: int, by: int) -> int:
        return ((value << by) | (value >> (64 - by))) & MASK if by else value

    padded = bytearray(data + b"\x01" + b"\0" * (-(len(data) + 1) % 136))
    padded[-1] |= 0x80
    a = [[0] * 5 for _ in range(5)]
    for start in range(0, len(padded), 136):
        for i in range(17):
            a[i % 5][i // 5] ^= int.from_bytes(padded[start + 8 * i : start + 8 * i + 8], "little")
        for constant in ROUNDS:
            c = [a[x][0] ^ a[x][1] ^ a[x][2] ^ a[x][3] ^ a[x][4] for x in range(5)]
            d = [c[x - 1] ^ turn(c[(x + 1) % 5], 1) for x in range(5)]
            a = [[a[x][y] ^ d[x] for y in range(5)] for x in range(5)]
            b = [[0] * 5 for _ in range(5)]
            x, y, by = 1, 0, 0
            b[0][0] = a[0][0]
            for t in range(24):
                by = (t + 1) * (t + 2) // 2 % 64
                b[y][(2 * x + 3 * y) % 5] = turn(a[x][y], by)
                x, y = y, (2 * x + 3 * y) % 5
            a = [[b[x][y] ^ (~b[(x + 1) % 5][y] & b[(x + 2) % 5][y] & MASK) for y in range(5)] for x in range(5)]
            a[0][0] ^= constant
    return b"".join(a[i % 5][i // 5].to_bytes(8, "little") for i in range(4)).hex()


def test_the_hash_is_the_reference_s() -> None:
    assert keccak(b"") == "c5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470"
    assert keccak(b"a" * 200) != keccak(b"a" * 201)


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.signature)
def test_topic_0_is_the_hash_of_the_signature(event) -> None:
    assert event.topic == "0x" + keccak(event.signature.encode())


def test_a_transfer_as_a_node_returns_it() -> None:
    # 1,500,000 USDT from Binance 14, in the shape of eth_getLogs.
    topics = [
        TRANSFER.topic,
        "0x00000000000000000000000028c6c06298d514db089934071355e5743bf21d60",
        "0x000000000000000000000000a7efae728d2936e78bda97dc267687568dd593f3",
    ]
    data = "0x000000000000000000000000000000000000000000000000000001" + f"{1_500_000_000_000 - 2**40:010x}"
    assert decode_log(TRANSFER, topics, data) == {
        "sender": "0x28c6c06298d514db089934071355e5743bf21d60",
        "receiver": "0xa7efae728d2936e78bda97dc267687568dd593f3",
        "amount": 1_500_000_000_000,
    }


@given(
    st.integers(-(2**255), 2**255 - 1), st.integers(-(2**255), 2**255 - 1), st.integers(0, 2**160 - 1),
    st.integers(-(2**23), 2**23 - 1), st.binary(min_size=20, max_size=20),
)  # fmt: skip
@settings(max_examples=40, deadline=None)
def test_every_bit_of_a_swap_survives(amount0: int, amount1: int, root: int, tick: int, address: bytes) -> None:
    values = {
        "sender": "0x" + address.hex(), "receiver": "0x" + address[::-1].hex(), "amount0": amount0, "amount1": amount1,
        "sqrt_price_x96": root, "liquidity": 2**128 - 1, "tick": tick,
    }  # fmt: skip
    assert decode_log(SWAP_V3, *encode_log(SWAP_V3, values)) == values


HEX = st.one_of(st.text(max_size=70), st.binary(max_size=100).map(lambda raw: "0x" + raw.hex()))


@given(st.sampled_from(EVENTS), st.lists(HEX, max_size=4), HEX)
@settings(max_examples=50, deadline=None)
def test_nonsense_is_a_value_error(event, topics: list[str], data: str) -> None:
    with pytest.raises(ValueError, match=r"not|no "):
        decode_log(event, [event.topic, *topics, "0x"], data)
    with pytest.raises(ValueError, match=r"."):
        decode_log(event, [event.topic, *topics][:3], data + "zz")


@pytest.mark.parametrize("text", ["", "0x", "10", "-0x1", "0x-1", "0x1_0", "0xg", None, 7, "0x" + "f" * 65])
def test_a_quantity_is_hexadecimal(text: object) -> None:
    with pytest.raises(ValueError, match="quantity"):
        quantity(text)
    assert quantity("0x" + "f" * 64) == 2**256 - 1
