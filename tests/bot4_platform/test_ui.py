"""`bot4 platform`: a busy port is one clear line; the real UI starts, answers, and ends whole."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import psutil
import pytest

from bot4_live.settings import Settings
from bot4_platform.timescale.local_server import free_port

BOT4 = str(Path(sys.executable).with_name("bot4"))


def test_a_busy_port_is_one_line(settings: Settings) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        done = subprocess.run(
            [BOT4, "platform", "--port", port, "--var", str(settings.var), "--account", "test"],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
    assert done.returncode == 1
    assert f"port {port} on 127.0.0.1 is busy" in done.stderr
    assert "choose one with --port" in done.stderr
    assert "Traceback" not in done.stderr
    assert not settings.root.exists()


@pytest.mark.slow  # the main job's test opens the same UI in a browser
@pytest.mark.system
def test_the_ui_shows_the_assets_and_ends_on_sigterm(settings: Settings) -> None:
    port = free_port()
    child = subprocess.Popen(
        [BOT4, "platform", "--port", str(port), "--var", str(settings.var), "--account", "test", "--no-daemon"],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=os.environ | {"BOT4_ACCOUNT": "test"},
    )  # fmt: skip
    assert child.stdout is not None
    try:
        line = child.stdout.readline()
        assert f"http://127.0.0.1:{port}" in line
        query = b'{"query": "{ assetNodes { assetKey { path } } }"}'
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}/graphql", data=query, headers={"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=60) as reply:
            text = reply.read().decode()
        for name in ("raw_segments", "candles_1m", "features", "online_slow_features", "data_docs"):
            assert f'"{name}"' in text
        family = psutil.Process(child.pid).children(recursive=True)
        assert family
        child.send_signal(signal.SIGTERM)
        assert child.wait(30) == 0
        deadline = time.monotonic() + 10
        while any(found.is_running() for found in family) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert [found for found in family if found.is_running()] == []
    finally:
        if child.poll() is None:
            child.kill()
            child.wait()
        child.stdout.close()
    assert (settings.root / "dagster" / "dagster.yaml").is_file()
