"""Old days go to S3 and are read from there; nothing local goes before its copy was read back."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from click.testing import CliRunner
from pydantic import ValidationError

from bot4_live.events import Kind
from bot4_live.journal.locks import FileLock
from bot4_live.journal.reader import Journal
from bot4_live.settings import Settings
from bot4_platform.archive import move as moving
from bot4_platform.archive.move import archive, bring_back
from bot4_platform.archive.remote import ArchiveError, Remote
from bot4_platform.archive.settings import ArchiveSettings
from bot4_platform.archive.stub import read_stub, stub_path
from bot4_platform.commands.archive import command
from bot4_platform.commands.sql import command as sql
from bot4_platform.feature_days import cut
from bot4_platform.instruments import journaled, keep
from bot4_platform.journal_source import count, seals, segments
from bot4_platform.lake import Lake
from bot4_platform.own_history.exporting import export_file
from bot4_platform.own_history.importing import Source, import_file
from bot4_platform.own_history.steps import versions_of
from bot4_platform.partitions import MarketDay
from bot4_platform.staleness.ages import sealed_until

from .conftest import LAST, MARKET, S3, frame

OLD = [(LAST - timedelta(ago)).isoformat() for ago in (200, 162, 160)]
NEW = [(LAST - timedelta(ago)).isoformat() for ago in (159, 0)]


def test_what_is_older_than_the_window_moves(account: Settings, where: ArchiveSettings, s3: S3) -> None:
    lake = Lake(account.lake_dir)
    files = {day: lake.path("numbers", day, MARKET).read_bytes() for day in OLD}
    planned = archive(account, where, dry_run=True)
    assert s3.objects() == {}
    moved = archive(account, where)
    assert [one.what for one in moved] == [one.what for one in planned]
    assert [one.day for one in moved if one.rows] == OLD
    assert sum(one.what.startswith("journal") for one in moved) == 2  # the old session's segment and frames
    assert all(one.sent for one in moved)
    assert lake.partitions("numbers", MARKET) == [(day, MARKET) for day in NEW]
    assert lake.partitions("numbers", "binance_usdm:OLDUSDT") == [("2020-01-01", "binance_usdm:OLDUSDT")]
    objects = s3.objects()
    assert len(objects) == 5
    for day in OLD:
        stub = read_stub(lake.path("numbers", day, MARKET))
        assert stub is not None
        assert objects[f"archive/tests/one/{stub.key}"] == files[day]
    assert archive(account, where) == []


def test_an_old_day_is_read_as_before(account: Settings, where: ArchiveSettings) -> None:
    archive(account, where)
    lake = Lake(account.lake_dir)
    assert lake.exists("numbers", OLD[0], MARKET)
    assert lake.partitions("numbers", MARKET, archived=True) == [(day, MARKET) for day in OLD + NEW]
    assert lake.read("numbers", OLD[0], MARKET).equals(frame(OLD[0]))
    assert lake.read("numbers", [OLD[1], NEW[0]], MARKET, ["day"])["day"].unique(maintain_order=True).to_list() == [
        OLD[1], NEW[0]
    ]  # fmt: skip
    assert lake.read("numbers", market=MARKET)["day"].unique().sort().to_list() == NEW  # without days: what is local
    assert not lake.path("numbers", OLD[0], MARKET).exists()
    with lake.pinned(OLD[0], MARKET, ["numbers"]) as pin:
        assert pl.read_parquet(Lake(pin).path("numbers", OLD[0], MARKET)).equals(frame(OLD[0]))


def test_an_export_has_the_archived_days_too(account: Settings, where: ArchiveSettings, tmp_path: Path) -> None:
    lake, own = Lake(account.lake_dir), tmp_path / "own.csv"
    days = (OLD[0], NEW[-1])
    own.write_text("time,open,high,low,close,volume\n" + "".join(f"{day},1,1,1,1,1\n" for day in days))
    steps = versions_of(lake, MARKET, "0.1", "0.001")
    import_file(lake, Source(own, "candles", MARKET, interval_s=86_400), steps, now_ns=time.time_ns())
    archive(account, where)
    assert not lake.path("imported_candles", OLD[0], MARKET).exists()
    assert export_file(lake, tmp_path / "all.csv", "candles", MARKET, interval_s=86_400) == 2


def test_an_old_day_written_anew_counts_and_goes_again(account: Settings, where: ArchiveSettings, s3: S3) -> None:
    archive(account, where)
    lake = Lake(account.lake_dir)
    lake.write("numbers", OLD[0], MARKET, frame("mended"))
    assert lake.read("numbers", OLD[0], MARKET).equals(frame("mended"))
    (again,) = archive(account, where)
    assert again.sent
    assert lake.read("numbers", OLD[0], MARKET).equals(frame("mended"))
    assert len(s3.objects()) == 6  # the earlier one is kept: the archive removes nothing


def test_a_day_that_is_written_while_it_is_sent_stays(
    account: Settings, where: ArchiveSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake, put = Lake(account.lake_dir), Remote.put

    def write_meanwhile(self: Remote, source: Path, key: str, sha256: str, size: int) -> bool:
        sent = put(self, source, key, sha256, size)
        if OLD[0] in key:
            lake.write("numbers", OLD[0], MARKET, frame("mended"))
        return sent

    with monkeypatch.context() as patch:
        patch.setattr(Remote, "put", write_meanwhile)
        assert [one.day for one in archive(account, where) if one.rows] == OLD[1:]
    assert lake.partitions("numbers", MARKET)[0] == (OLD[0], MARKET)
    (later,) = archive(account, where)
    assert later.sent
    assert lake.read("numbers", OLD[0], MARKET).equals(frame("mended"))


def test_rows_added_to_an_archived_day_come_to_those_it_had(account: Settings, where: ArchiveSettings) -> None:
    from bot4_platform.tables import TABLES

    def trades(*ids: int) -> pl.DataFrame:
        row = {"seq": ids, "recv_ns": ids, "exch_ns": ids, "trade_id": ids, "price": ids, "qty": ids}
        return pl.DataFrame(row | {"sell": [True] * len(ids)}, schema=TABLES["trades"].schema())

    lake = Lake(account.lake_dir)
    lake.write("trades", OLD[0], MARKET, trades(1, 2))
    archive(account, where)
    lake.append("trades", OLD[0], MARKET, trades(2, 3))
    assert lake.read("trades", OLD[0], MARKET)["trade_id"].to_list() == [1, 2, 3]


def test_archived_segments_come_back_when_they_are_read(account: Settings, where: ArchiveSettings) -> None:
    before = {path.name: path.read_bytes() for path in account.journal_dir.glob("*.b4?")}
    archive(account, where)
    old, _ = seals(account.journal_dir)
    assert not old.path.exists()
    with pytest.raises(ValueError, match=r"lacks 1 of its sealed segments.*--bring-back"):
        Journal(account.journal_dir).require()
    Journal(account.journal_dir).require(old.last_seq)
    (segment,) = segments([old])
    assert segment.headers["seq"].max() == old.last_seq
    after = {path.name: path.read_bytes() for path in account.journal_dir.glob("*.b4?")}
    assert after == before
    assert not any(one.sent for one in archive(account, where))
    assert len(bring_back(account, where)) == 2
    Journal(account.journal_dir).require()


def test_what_reads_the_journal_does_without_archived_segments_or_fetches_them(
    account: Settings, where: ArchiveSettings
) -> None:
    lake, local = Lake(account.lake_dir), seals(account.journal_dir)
    part = MarketDay(local[0].days[0], MARKET)
    begins = cut(local, part)
    keep(lake, journaled(account.journal_dir))
    archive(account, where)
    assert sealed_until(local[:1]) == {MARKET: local[0].last_recv_ns}
    assert keep(lake, journaled(account.journal_dir)) == 0, "what was sighted in them is kept"
    assert not local[0].path.exists()
    assert count(local[0], Kind.QUARANTINE, MARKET) == 1
    assert cut(local, part) == begins, "features of an old day"
    assert local[0].path.exists()


def test_the_cache_is_bounded(
    account: Settings, where: ArchiveSettings, changed: Callable[..., ArchiveSettings], monkeypatch: pytest.MonkeyPatch
) -> None:
    from bot4_platform.archive import cache

    archive(account, where)
    monkeypatch.setattr(cache, "GRACE_S", -1.0)
    lake, folder = Lake(account.lake_dir), account.lake_dir / cache.FOLDER
    size = lake.path("numbers", NEW[0], MARKET).stat().st_size
    small = changed(int(where.endpoint.rpartition(":")[2]), cache_gb=2.5 * size / 2**30)
    for day in OLD:
        stub = read_stub(lake.path("numbers", day, MARKET))
        assert stub is not None
        path = cache.fetch(stub, small, folder, ".parquet")
        assert path.is_file()
    assert len(list(folder.glob("*.parquet"))) == 2
    assert path in set(folder.iterdir())


def test_a_damaged_object_is_never_read(account: Settings, where: ArchiveSettings, s3: S3) -> None:
    archive(account, where)
    lake = Lake(account.lake_dir)
    stub = read_stub(lake.path("numbers", OLD[0], MARKET))
    assert stub is not None
    with s3.filesystem().open_output_stream(f"archive/tests/one/{stub.key}") as out:
        out.write(b"something else")
    with pytest.raises(ArchiveError, match="damaged in the archive"):
        lake.read("numbers", OLD[0], MARKET)
    s3.filesystem().delete_file(f"archive/tests/one/{stub.key}")
    with pytest.raises(ArchiveError, match="the archive has lost lake/numbers"):
        lake.read("numbers", OLD[0], MARKET)


def test_an_upload_that_arrives_changed_removes_nothing(
    account: Settings, where: ArchiveSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake = Lake(account.lake_dir)
    digest = Remote._digest
    with monkeypatch.context() as patch:
        patch.setattr(Remote, "_digest", lambda self, fs, key: digest(self, fs, key)[::-1])
        with pytest.raises(ArchiveError, match="other bytes than were sent; nothing local was removed"):
            archive(account, where)
    assert all(lake.path("numbers", day, MARKET).is_file() for day in OLD)
    archive(account, where)


CHILD = """
import os, sys
from pathlib import Path
from bot4_live.settings import Settings
from bot4_platform.archive import move
from bot4_platform.settings import platform_settings
write = move.write_stub
def told(path, stub):
    print("sent", flush=True); sys.stdin.readline()
    write(path, stub)
    print("noted", flush=True); sys.stdin.readline()
