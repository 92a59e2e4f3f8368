"""Point-in-time join: for each row, the newest event that had happened and was known by then.

Wanted, for a row at time t: among events with `event <= t` and, when created times count, `created <= t`, the one
with the greatest (event, created). Both conditions together are k = max(event, created) <= t, and the condition on the
maximum is kept by an as-of join on k after dropping every event that, when it becomes known, is older than one known
already: stable sort by (k, event, created), keep rows whose event is at least the running maximum of their key. Then
the last row with k <= t is the wanted one. A time to live is measured from the event, after the choice: the chosen
event is the newest, so if it is too old all are.
"""

from __future__ import annotations

import polars as pl

ROW, TIME, EVENT, CREATED, KNOWN = "__row", "__time", "__event", "__created", "__known"


def asof(
    rows: pl.DataFrame,
    events: pl.DataFrame,
    by: list[str],
    columns: list[str],
    *,
    ttl_ns: int = 0,
    honour_created: bool,
) -> pl.DataFrame:
    """Return `columns` of `events` for each of `rows`, in the order of `rows`; null where nothing was known.

    `rows` has the key columns `by` and `__time` (int64 ns); `events` has `by`, `columns`, `__event` and `__created`
    (int64 ns). `ttl_ns` 0 means that events do not age. Of equal (event, created) the last in `events` counts.
    """
    created = pl.col(CREATED) if honour_created else pl.col(EVENT)
    known = (
        events.with_columns(pl.max_horizontal(EVENT, created).alias(KNOWN))
        .sort(KNOWN, EVENT, CREATED, maintain_order=True)
        .filter(pl.col(EVENT) >= pl.col(EVENT).cum_max().over(by))
        # Of what becomes known at the same time the last is the newest.
        .unique([*by, KNOWN], keep="last", maintain_order=True)
        .select(*by, KNOWN, EVENT, *columns)
        .sort(KNOWN)
    )
    left = rows.select(*by, TIME).with_row_index(ROW).sort(TIME, maintain_order=True)
    joined = left.join_asof(
        known, left_on=TIME, right_on=KNOWN, by=by, strategy="backward", check_sortedness=False, coalesce=False
    ).sort(ROW)
    if ttl_ns:
        fresh = pl.col(TIME) - pl.col(EVENT) <= ttl_ns
        return joined.select(pl.when(fresh).then(pl.col(name)).alias(name) for name in columns)
    return joined.select(columns)
