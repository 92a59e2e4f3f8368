"""Backups of accounts at work: what is in them, what is not, and what a killed one leaves."""

from __future__ import annotations

import json
import os
import random
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from bot4_live.journal.reader import Journal, read_segment
from bot4_live.settings import Settings
from bot4_platform.backup.restore import damaged, restore
from bot4_platform.backup.store import Store
from bot4_platform.backup.take import take
from bot4_platform.commands.backup import command
from bot4_platform.lake import Lake

Contents = Callable[[Path], dict[str, bytes]]
ROOT = Path(__file__).resolve().parents[3]
MARKET = "binance_usdm:BTCUSDT"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def objects(store: Store) -> list[Path]:
    return sorted((store.root / "objects").glob("??/*.zst"))


def test_everything_comes_back_as_it_was(account: Settings, store: Store, contents: Contents, tmp_path: Path) -> None:
    seen: list[tuple[int, int, str]] = []
    done = take(account.var, store, progress=lambda *step: seen.append(step))
    restored = restore(store, store.read(), tmp_path / "other")
    before, after = contents(account.var), contents(tmp_path / "other")
    online = before.pop("test/feast/online.db"), after.pop("test/feast/online.db")
    assert len(online[0]) <= len(online[1])  # with what was only in its write-ahead log
    assert before.pop("accounts.json")
    assert after == before
    with closing(sqlite3.connect(tmp_path / "other" / "test" / "feast" / "online.db")) as copy:
        assert copy.execute("SELECT a FROM numbers").fetchall() == [(1,)]
    assert restored.files == done.new == len(done.manifest.files) == len(after) + 1
    assert dict(done.manifest.left_out) == {"accounts.json": "keys of an exchange"}
    assert seen[-1][0] == seen[-1][1]
    copied = read_segment(next((tmp_path / "other" / "test" / "journal").glob("*.b4j")))
    assert copied.sealed
    assert copied.event_seqs[-1] == Journal(account.journal_dir).last_seq


def test_a_second_backup_costs_what_is_new(account: Settings, store: Store, maker: Any) -> None:
    first = take(account.var, store)
    kept = objects(store)
    assert take(account.var, store).new == 0
    assert objects(store) == kept
    (account.state_dir / "order_epoch").write_text("4\n")
    last = take(account.var, store, keep=1)
    assert (last.new, last.new_bytes) == (1, 2)
    assert store.names() == [last.manifest.name]
    assert last.pruned == 1  # the epoch of the dropped ones
    assert damaged(store, last.manifest) == []
    assert first.manifest.size == last.manifest.size


def test_only_the_named_account(account: Settings, store: Store) -> None:
    (account.var / "second" / "state").mkdir(parents=True)
    (account.var / "second" / "state" / "mode.json").write_text("{}")
    assert take(account.var, store, ("second",)).manifest.units == ["second"]
    with pytest.raises(FileNotFoundError, match="no such account"):
        take(account.var, store, ("third",))
    with pytest.raises(ValueError, match="back itself up"):
        take(account.var, Store(account.var / "store"))


def test_a_secret_is_left_out_wherever_it_lies(account: Settings, store: Store) -> None:
    secret = "sZ9runnersecret42"
    (account.state_dir / "notes.txt").write_bytes(b"x" * ((1 << 20) - 5) + secret.encode() + b"y" * 100)
    (account.root / "tls.pem").write_text("-----BEGIN PRIVATE KEY-----")
    (account.root / ".env").write_text(f"BOT4_API_SECRET={secret}")
    environment = {"BOT4_API_SECRET": secret, "BOT4_VAR": str(account.var)}
    done = CliRunner().invoke(command, [str(store.root), "--json"], env=environment)
    assert done.exit_code == 0, done.output
    assert secret not in done.output
    said = json.loads(done.stdout)
    assert {item["path"]: item["why"] for item in said["left_out"]} == {
        "accounts.json": "keys of an exchange",
        "test/.env": "an environment file",
        "test/state/notes.txt": "it holds a secret of the settings",
        "test/tls.pem": "a key or certificate",
    }
    manifest = store.read()
    assert said["backup"] == manifest.name
    for entry in manifest.files:
        assert secret.encode() not in b"".join(store.chunks(entry.sha256))
    assert secret not in (store.root / "backups" / f"{manifest.name}.json").read_text()


