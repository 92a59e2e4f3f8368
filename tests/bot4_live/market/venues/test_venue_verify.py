"""`bot4 verify-book` on captures of other venues: recognised, proven, and loud about one update that is missing."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from bot4_live.commands.verify_book import command
from bot4_live.market.venues.kraken import KrakenFeed
from bot4_live.market.venues.okx import OkxFeed
from bot4_live.market.venues.verify import venue_of, verify_venue_capture

KRAKEN, OKX = "kraken/ws_v1_book1000.txt", "okx/ws_v5_books.txt"


def run(path) -> tuple[int, dict]:
    result = CliRunner().invoke(command, [str(path), "--json"])
    return result.exit_code, json.loads(result.stdout)


@pytest.mark.capture
@pytest.mark.parametrize(("name", "venue", "checksums"), [(KRAKEN, "kraken", 4269), (OKX, "okx", 290)])
def test_captures_are_proven(shared_data, name, venue, checksums):
    code, said = run(shared_data / "captures" / name)
    assert (code, said["ok"], said["venue"]) == (0, True, venue)
    assert (said["checksums"], said["checksums_matched"]) == (checksums, checksums)
    assert (said["gaps"], said["crossed"], said["quarantined"], said["ignored"]) == (0, 0, 0, 0)
    assert said["compared"] is None
    assert said["matched"] is None
    assert said["first_mismatch"] is None


@pytest.mark.capture
@pytest.mark.parametrize(("name", "kind", "at"), [(KRAKEN, KrakenFeed, 0.5), (OKX, OkxFeed, 0.3)])
def test_a_missing_update_is_reported(shared_data, tmp_path, name, kind, at):
    """Most are: what lies deeper than a checksum looks, and does not come up again, nothing of the venue can show."""
    lines = (shared_data / "captures" / name).read_bytes().splitlines(keepends=True)
    updates = [i for i, line in enumerate(lines) if b'"c":"' in line or b'"action":"update"' in line]
    start = int(len(updates) * at)
    cut, found = tmp_path / "cut", []
    for victim in updates[start : start + 8]:
        cut.write_bytes(b"".join(lines[:victim] + lines[victim + 1 :]))
        result = verify_venue_capture(cut, kind)
        if not result.ok:
            found.append(cut.read_bytes())
            assert result.checksums - result.checksums_matched + result.gaps == 1
            assert result.first_mismatch is not None
            assert {"checksum", "gap"} & {*result.first_mismatch["stale"].values()}
            assert result.ignored > 0
    assert len(found) >= 6
    cut.write_bytes(found[0])
    code, said = run(cut)
    assert (code, said["ok"]) == (1, False)


def test_a_gap_of_ids_is_reported(tmp_path):
    def line(second: int, action: str, seq: int, previous: int) -> str:
        data = {"asks": [["2", "1"]], "bids": [["1", str(seq)]], "ts": "1", "seqId": seq, "prevSeqId": previous}
        message = {"arg": {"channel": "books", "instId": "A-B"}, "action": action, "data": [data]}
        return f"{second}: {json.dumps(message)}\n"

    lines = [line(1, "snapshot", 5, -1), line(2, "update", 7, 5), line(3, "update", 9, 7), line(4, "update", 10, 9)]
    path = tmp_path / "c"
    path.write_text("".join(lines))
    code, said = run(path)
    assert (code, said["ok"], said["links"], said["links_unbroken"], said["checksums"]) == (0, True, 3, 3, None)
    path.write_text("".join(lines[:2] + lines[3:]))
    code, said = run(path)
    assert (code, said["ok"], said["gaps"], said["links"], said["links_unbroken"]) == (1, False, 1, 2, 1)
    assert said["first_mismatch"] == {"frame": 3, "stale": {"A-B": "gap"}}


def test_what_nothing_proves_is_not_ok(tmp_path):
    """A snapshot alone, without checksum or updates."""
    path = tmp_path / "c"
    snapshot = '[0,{"as":[["2.0","1.0","1.1"]],"bs":[["1.0","1.0","1.1"]]},"book-10","XBT/USD"]'
    path.write_text(f"1: {snapshot}\n")
    assert venue_of(path) is KrakenFeed
    result = CliRunner().invoke(command, [str(path)])
    assert result.exit_code == 1
    assert "NOT proven" in result.output
    assert "snapshots                         1" in result.output


def test_binance_is_left_to_its_own_proof(frames, tmp_path):
    path = tmp_path / "c"
    path.write_bytes(b"1 " + frames.diff(1, 2, 0) + b"\n")
    assert venue_of(path) is None
