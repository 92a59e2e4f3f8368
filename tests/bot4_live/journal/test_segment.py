import json
import os
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bot4_live.clock import DAY_NS
from bot4_live.events import Kind, header_of
from bot4_live.journal.layout import SegmentHeader, raw_name, seal_name, segment_name
from bot4_live.journal.local import LocalJournal
from bot4_live.journal.raw_log import RawReader
from bot4_live.journal.reader import Journal, read_segment
from bot4_live.journal.segment import SegmentWriter, recover

Make = Callable[..., np.ndarray]
SMALL = 1 << 16


def test_what_was_appended_is_read_back(tmp_path: Path, header: SegmentHeader, make_record: Make) -> None:
    records = [make_record(seq, slots=seq % 5) for seq in range(1, 400)]
    with LocalJournal(tmp_path, header, segment_bytes=SMALL) as journal:
        for record in records:
            journal.append(record)
    back = list(Journal(tmp_path).records())
    assert len(back) == len(records)
    for a, b in zip(records, back, strict=True):
        assert np.array_equal(a[8:], b[8:])
        assert np.array_equal(a[:4], b[:4])
    assert Journal(tmp_path).last_seq == 399


def test_a_segment_in_use_is_read_without_its_unwritten_rest(
    tmp_path: Path, header: SegmentHeader, make_record: Make
) -> None:
    writer = SegmentWriter(tmp_path, header, segment_bytes=64 << 20)
    for seq in range(1, 4):
        writer.append(make_record(seq))
    writer.flush()
    (segment,) = Journal(tmp_path).segments()
    assert segment.headers["seq"].tolist() == [1, 2, 3]
    assert (segment.torn_bytes, segment.sealed) == (0, False)
    if segment.buffer.size == 64 << 20:
        pytest.skip("this file system does not say where a file's data ends")
    assert segment.buffer.size < 1 << 20
    writer.close()


def test_a_journal_is_read_whole_at_any_moment_of_its_writing(
    tmp_path: Path, header: SegmentHeader, make_record: Make
) -> None:
    records = [bytes(make_record(seq)) for seq in range(1, 4000)]
    written, ended = 0, threading.Event()

    def write() -> None:
        nonlocal written
        try:
            journal = SegmentWriter(tmp_path, header, segment_bytes=1 << 14)
            for number, record in enumerate(records, 1):
                journal.append(bytearray(record))
                if number % 10 == 0:
                    journal.flush()
                    written = number
            journal.close()
        finally:
            ended.set()

    writer = threading.Thread(target=write)
    writer.start()
    reads = 0
    while not ended.is_set():
        at_least = written
        seqs = [int(header_of(record)["seq"]) for record in Journal(tmp_path).records()]
        assert seqs == list(range(1, len(seqs) + 1))
        assert len(seqs) >= at_least
        reads += 1
    writer.join()
    assert reads > 10
    assert Journal(tmp_path).last_seq == len(records)


def test_rotation_seals_whole_segments_in_order(tmp_path: Path, header: SegmentHeader, make_record: Make) -> None:
    with LocalJournal(tmp_path, header, segment_bytes=SMALL) as journal:
        for seq in range(1, 3000):
            journal.append(make_record(seq))
    seals = Journal(tmp_path).seals()
    assert len(seals) > 2
    assert [s["first_seq"] for s in seals[1:]] == [s["last_seq"] + 1 for s in seals[:-1]]
    assert sum(s["records"] for s in seals) == 2999
    assert not list(tmp_path.glob("spare-*"))


def test_a_new_receive_day_is_a_new_segment(tmp_path: Path, header: SegmentHeader, make_record: Make) -> None:
    with LocalJournal(tmp_path, header, segment_bytes=SMALL) as journal:
        journal.append(make_record(1, recv_ns=DAY_NS - 1))
        journal.append(make_record(1, kind=Kind.CMD_NEW, recv_ns=DAY_NS))  # a command stays with its event
        journal.append(make_record(2, recv_ns=DAY_NS))
    assert [(s["receive_day"], s["records"]) for s in Journal(tmp_path).seals()] == [
        ("1970-01-01", 2),
        ("1970-01-02", 1),
    ]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cut=st.integers(0, 40 * 96), flip=st.none() | st.integers(0, 40 * 96 - 1))
