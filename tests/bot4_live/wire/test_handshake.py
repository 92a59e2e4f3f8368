"""The opening handshake: what it asks, and every answer that is not one."""

from __future__ import annotations

import base64

import pytest
from websockets.http11 import Request
from websockets.server import ServerProtocol

from bot4_live.wire.handshake import MAX_RESPONSE, Address, HandshakeError, check_response, new_key, request


def accepted(url="ws://127.0.0.1:9000/stream?streams=a", headers=None):
    """Return (request as the server read it, key, the server's response)."""
    key, server = new_key(), ServerProtocol()
    server.receive_data(request(Address.parse(url), key, headers))
    (asked,) = server.events_received()
    assert isinstance(asked, Request)
    server.send_response(server.accept(asked))
    return asked, key, b"".join(server.data_to_send())


def test_a_server_accepts_the_request():
    asked, key, response = accepted(headers={"X-MBX-APIKEY": "k"})
    assert asked.path == "/stream?streams=a"
    assert asked.headers["Host"] == "127.0.0.1:9000"
    assert asked.headers["X-MBX-APIKEY"] == "k"
    assert "Sec-WebSocket-Extensions" not in asked.headers
    assert len(base64.b64decode(key)) == 16
    assert check_response(response, key) == len(response)
    assert check_response(response + b"\x81\x00", key) == len(response)
    assert all(check_response(response[:i], key) == 0 for i in range(len(response)))


@pytest.mark.parametrize(
    ("url", "host", "path", "secure"),
    [
        ("ws://127.0.0.1:9000", "127.0.0.1:9000", "/", False),
        ("ws://localhost/x", "localhost", "/x", False),
        ("wss://localhost:443/x?y=1", "localhost", "/x?y=1", True),
        ("wss://[::1]:9443/", "[::1]:9443", "/", True),
    ],
)
def test_urls(url, host, path, secure):
    address = Address.parse(url)
    assert (address.host_header, address.path, address.secure) == (host, path, secure)


@pytest.mark.parametrize(
    "url", ["http://x/", "ws:///x", "x", "ws://u:p@x/", "ws://x/#a", "ws://x:99999/", "ws://x/a b"]
)
def test_other_urls_are_refused(url):
    with pytest.raises(ValueError, match=r".+"):
        Address.parse(url)


@pytest.mark.parametrize(("name", "value"), [("Host", "x"), ("sec-websocket-key", "x"), ("X", "a\r\nY: b"), ("X:", "")])
def test_headers_that_would_break_the_request_are_refused(name, value):
    with pytest.raises(ValueError, match="cannot be set"):
        request(Address.parse("ws://127.0.0.1:1/"), new_key(), {name: value})


_, KEY, GOOD = accepted()
WRONG = {
    "instead of opening": GOOD.replace(b"101 Switching Protocols", b"403 Forbidden"),
    "HTTP/1.0": GOOD.replace(b"HTTP/1.1", b"HTTP/1.0"),
    "another protocol": GOOD.replace(b"Upgrade: websocket", b"Upgrade: h2c"),
    "lacks Connection": GOOD.replace(b"Connection: Upgrade", b"Connection: close"),
    "another request": GOOD.replace(b"Sec-WebSocket-Accept: ", b"Sec-WebSocket-Accept: x"),
    "permessage-deflate": GOOD.replace(b"Upgrade:", b"Sec-WebSocket-Extensions: permessage-deflate\r\nUpgrade:", 1),
    "chat": GOOD.replace(b"Upgrade:", b"Sec-WebSocket-Protocol: chat\r\nUpgrade:", 1),
    "broken header": GOOD.replace(b"Upgrade:", b"nonsense\r\nUpgrade:", 1),
    "no end": b"HTTP/1.1 101 x\r\nX: " + b"y" * MAX_RESPONSE,
}


@pytest.mark.parametrize(("words", "response"), WRONG.items(), ids=WRONG)
def test_other_answers_are_refused(words, response):
    with pytest.raises(HandshakeError, match=words):
        check_response(response, KEY)
