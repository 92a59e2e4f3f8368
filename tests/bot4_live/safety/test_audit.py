"""The audit trail: appended, chained, and honest about damage."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot4_live.safety import audit


def fill(path: Path, count: int) -> None:
    for n in range(count):
        audit.append(path, "test", "tester", number=n, text="x" * (n * 400 % 3000))


def test_lines_are_chained(tmp_path: Path) -> None:
    path = tmp_path / "state" / "audit.jsonl"
    fill(path, 60)
    assert audit.verify(path) == audit.Verdict(60, 0, None)
    lines = list(audit.entries(path))
    assert [line["n"] for line in lines] == list(range(1, 61))
    assert all(b["previous"] == a["hash"] for a, b in itertools.pairwise(lines))


APPEND_SOME = """
import sys
from pathlib import Path
from bot4_live.safety import audit
for i in range(20):
    audit.append(Path(sys.argv[1]), "event", "test", value=i)
"""


def test_processes_append_side_by_side(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    workers = [subprocess.Popen([sys.executable, "-c", APPEND_SOME, str(path)]) for _ in range(3)]
    assert [worker.wait(60) for worker in workers] == [0, 0, 0]
    assert audit.verify(path) == audit.Verdict(60, 0, None)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_change_but_a_torn_end_is_found(data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "audit.jsonl"
        for n in range(5):
            audit.append(path, "test", "tester", number=n)
        raw = bytearray(path.read_bytes())
        at = data.draw(st.integers(0, len(raw) - 1))
        new = data.draw(st.integers(0, 255).filter(lambda value: value != raw[at]))
        raw[at] = new
        path.write_bytes(raw)
        before = path.read_bytes()
        verdict = audit.verify(path)
        if verdict.fault is None:  # the only change that means nothing: JSON white space after the last line
            assert before[:-1] + b"\n" == bytes(raw[:-1]) + b"\n"
            assert at == len(raw) - 1


@pytest.mark.parametrize("drop", [0, 1, 3])
def test_a_removed_line_is_found(tmp_path: Path, drop: int) -> None:
    path = tmp_path / "audit.jsonl"
    fill(path, 5)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:drop] + lines[drop + 1 :]))
    assert f"line {drop + 1}:" in str(audit.verify(path).fault)


def test_a_forged_line_needs_the_whole_chain_anew(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    fill(path, 4)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    lines[1]["number"] = 99
    lines[1]["hash"] = audit.digest(lines[1])
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert audit.verify(path).fault == "line 3: the chain is broken (a line is missing or was moved)"


def test_a_last_line_without_its_end_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    fill(path, 3)
    path.write_bytes(path.read_bytes()[:-1])
    assert "torn_bytes" not in audit.append(path, "after", "tester")
    assert audit.verify(path) == audit.Verdict(4, 0, None)


@pytest.mark.parametrize("cut", [2, 40])
def test_a_torn_end_is_declared_by_the_next_line(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "audit.jsonl"
    fill(path, 3)
    path.write_bytes(path.read_bytes()[:-cut])
    line = audit.append(path, "after", "tester")
    assert line["torn_bytes"] > 0
    assert audit.verify(path) == audit.Verdict(3, 1, None)


def test_an_empty_trail_says_so(tmp_path: Path) -> None:
    assert list(audit.entries(tmp_path / "none")) == []
    with pytest.raises(FileNotFoundError):
        audit.verify(tmp_path / "none")
