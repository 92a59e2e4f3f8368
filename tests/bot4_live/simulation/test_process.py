"""`bot4 exchange` as a process: one JSON line when ready, clean end, one clear line for what is wrong."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from bot4_live.simulation.generator import generate, write_capture

COMMAND = [sys.executable, "-m", "bot4_live", "exchange"]


@contextmanager
def running(*options: str) -> Iterator[tuple[subprocess.Popen[str], dict[str, Any]]]:
    process = subprocess.Popen(
        [*COMMAND, "--port", "0", *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=os.environ | {"BOT4_EXCHANGE_TOKEN": "t"},
    )  # fmt: skip
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        assert line, process.communicate()[1]
        yield process, json.loads(line)
    finally:
        process.kill()
        process.communicate()


def get(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=5) as answer:
        return json.loads(answer.read())


def test_serves_a_capture_until_told_to_stop(tmp_path: Path) -> None:
    capture = tmp_path / "market.gz"
    count = write_capture(capture, generate(8, duration_s=5))
    accounts = tmp_path / "accounts.json"
    accounts.write_text('{"key": {"secret": "s", "account": "paper", "balance": "10000"}}')
    with running("--capture", str(capture), "--accounts", str(accounts), "--speed", "20") as (process, ready):
        assert ready["rest"] == f"http://127.0.0.1:{ready['port']}"
        assert ready["ws"] == f"ws://127.0.0.1:{ready['port']}"
        assert ready["symbol"] == "BTCUSDT"
        assert get(ready["rest"] + "/fapi/v1/ping") == {}
        clock = get(ready["rest"] + "/bot4/clock")
        assert (clock["speed_milli"], clock["shift_ns"]) == (20_000, ready["shift_ns"])
        while not (clock := get(ready["rest"] + "/bot4/clock"))["ended"]:
            pass
        assert clock["frames_sent"] == count
        assert not clock["paused"], "silence, not a pause: time goes on after the last frame"
        book = get(ready["rest"] + "/fapi/v1/depth?symbol=BTCUSDT&limit=5")
        assert len(book["bids"]) == 5
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=10)
        assert (process.returncode, out, err) == (0, "", "")


def test_generated_market_from_a_point_on() -> None:
    with running("--seed", "3", "--duration", "60", "--paused", "--shift-ms", "0") as (_, whole):
        start = whole["start_ns"]
    options = ("--seed", "3", "--duration", "60", "--paused", "--shift-ms", "0", "--from-ns", str(start + 30 * 10**9))
    with running(*options) as (_, ready):
        assert abs(ready["market_ns"] - start - 30 * 10**9) <= 1
        assert ready["frames_sent"] > 1000
        assert get(ready["rest"] + "/fapi/v1/time")["serverTime"] == ready["market_ns"] // 10**6


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--capture", "/nowhere.gz"], "No such file"),
        (["--capture", "CUT"], "cut"),
        (["--capture", "EMPTY"], "empty"),
        (["--capture", "TEXT"], "line 1"),
        (["--seed", "1", "--host", "0.0.0.0"], "not loopback"),
        (["--seed", "1", "--accounts", "TEXT"], "not JSON"),
        (["--seed", "1", "--bad-frames", "TEXT"], "not JSON"),
        (["--seed", "1", "--faults", "TEXT"], "not JSON"),
        (["--seed", "1", "--duration", "0.1"], "at least 1 s"),
        (["--seed", "1", "--from-ns", "9000000000000000000"], "before --from-ns"),
        (["--seed", "1", "--port", "BUSY"], "another process holds that port"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(tmp_path: Path, options: list[str], words: str) -> None:
    cut, empty, text = tmp_path / "cut.gz", tmp_path / "empty.gz", tmp_path / "text"
    write_capture(cut, generate(1, duration_s=2))
    cut.write_bytes(cut.read_bytes()[:-5000])
    empty.write_bytes(b"")
    text.write_text("hello\n")
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        names = {"CUT": cut, "EMPTY": empty, "TEXT": text, "BUSY": busy.getsockname()[1]}
        done = subprocess.run(
            [*COMMAND, "--port", "0", *(str(names.get(option, option)) for option in options)],
            capture_output=True, text=True, timeout=60,
        )  # fmt: skip
    assert done.returncode == 1
    assert done.stdout == ""
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert words in done.stderr
