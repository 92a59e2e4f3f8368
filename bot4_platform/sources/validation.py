"""Rows of a page, each checked by itself: what is wrong is kept with a reason, and the rest of the page stays."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Generic, TypeVar

import msgspec

from bot4_platform.sources.errors import BadPage

T = TypeVar("T", bound=msgspec.Struct)
FUTURE_NS = 5_000_000_000  # by which a source's clock may be ahead of ours
NOT_FINITE = ("nan", "inf", "infinity")
LARGEST_NS = 2**63 - 1
EARLIEST_NS = 1_230_768_000 * 10**9  # 2009, the genesis block: before, nothing was traded or reported
UNREADABLE = (msgspec.ValidationError, ValueError, ArithmeticError, LookupError, TypeError, AttributeError)


@dataclass(frozen=True)
class Rejected:
    """What could not become a row: the rule that caught it, why, and what came."""

    rule: str
    reason: str
    raw: bytes


@dataclass(frozen=True)
class Checked(Generic[T]):
    """The rows of a page: those to keep, in order, and those to quarantine."""

    rows: list[T]
    rejected: list[Rejected]


Rule = Callable[[T], tuple[str, str] | None]


def check_rows(
    raws: Iterable[Any],
    kind: type[T],
    *,
    now_ns: int,
    event_ns: Callable[[T], int],
    rules: Iterable[Rule[T]] = (),
    strict: bool = True,
    parse: Callable[[Any], Any] | None = None,
) -> Checked[T]:
    """Return the rows as `kind`, checked.

    In this order: `schema` (a field is missing, of another type, or outside the bounds that `msgspec.Meta` states),
    `not_finite` (NaN or infinite), `negative` (a number below zero; a field that may be has `msgspec.Meta(extra=
    {"signed": True})`), `future` (later than now by more than 5 s) and the source's own `rules`, which return
    (rule, reason) of a bad row. `strict=False` takes numbers in texts; `parse` comes before, and what it raises is
    `schema`; what is kept of a bad row is what came. `event_ns` of a row may raise ValueError or
    OverflowError: `schema`.
    """
    good: list[T] = []
    bad: list[Rejected] = []
    signed = _signed(kind)
    own = tuple(rules)
    for raw in raws:
        try:
            row = msgspec.convert(raw if parse is None else parse(raw), kind, strict=strict)
            wrong = _numbers(row, signed) or _time(event_ns(row), now_ns)
        except UNREADABLE as error:
            rule = "not_finite" if _says_nan(raw) else "schema"  # a parser may fall over one
            bad.append(Rejected(rule, str(error) or type(error).__name__, raw_bytes(raw)))
            continue
        if wrong is None:
            wrong = next((found for rule in own if (found := rule(row)) is not None), None)
        if wrong is None:
            good.append(row)
        else:
            bad.append(Rejected(*wrong, raw_bytes(raw)))
    return Checked(good, bad)


def rejected_page(page: BadPage) -> Rejected:
    """Return a page that is none as one rejected row."""
    return Rejected(page.rule, page.reason, page.raw)


def raw_bytes(raw: Any) -> bytes:
    """Return what came, as bytes for the quarantine."""
    if isinstance(raw, bytes):
        return raw
    if isinstance(raw, str):
        return raw.encode(errors="replace")
    return json.dumps(raw, default=str).encode()


def _says_nan(raw: Any) -> bool:
    values = raw.values() if isinstance(raw, dict) else raw if isinstance(raw, list) else ()
    return any(
        value.strip("+- ").lower() in NOT_FINITE
        if isinstance(value, str)
        else isinstance(value, (float, Decimal)) and not math.isfinite(value)
        for value in values
    )


def _signed(kind: type[msgspec.Struct]) -> frozenset[str]:
    """Return the fields whose numbers may be below zero."""
    return frozenset(
        field.name
        for field in msgspec.inspect.type_info(kind).fields  # type: ignore[attr-defined]
        if isinstance(field.type, msgspec.inspect.Metadata) and (field.type.extra or {}).get("signed")
    )


def _numbers(row: msgspec.Struct, signed: frozenset[str]) -> tuple[str, str] | None:
    for name in row.__struct_fields__:
        value = getattr(row, name)
        if isinstance(value, bool) or not isinstance(value, (int, float, Decimal)):
            continue
        if not (value.is_finite() if isinstance(value, Decimal) else math.isfinite(value)):
            return "not_finite", f"{name} is {value}"
        if value < 0 and name not in signed:
            return "negative", f"{name} is {value}"
    return None


def _time(event_ns: int, now_ns: int) -> tuple[str, str] | None:
    if event_ns > LARGEST_NS:
        return "future", f"its time, {event_ns} ns, is beyond all clocks"
    if event_ns > now_ns + FUTURE_NS:
        return "future", f"its time is {(event_ns - now_ns) / 1e9:.0f} s ahead of the clock"
    return None
