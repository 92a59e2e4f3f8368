"""Sources outside the journal. A row's `id` is unique in its table.

`event_ns` is when it happened, `created_ns` when it could be known (bot4_platform/sources/publication.py).
"""

from bot4_platform.tables.table import Table

SOURCES = {
    "source_quarantine": Table(
        "what sources sent that could not become rows; `raw` is its beginning, `raw_bytes` how much was read",
        {
            "id": "String", "source": "String", "rule": "String", "reason": "String", "raw": "Binary",
            "raw_bytes": "Int64", "first_seen": "Int64",
        },
        ("first_seen", "id"), ("id",),
    ),
}  # fmt: skip