def test_an_open_segment_is_taken_to_its_last_whole_record(account: Settings, store: Store, tmp_path: Path) -> None:
    path = next(account.journal_dir.glob("*.b4j"))
    whole = read_segment(path)
    path.with_suffix(".seal.json").unlink()  # as its writer has it while it writes: longer, and torn at the end
    end = int(whole.offsets[-10])
    path.write_bytes(whole.buffer[: end + 20].tobytes() + b"\0" * 4096)
    take(account.var, store)
    restore(store, store.read(), tmp_path / "other")
    copied = read_segment(tmp_path / "other" / "test" / "journal" / path.name)
    assert (copied.offsets.size, copied.torn_bytes, copied.buffer.size) == (whole.offsets.size - 10, 0, end)
    assert copied.headers.tobytes() == whole.headers[:-10].tobytes()


def test_a_database_in_use_is_copied_as_of_one_moment(account: Settings, store: Store, tmp_path: Path) -> None:
    with closing(sqlite3.connect(account.online_store)) as writer:
        writer.execute("INSERT INTO numbers VALUES (2)")
        writer.commit()  # in the write-ahead log only, while the connection is open
        writer.execute("INSERT INTO numbers VALUES (3)")  # in nobody's sight yet
        take(account.var, store)
        restore(store, store.read(), tmp_path / "other")
    with closing(sqlite3.connect(tmp_path / "other" / "test" / "feast" / "online.db")) as copy:
        assert copy.execute("SELECT a FROM numbers").fetchall() == [(1,), (2,)]


