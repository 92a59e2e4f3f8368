"""The sending side of `bot4 bench wire`, a process of its own: frames over a WebSocket on loopback, each stamped.

Run as `python -m bot4_live.benchmarks.wire_server FRAMES STAMPS RATE [CERTIFICATE]`. It prints its port, waits for
connections one after another (over TLS with a certificate), and sends every frame on each: at RATE a second on an even
grid (it spins, so as not to add the scheduler's grain), or as fast as the peer takes them for RATE 0. Just before a
frame is sent, CLOCK_MONOTONIC goes into STAMPS (int64, one a frame); in a flood only the first is stamped.

The handshake and the end are those of the `websockets` library. Frames are encoded beforehand and written to the
socket, so that what is measured is the receiver.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import sys
import threading
import time
from pathlib import Path

import numpy as np
from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.server import ServerProtocol

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


def _shake_hands(connection: socket.socket) -> ServerProtocol:
    protocol = ServerProtocol()
    while True:
        data = connection.recv(4096)
        if not data:
            raise ConnectionError("the peer hung up during the handshake")
        protocol.receive_data(data)
        for event in protocol.events_received():
            assert isinstance(event, Request)
            protocol.send_response(protocol.accept(event))
            connection.sendall(b"".join(protocol.data_to_send()))
            return protocol


def _finish(connection: socket.socket, protocol: ServerProtocol) -> None:
    """Answer the peer until it hangs up."""
    while True:
        data = connection.recv(4096)
        if data:
            protocol.receive_data(data)
        else:
            protocol.receive_eof()
        if answer := b"".join(protocol.data_to_send()):
            connection.sendall(answer)
        if not data or protocol.close_expected():
            return


def send(connection: socket.socket, encoded: list[bytes], stamps: np.ndarray, rate: float) -> None:
    """Open the WebSocket, send all frames, and wait until the peer closes."""
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    protocol = _shake_hands(connection)
    time.sleep(SETTLE_S)
    clock, out = time.monotonic_ns, connection.sendall
    start = clock()
    if rate > 0:
        # In memory first: the file's pages may fault or wait for writeback, and not between a stamp and its frame.
        step, sent, last = 1e9 / rate, np.ones(len(encoded), np.int64), len(encoded) - 1
        for i, frame in enumerate(encoded):
            if i == last:
                stamps[:] = sent
                sent = stamps
            due = start + int(i * step)
            while clock() < due:
                pass
            sent[i] = clock()
            out(frame)
    else:
        blob = b"".join(encoded)
        stamps[0] = clock()
        out(blob)
    _finish(connection, protocol)


def main(arguments: list[str]) -> None:
    """Serve until standard input is closed, which happens when the parent ends, however it ends."""
    encoded = [Frame(Opcode.TEXT, frame).serialize(mask=False) for frame in read_frames(Path(arguments[0]))]
    stamps = np.memmap(arguments[1], np.int64, "r+", shape=(len(encoded),))
    rate = float(arguments[2])
    context = None
    if len(arguments) > 3:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(arguments[3])
    listener = socket.create_server(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)

    def serve() -> None:
        while True:
            raw, _ = listener.accept()
            with raw, contextlib.suppress(ConnectionError, ssl.SSLError):
                if context is None:
                    send(raw, encoded, stamps, rate)
                else:
                    with context.wrap_socket(raw, server_side=True) as secure:
                        send(secure, encoded, stamps, rate)

    threading.Thread(target=serve, daemon=True).start()
    sys.stdin.read()


if __name__ == "__main__":
    main(sys.argv[1:])
