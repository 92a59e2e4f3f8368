"""A hand for the mock panel: another process presses the button by driving the mock pin, bounces and all.

The watchdog listens on a unix socket in its shared-memory folder. A request is one JSON line `{"pattern": [[down,
milliseconds], ...]}`; the pin is driven through it in real time and released at the end, so the press takes gpiozero's
way and our debounce like one of a finger.
"""

from __future__ import annotations

import json
import socket
import threading
import time
from pathlib import Path
from typing import Any

from bot4_live.safety.panel import BUTTON, Panel

FILE = "panel.sock"
_LONGEST_MS = 10_000


class MockHand:
    """The listening side, in the watchdog."""

    def __init__(self, panel: Panel, folder: Path) -> None:
        """Listen on `folder/panel.sock`. Raises ValueError for a panel that is not the mock one."""
        if panel.kind != "mock":
            raise ValueError("only the mock panel can be pressed by another process")
        self._pin: Any = panel.factory.pin(f"GPIO{BUTTON}")
        self.path = folder / FILE
        self.path.unlink(missing_ok=True)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.bind(str(self.path))
        self.path.chmod(0o600)
        self._socket.listen(4)
        self._thread = threading.Thread(target=self._serve, name="mock-hand", daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            with connection:
                connection.settimeout(1.0)
                try:
                    reply = self._move(json.loads(connection.makefile("rb").readline(65_536)))
                except (OSError, ValueError, TypeError) as error:
                    reply = {"error": f"bad request: {error}"}
                try:
                    connection.sendall(json.dumps(reply).encode() + b"\n")
                except OSError:
                    continue

    def _move(self, request: dict[str, Any]) -> dict[str, Any]:
        pattern = [(bool(down), float(ms)) for down, ms in request["pattern"]] if "pattern" in request else []
        if not pattern or sum(ms for _, ms in pattern) > _LONGEST_MS or any(ms < 0 for _, ms in pattern):
            raise ValueError(f"give a pattern of [down, ms] pairs, {_LONGEST_MS} ms at most")
        try:
            for down, ms in pattern:
                self._pin.drive_low() if down else self._pin.drive_high()
                time.sleep(ms / 1000)
        finally:
            self._pin.drive_high()
        return {"ok": True}

    def close(self) -> None:
        """Stop listening."""
        self._socket.shutdown(socket.SHUT_RDWR)  # wakes accept
        self._socket.close()
        self.path.unlink(missing_ok=True)


def move(folder: Path, pattern: list[tuple[bool, float]]) -> None:
    """Drive the mock button of the watchdog at `folder` (settings.shm_dir) through (down, ms) pairs.

    Raises ConnectionError when no watchdog with a mock panel is there.
    """
    total = sum(ms for _, ms in pattern) / 1000
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(total + 5)
        try:
            client.connect(str(folder / FILE))
        except OSError as error:
            raise ConnectionError(
                "no watchdog with a mock panel runs for this account; start: bot4 watchdog"
            ) from error
        client.sendall(json.dumps({"pattern": pattern}).encode() + b"\n")
        answer = client.makefile("rb").readline()
    if not answer:
        raise ConnectionError("the watchdog ended while its button was held")
    reply = json.loads(answer)
    if not reply.get("ok"):
        raise ValueError(str(reply.get("error")))


def press(folder: Path, ms: float = 200.0) -> None:
    """Press the mock button for `ms` milliseconds and let go."""
    move(folder, [(True, ms)])
