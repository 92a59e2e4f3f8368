"""What the quality of the data is judged by."""

from bot4_platform.tables.table import Table

QUALITY = {
    "minute_profiles": Table(
        "what a minute of one market looked like, by exchange time",
        {
            "minute_ns": "Int64", "trades": "Int64", "quotes": "Int64", "diffs": "Int64", "sells": "Int64",
            "lots": "Int64", "spread_bp_median": "Float64", "spread_bp_max": "Float64", "range_bp": "Float64",
            "quote_gap_ms_max": "Float64", "latency_ms_median": "Float64", "diff_levels_max": "Int64",
        },
        ("minute_ns",), ("minute_ns",),
    ),
}  # fmt: skip
