"""Servers on loopback: `websockets`' own in a thread, and a plain socket that follows a script."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.server import ServerConnection, serve

from bot4_live.benchmarks.certificate import self_signed


@contextlib.contextmanager
def _serving(handler: Callable[[ServerConnection], None], **options: Any) -> Iterator[int]:
    with serve(handler, "127.0.0.1", 0, **options) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.socket.getsockname()[1]
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def serving() -> Callable[..., contextlib.AbstractContextManager[int]]:
    """Serve with a handler; gives the port."""
    return _serving


class Script:
    """A plain socket: one connection after another is given to `play(connection)`."""

    def __init__(self, play: Callable[[socket.socket], None]) -> None:
        self._play = play
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.errors: list[BaseException] = []
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection:
                connection.settimeout(5)
                try:
                    self._play(connection)
                except (ConnectionError, TimeoutError):
                    pass
                except BaseException as error:
                    self.errors.append(error)

    def stop(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(10)
        assert not self.errors


@pytest.fixture
def script() -> Iterator[Callable[[Callable[[socket.socket], None]], int]]:
    """Start a scripted server; gives its port."""
    scripts: list[Script] = []

    def start(play: Callable[[socket.socket], None]) -> int:
        scripts.append(Script(play))
        return scripts[-1].port

    yield start
    for one in scripts:
        one.stop()


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed certificate for 127.0.0.1 and its key, in one file."""
    return self_signed(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def tls(certificate: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Contexts of (server, client); the client trusts the certificate and checks the name."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificate)
    return server, ssl.create_default_context(cafile=str(certificate))


@pytest.fixture
def collect() -> Callable[..., list[bytes]]:
    """Poll a wire until it has given n messages."""

    def run(wire: Any, n: int, seconds: float = 10.0) -> list[bytes]:
        out: list[bytes] = []
        deadline = time.monotonic() + seconds
        while len(out) < n:
            assert time.monotonic() < deadline, f"{len(out)} of {n} messages came"
            out += [wire.framer.message(i) for i in range(wire.poll())]
        return out

    return run
