"""Reading captures: whole, cut, damaged."""

from __future__ import annotations

import gzip

import pytest

from bot4_live.market.capture import CaptureError, read_capture

LINES = [b'17 {"a":1}\n', b'18 {"b":[1,2]}\n', b'19 {"c":"x y"}\n']
WHOLE = [(17, b'{"a":1}'), (18, b'{"b":[1,2]}'), (19, b'{"c":"x y"}')]


def write(tmp_path, data, *, zipped=False):
    path = tmp_path / "capture"
    path.write_bytes(gzip.compress(data) if zipped else data)
    return path


@pytest.mark.parametrize("zipped", [False, True])
def test_whole(tmp_path, zipped):
    assert list(read_capture(write(tmp_path, b"".join(LINES), zipped=zipped))) == WHOLE


def test_last_line_without_newline_but_whole(tmp_path):
    assert list(read_capture(write(tmp_path, b"".join(LINES).rstrip()))) == WHOLE


def test_windows_line_ends(tmp_path):
    assert list(read_capture(write(tmp_path, b"".join(LINES).replace(b"\n", b"\r\n")))) == WHOLE


@pytest.mark.parametrize(
    ("bad", "line", "words"),
    [
        (LINES[0] + b"x18 {}\n", 2, "expected '<receive ns> <json>'"),
        (LINES[0] + b"\n" + LINES[1], 2, "expected"),
        (LINES[0] + LINES[1] + b"19\n", 3, "expected"),
        (LINES[0] + b"-5 {}\n", 2, "expected"),
        (LINES[0] + b"99999999999999999999 {}\n", 2, "expected"),
        (LINES[0] + LINES[1][:9], 2, "the line is cut"),
        (b"", 1, "empty"),
    ],
)
def test_broken_lines_are_named(tmp_path, bad, line, words):
    path = write(tmp_path, bad)
    with pytest.raises(CaptureError) as error:
        list(read_capture(path))
    assert error.value.line == line
    assert f"{path}: line {line}: " in str(error.value)
    assert words in str(error.value)
    assert "\n" not in str(error.value)
    told = []
    assert list(read_capture(path, on_damage=told.append)) == WHOLE[: line - 1]
    assert [e.line for e in told] == [line]


def test_half_a_gzip(tmp_path):
    data = b"".join(b'%d {"n":%d}\n' % (i, i * 7919) for i in range(20_000))
    path = write(tmp_path, data, zipped=True)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(CaptureError, match="gzip data is cut") as error:
        list(read_capture(path))
    told = []
    got = list(read_capture(path, on_damage=told.append))
    assert len(got) == error.value.line - 1 > 1_000
    assert got[-1] == (len(got) - 1, b'{"n":%d}' % ((len(got) - 1) * 7919))


def test_damaged_gzip(tmp_path):
    path = write(tmp_path, b"".join(b'%d {"n":%d}\n' % (i, i * 7919) for i in range(20_000)), zipped=True)
    data = bytearray(path.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 64] = bytes(64)
    path.write_bytes(data)
    with pytest.raises(CaptureError, match=r"line \d+"):
        list(read_capture(path))


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        list(read_capture(tmp_path / "none"))
