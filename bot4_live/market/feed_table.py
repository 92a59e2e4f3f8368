"""What `bot4 feeds` shows, as lines of text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from bot4_live.market.feed_status import Shown

SHOWN_ERROR = 60


def lines(shown: Sequence[Shown]) -> list[str]:
    """Return the lines of all processes, a blank one between two."""
    out: list[str] = []
    for one in shown:
        out += [*([""] if out else []), *_process(one)]
    return out


def _process(shown: Shown) -> list[str]:
    said = shown.content
    out = [_title(shown)]
    if clock := said.get("clock"):
        offset = clock["offset_ns"] / 1e9
        out.append(f"engine clock: CLOCK_MONOTONIC {offset:+,.6f} s, at most {clock['error_ns'] / 1e6:,.3f} ms off")
    if venue := said.get("venue_clock"):
        offset, error, trip = (venue[name] / 1e6 for name in ("offset_ns", "error_ns", "rtt_ns"))
        out.append(f"venue's clock: {offset:+,.3f} ms from ours, within {error:,.3f} ms (round trip {trip:,.3f} ms)")
    if written := said.get("written"):
        out.append(_journal(said["journal"], written))
    connections = [connection for pool in said["pools"] for connection in pool["connections"]]
    if connections:
        breakers = {pool["venue"]: pool["breaker"] for pool in said["pools"]}
        out += ["", *_table(_CONNECTION, (_connection(c, breakers[c["venue"]]) for c in connections))]
    channels = [(connection, channel) for connection in connections for channel in connection["channels"]]
    if channels:
        out += ["", *_table(_CHANNEL, (_channel(c, channel) for c, channel in channels))]
    if said["books"]:
        out += ["", *_table(_BOOK, map(_book, said["books"]))]
    for market, rules in said["quarantined"].items():
        out += ["", f"quarantined of {market}: " + ", ".join(f"{rule} {n:,}" for rule, n in rules.items())]
    return out


def _title(shown: Shown) -> str:
    said, age = shown.content, f"{shown.age_s:.1f} s"
    state = {
        "running": f"as of {age} ago",
        "hung": f"HUNG: it lives, but has said nothing for {age}",
        "dead": f"DEAD: it ended without a word, last heard of {age} ago; start it again",
    }[shown.state]
    market = ""
    if "engine_ns" in said:
        market = datetime.fromtimestamp(said["engine_ns"] / 1e9, UTC).strftime(", engine clock %Y-%m-%d %H:%M:%S")
    up = (said["published_mono_ns"] - said["started_mono_ns"]) / 1e9
    return f"{said['role']} {said['account']} (process {said['pid']}), up {_long(up)}{market}, {state}"


def _journal(path: str, written: dict[str, Any]) -> str:
    state = "well" if written["healthy"] else f"REFUSED (errno {written['errno']})" if written["errno"] else "behind"
    return (
        f"journal {path}: seq {written['last_seq']:,}, {state}, {written['backlog']:,} bytes wait, "
        f"{written['sealed']:,} sealed, {written['syncs']:,} syncs, longest {written['longest_sync_us'] / 1000:,.1f} ms"
    )


_CONNECTION = ("connection", "state", "open", "age", "frames", "MB", "reconnects", "failures", "silences", "renewals",
               "breaker", "last error")  # fmt: skip
_CHANNEL = ("channel", "connection", "frames", "per s", "age", "gap p99.9", "limit", "gaps", "state")
_BOOK = ("book", "state", "since", "snapshots", "gaps", "stale because of")


def _connection(c: dict[str, Any], breaker: str) -> tuple[str, ...]:
    age = min((channel["age_s"] for channel in c["channels"]), default=None)
    reconnects = max(c["connects"] - 1, 0)
    return (
        f"{c['venue']} {c['name']}", c["state"], _long(c["open_s"]) if c["open_s"] else "-", _short(age),
        f"{c['frames']:,}", f"{c['bytes'] / 1e6:,.1f}", f"{reconnects:,}", f"{c['failures']:,}", f"{c['silences']:,}",
        f"{c['renewals']:,}", breaker, c["last_error"][:SHOWN_ERROR],
    )  # fmt: skip


def _channel(connection: dict[str, Any], c: dict[str, Any]) -> tuple[str, ...]:
    state = "SILENT" if c["silent"] else "STALE" if c["stale"] else "ok"
    return (
        c["name"], connection["name"], f"{c['frames']:,}", f"{c['rate']:,.1f}", _short(c["age_s"]),
        _short(c["gap_p999_s"]), _short(c["limit_s"]), f"{c['gaps']:,}", state,
    )  # fmt: skip


def _book(b: dict[str, Any]) -> tuple[str, ...]:
    causes = ", ".join(f"{cause} {n:,}" for cause, n in b["stale"].items())
    state = "live" if b["live"] else f"STALE ({b['cause']})"
    return b["market"], state, _long(b["since_s"]), f"{b['snapshots']:,}", f"{b['gaps']:,}", causes


def _short(seconds: float | None) -> str:
    """Return an age or a gap: ms below a second."""
    if seconds is None:
        return "-"
    return f"{seconds * 1000:,.0f} ms" if seconds < 1 else f"{seconds:,.1f} s"


def _long(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"


def _table(names: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Return aligned columns: the first and the last to the left, numbers to the right."""
    cells = [tuple(names), *(tuple(row) for row in rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(names))]
    left = (0, len(names) - 1)
    return [
        "  ".join(
            text.ljust(width) if i in left else text.rjust(width)
            for i, (text, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in cells
    ]
