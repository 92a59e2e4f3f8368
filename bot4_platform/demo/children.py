"""The demo's child processes: started with their own log, waited for, ended by pid; none is left behind."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, TextIO

BOT4 = [sys.executable, "-m", "bot4_live"]


class ChildError(RuntimeError):
    """A child did not start or failed; the message holds the end of its log."""


class Child:
    """One running command: stdout is read for JSON lines, stderr goes to the log."""

    def __init__(self, name: str, args: list[str], env: dict[str, str], log: Path) -> None:
        self.name, self.log = name, log
        self._log_file: TextIO = log.open("w")
        self.process = subprocess.Popen(
            args, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=self._log_file, text=True
        )
        self._lines: queue.Queue[str | None] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.put(line)
        self._lines.put(None)

    def next_json(self, timeout_s: float) -> dict[str, Any]:
        """Return the next JSON line of stdout. Raises ChildError when the child ends or stays silent."""
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                line = self._lines.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                raise ChildError(f"{self.name} said nothing for {timeout_s:.0f} s{self.tail()}") from None
            if line is None:
                self.process.wait()
                raise ChildError(f"{self.name} ended with exit code {self.process.returncode}{self.tail()}")
            if line.startswith("{"):
                value: dict[str, Any] = json.loads(line)
                return value

    def tail(self, lines: int = 12) -> str:
        """Return the end of the log, for messages."""
        self._log_file.flush()
        text = self.log.read_text(errors="replace").strip().splitlines()[-lines:]
        return "; its log ends:\n  " + "\n  ".join(text) if text else ""

    def wait(self, timeout_s: float) -> int:
        """Wait for the end and return the exit code. Raises ChildError when it does not end."""
        try:
            return self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise ChildError(f"{self.name} did not end within {timeout_s:.0f} s{self.tail()}") from None

    def finish(self, timeout_s: float) -> dict[str, Any]:
        """Wait for exit code 0 and return the last JSON line (empty when there was none)."""
        code = self.wait(timeout_s)
        if code != 0:
            raise ChildError(f"{self.name} failed with exit code {code}{self.tail()}")
        self._reader.join(5)
        last: dict[str, Any] = {}
        while not self._lines.empty():
            line = self._lines.get()
            if line and line.startswith("{"):
                last = json.loads(line)
        return last

    def stop(self, timeout_s: float = 15.0) -> None:
        """End it: SIGTERM, and SIGKILL when that is not heard."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(timeout_s)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        if self.process.stdout is not None:
            self._reader.join(2)
            self.process.stdout.close()
        self._log_file.close()


class Children:
    """All children of one run; leaving the context ends those that still live, last started first."""

    def __init__(self, env: dict[str, str], logs: Path) -> None:
        self.env = {**os.environ, **env}
        self.logs = logs
        logs.mkdir(parents=True, exist_ok=True)
        self.running: list[Child] = []

    def start(self, name: str, *args: str, command: list[str] | None = None) -> Child:
        """Start `bot4 ARGS` (or another command) as `name`."""
        child = Child(name, [*(command or BOT4), *args], self.env, self.logs / f"{name}.log")
        self.running.append(child)
        return child

    def __enter__(self) -> Children:
        """Return self."""
        return self

    def __exit__(self, *_: object) -> None:
        """End what still runs."""
        for child in reversed(self.running):
            child.stop()
