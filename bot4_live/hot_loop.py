"""The hot loop: a frame's bytes to commands in one compiled call.

`HotLoop.on_frame` does what `FeedCore.on_frame` with a `Sequencer` and an `Engine` behind it does, with the same log
and the same commands (tests compare them byte for byte), for frames that break no rule. Included are the parser, every
rule of `validation.Validator`, the sequence rules of `FeedCore`, the check of the book after each diff (on the engine's
own book), due TICKs, seq and engine time, the engine's step. A frame for which any of this has something to report, and
every snapshot, goes the ordinary way through those very objects, which know all that was let pass before.

The order of writing differs: the records of one frame reach the raw log and the journal right after the step that took
them in, instead of right before; no command is handed out before its event is in the journal.

Feed and sequencer are Python's own, and lent to the compiled call: `take_over` tells it what changed without it,
`hand_back` tells them what it took in. Each does nothing where nothing changed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import numpy as np

from bot4_live import hot_step
from bot4_live.engine import Engine
from bot4_live.events import FIRST_COMMAND, header_of
from bot4_live.kernels import address, entry_point, offset
from bot4_live.market.fast_parser import MAX_RECORD, parser_config
from bot4_live.market.feed_core import RawLog
from bot4_live.market.hot_feed import HotFeed
from bot4_live.sequencer import JournalSink, Sequencer, split

Commands = Sequence[np.ndarray]
_NOTHING: Commands = ()
_NEXT_SEQ, _LAST_NS, _TICKS, _NEXT_TICK, _AHEAD, _BEFORE, _AFTER = (
    offset(hot_step.HOT, name) // 8
    for name in ("next_seq", "last_ns", "ticks", "next_tick", "ahead", "before", "after")
)


class HotLoop:
    """Ties a feed, a sequencer and an engine together; while it runs, use them only inside `paused`.

    >>> loop = HotLoop(core, sequencer, engine, journal)
    >>> commands = loop.on_frame(recv_ns, raw)
    >>> with loop.paused():
    ...     sequencer.push(order_event)

    Whoever calls `hot_step.frame_at` from a kernel of his own gives it `address`, and treats its result as `on_frame`
    does: write `ticks`, `event` and `caused`, `confirm` what is DISTRUSTED. While the sequencer is `ahead`, records are
    made and journaled, not stepped: he puts them into its backlog.
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
        self._core, self._sequencer, self._journal, self._raw_log = core, sequencer, journal, raw_log
        self._instrument = core.instrument
        self._config = parser_config(core.instrument)
        self._event = np.zeros(MAX_RECORD, np.uint8)
        self._log = np.zeros(hot_step.LOG_BYTES, np.uint8)
        self._hot = np.zeros(1, hot_step.HOT)
        self._engine = engine  # keeps the state alive
        row = self._hot[0]
        row["state"], row["config"] = address(engine.state), address(self._config)
        row["event"], row["log"] = address(self._event), address(self._log)
        self._words = self._hot.view(np.int64).data
        self._feed = self._hot.view(np.uint8).data[offset(hot_step.HOT, "feed") :]
        self.address = address(self._hot)
        # The compiled call alone: `take(raw, recv_ns)`, whose result goes to `finish`; 0 need not without a journal.
        self.take: Callable[[bytes, int], int] = partial(entry_point(hot_step.take_frame), self.address)
        self._known = -1  # next_seq when both sides last knew the same
        core.follow(engine.state["book"], lambda: sequencer.ahead)
        self.take_over()

    def on_frame(self, recv_ns: int, raw: bytes) -> Commands:
        """Take one frame as it came; return the commands that it and the due TICKs caused.

        What the feed emits itself on the ordinary way goes through its own `emit`; its commands are not returned here.
        """
        result = self.take(raw, recv_ns)
        return _NOTHING if result == 0 and self._journal is None else self.finish(result, recv_ns, raw)

    def finish(self, result: int, recv_ns: int, raw: bytes) -> Commands:
        """Do what `take` left to do: write the records, hand out commands, take what it declined the ordinary way."""
        if result >= 0:
            return self._hand_out(result, recv_ns, raw)
        with self.paused():
            self._core.on_frame(recv_ns, raw)
        return _NOTHING

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Let feed, sequencer and engine be used: inside, they know all that was taken in."""
        self.hand_back()
        try:
            yield
        finally:
            self.take_over()

    @property
    def event(self) -> np.ndarray:
        """Return the record of the last frame (uint8, a view: void with the next frame)."""
        return self._event[: int(self._event[:4].view("<u4")[0])]

    @property
    def ticks(self) -> bytes:
        """Return the TICKs that came before it, each with the commands it caused."""
        return self._log[: self._words[_BEFORE]].tobytes()

    @property
    def caused(self) -> bytes:
        """Return the commands that the last frame's record caused."""
        before = self._words[_BEFORE]
        return self._log[before : before + self._words[_AFTER]].tobytes()

    @property
    def commands(self) -> list[np.ndarray]:
        """Return the commands of the last frame: of its TICKs and its record, in order."""
        return [record for record in split(self.ticks + self.caused) if record[8] >= FIRST_COMMAND]

    def confirm(self) -> None:
        """Let the feed look at the book after a frame that was DISTRUSTED; not while the loop runs."""
        self._core.confirm(self.event.copy())

    def _hand_out(self, result: int, recv_ns: int, raw: bytes) -> Commands:
        """Write the records of a frame, hand out their commands, say what the book's check found."""
        event = self.event
        if self._raw_log is not None:
            head = header_of(event)
            head["c"] = self._raw_log.append_raw(recv_ns, raw, 0, int(head["kind"]))
        commands = self.commands if result & hot_step.COMMANDS else _NOTHING
        if self._journal is not None:
            for record in [*split(self.ticks), event, *split(self.caused)]:
                self._journal.append(record.tobytes())
        if result & hot_step.DISTRUSTED:
            with self.paused():
                self.confirm()
        return commands

    def take_over(self) -> None:
        """Tell the compiled call what feed and sequencer did without it."""
        words, sequencer = self._words, self._sequencer
        if sequencer.next_seq == self._known and not self._core.touched:
            return
        if self._instrument is not self._core.instrument:
            self._instrument = self._core.instrument
            self._config[:] = parser_config(self._instrument)
        self._known = words[_NEXT_SEQ] = sequencer.next_seq
        words[_LAST_NS] = sequencer.last_ns
        words[_TICKS], words[_NEXT_TICK] = sequencer.tick_grid
        words[_AHEAD] = sequencer.ahead
        self._core.give(self._feed)

    def hand_back(self) -> None:
        """Tell feed and sequencer what the compiled call took in."""
        words = self._words
        if words[_NEXT_SEQ] == self._known:
            return
        self._known = words[_NEXT_SEQ]
        self._sequencer.resume(self._known, words[_LAST_NS], words[_NEXT_TICK])
        self._core.take(self._feed)
