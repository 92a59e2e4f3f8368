"""The real command in a process of its own, what it may say when it refuses, and small stores to spoil."""

from __future__ import annotations

import contextlib
import io
import json
import os
import select
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from itertools import islice
from unittest import mock

import pytest

from bot4_live.cli import main
from bot4_live.settings import Settings
from bot4_live.simulation.generator import generate, write_capture

BOT4 = [sys.executable, "-m", "bot4_live"]
# Long and odd, so that one found in a log is the key and not a word.
SECRETS = {
    "BOT4_API_KEY": "kf7Qrunnerkey41", "BOT4_API_SECRET": "sZ9runnersecret42",
    "BOT4_WATCHDOG_API_KEY": "kf7Qdogkey43", "BOT4_WATCHDOG_API_SECRET": "sZ9dogsecret44",
    "BOT4_EXCHANGE_TOKEN": "tX5exchangetoken45", "BOT4_COINBASE_KEY": "kf7Qcoinbasekey46",
    "BOT4_COINBASE_SECRET": "Y29pbmJhc2VzZWNyZXQ0Nw==", "BOT4_COINBASE_PASSPHRASE": "pP3coinbasephrase48",
    "BOT4_KRAKEN_WS_TOKEN": "tX5krakentoken49",
}  # fmt: skip


def clean_environment():
    return {
        name: value for name, value in os.environ.items() if not name.startswith("BOT4_") or name == "BOT4_CACHE_DIR"
    }


@dataclass
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str

    def refused(self, *words, code=1, lines=1):
        """Check that it was refused in so many clear lines that hold `words`, and return them."""
        assert self.code == code, (self.code, self.out, self.err)
        assert "Traceback" not in self.err, self.err
        said = self.err.strip().splitlines()
        assert len(said) == lines, self.err
        for word in words:
            assert word in self.err, self.err
        assert all(line.startswith("bot4") for line in said), self.err
        return said


class Account:
    """An account of its own under a test's folder."""

    def __init__(self, folder, name="bad"):
        self.settings = Settings(var=folder / "var", account=name)
        self.environment = clean_environment() | {"BOT4_VAR": str(folder / "var"), "BOT4_ACCOUNT": name}

    def run(self, *arguments, timeout=60, before=None, **extra):
        """Run `bot4 ARGUMENTS` to its end."""
        done = subprocess.run(
            [*BOT4, *map(str, arguments)], env=self.environment | extra, capture_output=True, text=True,
            timeout=timeout, preexec_fn=before,
        )  # fmt: skip
        return Done(done.returncode, done.stdout, done.stderr)

    def here(self, *arguments, **extra):
        """Run it in this process: for refusals that go the way of one that is seen in a process of its own."""
        out, err, code = io.StringIO(), io.StringIO(), 0
        with (
            mock.patch.dict(os.environ, self.environment | extra, clear=True),
            mock.patch.object(sys, "argv", ["bot4", *map(str, arguments)]),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
        ):
            try:
                main()
            except SystemExit as end:
                code = end.code
        return Done(code, out.getvalue(), err.getvalue())

    @contextlib.contextmanager
    def running(self, *arguments, log=None, **extra):
        """Run it beside the test; give (process, its first line of JSON)."""
        with open(log or os.devnull, "ab") as errors:
            process = subprocess.Popen(
                [*BOT4, *map(str, arguments)], env=self.environment | extra, stdout=subprocess.PIPE, stderr=errors,
                bufsize=0,
            )  # fmt: skip
        try:
            yield process, json_line(process)
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            process.stdout.close()

    def files(self):
        """Return what lies in the account's folder, locks aside."""
        root = self.settings.var
        return sorted(
            str(path.relative_to(root)) for path in root.rglob("*") if path.is_file() and not path.name.endswith("lock")
        )


def json_line(process, timeout_s=60):
    deadline = time.monotonic() + timeout_s
    while select.select([process.stdout], [], [], max(0.0, deadline - time.monotonic()))[0]:
        line = process.stdout.readline()
        return json.loads(line) if line else None
    return None


def fill(path):
    """Take all the room that is left on a disk."""
    with path.open("wb") as file:
        for size in (1 << 16, 1 << 12, 1):
            try:
                while True:
                    os.write(file.fileno(), b"x" * size)
            except OSError:
                continue


@pytest.fixture
def account(tmp_path):
    made = Account(tmp_path)
    yield made
    shutil.rmtree(made.settings.shm_dir, ignore_errors=True)


@pytest.fixture(scope="session")
def market(tmp_path_factory):
    """A generated capture of a few seconds: (path of the gzip, its lines)."""
    folder = tmp_path_factory.mktemp("market")
    path = folder / "market.gz"
    write_capture(path, generate(11, duration_s=8))
    lines = [b"%d %s\n" % (at, raw) for at, raw in islice(generate(11, duration_s=8), 1500)]
    return path, lines


@pytest.fixture(scope="session")
def exchange(tmp_path_factory):
    """A running simulated exchange that knows SECRETS; its first line of JSON."""
    folder = tmp_path_factory.mktemp("exchange")
    keys = {
        SECRETS[f"{role}_API_KEY"]: {"secret": SECRETS[f"{role}_API_SECRET"], "account": "bad", "balance": "100000"}
        for role in ("BOT4", "BOT4_WATCHDOG")
    }
    (folder / "accounts.json").write_text(json.dumps(keys))
    host = Account(folder, "host")
    options = ["--seed", 5, "--duration", 600, "--port", 0, "--speed", 4, "--accounts", folder / "accounts.json"]
    log = folder / "exchange.err"
    with host.running("exchange", *options, log=log, BOT4_EXCHANGE_TOKEN=SECRETS["BOT4_EXCHANGE_TOKEN"]) as (_, ready):
        assert ready, log.read_text()
        yield ready | {"log": log}


@pytest.fixture
def trader(account, exchange):
    """The account, set to trade at the exchange."""
    account.environment |= SECRETS | {
        "BOT4_REST_URL": exchange["rest"], "BOT4_WS_URL": exchange["ws"], "BOT4_RECV_WINDOW_MS": "1000",
    }  # fmt: skip
    return account


@pytest.fixture
def small_disk(tmp_path):
    """Mount a disk of a size; skips where that is not allowed."""
    mounted = []

    def mount(mebibytes):
        path = tmp_path / f"disk{len(mounted)}"
        path.mkdir()
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={round(mebibytes * 1024)}k", "tmpfs", str(path)],
            capture_output=True,
            text=True,
        )
        if done.returncode:
            pytest.skip(f"a small disk cannot be mounted here: {done.stderr.strip()}")
        mounted.append(path)
        return path

    yield mount
    for path in mounted:
        subprocess.run(["umount", "--lazy", str(path)], check=True)
