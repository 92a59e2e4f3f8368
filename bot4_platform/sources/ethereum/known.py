"""Contracts and addresses we know: tokens with their decimals, pools, labels.

Decimals and the order of a pool's tokens are those the verified contracts return (`decimals()`, `token0()`); exchange
addresses are in `labels.csv`, which a user extends by a file of the same columns.
"""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from bot4_platform.sources.ethereum.abi import ZERO

ADDRESS = re.compile(r"0x[0-9a-f]{40}")
LABELS = Path(__file__).with_name("labels.csv")


@dataclass(frozen=True)
class Token:
    """A token. `par` is valued at one dollar; `supply` names what its mints and burns are read from."""

    symbol: str
    address: str
    decimals: int
    par: bool = False
    supply: str = ""  # "tether": Issue, Redeem; "circle": Mint, Burn; "erc20": Transfer of the zero address


@dataclass(frozen=True)
class Pool:
    """A pool of two tokens, in the contract's order (token 0 has the smaller address)."""

    address: str
    protocol: str
    token0: Token
    token1: Token

    @property
    def pair(self) -> str:
        """Return its name, token 0 first."""
        return f"{self.token0.symbol}/{self.token1.symbol}"


USDT = Token("USDT", "0xdac17f958d2ee523a2206206994597c13d831ec7", 6, par=True, supply="tether")
USDC = Token("USDC", "0xa0b86991c6218b36c1d19d4a2e9eb0ce3606eb48", 6, par=True, supply="circle")
DAI = Token("DAI", "0x6b175474e89094c44da98b954eedeac495271d0f", 18, par=True, supply="erc20")
WETH = Token("WETH", "0xc02aaa39b223fe8d0a0e5c4f27ead9083c756cc2", 18)
WBTC = Token("WBTC", "0x2260fac5e5542a773aa44fbcfedf7c193bc2c599", 8)
ETH = Token("ETH", "", 18)  # native: no contract; valued as WETH
TOKENS = {token.address: token for token in (USDT, USDC, DAI, WETH, WBTC)}

POOLS = {
    pool.address: pool
    for pool in (
        Pool("0x88e6a0c2ddd26feeb64f039a2c41296fcb3f5640", "uniswap_v3", USDC, WETH),
        Pool("0x11b815efb8f581194ae79006d24e0d814b7697f6", "uniswap_v3", WETH, USDT),
        Pool("0xcbcdf9626bc03e24f779434178a73a0b4bad62ed", "uniswap_v3", WBTC, WETH),
        Pool("0xb4e16d0168e52d35cacd2c6185b44281ec28c9dc", "uniswap_v2", USDC, WETH),
        Pool("0x0d4a11d5eeaac28ec3f61d100daf4d40471f1852", "uniswap_v2", WETH, USDT),
    )
}
# Where a major's price is read: its v3 pool, and what the price there is in.
REFERENCE = {"WETH": "0x88e6a0c2ddd26feeb64f039a2c41296fcb3f5640", "WBTC": "0xcbcdf9626bc03e24f779434178a73a0b4bad62ed"}


@dataclass(frozen=True)
class Label:
    """What an address is: `entity` (binance), `name` (Binance 14), `kind` (exchange, null or a user's own)."""

    entity: str
    name: str
    kind: str


NULL = Label("", "zero address", "null")


@lru_cache(maxsize=8)
def labels(extra: Path | None = None) -> dict[str, Label]:
    """Return the labels by address, a user's before ours. Raises ValueError naming the line that cannot be used."""
    return {ZERO: NULL} | read_labels(LABELS) | (read_labels(extra) if extra else {})


def read_labels(path: Path) -> dict[str, Label]:
    """Return the labels of a CSV; lines that begin with # are comments. Raises ValueError, OSError."""
    found = {}
    with path.open(newline="") as file:
        lines = csv.DictReader((line for line in file if not line.startswith("#")), restval="")
        if not {"address", "entity", "name", "kind"} <= set(lines.fieldnames or ()):
            raise ValueError(f"{path}: the columns must be address, entity, name, kind")
        for number, row in enumerate(lines, 2):
            address = row["address"].strip().lower()
            if not ADDRESS.fullmatch(address):
                raise ValueError(f"{path}, row {number}: {address[:60]!r} is no address (0x and 40 hex digits)")
            found[address] = Label(row["entity"].strip(), row["name"].strip(), row["kind"].strip())
    return found


def flow(sender: Label | None, receiver: Label | None) -> str:
    """Return what a transfer is to the exchanges: inflow, outflow, internal, between, mint, burn or other."""
    if sender is NULL or receiver is NULL:
        return "mint" if sender is NULL else "burn"
    come = receiver is not None and receiver.kind == "exchange"
    gone = sender is not None and sender.kind == "exchange"
    if come and gone:
        assert sender is not None
        assert receiver is not None
        return "internal" if sender.entity == receiver.entity else "between"
    return "inflow" if come else "outflow" if gone else "other"
