"""A capture through the same feed and sequencer as a live stream, into a journal."""

from __future__ import annotations

import errno
import os
import platform
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bot4_live.compile_cache import source_hash
from bot4_live.events import SCHEMA, Kind, Source, header_of, new_record
from bot4_live.instrument import BTCUSDT_USDM, Instrument
from bot4_live.journal.layout import SEVERAL, SegmentHeader
from bot4_live.journal.local import LocalJournal
from bot4_live.journal.reader import Journal
from bot4_live.market.capture import CaptureError, read_capture
from bot4_live.market.capture_instrument import instrument_of
from bot4_live.market.feed_core import FeedCore
from bot4_live.market.liquidations import LARGE_LIQUIDATION_USD
from bot4_live.market.venues.base import VenueFeed
from bot4_live.market.venues.capture import read_venue_capture
from bot4_live.market.venues.registry import Instruments
from bot4_live.sequencer import Sequencer

PROGRESS_EVERY = 5_000
FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


@dataclass(frozen=True)
class ImportResult:
    """What an import did. `counts` is `FeedCounts.as_dict()`; `damage` is set when the capture was not whole."""

    frames: int
    first_seq: int
    last_seq: int
    first_ns: int
    last_ns: int
    counts: dict[str, Any]
    damage: str | None = None


Followed = Instrument | Mapping[str, Instrument]  # one, or several by the venue's own names


def _named(instruments: Followed) -> dict[str, Instrument]:
    return {instruments.symbol: instruments} if isinstance(instruments, Instrument) else dict(instruments)


def session_records(
    instruments: Followed, recv_ns: int, *, shift_ns: int = 0, speed_milli: int = 1000, epoch: int = 0
) -> list[np.ndarray]:
    """Return the events every recording begins with: SESSION (books are void) and INSTRUMENT, one for each."""
    session = new_record(Kind.SESSION, 1)
    head = header_of(session)
    head["recv_ns"], head["source"] = recv_ns, Source.RUNNER
    head["a"], head["b"], head["c"] = shift_ns, speed_milli, epoch
    told = [instrument.record(recv_ns) for instrument in _named(instruments).values()]
    for record in told:
        header_of(record)["source"] = Source.RUNNER
    return [session, *told]


def segment_header(
    instruments: Followed,
    first_seq: int,
    start_market_ns: int,
    *,
    account: str = "import",
    session: str = "import",
    shift_ns: int = 0,
    speed_milli: int = 1000,
    start_mono_ns: int = 0,
    settings: dict[str, object] | None = None,
) -> SegmentHeader:
    """Return the header of a recording's segments; it has no orders, so its epoch is 0."""
    named = _named(instruments)
    markets = [instrument.market for instrument in named.values()]
    return SegmentHeader(
        account=account,
        session=session,
        first_seq=first_seq,
        market=markets[0] if len(markets) == 1 else SEVERAL,
        shift_ns=shift_ns,
        speed_milli=speed_milli,
        start_market_ns=start_market_ns,
        start_mono_ns=start_mono_ns,
        order_epoch=0,
        source_hash=source_hash(),
        lock_hash="",
        cpu=platform.machine(),
        schema=SCHEMA,
        settings=settings or {},
        instruments=[instrument.describe(name) for name, instrument in named.items()],
    )


class _Pushed:
    """Another venue's feed, its records pushed as they come."""

    def __init__(self, feed: VenueFeed, push: Callable[[np.ndarray], object]) -> None:
        self._feed, self._push = feed, push
        self.counts = feed.counts

    def on_connect(self, recv_ns: int) -> None:
        self._all(self._feed.on_connect(recv_ns))

    def on_frame(self, recv_ns: int, raw: bytes) -> None:
        self._all(self._feed.on_frame(recv_ns, raw))

    def on_disconnect(self, recv_ns: int) -> None:
        self._all(self._feed.on_disconnect(recv_ns))

    def _all(self, records: list[np.ndarray]) -> None:
        for record in records:
            self._push(record)


