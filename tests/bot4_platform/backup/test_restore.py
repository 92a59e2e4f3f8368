"""Restoring: whole accounts or none, damage named, nothing overwritten by accident, paths that follow the account."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from bot4_live.journal.locks import FileLock
from bot4_live.settings import Settings
from bot4_platform.backup.restore import restore
from bot4_platform.backup.store import Entry, Manifest, Store
from bot4_platform.backup.take import take
from bot4_platform.commands.backup import command as backup_command
from bot4_platform.commands.restore import command

Contents = Callable[[Path], dict[str, bytes]]


@pytest.fixture
def store(account: Settings, tmp_path: Path) -> Store:
    """A store with one backup of the account."""
    made = Store(tmp_path / "store")
    take(account.var, made)
    return made


def object_of(store: Store, path: str) -> Path:
    (entry,) = [entry for entry in store.read().files if entry.path == path]
    return store.object_path(entry.sha256)


def damage(path: Path, how: str) -> None:
    data = bytearray(path.read_bytes())
    if how == "flipped":
        data[len(data) // 2] ^= 4
        path.write_bytes(data)
    elif how == "cut":
        path.write_bytes(data[:-5])
    elif how == "exchanged":
        shutil.copy(next(other for other in path.parents[1].glob("??/*.zst") if other != path), path)
    else:
        path.unlink()


@pytest.mark.parametrize("how", ["flipped", "cut", "exchanged", "missing"])
def test_damage_is_refused_by_the_files_name(account: Settings, store: Store, tmp_path: Path, how: str) -> None:
    damaged = "test/models/sha256/ab/model.txt"
    damage(object_of(store, damaged), how)
    target = tmp_path / "other"
    refused = CliRunner().invoke(command, [str(store.root), "--var", str(target)])
    assert isinstance(refused.exception, ValueError)
    assert damaged in str(refused.exception)
    assert list(target.iterdir()) == []
    checked = CliRunner().invoke(command, [str(store.root), "--check"])
    assert checked.exit_code == 1
    assert f"damaged: {damaged}" in checked.output
    mended = CliRunner().invoke(backup_command, [str(store.root), "--var", str(account.var), "--verify"])
    assert mended.exit_code == 0
    assert CliRunner().invoke(command, [str(store.root), "--check"]).exit_code == 0
    assert CliRunner().invoke(command, [str(store.root), "--var", str(target)]).exit_code == 0
    assert (target / damaged).read_text() == "tree"


def test_an_account_with_files_needs_force(account: Settings, store: Store, contents: Contents) -> None:
    taken = contents(account.root)
    (account.state_dir / "later").write_text("made after the backup")
    (account.state_dir / "order_epoch").write_text("7\n")
    before = contents(account.root)
    with pytest.raises(FileExistsError, match="--force"):
        restore(store, store.read(), account.var)
    assert contents(account.root) == before
    restore(store, store.read(), account.var, force=True)
    after = contents(account.root)
    assert after.pop("state/order_epoch") == b"7\n"  # ids of orders never repeat
    del taken["state/order_epoch"]
    assert after.keys() == taken.keys()
    assert not list(account.var.glob(".restore-*"))


def test_an_account_at_work_is_never_exchanged(account: Settings, store: Store, contents: Contents) -> None:
    before = contents(account.root)
    held = FileLock(account.state_dir / "runner.lock")
    assert held.acquire()
    with pytest.raises(BlockingIOError, match=rf"works in this account \(pid {os.getpid()}\)"):
        restore(store, store.read(), account.var, force=True)
    held.release()
    assert contents(account.root) == before
    restore(store, store.read(), account.var, force=True)


def test_an_older_one_by_name(account: Settings, store: Store, tmp_path: Path) -> None:
    first = store.read().name
    (account.state_dir / "order_epoch").write_text("4\n")
    take(account.var, store)
    listed = json.loads(CliRunner().invoke(command, [str(store.root), "--list", "--json"]).stdout)
    assert [one["backup"] for one in listed] == store.names()
    assert "MiB" in CliRunner().invoke(command, [str(store.root), "--list"]).stdout
    done = CliRunner().invoke(command, [str(store.root), "--backup", first, "--var", str(tmp_path / "a"), "--json"])
    assert json.loads(done.stdout)["accounts"] == ["test"]
    assert (tmp_path / "a" / "test" / "state" / "order_epoch").read_text() == "3\n"
    assert CliRunner().invoke(command, [str(store.root), "--var", str(tmp_path / "b")]).exit_code == 0
    assert (tmp_path / "b" / "test" / "state" / "order_epoch").read_text() == "4\n"
    with pytest.raises(FileNotFoundError, match="no backup of that name"):
        store.read("2024-01-01T00-00-00.000000Z")
    with pytest.raises(ValueError, match="no account nobody; it has test"):
        restore(store, store.read(), tmp_path / "c", ("nobody",))


def test_nothing_to_restore(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="`bot4 backup` makes one"):
        Store(tmp_path).read()


def test_no_room_is_said_before_anything_is_written(
    account: Settings, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10, 10, 1000))  # type: ignore[attr-defined]
    with pytest.raises(OSError, match="more than is left"):
        restore(store, store.read(), tmp_path / "other")
    assert list((tmp_path / "other").iterdir()) == []


def test_a_file_system_that_cannot_exchange(
    account: Settings, store: Store, contents: Contents, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bot4_platform.backup.restore._RENAME_EXCHANGE", 1 << 20)  # an unknown flag: EINVAL
    taken = contents(account.root)
    (account.state_dir / "later").write_text("x")
    restore(store, store.read(), account.var, force=True)
    assert contents(account.root).keys() == taken.keys()
    assert not list(account.var.glob(".restore-*"))


def test_paths_follow_the_account(tmp_path: Path) -> None:
    """MLflow keeps where its artifacts lie; what is kept of another place stays."""
    var, other = tmp_path / "var", tmp_path / "some where"
    folder = var / "a" / "mlflow"
    folder.mkdir(parents=True)
    with closing(sqlite3.connect(folder / "mlflow.db")) as connection, connection:
        connection.execute("CREATE TABLE runs (artifact_uri TEXT)")
        rows = [(f"{folder.as_uri()}/artifacts/1",), (f"{var.as_uri()}-else/artifacts",), ("s3://bucket",), (None,)]
        connection.executemany("INSERT INTO runs VALUES (?)", rows)
    (folder / "decision.json").write_text(json.dumps({"plots": {"x": f"{folder}/x.png"}, "why": f"{var}-else/"}))
    store = Store(tmp_path / "store")
    take(var, store)
    done = restore(store, store.read(), other)
    assert done.relocated == ("a/mlflow/mlflow.db", "a/mlflow/decision.json")
    with closing(sqlite3.connect(other / "a" / "mlflow" / "mlflow.db")) as connection:
        found = [uri for (uri,) in connection.execute("SELECT artifact_uri FROM runs ORDER BY rowid")]
    assert found == [f"{(other / 'a/mlflow').as_uri()}/artifacts/1", *(uri for (uri,) in rows[1:])]
    decision = json.loads((other / "a" / "mlflow" / "decision.json").read_text())
    assert decision == {"plots": {"x": f"{other}/a/mlflow/x.png"}, "why": f"{var}-else/"}


RESTORE = """
import sys
from pathlib import Path
from bot4_platform.backup import restore
from bot4_platform.backup.store import Store
store = Store(Path(sys.argv[1]))
put = restore._put_in_place
def told(*arguments):
    print("renaming", flush=True)
    put(*arguments)
    print("renamed", flush=True)
