"""Small journals made of given records."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from bot4_live.events import Kind, header_of, new_record
from bot4_live.instrument import BTCUSDT_USDM
from bot4_live.journal.local import LocalJournal
from bot4_live.market.import_capture import segment_header


def write_session(
    folder: Path, records: Iterable[np.ndarray], start_ns: int, *, first_seq: int = 1, shift: int = 0
) -> int:
    """Journal records as a session of its own, in the order given, times being original ones; return the next seq."""
    header = segment_header(BTCUSDT_USDM, first_seq, start_ns + shift, account="test", shift_ns=shift)
    session = new_record(Kind.SESSION, 1)
    header_of(session)["recv_ns"] = start_ns
    seq = first_seq
    with LocalJournal(folder, header, segment_bytes=8 << 20) as journal:
        for record in (session, *records):
            made = record.copy()
            head = header_of(made)
            head["seq"] = seq
            head["recv_ns"] += shift
            head["exch_ns"] += shift if head["exch_ns"] else 0
            head["a"] += shift if head["kind"] == Kind.FUNDING and head["a"] else 0
            journal.append(made)
            seq += 1
    return seq
