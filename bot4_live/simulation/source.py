"""Where the simulated exchange's market comes from: a recorded capture or the seeded generator."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from bot4_live.clock import MS
from bot4_live.instrument import BTCUSDT_USDM, Instrument
from bot4_live.market.capture import read_capture
from bot4_live.simulation.frames import FrameReader, event_ms, stream_name
from bot4_live.simulation.generator import START_NS, generate

INSTRUMENTS = {BTCUSDT_USDM.symbol: BTCUSDT_USDM}


@dataclass(frozen=True)
class Source:
    """A market to replay. Times of frames are local receive ns; exchange time = local + `skew_ns`.

    `skew_ns` is the largest E - local of all frames, so that no frame is sent before its own event time.
    `snapshot` is the first REST snapshot within: the only place from which the book can be known.
    """

    name: str
    instrument: Instrument
    skew_ns: int
    first_ns: int
    last_ns: int
    snapshot: bytes
    frames: Callable[[], Iterator[tuple[int, bytes]]]

    @property
    def start_ns(self) -> int:
        """Return the exchange time at which the market begins."""
        return self.first_ns + self.skew_ns


def capture_source(path: Path) -> Source:
    """Return a recorded market; reads the file once to its end, so that a damaged one is refused before the start.

    Raises OSError, CaptureError, or ValueError for a capture of something else than a known USD-M symbol.
    """
    skew, first, last, symbol = None, None, 0, ""
    snapshot = b""
    for number, (local_ns, raw) in enumerate(read_capture(path), 1):
        first = local_ns if first is None else first
        last = max(last, local_ns)
        stamp = event_ms(raw)
        if stamp is None:
            raise ValueError(
                f"{path}: line {number}: no event time E in {raw[:40]!r}; only captures of Binance USD-M whose frames "
                "are whole can be served"
            )
        skew = max(stamp * MS - local_ns, skew if skew is not None else stamp * MS - local_ns)
        if not symbol:
            symbol = stream_name(raw).partition("@")[0].upper()
        if not snapshot and raw.startswith(b'{"lastUpdateId"'):
            snapshot = raw
    instrument = INSTRUMENTS.get(symbol)
    if instrument is None:
        raise ValueError(
            f"{path}: symbol {symbol or 'unknown'} has no instrument here; known: {', '.join(INSTRUMENTS)}"
        )
    if not snapshot or skew is None or first is None:
        raise ValueError(f"{path}: no depth snapshot within, so its book cannot be known; record one with snapshots")
    FrameReader(instrument).read(snapshot)
    return Source(str(path), instrument, skew, first, last, snapshot, lambda: read_capture(path))


def generated_source(
    seed: int,
    duration_s: float = 3600.0,
    *,
    start_ns: int = START_NS,
    instrument: Instrument = BTCUSDT_USDM,
    price: float = 61_800.0,
    pace: float = 1.0,
) -> Source:
    """Return a generated market of `duration_s`. Raises ValueError when it is too short to hold its snapshot."""

    def frames(seconds: float) -> Iterator[tuple[int, bytes]]:
        return generate(seed, duration_s=seconds, start_ns=start_ns, instrument=instrument, price=price, pace=pace)

    first, snapshot = 0, b""
    for local_ns, raw in islice(frames(min(duration_s, 1.0)), 5000):
        first = first or local_ns
        if raw.startswith(b'{"lastUpdateId"'):
            snapshot = raw
    if not snapshot:
        raise ValueError(f"a generated market needs at least 1 s, not {duration_s:g}")
    last = first + round(duration_s * 1e9)
    return Source(f"generator:{seed}", instrument, 0, first, last, snapshot, lambda: frames(duration_s))
