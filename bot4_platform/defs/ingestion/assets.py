"""The ledger of what the live half handed over: sealed journal segments by receive day."""

import dagster as dg

from bot4_platform.checks import OWNERS, market_check
from bot4_platform.partitions import MARKET_DAYS, market_day
from bot4_platform.resources import Bot4Resource


@dg.asset(
    partitions_def=MARKET_DAYS,
    group_name="ingestion",
    owners=OWNERS,
    kinds={"journal", "parquet"},
    code_version="1",
    description="Sealed journal segments by receive day (the session's shift removed): which file, which seqs, which "
    "digest, which exchange days within. Append-only; a segment that is still written is not in it.",
)
def raw_segments(context: dg.AssetExecutionContext, bot4: Bot4Resource) -> dg.MaterializeResult:
    """Write the ledger of one receive day from the seals."""
    import polars as pl

    from bot4_platform.journal_source import seals_of
    from bot4_platform.reporting import table, when, written
    from bot4_platform.tables import TABLES

    part = market_day(context)
    found = [seal for seal in seals_of(bot4.settings().journal_dir, part) if seal.receive_day == part.day]
    rows = [
        {
            "first_seq": seal.first_seq, "last_seq": seal.last_seq, "first_recv_ns": seal.first_recv_ns,
            "last_recv_ns": seal.last_recv_ns, "shift_ns": seal.shift_ns, "records": seal.records,
            "bytes": seal.size, "sha256": seal.sha256, "file": seal.path.name, "session": seal.session,
            "days": ",".join(seal.days),
        }
        for seal in found
    ]  # fmt: skip
    result = bot4.lake().write("raw_segments", *part, pl.DataFrame(rows, schema=TABLES["raw_segments"].schema()))
    overview = [
        (seal.path.name, seal.records, when(seal.first_recv_ns - seal.shift_ns), ", ".join(seal.days), seal.sha256[:12])
        for seal in found
    ]
    return dg.MaterializeResult(
        metadata=written(result)
        | {
            "records": sum(seal.records for seal in found),
            "segments": table(("segment", "records", "first received", "exchange days", "sha256"), overview),
        }
    )


@market_check(
    asset="raw_segments", description="Every segment of the ledger still has the bytes its seal was made of (sha256).",
    blocking=True,
)  # fmt: skip
def digests_hold(context: dg.AssetCheckExecutionContext, bot4: Bot4Resource) -> dg.AssetCheckResult:
    """Hash the files again."""
    import hashlib

    from bot4_platform.archive.stub import read_stub

    part = market_day(context)
    ledger = bot4.lake().read("raw_segments", *part)
    folder = bot4.settings().journal_dir
    bad = []
    for name, digest in ledger.select("file", "sha256").iter_rows():
        path = folder / name
        if not path.is_file() and (stub := read_stub(path)) is not None:
            if stub.sha256 != digest:
                bad.append(f"{name} was archived with other bytes than it was sealed with")
            continue
        if not path.is_file():
            bad.append(f"{name} is missing")
            continue
        with path.open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != digest:
                bad.append(f"{name} was changed after it was sealed")
    return dg.AssetCheckResult(passed=not bad, metadata={"segments": ledger.height, "problems": "; ".join(bad)})
