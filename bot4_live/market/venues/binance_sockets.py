"""Which of Binance USD-M's sockets carries which stream.

Since 2026-04-23 `wss://fstream.binance.com` has three paths: /public (books, best quotes, trades), /market (everything
else that is public) and /private (user data). A connection without one of them gets public streams only: a subscription
to a market stream there is accepted and stays silent, so the path must be right. The frames are the same on all of
them. Spot and COIN-M have no such paths.
"""

from __future__ import annotations

from collections.abc import Iterable

PUBLIC, MARKET, PRIVATE = "/public", "/market", "/private"
# By the stream's name, `btcusdt@depth20@100ms` -> depth20, `!forceOrder@arr` -> forceOrder. The notice names the first
# two; that trades belong to the first path is what ccxt found.
_PUBLIC_NAMES = ("bookTicker", "depth", "rpiDepth", "trade")


def stream_name(stream: str) -> str:
    """Return what a stream carries: "depth" of "btcusdt@depth@0ms", "forceOrder" of "!forceOrder@arr"."""
    first, _, rest = stream.partition("@")
    return first[1:] if first.startswith("!") else rest.partition("@")[0]


def path_of(stream: str) -> str:
    """Return the path of a market stream's socket. Raises ValueError for text that names no stream."""
    name = stream_name(stream)
    if not name:
        raise ValueError(f"{stream[:60]!r} is no market stream; expected e.g. btcusdt@depth@100ms")
    return PUBLIC if name.rstrip("0123456789") in _PUBLIC_NAMES else MARKET


def socket_urls(ws_url: str, streams: Iterable[str], *, split: bool = True) -> dict[str, list[str]]:
    """Return combined-stream addresses with the streams each carries; one address when the venue does not `split`."""
    groups: dict[str, list[str]] = {}
    for stream in streams:
        groups.setdefault(path_of(stream) if split else "", []).append(stream)
    base = ws_url.rstrip("/")
    return {f"{base}{path}/stream?streams={'/'.join(names)}": names for path, names in groups.items()}


def streams_of(symbols: Iterable[str], *, derivatives: bool, speed: str = "100ms") -> list[str]:
    """Return the streams that follow symbols: books, quotes, trades, tickers; of derivatives marks and liquidations."""
    statements = ("markPrice@1s", "forceOrder") if derivatives else ()
    kinds = [f"depth@{speed}", "bookTicker", "trade", "ticker", *statements]
    return [f"{symbol.lower()}@{kind}" for symbol in symbols for kind in kinds]
