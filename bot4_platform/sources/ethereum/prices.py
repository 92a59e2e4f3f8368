"""What a token is worth at a block, in millionths of a dollar, from the chain itself.

Stablecoins count at par. A major's price is the median of the last five swaps in its reference pool (Uniswap v3) in
the 100 blocks before: earlier blocks only, so that no transfer is valued by a price of its own block, and a median, so
that one swap cannot set it. Bitcoin's is in ether there, and ether's in dollars. No swap in 100 blocks: no price.

A v3 pool states sqrt(token 1 / token 0) of base units in 64.96 fixed point (Uniswap v3 whitepaper, 6.1); all integers.
"""

from __future__ import annotations

from bisect import bisect_left, insort

from bot4_platform.sources.ethereum.known import POOLS, REFERENCE, Token

MICRO = 1_000_000
WINDOW = 100  # blocks, 20 minutes
SWAPS = 5
CENTS = MICRO // 100
Q192 = 192


class Prices:
    """The table of prices of some blocks; `add` the swaps of the reference pools in any order."""

    def __init__(self) -> None:
        self._swaps: dict[str, list[tuple[int, int, int]]] = {symbol: [] for symbol in REFERENCE}

    def add(self, pool: str, block: int, log_index: int, sqrt_price_x96: int) -> None:
        """Add a swap; those of other pools, and a price of nothing, are passed over."""
        for symbol, reference in REFERENCE.items():
            if pool == reference and sqrt_price_x96 > 0:
                insort(self._swaps[symbol], (block, log_index, sqrt_price_x96))

    def drop_before(self, block: int) -> None:
        """Forget what no later block needs."""
        for swaps in self._swaps.values():
            del swaps[: bisect_left(swaps, (block - WINDOW, -1, 0))]

    def at(self, token: Token, block: int) -> int | None:
        """Return the price of one whole token at a block, in millionths of a dollar; None when nobody knows."""
        if token.par:
            return MICRO
        symbol = "WETH" if token.symbol == "ETH" else token.symbol
        swaps = self._swaps.get(symbol, [])
        end = bisect_left(swaps, (block, -1, 0))
        recent = sorted(x96 for at, _, x96 in swaps[max(0, end - SWAPS) : end] if at >= block - WINDOW)
        if not recent:
            return None
        pool = POOLS[REFERENCE[symbol]]
        root = recent[(len(recent) - 1) // 2]
        if pool.token1.symbol == symbol:  # token 0 is the money: turn it over
            base, money, price = pool.token1, pool.token0, (10**pool.token1.decimals << Q192) // root**2
        else:
            base, money, price = pool.token0, pool.token1, (root**2 * 10**pool.token0.decimals) >> Q192
        assert base.symbol == symbol
        worth = self.at(money, block)
        return None if worth is None else price * worth // 10**money.decimals

    def cents(self, token: Token, amount: int, block: int) -> int | None:
        """Return what an amount of base units is worth, in cents, rounded down."""
        price = self.at(token, block)
        return None if price is None else amount * price // (10**token.decimals * CENTS)
