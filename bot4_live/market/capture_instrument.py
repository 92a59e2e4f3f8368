"""Whose capture it is, and what its integers count: from the numbers in it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import msgspec

from bot4_live.instrument import E8, Instrument
from bot4_live.market.digits import infer_instrument

_WITH_DIGITS = ("depthUpdate", "bookTicker", "trade", "")  # others' numbers are finer (mark prices) or sums (volumes)
_COINM = "binance_coinm"


class _Body(msgspec.Struct):
    e: str = ""
    s: str = ""


class _Frame(_Body):
    data: _Body | None = None


_frame = msgspec.json.Decoder(_Frame)


def instrument_of(frames: Iterable[bytes], path: Path) -> Instrument:
    """Return the instrument of a Binance capture, its tick and lot as fine as the numbers in it.

    A COIN-M contract is 100 USD of BTC and 10 USD of other coins (the venue's contract specifications). Raises
    ValueError where frames name no symbol, books are of several, or a number has more than 8 decimals.
    """
    found = infer_instrument(_of_one_market(frames, path), path)
    if found.venue == _COINM:
        found = replace(found, contract_e8=(100 if found.symbol.startswith("BTCUSD_") else 10) * E8, inverse=True)
    return found


def _of_one_market(frames: Iterable[bytes], path: Path) -> list[bytes]:
    """Return the frames whose numbers are in ticks and lots. Raises ValueError where the books are of several symbols.

    A snapshot of USD-M or spot names none, so it could be of any of them.
    """
    found: list[tuple[str, bytes]] = []
    symbols: set[str] = set()
    for raw in frames:
        try:
            frame = _frame.decode(raw)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):  # the parser says what is wrong with it
            continue
        body = frame.data or frame
        if body.e in _WITH_DIGITS:
            found.append((body.s, raw))
        if body.e == "depthUpdate":
            symbols.add(body.s)
    if len(symbols) > 1:
        raise ValueError(
            f"{path}: books of several symbols ({', '.join(sorted(symbols)[:5])}); put the lines of one symbol, with "
            "its snapshot, into a file of their own"
        )
    return [raw for symbol, raw in found if not symbols or symbol in symbols or not symbol]
