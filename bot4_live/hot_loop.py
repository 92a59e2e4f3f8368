"""The hot loop: a frame's bytes to commands in one compiled call.

`HotLoop.on_frame` does what `FeedCore.on_frame` with a `Sequencer` and an `Engine` behind it does, with the same log
and the same commands (tests compare them byte for byte), for frames that break no rule. Included are the parser, every
rule of `validation.Validator`, the sequence rules of `FeedCore`, the check of the book after each diff (on the engine's
own book), due TICKs, seq and engine time, the engine's step. A frame for which any of this has something to report, and
every snapshot, goes the ordinary way through those very objects, which know all that was let pass before.

The order of writing differs: the records of one frame reach the raw log and the journal right after the step that took
them in, instead of right before; no command is handed out before its event is in the journal.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np

from bot4_live import compile_cache
from bot4_live.engine import Engine
from bot4_live.events import FIRST_COMMAND, header_of
from bot4_live.kernels import address, entry_point
from bot4_live.market.fast_parser import BYTES_HEAD, MAX_RECORD, parser_config
from bot4_live.market.feed_core import RawLog
from bot4_live.market.hot_feed import HotFeed
from bot4_live.sequencer import JournalSink, Sequencer, split

Commands = Sequence[np.ndarray]
_NOTHING: Commands = ()
_COMMANDS, _DISTRUSTED = 1, 2  # see hot_step


class HotLoop:
    """Ties a feed, a sequencer and an engine together; while it runs, use them only inside `paused`.

    >>> loop = HotLoop(core, sequencer, engine, journal)
    >>> commands = loop.on_frame(recv_ns, raw)
    >>> with loop.paused():
    ...     sequencer.push(order_event)
    """

    def __init__(
        self,
        core: HotFeed,
        sequencer: Sequencer,
        engine: Engine,
        journal: JournalSink | None,
        raw_log: RawLog | None = None,
    ) -> None:
        """Take over. `core` emits into `sequencer`, which steps `engine`; `journal` and `raw_log` are those of both.

        Without a journal nothing is kept (benchmarks). Raises ValueError when the engine was not told the feed's
        instrument: its book could not stand in for the feed's.
        """
        told = engine.state["instrument"][0]
        if not told["known"] or (told["id"], told["version"]) != (core.instrument.id, core.instrument.version):
            raise ValueError(f"the engine does not know {core.instrument.symbol}; push its INSTRUMENT event first")
        compile_cache.install()
        from bot4_live import hot_step

        self._frame_at = entry_point(hot_step.frame_at)
        self._core, self._sequencer, self._journal, self._raw_log = core, sequencer, journal, raw_log
        self._config = parser_config(core.instrument)
        self._event = np.zeros(MAX_RECORD, np.uint8)
        self._log = np.zeros(hot_step.LOG_BYTES, np.uint8)
        self._hot = np.zeros(1, hot_step.HOT)
        self._engine = engine  # keeps the state alive
        row = self._row = self._hot[0]
        row["state"], row["config"] = address(engine.state), address(self._config)
        row["event"], row["log"] = address(self._event), address(self._log)
        self._address = address(self._hot)
        core.follow(engine.state["book"])
        self._take_over()

    def on_frame(self, recv_ns: int, raw: bytes) -> Commands:
        """Take one frame as it came; return the commands that it and the due TICKs caused.

        What the feed emits itself on the ordinary way goes through its own `emit`; its commands are not returned here.
        """
        if type(raw) is bytes:
            result = self._frame_at(self._address, id(raw) + BYTES_HEAD, len(raw), recv_ns)
            if result == 0 and self._journal is None:
                return _NOTHING
            if result >= 0:
                return self._finish(result, recv_ns, raw)
        with self.paused():
            self._core.on_frame(recv_ns, raw)
        return _NOTHING

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Let feed, sequencer and engine be used: inside, they know all that was taken in."""
        self._hand_back()
        try:
            yield
        finally:
            self._take_over()

    def _finish(self, result: int, recv_ns: int, raw: bytes) -> Commands:
        """Write the records of a frame, hand out their commands, say what the book's check found."""
        size = int(self._event[:4].view("<u4")[0])
        event = self._event[:size]
        if self._raw_log is not None:
            head = header_of(event)
            head["c"] = self._raw_log.append_raw(recv_ns, raw, 0, int(head["kind"]))
        before, after = int(self._row["before"]), int(self._row["after"])
        ticks = split(self._log[:before].tobytes())
        caused = split(self._log[before : before + after].tobytes())
        if self._journal is not None:
            records: list[np.ndarray | bytes] = [*ticks, event.tobytes(), *caused]
            for record in records:
                self._journal.append(record)
        if result & _DISTRUSTED:
            with self.paused():
                self._core.confirm(event.copy())
        if not result & _COMMANDS:
            return _NOTHING
        return [command for command in ticks if command[8] >= FIRST_COMMAND] + caused

    def _take_over(self) -> None:
        row, sequencer = self._row, self._sequencer
        row["next_seq"], row["last_ns"] = sequencer.next_seq, sequencer.last_ns
        row["ticks"], row["next_tick"] = sequencer.tick_grid
        self._core.give(row["feed"])

    def _hand_back(self) -> None:
        row = self._row
        self._sequencer.resume(int(row["next_seq"]), int(row["last_ns"]), int(row["next_tick"]))
        self._core.take(row["feed"])
