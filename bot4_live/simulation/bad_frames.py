"""Frames that must be quarantined: one or more for each reason a market stream can give, each with its reason.

`bot4 exchange --bad-frames FILE` sends a list of them between good frames, as it is written in FILE:
`[{"after_frame": 2000, "raw": "...", "reason": "NOT_JSON"}]` (`raw_hex` for bytes that are no text). In `raw`, `$NOW`
is the exchange's time in ms when it is sent; `$LAST_TRADE` alone repeats the last trade. None of them touches the
chain of diffs: they are refused before the book sees them.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bot4_live.events import Reason

LAST_TRADE = b"$LAST_TRADE"
_NOW = b"$NOW"


@dataclass(frozen=True)
class BadFrame:
    """One frame, sent once `after_frame` market frames of the source have gone out, and why it must be refused."""

    after_frame: int
    raw: bytes
    reason: Reason

    def encode(self, now_ms: int, last_trade: bytes = b"") -> bytes:
        """Return the bytes to send at `now_ms`."""
        if self.raw == LAST_TRADE:
            return last_trade
        return self.raw.replace(_NOW, str(now_ms).encode())

    def as_dict(self) -> dict[str, Any]:
        """Return the entry of a list file."""
        try:
            raw = {"raw": self.raw.decode()}
        except UnicodeDecodeError:
            raw = {"raw_hex": self.raw.hex()}
        return {"after_frame": self.after_frame, **raw, "reason": self.reason.name}


def bad_frames(first: int = 500, spacing: int = 50, symbol: str = "BTCUSDT") -> list[BadFrame]:
    """Return the list of the demo: after frame `first` the first of them, then one every `spacing` frames."""
    frames = _all(symbol)
    return [BadFrame(first + spacing * number, raw, reason) for number, (reason, raw) in enumerate(frames)]


def expected(frames: Iterable[BadFrame]) -> Counter[Reason]:
    """Return how many of each reason must be quarantined."""
    return Counter(bad.reason for bad in frames)


def save(path: Path, frames: Iterable[BadFrame]) -> None:
    """Write a list file."""
    path.write_text(json.dumps([bad.as_dict() for bad in frames], indent=1) + "\n")


def load(path: Path) -> list[BadFrame]:
    """Read a list file. Raises OSError, or ValueError with one line that names the entry."""
    try:
        entries = json.loads(path.read_text())
    except ValueError as problem:
        raise ValueError(f"{path} is not JSON ({problem})") from None
    return read(entries, str(path))


def read(entries: Any, where: str = "bad frames") -> list[BadFrame]:
    """Return the frames of parsed entries, as `load`."""
    if not isinstance(entries, list):
        raise ValueError(f"{where}: expected a list of {{after_frame, raw, reason}}")
    frames = []
    for number, entry in enumerate(entries):
        try:
            raw = bytes.fromhex(entry["raw_hex"]) if "raw_hex" in entry else entry["raw"].encode()
            frames.append(BadFrame(int(entry["after_frame"]), raw, Reason[entry["reason"]]))
        except (KeyError, TypeError, ValueError, AttributeError) as problem:
            raise ValueError(f"{where}: entry {number} is not {{after_frame, raw, reason}} ({problem!r})") from None
    return frames


def _all(symbol: str) -> list[tuple[Reason, bytes]]:
    name = symbol.lower()

    def trade(**changes: str | None) -> bytes:
        """Return a trade with fields (JSON text) changed, or left out when None."""
        fields: dict[str, str | None] = {
            "e": '"trade"', "E": "$NOW", "T": "$NOW", "s": f'"{symbol}"', "t": "1", "p": '"61800.20"', "q": '"0.001"',
            "X": '"MARKET"', "m": "false",
        }  # fmt: skip
        body = ",".join(f'"{key}":{text}' for key, text in (fields | changes).items() if text is not None)
        return f'{{"stream":"{name}@trade","data":{{{body}}}}}'.encode()

    def ticker(bid: str, ask: str) -> bytes:
        return (
            f'{{"stream":"{name}@bookTicker","data":{{"e":"bookTicker","u":1,"s":"{symbol}","b":"{bid}","B":"1.000",'
            f'"a":"{ask}","A":"1.000","T":$NOW,"E":$NOW}}}}'.encode()
        )

    def depth(first: int, last: int, levels: str = "") -> bytes:
        return (
            f'{{"stream":"{name}@depth@0ms","data":{{"e":"depthUpdate","E":$NOW,"T":$NOW,"s":"{symbol}","U":{first},'
            f'"u":{last},"pu":0,"b":[{levels}],"a":[]}}}}'.encode()
        )

    return [
        (Reason.NOT_JSON, trade()[:-9]),  # cut
        (Reason.NOT_JSON, b"<html><body>502 Bad Gateway</body></html>"),
        (Reason.NOT_UTF8, trade().replace(symbol.encode(), b"\xff\xfe\xfd")),
        (Reason.UNKNOWN_STREAM, f'{{"stream":"{name}@kline_1m","data":{{"e":"kline","E":$NOW}}}}'.encode()),
        (Reason.UNKNOWN_STREAM, b'{"hello":"world"}'),
        (Reason.MISSING_FIELD, trade(p=None)),
        (Reason.MISSING_FIELD, trade(t=None)),
        (Reason.WRONG_TYPE, trade(p="61800.2")),
        (Reason.WRONG_TYPE, trade(m='"false"')),
        (Reason.BAD_NUMBER, trade(p='"6.18e4"')),
        (Reason.BAD_NUMBER, trade(q='"0.000"')),
        (Reason.LOST_DIGITS, trade(p='"61800.25"')),
        (Reason.LOST_DIGITS, trade(q='"0.0015"')),
        (Reason.NEGATIVE, trade(q='"-0.001"')),
        (Reason.NEGATIVE, depth(1, 2, '["-61800.20","1.000"]')),
        (Reason.ZERO_PRICE, trade(p='"0.00"')),
        (Reason.ZERO_PRICE, ticker("0.00", "61800.30")),
        (Reason.CROSSED_QUOTE, ticker("61800.30", "61800.20")),
        (Reason.CROSSED_QUOTE, ticker("61800.20", "61800.20")),
        (Reason.TIME_OUT_OF_RANGE, trade(E="1000000000000", T="1000000000000")),  # September 2001
        (Reason.UNKNOWN_SYMBOL, trade(s='"ETHUSDT"')),
        (Reason.BAD_SEQUENCE, depth(2, 1)),
        (Reason.TOO_LARGE, trade(p='"99999999999999999999.00"')),
        (Reason.OUTLIER, trade(p='"1000.00"')),
        (Reason.DUPLICATE, LAST_TRADE),
    ]