move.write_stub = told
move.archive(Settings(var=Path(sys.argv[1]), account="test"), platform_settings().archive)
print("done", flush=True)
"""


def child(account: Settings, root: Path) -> Any:
    return subprocess.Popen(
        [sys.executable, "-c", CHILD, str(account.var)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=root,
        env=os.environ | {"PYTHONPATH": str(root)}, text=True, bufsize=1,
    )  # fmt: skip


@pytest.mark.parametrize(
    "stops",
    [
        ("noted",),  # the stub is there and the file too
        pytest.param(("sent", "noted", "sent"), marks=pytest.mark.slow),  # or the object and no stub
    ],
)
def test_killed_between_any_two_steps_it_goes_on(
    account: Settings, where: ArchiveSettings, s3: S3, root: Path, stops: tuple[str, ...]
) -> None:
    lake = Lake(account.lake_dir)
    for stop in stops:
        process = child(account, root)
        while process.stdout.readline() != f"{stop}\n":
            process.stdin.write("\n")
        for day in OLD:
            assert lake.exists("numbers", day, MARKET)
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdin.close()
        process.stdout.close()
        for day in OLD:
            assert lake.read("numbers", day, MARKET).equals(frame(day))
    moved = archive(account, where)
    assert sum(not one.sent for one in moved) >= 1
    assert lake.read("numbers", OLD, MARKET).height == 15_000
    assert len(s3.objects()) == 5


def test_a_fetch_that_does_not_fit(account: Settings, where: ArchiveSettings) -> None:
    archive(account, where)
    lake, limits = Lake(account.lake_dir), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            lake.read("numbers", OLD[0], MARKET)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert not any(path.is_file() for path in (account.lake_dir / ".archive").rglob("*"))
    assert lake.read("numbers", OLD[0], MARKET).equals(frame(OLD[0]))


def test_two_at_once(account: Settings, where: ArchiveSettings) -> None:
    lock = FileLock(account.root / "archive.lock")
    assert lock.acquire()
    with pytest.raises(ValueError, match=f"process {os.getpid()} moves files of test already"):
        archive(account, where)
    lock.release()


def test_a_lost_connection_fails_cleanly_and_resumes(
    account: Settings, where: ArchiveSettings, changed: Callable[..., ArchiveSettings], monkeypatch: pytest.MonkeyPatch
) -> None:
    lake, other = Lake(account.lake_dir), S3()
    other.start()
    there = changed(other.port)
    write = moving.write_stub

    def kill_after_the_first(path: Path, stub: Any) -> None:
        write(path, stub)
        other.kill()

    with monkeypatch.context() as patch:
        patch.setattr(moving, "write_stub", kill_after_the_first)
        with pytest.raises(ArchiveError) as failed:
            archive(account, there)
    assert "run it again" in str(failed.value)
    assert "sZ9archivesecret48" not in str(failed.value)
    assert [lake.path("numbers", day, MARKET).is_file() for day in OLD] == [False, True, True]
    assert lake.read("numbers", OLD[1:], MARKET).height == 10_000
    archive(account, where)  # a store that answers takes the rest
    assert [lake.path("numbers", day, MARKET).is_file() for day in OLD] == [False, False, False]


def test_the_command(account: Settings, where: ArchiveSettings, s3: S3) -> None:
    arguments = ["--var", str(account.var), "--account", "test"]
    planned = CliRunner().invoke(command, [*arguments, "--dry-run"])
    assert "would be moved: 5 files" in planned.output
    done = CliRunner().invoke(command, [*arguments, "--json"])
    assert len(json.loads(done.stdout)["files"]) == 5
    assert "sZ9archivesecret48" not in planned.output + done.output
    assert "2 files are back" in CliRunner().invoke(command, [*arguments, "--bring-back"]).output


def test_questions_in_sql_say_what_they_leave_out_and_fetch_what_they_are_asked_to(
    account: Settings, where: ArchiveSettings
) -> None:
    archive(account, where)
    ask = [
        "--csv",
        "--var",
        str(account.var),
        "--account",
        "test",
        "select day, count(*) as n from numbers where day > '2021-01-01' group by 1 order by 1",
    ]
    local = CliRunner().invoke(sql, ask)
    assert local.stdout.split() == ["day,n", *(f"{day},{frame(day).height}" for day in NEW)]
    assert f"left out of numbers: 3 archived days, {OLD[0]} to {OLD[-1]}" in local.stderr
    some = CliRunner().invoke(sql, [*ask, "--since", OLD[1]])
    assert some.stdout.split() == ["day,n", *(f"{day},{frame(day).height}" for day in OLD[1:] + NEW)]
    assert f"left out of numbers: 1 archived days, {OLD[0]} to {OLD[0]}" in some.stderr
    every = CliRunner().invoke(sql, [*ask, "--since", OLD[0]])
    assert every.stdout.split() == ["day,n", *(f"{day},{frame(day).height}" for day in OLD + NEW)]
    assert every.stderr == ""
    other = CliRunner().invoke(sql, [*ask[:-1], "select 1 as one", "--since", OLD[0]])
    assert (other.stdout, other.stderr) == ("one\n1\n", "")


def test_settings_never_reach_into_what_training_needs() -> None:
    with pytest.raises(ValidationError, match="greater than or equal to 160"):
        ArchiveSettings(days=159)
    assert "secret" not in repr(ArchiveSettings(secret_key="verysecret")).replace("secret_key", "")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="BOT4_PLATFORM__ARCHIVE__BUCKET"):
        Remote(ArchiveSettings())


def test_a_damaged_stub_is_named(account: Settings, where: ArchiveSettings) -> None:
    archive(account, where)
    path = stub_path(Lake(account.lake_dir).path("numbers", OLD[0], MARKET))
    path.write_text('{"key": 1}')
    with pytest.raises(ValueError, match=r"archived.json is damaged"):
        Lake(account.lake_dir).read("numbers", OLD[0], MARKET)
