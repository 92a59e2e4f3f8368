"""A burst of market frames of BTCUSDT, made so that sending them is all it costs.

A round of ROUND frames (best quotes, trades, diffs of five levels) is encoded once; for each round numpy writes its ids
and times into the bytes. A burst continues the diffs of the market that it breaks into: its opening replaces that
market's book by one of its own, whose best levels stay where the quotes say they are.
"""

from __future__ import annotations

import json
import random
import re
from collections import Counter
from collections.abc import Iterable

import numpy as np
from websockets.frames import Frame, Opcode

ROUND = 20_000
FIRST_ID, FIRST_TRADE = 5_500_000_000_000, 6_000_000_000_000  # above those of a generated market
DIGITS = 13
BID, ASK = 618_000, 618_001  # ticks of 0.1
BID_QTY, ASK_QTY = 7000, 8000  # lots of 0.001
DEEPEST = 500  # levels behind the best when it begins
QUOTE = b'{"stream":"btcusdt@bookTicker","data":{"e":"bookTicker","u":%d,"s":"BTCUSDT","b":"%s","B":"%s","a":"%s","A":"%s","T":%d,"E":%d}}'  # fmt: skip # noqa: E501
TRADE = b'{"stream":"btcusdt@trade","data":{"e":"trade","E":%d,"T":%d,"s":"BTCUSDT","t":%d,"p":"%s","q":"0.010","X":"MARKET","m":false}}'  # fmt: skip # noqa: E501
DIFF = b'{"stream":"btcusdt@depth@0ms","data":{"e":"depthUpdate","E":%d,"T":%d,"s":"BTCUSDT","U":%d,"u":%d,"pu":%d,"b":%s,"a":%s}}'  # fmt: skip # noqa: E501
ID, TRADE_ID, NOW = 0, 1, 2  # what a number in the bytes is
MARKS = tuple(n * 1_111_111_111_111 for n in (1, 2, 3, 4))  # where they will stand
Levels = Iterable[tuple[int, int]]  # (ticks, lots)
Places = list[tuple[int, int, int]]  # (number in the bytes, what it is, value)


def price(ticks: int) -> str:
    return f"{ticks / 10:.1f}"


def qty(lots: int) -> str:
    return f"{lots / 1000:.3f}"


def rows(levels: Levels) -> bytes:
    """Return levels as they stand in a diff."""
    return json.dumps([[price(at), qty(lots)] for at, lots in levels], separators=(",", ":")).encode()


def framed(raw: bytes) -> bytes:
    """Return a message as a server's WebSocket frame."""
    return Frame(Opcode.TEXT, raw).serialize(mask=False)


def quote(update_id: int, now_ms: int, best: tuple[int, int, int, int]) -> bytes:
    """Return a best quote (bid, its lots, ask, its lots)."""
    bid, bid_qty, ask, ask_qty = best
    texts = (one.encode() for one in (price(bid), qty(bid_qty), price(ask), qty(ask_qty)))
    return QUOTE % (update_id, *texts, now_ms, now_ms)


class Burst:
    """The bytes of a round, and which number stands where in them. `counts` are those of a round."""

    def __init__(self) -> None:
        chance = random.Random(8)
        self.bids = {BID: BID_QTY} | {BID - i: chance.randrange(1, 9000) for i in range(2, DEEPEST)}
        self.asks = {ASK: ASK_QTY} | {ASK + i: chance.randrange(1, 9000) for i in range(2, DEEPEST)}
        self._began_with = dict(self.bids), dict(self.asks)
        self._ids = self._last_diff = 0  # of this round, from 0
        self.counts = Counter[str]()
        blob, numbers = bytearray(), []
        for n in range(ROUND):
            kind = "diffs" if n in (0, ROUND - 1) else ("quotes", "quotes", "trades", "diffs")[chance.randrange(4)]
            self.counts[kind] += 1
            raw, places = {"quotes": self._quote, "trades": self._trade, "diffs": self._diff}[kind](chance)
            frame = framed(raw)
            start = len(blob) + len(frame) - len(raw)
            for number, what, value in places:
                numbers += [(start + found.start(), what, value) for found in re.finditer(b"%d" % number, raw)]
            blob += frame
        self._buffer = np.frombuffer(bytes(blob), np.uint8).copy()
        self._at = np.array([place for place, _, _ in numbers])
        self._what = np.array([what for _, what, _ in numbers])
        self._value = np.array([value for _, _, value in numbers], np.int64)

    def _quote(self, _chance: random.Random) -> tuple[bytes, Places]:
        self._ids += 1
        return quote(MARKS[0], MARKS[1], (BID, BID_QTY, ASK, ASK_QTY)), [(MARKS[0], ID, self._ids), (MARKS[1], NOW, 0)]

    def _trade(self, _chance: random.Random) -> tuple[bytes, Places]:
        raw = TRADE % (MARKS[0], MARKS[0], MARKS[1], price(ASK).encode())
        return raw, [(MARKS[0], NOW, 0), (MARKS[1], TRADE_ID, self.counts["trades"])]

    def _diff(self, chance: random.Random) -> tuple[bytes, Places]:
        changes: tuple[list[tuple[int, int]], list[tuple[int, int]]] = ([], [])
        for _ in range(5):
            side, lots = chance.randrange(2), chance.choice([0, 1000, 2500, 9999])
            book = (self.bids, self.asks)[side]
            at = BID - chance.randrange(2, 600) if side == 0 else ASK + chance.randrange(2, 600)
            changes[side].append((at, lots))
            if lots:
                book[at] = lots
            else:
                book.pop(at, None)
        previous = self._last_diff
        self._ids += 1
        self._last_diff = self._ids
        raw = DIFF % (MARKS[0], *MARKS[:4], *(rows(side) for side in changes))
        ids = [(MARKS[1], ID, previous + 1), (MARKS[2], ID, self._ids), (MARKS[3], ID, previous)]
        return raw, [(MARKS[0], NOW, 0), *ids]

    def opening(self, now_ms: int, previous: int, bids: Levels, asks: Levels) -> bytes:
        """Return a quote and a diff that turn the book of these levels, whose update id is `previous`, into ours."""
        changes = []
        for held, ours in zip((bids, asks), self._began_with, strict=True):
            changes.append(rows(({at: 0 for at, _ in held} | ours).items()))
        diff = DIFF % (now_ms, now_ms, previous + 1, FIRST_ID, previous, *changes)
        return framed(quote(FIRST_ID, now_ms, (BID, BID_QTY, ASK, ASK_QTY))) + framed(diff)

    def round(self, number: int, now_ms: int) -> bytes:
        """Return the bytes of a round, counted from 0, sent at a time."""
        base = np.array([FIRST_ID + number * self._ids, FIRST_TRADE + number * self.counts["trades"], now_ms])
        values = base[self._what] + self._value
        powers = 10 ** np.arange(DIGITS - 1, -1, -1, dtype=np.int64)
        self._buffer[self._at[:, None] + np.arange(DIGITS)] = (values[:, None] // powers) % 10 + 48
        return self._buffer.tobytes()
