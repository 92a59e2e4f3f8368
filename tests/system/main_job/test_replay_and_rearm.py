"""After the run: a journal that was tampered with, and an account that stays off until a human re-arms it."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from google_crc32c import value as crc32c

from bot4_live.events import Kind, slots_of
from bot4_live.journal.reader import Segment, read_segment
from bot4_live.safety import audit
from bot4_live.settings import Settings

pytestmark = [pytest.mark.system, pytest.mark.timeout(600)]

BOT4 = [sys.executable, "-m", "bot4_live"]
MARKET = (Kind.BOOK_TICKER, Kind.DEPTH_DIFF, Kind.DEPTH_SNAPSHOT)


def bot4(*args: str, env: dict[str, str], timeout: float = 120) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*BOT4, *args], env=env, capture_output=True, text=True, timeout=timeout, check=False)


@pytest.fixture
def journal(main_job: Any, tmp_path: Path) -> Path:
    """A copy of the run's journal, to be damaged."""
    return Path(shutil.copytree(main_job.settings.journal_dir, tmp_path / "journal"))


def used_quote(journal: Path) -> tuple[Segment, int, int]:
    """Return (segment, row, seq): a best quote, and the seq of the next event, which placed orders on it."""
    for path in sorted(journal.glob("seg-*.b4j")):
        segment = read_segment(path)
        head = segment.headers
        orders = np.flatnonzero(head["kind"] == Kind.CMD_NEW)
        for order in orders[len(orders) // 2 :]:
            seq = head["seq"][order]
            before = np.flatnonzero((head["seq"] < seq) & np.isin(head["kind"], MARKET))
            if before.size and head["kind"][before[-1]] == Kind.BOOK_TICKER:
                return segment, int(before[-1]), int(seq)
    raise AssertionError("no order follows a best quote")


def replayed(journal: Path, main_job: Any) -> tuple[int, dict[str, Any], str]:
    """Return exit code, result and stderr of `bot4 replay`."""
    models = str(main_job.settings.models_dir)
    done = bot4("replay", str(journal), "--models", models, "--json", env=main_job.environment)
    return done.returncode, json.loads(done.stdout or "{}"), done.stderr


def flip(segment: Segment, row: int) -> bytes:
    """Lower one quote's best bid by 500 ticks, CRC and all; return the segment's bytes."""
    data = segment.buffer.copy()
    at, length = int(segment.offsets[row]), int(segment.headers["length"][row])
    record = data[at : at + length]
    slots_of(record)[0, 0] -= 500
    record[4:8] = np.frombuffer(crc32c(record[8:].tobytes()).to_bytes(4, "little"), np.uint8)
    return data.tobytes()


def test_replay_gives_the_same_commands(journal: Path, main_job: Any) -> None:
    code, result, _ = replayed(journal, main_job)
    assert code == 0
    assert result["identical"]
    assert result["sha256"] == result["journaled_sha256"] == main_job.summary["replay_sha256"]
    assert result["commands"] == main_job.summary["replay_commands"] > 0


def test_replay_names_the_first_difference_of_a_forged_quote(journal: Path, main_job: Any) -> None:
    segment, row, seq = used_quote(journal)
    forged = flip(segment, row)
    segment.path.write_bytes(forged)
    seal = segment.path.with_suffix(".seal.json")
    seal.write_text(json.dumps(json.loads(seal.read_text()) | {"sha256": hashlib.sha256(forged).hexdigest()}))
    code, result, _ = replayed(journal, main_job)
    assert code == 1
    assert not result["identical"]
    assert result["first_difference"] == seq
    assert result["sha256"] != result["journaled_sha256"] == main_job.summary["replay_sha256"]


def test_replay_refuses_a_journal_whose_bytes_rotted(journal: Path, main_job: Any) -> None:
    segment, row, _ = used_quote(journal)
    data = bytearray(segment.buffer.tobytes())
    data[int(segment.offsets[row]) + 64] ^= 1
    segment.path.write_bytes(data)
    code, result, stderr = replayed(journal, main_job)
    assert code == 1
    assert result == {}
    assert "is damaged" in stderr
    assert "Traceback" not in stderr


class Account:
    """A copy of the run's account, on an exchange of its own."""

    def __init__(self, settings: Settings, environment: dict[str, str]) -> None:
        self.settings, self.environment = settings, environment
        self.started: list[subprocess.Popen[str]] = []

    def start(self, *args: str) -> dict[str, Any]:
        """Start a server and return its ready line."""
        with (self.settings.var / f"{args[0]}.log").open("w") as log:
            process = subprocess.Popen(
                [*BOT4, *args], env=self.environment, stdout=subprocess.PIPE, stderr=log, text=True
            )
        self.started.append(process)
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, (self.settings.var / f"{args[0]}.log").read_text()
        return dict(json.loads(line))

    def close(self) -> None:
        """End what was started, last first."""
        for process in reversed(self.started):
            process.terminate()
            process.communicate(timeout=30)
        shutil.rmtree(self.settings.shm_dir, ignore_errors=True)


@pytest.fixture
def killed_account(main_job: Any, tmp_path: Path) -> Iterator[Account]:
    """The account as the kill left it, with an exchange and a watchdog running."""
    settings = Settings(var=tmp_path, account=main_job.summary["account"])
    for name in ("state", "journal", "models", "feast"):
        shutil.copytree(main_job.settings.root / name, settings.root / name)
    entries = json.loads((main_job.folder / "accounts.json").read_text())
    (runner, runner_entry), (watchdog, watchdog_entry) = entries.items()
    account = Account(
        settings,
        main_job.environment
        | {
            "BOT4_VAR": str(tmp_path),
            "BOT4_API_KEY": runner,
            "BOT4_API_SECRET": runner_entry["secret"],
            "BOT4_WATCHDOG_API_KEY": watchdog,
            "BOT4_WATCHDOG_API_SECRET": watchdog_entry["secret"],
        },
    )
    try:
        accounts = str(main_job.folder / "accounts.json")
        ready = account.start("exchange", "--port", "0", "--seed", "5", "--duration", "300", "--accounts", accounts)
        account.environment |= {"BOT4_REST_URL": ready["rest"], "BOT4_WS_URL": ready["ws"]}
        account.start("watchdog")
        yield account
    finally:
        account.close()


def test_after_the_kill_nothing_trades_until_it_is_re_armed(killed_account: Account) -> None:
    account, env = killed_account.settings.account, killed_account.environment
    refused = bot4("live", "--seconds", "2", env=env)
    assert refused.returncode == 1
    assert "rearm" in refused.stderr
    assert "Traceback" not in refused.stderr

    unconfirmed = bot4("mode", "rearm", "--confirm", "another", "--reason", "a test", env=env)
    assert unconfirmed.returncode == 1
    assert f"--confirm {account}" in unconfirmed.stderr

    granted = bot4("mode", "rearm", "--confirm", account, "--reason", "a test", "--json", env=env)
    assert granted.returncode == 0, granted.stderr
    assert json.loads(granted.stdout)["granted"]
    trades = bot4("live", "--seconds", "3", "--json", env=env)
    assert trades.returncode == 0, trades.stderr
    states = [json.loads(line).get("state") for line in trades.stdout.splitlines()]
    assert "trading" in states

    trail = killed_account.settings.state_dir / audit.FILE
    assert audit.verify(trail).fault is None
    assert "rearm.authorised" in [line["event"] for line in audit.entries(trail)]
