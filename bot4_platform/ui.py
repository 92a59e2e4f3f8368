"""Dagster's webserver and daemon over the account's DAGSTER_HOME, on loopback, as children that end with us."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterable
from pathlib import Path
from types import FrameType

from bot4_live.settings import PROJECT_ROOT, Settings
from bot4_platform.instance import prepare_home

HOST = "127.0.0.1"
READY_S = 90.0
STOP_S = 10.0


def serve(
    settings: Settings,
    port: int,
    *,
    daemon: bool = True,
    ready: Callable[[str], None] = lambda url: None,
    waiting: Callable[[float], None] = lambda seconds: None,
) -> None:
    """Serve until SIGINT or SIGTERM; `ready(url)` is called once it answers, `waiting(seconds)` every second before.

    Raises OSError (EADDRINUSE) for a busy port, RuntimeError when a child ends by itself.
    """
    check_port(port)
    home = prepare_home(settings)
    environment = os.environ | {
        "DAGSTER_HOME": str(home),
        "BOT4_VAR": str(settings.var),
        "BOT4_ACCOUNT": settings.account,
        "PYTHONWARNINGS": "ignore",
    }
    workspace = ["-w", str(PROJECT_ROOT / "workspace.yaml")]
    commands = {"dagster-webserver": ["-h", HOST, "-p", str(port), *workspace]}
    if daemon:
        commands["dagster-daemon"] = ["run", *workspace]
    logs = home / "logs"
    logs.mkdir(exist_ok=True)
    stopping: list[int] = []

    def stop(number: int, _: FrameType | None) -> None:
        stopping.append(number)

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    children: dict[str, subprocess.Popen[bytes]] = {}
    try:
        for name, arguments in commands.items():
            with (logs / f"{name}.log").open("wb") as log:
                children[name] = subprocess.Popen(
                    [str(Path(sys.executable).with_name(name)), *arguments],
                    env=environment, cwd=PROJECT_ROOT, stdout=log, stderr=log, start_new_session=True,
                )  # fmt: skip
        url = f"http://{HOST}:{port}"
        began, told = time.monotonic(), False
        while not stopping:
            for name, child in children.items():
                if child.poll() is not None:
                    raise RuntimeError(f"{name} ended with code {child.returncode}; see {logs / name}.log")
            if not told and answers(url):
                told = True
                ready(url)
            elif not told:
                waited = time.monotonic() - began
                if waited > READY_S:
                    raise RuntimeError(f"Dagster did not answer on {url} within {READY_S:.0f} s; see {logs}")
                waiting(waited)
            time.sleep(1.0 if told else 0.5)
    finally:
        end(children.values())
        for number, handler in before.items():
            signal.signal(number, handler)


def check_port(port: int) -> None:
    """Raise OSError when something listens on the port already."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise OSError(errno.EADDRINUSE, f"port {port} on {HOST} is busy") from error
            raise


def answers(url: str) -> bool:
    """Return whether the webserver answers."""
    try:
        with urllib.request.urlopen(f"{url}/server_info", timeout=2) as reply:
            return reply.status == 200
    except OSError:
        return False


def end(children: Iterable[subprocess.Popen[bytes]]) -> None:
    """Ask each child's process group to end, then make it."""
    found = list(children)
    for child in found:
        if child.poll() is None:
            _signal(child, signal.SIGINT)
    deadline = time.monotonic() + STOP_S
    for child in found:
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(max(0.1, deadline - time.monotonic()))
        _signal(child, signal.SIGKILL)  # code servers that outlived it
        child.wait()


def _signal(child: subprocess.Popen[bytes], number: int) -> None:
    try:
        os.killpg(child.pid, number)
    except ProcessLookupError:
        return