restore._put_in_place = told
print("begun", flush=True)
while True:
    restore.restore(store, store.read(), Path(sys.argv[2]), force=True, progress=lambda *step: print(step, flush=True))
"""


@pytest.mark.parametrize("more", [(15,), pytest.param((-5, 1, 2, 3, 4, 9, 14), marks=pytest.mark.slow)])
def test_a_killed_restore_leaves_an_account_whole(
    account: Settings,
    store: Store,
    contents: Contents,
    kill_at: Callable[..., int],
    tmp_path: Path,
    more: tuple[int, ...],
) -> None:
    files = len(store.read().files)
    want = contents(account.root)
    target = tmp_path / "other"
    for lines in (files + number for number in more):
        assert kill_at(RESTORE, [str(store.root), str(target)], lines) == lines
        found = contents(target / "test")
        assert not found or found.keys() == want.keys()
        assert all(found[name] == want[name] for name in found if not name.endswith(".db"))
    restore(store, store.read(), target, force=True)
    assert [path.name for path in target.iterdir()] == ["test"]


@settings(max_examples=60, deadline=None)
@given(at=st.integers(0, 10**6), bit=st.integers(0, 7))
def test_a_changed_bit_in_a_manifest_is_never_restored(
    tmp_path_factory: pytest.TempPathFactory, at: int, bit: int
) -> None:
    store = Store(tmp_path_factory.mktemp("store"))
    name = "2026-11-23T10-00-00.000000Z"
    with store.writing():
        store.publish(Manifest(name, "/var", (Entry("a/b", 3, "0" * 64, 0o644, 5),), (("a/c", "why"),)))
    path = store.root / "backups" / f"{name}.json"
    whole = store.read()
    data = bytearray(path.read_bytes())
    data[at % len(data)] ^= 1 << bit
    path.write_bytes(data)
    try:
        found = store.read()
    except ValueError as error:
        said = str(error)
    else:
        said = name
        assert found == whole  # only white space was changed
    assert name in said


@pytest.mark.parametrize("path", ["../x", "/etc/passwd", "a/../../x", "a//b", "", "a/./b"])
def test_a_manifest_that_leaves_its_folder_is_refused(tmp_path: Path, path: str) -> None:
    store = Store(tmp_path)
    with store.writing():
        store.publish(Manifest("2026-11-23T10-00-00.000000Z", "/v", (Entry(path, 1, "0" * 64, 0o644, 1),)))
    with pytest.raises(ValueError, match="leaves its folder"):
        store.read()
