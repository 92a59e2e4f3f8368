"""An order at the simulated exchange."""

from __future__ import annotations

from dataclasses import dataclass

OPEN = ("NEW", "PARTIALLY_FILLED")


@dataclass(slots=True)
class Order:
    """Prices in ticks, quantities in lots, times in exchange ms. `price` is 0 for a market order."""

    id: int
    client_id: str
    account: str
    buys: bool
    kind: str  # LIMIT | MARKET
    life: str  # GTC | IOC | FOK | GTX
    price: int
    qty: int
    reduce_only: bool
    created_ms: int
    status: str = "NEW"
    filled: int = 0
    value: int = 0  # sum of price * quantity filled, ticks x lots
    updated_ms: int = 0
    # The place in the queue at `price`, kept by matching.
    ahead: int = 0  # displayed lots before it
    shown: int = 0  # displayed at its price when last looked at
    traded: int = 0  # traded there since, not yet seen to be missing from the display
    traded_ns: int = 0
    cancelled: int = 0  # missing from the display, not (yet) explained by trades
    cancelled_ahead: int = 0  # by how much that moved `ahead`
    cancelled_ns: int = 0

    @property
    def left(self) -> int:
        """Return what is not filled."""
        return self.qty - self.filled

    @property
    def open(self) -> bool:
        """Return whether it can still fill."""
        return self.status in OPEN

    @property
    def side(self) -> str:
        """Return BUY or SELL."""
        return "BUY" if self.buys else "SELL"
