"""An HTTP server on loopback with a rate limit and faults on demand; the stand-ins answer through it."""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

JSON = "application/json; charset=utf-8"


@dataclass(frozen=True)
class Request:
    """What a client asked: `query` holds the last value of each parameter."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True)
class Reply:
    """What it gets. `promised` sends another Content-Length than the body has: a connection that breaks off."""

    body: bytes
    status: int = 200
    content_type: str = JSON
    headers: dict[str, str] = field(default_factory=dict)
    promised: int | None = None


HTML = Reply(b"<!DOCTYPE html><html><body><h1>Checking your browser</h1></body></html>", content_type="text/html")


class LocalServer:
    """Answers on `127.0.0.1` (`url`) from a thread; subclasses give `answer`.

    `fail_next` puts replies before the queue of real ones; `limit` requests in `window_s` seconds, then 429 with
    Retry-After. `seen` has every request, for tests. Use it as a context manager.
    """

    def __init__(self, *, limit: int | None = None, window_s: float = 1.0) -> None:
        self.limit, self.window_s = limit, window_s
        self.seen: list[Request] = []
        self._times: deque[float] = deque()
        self._faults: deque[Reply] = deque()
        self._lock = threading.Lock()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            # Headers and body leave in two writes; Nagle's algorithm would hold the second for the client's ACK.
            disable_nagle_algorithm = True

            def do_GET(self) -> None:
                self._reply("GET")

            def do_POST(self) -> None:
                self._reply("POST")

            def _reply(self, method: str) -> None:
                parts = urlsplit(self.path)
                query = {name: values[-1] for name, values in parse_qs(parts.query, keep_blank_values=True).items()}
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                headers = {name.lower(): value for name, value in self.headers.items()}
                reply = outer._handle(Request(method, parts.path, query, headers, body))
                self.send_response(reply.status)
                self.send_header("Content-Type", reply.content_type)
                length = len(reply.body) if reply.promised is None else reply.promised
                self.send_header("Content-Length", str(length))
                for name, value in reply.headers.items():
                    self.send_header(name, value)
                self.end_headers()
                try:
                    self.wfile.write(reply.body)
                except (BrokenPipeError, ConnectionResetError):
                    self.close_connection = True  # a client that had enough of a page
                if reply.promised is not None:
                    self.close_connection = True

            def log_message(self, format: str, *args: Any) -> None:
                """Say nothing; `seen` has it."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    @property
    def url(self) -> str:
        """Return where it listens."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def answer(self, request: Request) -> Reply:
        """Return the reply to a request that neither a fault nor the limit took. One at a time."""
        return Reply(b'{"error":"there is nothing here"}', 404)

    def refusal(self) -> Reply:
        """Return the reply past the limit."""
        return Reply(b'{"error":"Too many requests"}', 429, headers={"Retry-After": "1"})

    def fail_next(self, *replies: Reply) -> None:
        """Answer the next requests with these instead."""
        self._faults.extend(replies)

    def _handle(self, request: Request) -> Reply:
        with self._lock:
            self.seen.append(request)
            if self._faults:
                return self._faults.popleft()
            now = time.monotonic()
            while self._times and self._times[0] <= now - self.window_s:
                self._times.popleft()
            if self.limit is not None and len(self._times) >= self.limit:
                return self.refusal()
            self._times.append(now)
            return self.answer(request)

    def __enter__(self) -> Any:
        """Start to listen; return self."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop; connections that are still open end with it."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
