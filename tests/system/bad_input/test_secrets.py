"""Keys and secrets are in the environment and in the venue's account file, and nowhere else."""

from __future__ import annotations

import json
import signal

import pytest

from bot4_live.journal.reader import Journal

from .conftest import SECRETS

pytestmark = pytest.mark.system


def where(folder, exclude=()):
    """Return (file, name of the secret) for every secret in a file under `folder`."""
    return [
        (path, name)
        for path in folder.rglob("*")
        if path.is_file() and path not in exclude
        for name, value in SECRETS.items()
        if value.encode() in path.read_bytes()
    ]


def test_a_session_leaves_no_secret_anywhere(trader, exchange, tmp_path):
    logs = tmp_path / "logs"
    logs.mkdir()
    out = []
    with trader.running("watchdog", log=logs / "watchdog") as (watchdog, ready):
        out.append(json.dumps(ready))
        recorded = trader.run("record", "--seconds", 1.5, "--json")
        assert recorded.code == 0, recorded.err
        with trader.running("live", "--no-model", "--json", log=logs / "live") as (live, prepared):
            out.append(json.dumps(prepared))
            trading = json.loads(live.stdout.readline())
            assert trading["state"] == "trading"
            loose = where(trader.settings.shm_dir)  # while it runs: control block and rings
            live.send_signal(signal.SIGTERM)
            assert live.wait(30) == 0, (logs / "live").read_text()
            out += [json.dumps(trading), live.stdout.read().decode()]
        for command in (["mode"], ["mode", "--json"], ["doctor", "--json"], ["kill", "--json"]):
            done = trader.run(*command)
            assert done.code == 0 or command[0] == "doctor", (command, done.err)
            out += [done.out, done.err]
        out += [recorded.out, recorded.err]
        watchdog.send_signal(signal.SIGTERM)
        assert watchdog.wait(20) == 0
    wrong = trader.run("live", BOT4_RECV_WINDOW_MS="1")
    assert wrong.code == 1
    out += [wrong.out, wrong.err, exchange["log"].read_text()]
    assert loose == []
    assert where(tmp_path) == []
    assert where(trader.settings.shm_dir) == []
    said = "\n".join(out)
    assert [name for name, value in SECRETS.items() if value in said] == []
    journal = Journal(trader.settings.journal_dir)
    assert journal.last_seq > 100
    frames = b"\n".join(frame.raw for frame in journal._raw)  # compressed on disk
    assert len(frames) > 10_000
    assert [name for name, value in SECRETS.items() if value.encode() in frames] == []


def test_the_search_finds_what_is_there(exchange):
    """The venue's own account file holds them: the search above would see them."""
    found = {name for _, name in where(exchange["log"].parent)}
    assert found == {name for name in SECRETS if "_API_" in name}
