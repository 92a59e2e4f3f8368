"""A real HTTP server on loopback that answers as a script says, also badly."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit


@dataclass
class Answer:
    """What the server says: a body (or what writes one), and how."""

    body: bytes | Callable[[Any], None] = b"{}"
    status: int = 200
    headers: dict[str, str] = field(default_factory=lambda: {"Content-Type": "application/json"})


@dataclass
class Script:
    """Answers in order, the last one again and again; what was asked, in order."""

    url: str = ""
    answers: list[Answer] = field(default_factory=list)
    by_path: dict[str, list[Answer]] = field(default_factory=dict)  # before `answers`
    asked: list[str] = field(default_factory=list)

    def next(self) -> Answer:
        """Return the next answer."""
        answers = self.by_path.get(urlsplit(self.asked[-1]).path, self.answers)
        return answers.pop(0) if len(answers) > 1 else answers[0]


@contextmanager
def serve() -> Iterator[Script]:
    """Serve a script on a free port."""
    told = Script()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            told.asked.append(self.path)
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            answer = told.next()
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            if callable(answer.body):
                self.send_header("Connection", "close")
                self.end_headers()
                answer.body(self.wfile)
                self.close_connection = True
                return
            self.send_header("Content-Length", str(len(answer.body)))
            self.end_headers()
            self.wfile.write(answer.body)

        do_POST = do_GET

        def log_message(self, *_: Any) -> None:
            pass

    class Quiet(ThreadingHTTPServer):
        def handle_error(self, request: Any, client_address: Any) -> None:
            """A client that hangs up in the middle is what some tests are about."""

    server = Quiet(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    told.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield told
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
