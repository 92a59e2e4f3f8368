"""Venue times as text to ns since 1970."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache

from bot4_live.events import Reason
from bot4_live.market.venues.emitter import Refused

_NS = 1_000_000_000


def rfc3339_ns(text: str) -> int:
    """Return the ns of `2021-04-17T16:43:37.075687Z`: UTC only, up to nine decimals of a second. Raises Refused."""
    whole, point, fraction = text.removesuffix("Z").partition(".")
    digits = fraction.isascii() and fraction.isdigit() and len(fraction) <= 9
    if not text.endswith("Z") or (point and not digits):
        raise Refused(Reason.BAD_NUMBER, f"not a UTC time with at most 9 decimals: {text[:40]!r}")
    return _second(whole) * _NS + (int(fraction.ljust(9, "0")) if point else 0)


def rfc3339_ns_or_0(text: str) -> int:
    """Return the ns of a time, 0 where the venue says none. Raises Refused."""
    return rfc3339_ns(text) if text else 0


@lru_cache(maxsize=256)
def _second(text: str) -> int:
    try:
        at = datetime.strptime(text, "%Y-%m-%dT%H:%M:%S").replace(tzinfo=UTC)
    except ValueError:
        raise Refused(Reason.BAD_NUMBER, f"not a time: {text[:40]!r}") from None
    seconds = int(at.timestamp())
    if seconds < 0:
        raise Refused(Reason.TIME_OUT_OF_RANGE, f"a time before 1970: {text[:40]!r}")
    return seconds