def test_a_torn_or_damaged_tail_never_yields_a_false_record(
    tmp_path_factory: pytest.TempPathFactory, header: SegmentHeader, make_record: Make, cut: int, flip: int | None
) -> None:
    folder = tmp_path_factory.mktemp("journal")
    records = [make_record(seq) for seq in range(1, 41)]
    with LocalJournal(folder, header, segment_bytes=SMALL) as journal:
        for record in records:
            journal.append(record)
    path = folder / segment_name(1)
    (folder / seal_name(1)).unlink()
    data = bytearray(path.read_bytes())
    start = len(data) - 40 * 96
    if flip is not None:
        data[start + flip] ^= 0x40
    torn = bytes(data[: start + cut] + b"\0" * 500)
    original = path.read_bytes()
    path.write_bytes(torn)
    # A record whose missing end was zeros anyway is whole.
    whole = next(n for n in range(40, -1, -1) if torn[: start + n * 96] == original[: start + n * 96])
    segment = read_segment(path)
    assert segment.offsets.size == whole
    assert all(np.array_equal(segment.record(i)[8:], records[i][8:]) for i in range(whole))
    recover(folder)
    assert sum(s["records"] for s in Journal(folder).seals()) == whole
    assert list(Journal(folder).records()) == [] or Journal(folder).last_seq == whole


def test_damage_in_a_sealed_segment_is_an_error(tmp_path: Path, header: SegmentHeader, make_record: Make) -> None:
    with LocalJournal(tmp_path, header, segment_bytes=SMALL) as journal:
        for seq in range(1, 10):
            journal.append(make_record(seq))
    path = tmp_path / segment_name(1)
    data = bytearray(path.read_bytes())
    data[-50] ^= 1
    path.write_bytes(data)
    with pytest.raises(ValueError, match="damaged: 8 of 9"):
        read_segment(path)


def test_the_seal_says_what_is_inside(tmp_path: Path, header: SegmentHeader, make_record: Make) -> None:
    with LocalJournal(tmp_path, header, segment_bytes=SMALL) as journal:
        journal.append(make_record(1))
        journal.append(make_record(2, kind=Kind.TICK))
    seal = json.loads((tmp_path / seal_name(1)).read_text())
    assert seal["kinds"] == {str(int(Kind.TRADE)): 1, str(int(Kind.TICK)): 1}
    assert seal["exchange_days"] == ["2024-08-08"]
    assert seal["bytes"] == (tmp_path / segment_name(1)).stat().st_size


def test_raw_frames_come_back_by_their_reference(tmp_path: Path, header: SegmentHeader) -> None:
    frames = [bytes([i % 251]) * (i % 3000) for i in range(700)]
    refs: list[int] = []
    for session, part in enumerate((frames[:400], frames[400:])):
        fields = {**header.__dict__, "first_seq": 1 + session}
        with LocalJournal(tmp_path, SegmentHeader(**fields), segment_bytes=SMALL) as journal:
            refs += [journal.append_raw(i, raw, i % 3, 1) for i, raw in enumerate(part)]
    journal_read = Journal(tmp_path)
    assert [journal_read.raw(ref).raw for ref in refs] == frames
    assert refs == sorted(set(refs))
    with pytest.raises(KeyError, match="no frame"):
        journal_read.raw(refs[-1] + 10_000_000)


@pytest.mark.parametrize("content", [b"", b"B4", bytes(16)])
def test_a_raw_log_whose_writer_was_killed_at_its_start_is_empty(
    tmp_path: Path, header: SegmentHeader, content: bytes
) -> None:
    with LocalJournal(tmp_path, header, segment_bytes=1 << 20) as journal:
        ref = journal.append_raw(7, b"a frame", 0, 1)
    (tmp_path / raw_name(99)).write_bytes(content)
    assert RawReader(tmp_path).get(ref).raw == b"a frame"
    (tmp_path / raw_name(99)).write_bytes(b"something else altogether")
    with pytest.raises(ValueError, match="not a raw log"):
        RawReader(tmp_path)


def test_a_folder_without_a_journal_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no journal here"):
        Journal(tmp_path / "nothing")


def test_a_newer_schema_is_refused(tmp_path: Path, header: SegmentHeader, make_record: Make) -> None:
    fields = {**header.__dict__, "schema": 99}
    with LocalJournal(tmp_path, SegmentHeader(**fields), segment_bytes=SMALL) as journal:
        journal.append(make_record(1))
    with pytest.raises(ValueError, match="newer schema"):
        read_segment(tmp_path / segment_name(1))


def test_frames_are_on_disk_before_the_records_that_refer_to_them(
    tmp_path: Path, header: SegmentHeader, make_record: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []
    fdatasync = os.fdatasync

    def spy(fd: int) -> None:
        synced.append(Path(os.readlink(f"/proc/self/fd/{fd}")).suffix)
        fdatasync(fd)

    monkeypatch.setattr(os, "fdatasync", spy)
    writer = SegmentWriter(tmp_path, header, SMALL)
    writer.raw.append(1, b"{}", 0, 0)
    writer.append(make_record(1).tobytes())
    writer.sync()
    assert synced == [".b4z", ".b4j"]
    writer.append(make_record(2).tobytes())
    writer.sync()
    assert synced[2:] == [".b4j"]  # no frame came, none is waited for
    writer.raw.append(2, b"{}", 0, 0)
    writer.seal()
    assert synced[3:] == [".b4z"]
    writer.close()