def test_a_locked_database_is_named(account: Settings, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bot4_platform.backup.take.BUSY_S", 0.05)
    path = account.root / "locked.db"
    with closing(sqlite3.connect(path)) as holder:
        holder.execute("CREATE TABLE t (a)")
        holder.commit()
        holder.execute("BEGIN EXCLUSIVE")
        with pytest.raises(OSError, match=r"locked.*end what holds it"):
            take(account.var, store)
    assert store.names() == []
    take(account.var, store)


def test_a_segment_that_its_seal_does_not_fit_is_told(account: Settings, store: Store) -> None:
    path = next(account.journal_dir.glob("*.b4j"))
    data = bytearray(path.read_bytes())
    data[-3] ^= 1
    path.write_bytes(data)
    (warning,) = take(account.var, store).warnings
    assert warning.startswith(f"test/journal/{path.name} does not have the bytes its seal was made of")


PAIRS = """
import sqlite3, sys, time
connection = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=30)
connection.execute(f"PRAGMA journal_mode = {sys.argv[2]}")
for table in "ab":
    connection.execute(f"CREATE TABLE {table} (n INTEGER, padding BLOB)")
for n in range(10**9):
    connection.execute("BEGIN IMMEDIATE")
    for table in "ab":
        connection.execute(f"INSERT INTO {table} VALUES (?, zeroblob(3000))", (n,))
    connection.execute("COMMIT")
    time.sleep(0.002)
    if n == 20:
        print("busy", flush=True)
"""


@pytest.mark.parametrize("mode", ["WAL", pytest.param("DELETE", marks=pytest.mark.slow)])
def test_a_busy_database_is_copied_between_two_transactions(
    account: Settings, store: Store, tmp_path: Path, mode: str
) -> None:
    with running(PAIRS, str(account.root / "busy.db"), mode):
        for copy in range(3):
            take(account.var, store)
            restore(store, store.read(), tmp_path / str(copy))
            with closing(sqlite3.connect(tmp_path / str(copy) / "test" / "busy.db")) as found:
                assert found.execute("PRAGMA integrity_check").fetchone() == ("ok",)
                one, other = (found.execute(f"SELECT count(*), max(n) FROM {table}").fetchone() for table in "ab")
                assert one == other
                assert one[0] == one[1] + 1 > 20


HALF = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("PRAGMA cache_size = 5")
connection.execute("CREATE TABLE a (n INTEGER, padding BLOB)")
connection.execute("INSERT INTO a VALUES (1, zeroblob(100000))")
connection.execute("BEGIN")
connection.execute("UPDATE a SET n = 2, padding = randomblob(100000)")
connection.executemany("INSERT INTO a VALUES (?, randomblob(10000))", [(n,) for n in range(50)])
print("half written", flush=True)
sys.stdin.read()
"""


def test_what_a_killed_writer_left_half_is_not_in_it(
    account: Settings, store: Store, tmp_path: Path, kill_at: Callable[..., int]
) -> None:
    path = account.root / "half.db"
    kill_at(HALF, [str(path)], 1)
    assert path.with_name("half.db-journal").stat().st_size > 0  # pages of the transaction are in the database
    take(account.var, store)
    restore(store, store.read(), tmp_path / "other")
    with closing(sqlite3.connect(tmp_path / "other" / "test" / "half.db")) as copy:
        assert copy.execute("SELECT n FROM a").fetchall() == [(1,)]


LAKE = """
import sys
from pathlib import Path
import polars as pl
from bot4_platform.lake import Lake
from bot4_platform.tables import TABLES
lake, part = Lake(Path(sys.argv[1])), ("2024-08-08", "binance_usdm:BTCUSDT")
def trades(first, last):
    ids = list(range(first, last))
    row = {name: ids for name in ("seq", "recv_ns", "exch_ns", "trade_id", "price", "qty")}
    return pl.DataFrame(row | {"sell": [True] * len(ids)}, schema=TABLES["trades"].schema())
for turn in range(10**9):
    lake.append("trades", *part, trades(turn * 100, turn * 100 + 100))
    if turn % 5 == 4:
        lake.compact("trades", *part, grace_s=0.0)
    if turn == 7:
        print("busy", flush=True)
"""


@pytest.mark.parametrize("copies", [2, pytest.param(15, marks=pytest.mark.slow)])
def test_a_partition_that_grows_and_is_compacted_is_copied_as_it_was(
    account: Settings, store: Store, tmp_path: Path, copies: int
) -> None:
    with running(LAKE, str(account.lake_dir)):
        for copy in range(copies):
            take(account.var, store)
            restore(store, store.read(), tmp_path / str(copy))
            ids = Lake(tmp_path / str(copy) / "test" / "lake").read("trades", "2024-08-08", MARKET)["trade_id"]
            assert ids.to_list() == list(range(ids.len()))
            assert ids.len() % 100 == 0
            assert ids.len() >= 700


@contextmanager
def running(code: str, *arguments: str) -> Iterator[None]:
    """Run a child that says when it is busy, and kill it at the end."""
    child = subprocess.Popen([sys.executable, "-c", code, *arguments], stdout=subprocess.PIPE, cwd=ROOT,
                             env=os.environ | {"PYTHONPATH": str(ROOT)})  # fmt: skip
    assert child.stdout is not None
    try:
        assert child.stdout.readline() == b"busy\n"
        yield
        assert child.poll() is None
    finally:
        child.kill()
        child.wait()
        child.stdout.close()


TAKE = """
import sys
from pathlib import Path
from bot4_platform.backup.store import Store
from bot4_platform.backup.take import take
print("begun", flush=True)
while True:
    take(Path(sys.argv[1]), Store(Path(sys.argv[2])), progress=lambda *step: print(step, flush=True))
    Path(sys.argv[1], "test", "state", "order_epoch").write_text(str(len(Store(Path(sys.argv[2])).names())))
"""


@pytest.mark.parametrize("moments", [(13,), pytest.param((1, 2, 3, 4, 6, 9, 11, 14, 20), marks=pytest.mark.slow)])
def test_a_killed_backup_leaves_whole_ones(
    account: Settings, store: Store, kill_at: Callable[..., int], moments: tuple[int, ...]
) -> None:
    for lines in moments:
        assert kill_at(TAKE, [str(account.var), str(store.root)], lines) == lines
        for name in store.names():
            assert damaged(store, store.read(name)) == []
    done = take(account.var, store, keep=1)
    assert {path.stem for path in objects(store)} == {entry.sha256 for entry in done.manifest.files}
    assert list((store.root / "tmp").iterdir()) == []


def test_two_at_once(account: Settings, store: Store) -> None:
    with store.writing(), pytest.raises(ValueError, match="being written by another backup"):
        take(account.var, store)


FULL = """
import resource, sys
from pathlib import Path
from bot4_live.cli import describe
from bot4_platform.backup.store import Store
from bot4_platform.backup.take import take
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]),) * 2)
try:
    take(Path(sys.argv[1]), Store(Path(sys.argv[2])))
except OSError as error:
    print(*describe(error))
"""


def test_a_full_disk_leaves_the_backups_there_are(account: Settings, store: Store) -> None:
    take(account.var, store)
    (account.state_dir / "noise").write_bytes(random.Random(1).randbytes(200_000))
    said = subprocess.run(
        [sys.executable, "-c", FULL, str(account.var), str(store.root), "100000"],
        capture_output=True, text=True, cwd=ROOT, check=True,
    )  # fmt: skip
    assert said.stdout.startswith(f"{store.root}"), said
    assert "ulimit -f" in said.stdout
    (name,) = store.names()
    assert damaged(store, store.read(name)) == []
    assert list((store.root / "tmp").iterdir()) == []
    assert take(account.var, store).new == 1
