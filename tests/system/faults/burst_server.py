"""Pushes N market frames over one WebSocket as fast as the peer takes them; a process of its own.

Run as `python burst_server.py N FOLDER`. It writes `snapshot.json` (what GET depth answers) and `truth.json` (the book
and the counts after all N) into FOLDER, prints its port, serves one client, and ends when that hangs up.

A round of ROUND frames (best quotes, trades, diffs of five levels) is encoded once; for each round numpy writes its ids
and times into the bytes, so that the socket is the limit and not this process.
"""

from __future__ import annotations

import json
import random
import socket
import sys
import threading
import time
from pathlib import Path

import numpy as np
from websockets.frames import Frame, Opcode

from bot4_live.benchmarks.wire_server import _shake_hands

ROUND = 20_000
FIRST_ID, FIRST_TRADE = 5_000_000_000_000, 6_000_000_000_000
DIGITS = 13
BID, ASK = 600_000, 600_001  # ticks of 0.1
QUOTE = b'{"stream":"btcusdt@bookTicker","data":{"e":"bookTicker","u":%d,"s":"BTCUSDT","b":"60000.0","B":"7.000","a":"60000.1","A":"8.000","T":%d,"E":%d}}'  # fmt: skip # noqa: E501
TRADE = b'{"stream":"btcusdt@trade","data":{"e":"trade","E":%d,"T":%d,"s":"BTCUSDT","t":%d,"p":"60000.1","q":"0.010","X":"MARKET","m":false}}'  # fmt: skip # noqa: E501
DIFF = b'{"stream":"btcusdt@depth@0ms","data":{"e":"depthUpdate","E":%d,"T":%d,"s":"BTCUSDT","U":%d,"u":%d,"pu":%d,"b":%s,"a":%s}}'  # fmt: skip # noqa: E501
ID, TRADE_ID, NOW = 0, 1, 2  # what a number in the bytes is
MARKS = tuple(n * 1_111_111_111_111 for n in (1, 2, 3, 4, 5))  # where they will stand


def rows(levels):
    return [[f"{price / 10:.1f}", f"{qty / 1000:.3f}"] for price, qty in levels]


class Round:
    """The bytes of a round, and which number stands where in them."""

    def __init__(self):
        chance = random.Random(8)
        self.bids = {BID: 7000} | {BID - i: chance.randrange(1, 9000) for i in range(2, 500)}
        self.asks = {ASK: 8000} | {ASK + i: chance.randrange(1, 9000) for i in range(2, 500)}
        asks, bids = sorted(self.asks.items()), sorted(self.bids.items(), reverse=True)
        snapshot = {"lastUpdateId": FIRST_ID, "E": 0, "T": 0, "bids": rows(bids), "asks": rows(asks)}
        self.snapshot = snapshot
        self.ids = self.last_diff = 0  # of this round, from 0
        self.counts = {"quotes": 0, "trades": 0, "diffs": 0}
        blob, numbers = bytearray(), []  # numbers: (position, what, value)
        for n in range(ROUND):
            kind = "diffs" if n in (0, ROUND - 1) else ("quotes", "quotes", "trades", "diffs")[chance.randrange(4)]
            self.counts[kind] += 1
            raw, places = getattr(self, kind)(chance)
            frame = Frame(Opcode.TEXT, raw).serialize(mask=False)
            start = len(blob) + len(frame) - len(raw)
            for number, what, value in places:
                numbers.append((start + raw.index(b"%d" % number), what, value))
            blob += frame
        self.buffer = np.frombuffer(bytes(blob), np.uint8).copy()
        self.at = np.array([place for place, _, _ in numbers])
        self.what = np.array([what for _, what, _ in numbers])
        self.value = np.array([value for _, _, value in numbers], np.int64)

    def quotes(self, _chance):
        self.ids += 1
        return QUOTE % MARKS[:3], [(MARKS[0], ID, self.ids), (MARKS[1], NOW, 0), (MARKS[2], NOW, 0)]

    def trades(self, _chance):
        number = self.counts["trades"]
        return TRADE % MARKS[:3], [(MARKS[0], NOW, 0), (MARKS[1], NOW, 0), (MARKS[2], TRADE_ID, number)]

    def diffs(self, chance):
        changes = ([], [])
        for _ in range(5):
            side, qty = chance.randrange(2), chance.choice([0, 1000, 2500, 9999])
            book = (self.bids, self.asks)[side]
            price = BID - chance.randrange(2, 600) if side == 0 else ASK + chance.randrange(2, 600)
            changes[side].append((price, qty))
            if qty:
                book[price] = qty
            else:
                book.pop(price, None)
        previous = self.last_diff
        self.ids += 1
        self.last_diff = self.ids
        raw = DIFF % (*MARKS, *(json.dumps(rows(side), separators=(",", ":")).encode() for side in changes))
        ids = [(MARKS[2], ID, previous + 1), (MARKS[3], ID, self.ids), (MARKS[4], ID, previous)]
        return raw, [(MARKS[0], NOW, 0), (MARKS[1], NOW, 0), *ids]

    def bytes_of(self, number):
        """Return the bytes of a round, and the update id at its end."""
        now_ms = time.time_ns() // 1_000_000
        base = np.array([FIRST_ID + number * self.ids, FIRST_TRADE + number * self.counts["trades"], now_ms])
        values = base[self.what] + self.value
        powers = 10 ** np.arange(DIGITS - 1, -1, -1, dtype=np.int64)
        self.buffer[self.at[:, None] + np.arange(DIGITS)] = (values[:, None] // powers) % 10 + 48
        return self.buffer.tobytes()


def main(total: int, folder: Path) -> None:
    made = Round()
    rounds = total // ROUND
    now_ms = time.time_ns() // 1_000_000
    made.snapshot["E"] = made.snapshot["T"] = now_ms
    (folder / "snapshot.json").write_text(json.dumps(made.snapshot))
    truth = {
        "frames": rounds * ROUND,
        "counts": {name: count * rounds for name, count in made.counts.items()},
        "update_id": FIRST_ID + rounds * made.ids,
        "bids": sorted(made.bids.items(), reverse=True),
        "asks": sorted(made.asks.items()),
    }
    (folder / "truth.json").write_text(json.dumps(truth))
    listener = socket.create_server(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)
    connection, _ = listener.accept()
    with connection:
        protocol, sending = _shake_hands(connection), threading.Lock()
        answers = threading.Thread(target=answer, args=(connection, protocol, sending))
        answers.start()
        for number in range(rounds):
            data = made.bytes_of(number)
            with sending:  # a pong may stand between two rounds, not within a frame
                connection.sendall(data)
        answers.join()


def answer(connection, protocol, sending):
    """Answer pings and the close, until the peer hangs up."""
    while data := connection.recv(4096):
        protocol.receive_data(data)
        if out := b"".join(protocol.data_to_send()):
            with sending:
                connection.sendall(out)
        if protocol.close_expected():
            return


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
