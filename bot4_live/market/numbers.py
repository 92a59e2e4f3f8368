"""Exact decimal text to integers: every digit is kept or the number is refused, never rounded."""

from __future__ import annotations

from dataclasses import dataclass, field

from bot4_live.events import Reason

MAX_UNITS = 10**15  # ticks or lots; larger numbers are an error upstream, and products must fit in int64 arithmetic
MAX_TEXT = 40
_DIGITS_E8 = 8
_REMEMBERED = 1 << 16  # texts; markets repeat their prices and sizes


class BrokenNumber(ValueError):
    """A number that cannot become an integer count; `reason` says why."""

    def __init__(self, reason: Reason, text: str) -> None:
        """Keep the reason; `text` is cut to what a message can show."""
        super().__init__(f"{reason.name.lower()}: {text[:MAX_TEXT]!r}")
        self.reason = reason


@dataclass(frozen=True)
class Scale:
    """Turns decimal text into counts of `unit_e8` (1e-8 of the quantity's unit): a tick or a lot.

    `max_units` may be more than MAX_UNITS where the counts are only kept, not multiplied (books of other venues).
    """

    unit_e8: int
    max_units: int = MAX_UNITS
    _known: dict[str, int] = field(default_factory=dict, repr=False, compare=False)

    def units(self, text: str) -> int:
        """Return the exact count of units.

        Accepts plain decimals only: digits, at most one point with digits on both sides. Raises BrokenNumber with
        NEGATIVE, BAD_NUMBER (exponents, blanks, signs, other scripts' digits), LOST_DIGITS or TOO_LARGE.
        """
        known = self._known.get(text)
        if known is not None:
            return known
        units = self._exact(text)
        if len(self._known) >= _REMEMBERED:
            self._known.clear()
        self._known[text] = units
        return units

    def _exact(self, text: str) -> int:
        whole, point, fraction = text.partition(".")
        digits = whole + fraction
        if not (whole and digits.isascii() and digits.isdigit() and len(text) <= MAX_TEXT) or (point and not fraction):
            raise BrokenNumber(Reason.NEGATIVE if _is_negative(text) else Reason.BAD_NUMBER, text)
        if len(fraction) > _DIGITS_E8:
            if fraction[_DIGITS_E8:].strip("0"):
                raise BrokenNumber(Reason.LOST_DIGITS, text)
            digits = whole + fraction[:_DIGITS_E8]
            fraction = fraction[:_DIGITS_E8]
        units, rest = divmod(int(digits) * 10 ** (_DIGITS_E8 - len(fraction)), self.unit_e8)
        if rest:
            raise BrokenNumber(Reason.LOST_DIGITS, text)
        if units > self.max_units:
            raise BrokenNumber(Reason.TOO_LARGE, text)
        return units


def _is_negative(text: str) -> bool:
    """Return whether the text is a well-formed decimal but for its minus sign."""
    if not text.startswith("-"):
        return False
    try:
        Scale(1).units(text[1:])
    except BrokenNumber as error:
        return error.reason in (Reason.LOST_DIGITS, Reason.TOO_LARGE)
    return True


def decimals(text: str) -> int:
    """Return how many decimals a number needs: 0 for "100.00", 1 for "61800.20"."""
    fraction = text.partition(".")[2]
    return len(fraction.rstrip("0"))
