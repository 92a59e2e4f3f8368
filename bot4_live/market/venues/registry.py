"""The instruments of one venue by the venue's own names, with digits that are declared or inferred from data."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from bot4_live.instrument import E8, Instrument
from bot4_live.market.numbers import Scale, decimals
from bot4_live.market.venues.contracts import Contract
from bot4_live.market.venues.symbols import canonical

COINS = Contract()
MAX_DIGITS = 8
MAX_UNITS = 10**17  # counts of a book that is looked at, not traded: tokens come in 1e7 pieces with 8 decimals each


class Digits:
    """The most decimals seen in prices and in quantities, ignoring zeros at the end."""

    def __init__(self) -> None:
        """Begin with none."""
        self.price = 0
        self.qty = 0

    def see_price(self, text: str) -> None:
        """Look at a price."""
        self.price = max(self.price, decimals(text))

    def see_qty(self, text: str) -> None:
        """Look at a quantity."""
        self.qty = max(self.qty, decimals(text))

    def see_levels(self, levels: Iterable[tuple[str, str]]) -> None:
        """Look at (price, quantity) pairs."""
        for price, qty in levels:
            self.see_price(price)
            self.see_qty(qty)


class Instruments:
    """Instruments of one venue. Ids count from `first_id` in the order in which they are declared."""

    def __init__(self, venue: str, first_id: int = 0) -> None:
        """Begin with none."""
        self.venue = venue
        self._first_id = first_id
        self._known: dict[str, Instrument] = {}
        self._scales: dict[str, tuple[Scale, Scale]] = {}

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._known)

    def __iter__(self) -> Iterator[tuple[str, Instrument]]:
        """Yield (the venue's name, instrument)."""
        return iter(self._known.items())

    def declare(
        self,
        name: str,
        price_digits: int,
        qty_digits: int,
        *,
        tick_e8: int = 0,
        lot_e8: int = 0,
        contract: Contract = COINS,
    ) -> Instrument:
        """Add an instrument by its venue's name; tick and lot are one unit of the last digit unless given.

        `contract` is what a size of 1 is worth (venues.contracts); without it sizes are coins.

        Raises ValueError when a number of that many digits cannot be kept exactly (more than 8), or the name is
        known already.
        """
        if not (0 <= price_digits <= MAX_DIGITS and 0 <= qty_digits <= MAX_DIGITS):
            raise ValueError(
                f"{self.venue} {name}: {price_digits} price digits and {qty_digits} size digits; at most 8 can be kept"
            )
        if name in self._known:
            raise ValueError(f"{self.venue} {name} is declared twice")
        instrument = Instrument(
            id=self._first_id + len(self._known),
            version=1,
            venue=self.venue,
            symbol=canonical(self.venue, name),
            tick_e8=tick_e8 or E8 // 10**price_digits,
            lot_e8=lot_e8 or E8 // 10**qty_digits,
            price_digits=price_digits,
            qty_digits=qty_digits,
            contract_e8=contract.contract_e8,
            inverse=contract.inverse,
        )
        self._known[name] = instrument
        self._scales[name] = Scale(instrument.tick_e8, MAX_UNITS), Scale(instrument.lot_e8, MAX_UNITS)
        return instrument

    def revise(self, name: str, instrument: Instrument) -> None:
        """Let another version of a declared instrument hold; its tick and lot are those declared."""
        self._known[name] = instrument

    def only(self, names: Iterable[str]) -> Instruments:
        """Return the instruments of these names, with the ids that they have here. Raises KeyError."""
        part = Instruments(self.venue)
        for name in names:
            part._known[name], part._scales[name] = self._known[name], self._scales[name]
        return part

    def infer(self, digits: dict[str, Digits]) -> None:
        """Declare each name with the digits seen in its data."""
        for name, seen in digits.items():
            self.declare(name, seen.price, seen.qty)

    def get(self, name: str) -> Instrument | None:
        """Return the instrument of that name at the venue, or None."""
        return self._known.get(name)

    def scales(self, name: str) -> tuple[Scale, Scale]:
        """Return what turns its prices into ticks and its quantities into lots. Raises KeyError."""
        return self._scales[name]
