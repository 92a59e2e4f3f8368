"""The sending side of `bot4 bench wire`, a process of its own: frames over a WebSocket on loopback, each stamped.

Run as `python -m bot4_live.benchmarks.wire_server FRAMES STAMPS RATE`. It prints its port, waits for connections one
after another, and sends every frame on each: at RATE a second on an even grid (it spins, so as not to add the
scheduler's grain), or as fast as the peer takes them for RATE 0. Just before a frame is sent, CLOCK_MONOTONIC goes
into STAMPS (int64, one a frame).
"""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from pathlib import Path

import numpy as np
from websockets.exceptions import ConnectionClosed
from websockets.sync.server import ServerConnection, serve

SETTLE_S = 0.3


def write_frames(path: Path, frames: list[bytes]) -> None:
    """Write frames as (length, bytes) pairs."""
    with path.open("wb") as file:
        for frame in frames:
            file.write(len(frame).to_bytes(4, "little") + frame)


def read_frames(path: Path) -> list[bytes]:
    """Return the frames that `write_frames` wrote."""
    data = path.read_bytes()
    frames, at = [], 0
    while at < len(data):
        size = int.from_bytes(data[at : at + 4], "little")
        frames.append(data[at + 4 : at + 4 + size])
        at += 4 + size
    return frames


def send(connection: ServerConnection, frames: list[bytes], stamps: np.ndarray, rate: float) -> None:
    """Send all frames and wait until the peer closes."""
    time.sleep(SETTLE_S)
    clock = time.monotonic_ns
    step = 1e9 / rate if rate > 0 else 0.0
    start = clock()
    with contextlib.suppress(ConnectionClosed):
        for i, frame in enumerate(frames):
            due = start + int(i * step)
            while clock() < due:
                pass
            stamps[i] = clock()
            connection.send(frame, text=True)
        connection.recv()


def main(arguments: list[str]) -> None:
    """Serve until standard input is closed, which happens when the parent ends, however it ends."""
    frames = read_frames(Path(arguments[0]))
    stamps = np.memmap(arguments[1], np.int64, "r+", shape=(len(frames),))
    rate = float(arguments[2])
    with serve(lambda c: send(c, frames, stamps, rate), "127.0.0.1", 0, compression=None) as server:
        print(server.socket.getsockname()[1], flush=True)
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        sys.stdin.read()
        server.shutdown()


if __name__ == "__main__":
    main(sys.argv[1:])
