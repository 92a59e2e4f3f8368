"""Files are the old or the new one, whole, and nothing lies beside them after a failure."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bot4_live.safety.durable import read_json, write_bytes, write_json


def test_content_is_on_disk_before_its_name_and_the_name_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    fsync, replace = os.fsync, os.replace

    def spy_sync(fd: int) -> None:
        told.append("folder" if os.readlink(f"/proc/self/fd/{fd}") == str(tmp_path) else "content")
        fsync(fd)

    def spy_replace(old: Path, new: Path) -> None:
        told.append("name")
        replace(old, new)

    monkeypatch.setattr(os, "fsync", spy_sync)
    monkeypatch.setattr(os, "replace", spy_replace)
    write_bytes(tmp_path / "x", b"1")
    assert told == ["content", "name", "folder"]
    write_bytes(tmp_path / "x", b"2", sync=False)
    assert told[3:] == ["name"]
    assert (tmp_path / "x").read_bytes() == b"2"


def test_a_disk_that_refuses_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "mode.json"
    write_json(path, {"mode": 1})

    def full(fd: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_json(path, {"mode": 2})
    assert read_json(path) == {"mode": 1}
    assert [entry.name for entry in tmp_path.iterdir()] == ["mode.json"]