def _measured(path: Path, venue: type[VenueFeed]) -> Instruments:
    """Return the instruments of another venue's capture, their digits as they are in it."""
    instruments = Instruments(venue.venue)
    instruments.infer(venue.measure(raw for _, raw in read_venue_capture(path)))
    if not len(instruments):
        raise ValueError(f"{path}: it holds no market data of {venue.venue}")
    return instruments


def instrument_in(path: Path, *, keep_whole: bool = False) -> Instrument:
    """Return the instrument of a Binance capture: BTCUSDT of USD-M with its filters, another with the digits seen.

    Raises CaptureError (of a damaged one not with `keep_whole`), OSError, and ValueError for what is none.
    """
    damage: list[CaptureError] = []
    frames = read_capture(path, on_damage=damage.append if keep_whole else None)
    found = instrument_of((raw for _, raw in frames), path)
    return BTCUSDT_USDM if found.market == BTCUSDT_USDM.market else found


def import_capture(
    path: Path,
    journal_dir: Path,
    instrument: Instrument = BTCUSDT_USDM,
    *,
    venue: type[VenueFeed] | None = None,
    account: str = "import",
    ticks: bool = True,
    keep_whole: bool = False,
    until_ns: int | None = None,
    liquidation_usd: float = LARGE_LIQUIDATION_USD,
    settings: dict[str, object] | None = None,
    progress: Callable[[int], None] | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> ImportResult:
    """Journal a capture: recv_ns is the line's local time, shift 0.

    `venue` reads another venue's capture, all its instruments, their digits inferred; without it, it is Binance's and
    of `instrument`. `keep_whole` (Binance's only) goes on with what is whole of a damaged file (said in `damage`);
    `progress(frames)` is called now and then; `stop()` true ends the import cleanly, as does the first frame after
    `until_ns`. Liquidations worth `liquidation_usd` are marked. An import that fails leaves the journal as it was: the
    capture can be imported again. Raises CaptureError, OSError, ValueError.
    """
    damage: list[CaptureError] = []
    followed: Followed = instrument
    if venue is not None:
        if keep_whole:
            raise ValueError(f"{path} is a capture of {venue.venue}: only what is whole of Binance's can be kept")
        instruments = _measured(path, venue)
        followed, frames = dict(instruments), iter(read_venue_capture(path))
    else:
        if not keep_whole:
            for _ in read_capture(path):  # to its end, so that a damaged one leaves nothing in the journal
                pass
        frames = iter(read_capture(path, on_damage=damage.append if keep_whole else None))
    first = next(frames, None)
    if first is None:
        raise damage[0]
    first_ns = last_ns = first[0]
    first_seq = Journal(journal_dir).last_seq + 1 if journal_dir.is_dir() else 1
    header = segment_header(followed, first_seq, first_ns, account=account, settings=settings)
    n = 0
    journal = LocalJournal(journal_dir, header)
    try:
        sequencer = Sequencer(journal, None, first_ns, first_seq, ticks=ticks)
        core: FeedCore | _Pushed
        if venue is not None:
            core = _Pushed(venue(instruments, journal, liquidation_usd=liquidation_usd), sequencer.push)
        else:
            core = FeedCore(instrument, sequencer.push, journal, liquidation_usd=liquidation_usd)
        for record in session_records(followed, first_ns):
            sequencer.push(record)
        core.on_connect(first_ns)
        frame: tuple[int, bytes] | None = first
        while frame is not None and not stop() and (until_ns is None or frame[0] <= until_ns):
            last_ns = frame[0]
            core.on_frame(*frame)
            n += 1
            if progress is not None and n % PROGRESS_EVERY == 0:
                progress(n)
            frame = next(frames, None)
        core.on_disconnect(last_ns)
        last_seq = sequencer.next_seq - 1
        journal.close()
    except BaseException as error:
        journal.discard()
        if isinstance(error, OSError) and error.errno in FULL:
            raise OSError(
                error.errno,
                f"the journal cannot be written ({os.strerror(error.errno)}); the import was taken back: make room "
                "there and start again",
                str(journal_dir),
            ) from None
        raise
    return ImportResult(
        n, first_seq, last_seq, first_ns, last_ns, core.counts.as_dict(), str(damage[0]) if damage else None
    )
