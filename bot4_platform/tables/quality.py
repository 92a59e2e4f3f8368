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
    "pass_rates": Table(
        "what came on the streams of a market day: `rule` is empty for what passed validation, else why it was refused",
        {"table": "String", "rule": "String", "frames": "Int64"},
        ("table", "rule"), ("table", "rule"),
    ),
    "feature_drift": Table(
        "how far each feature's distribution is from its reference; `verdict`: stable, moved, drifted or few",
        {
            "feature": "String", "psi": "Float64", "ks": "Float64", "verdict": "String", "reference": "String",
            "reference_rows": "Int64", "current_rows": "Int64", "bins": "String",
        },
        ("feature",), ("feature",),
    ),
    "venue_agreement": Table(
        "mids of this market against another venue's on the same seconds of exchange time, in bp of the other",
        {
            "other": "String", "seconds": "Int64", "bp_median": "Float64", "bp_p99": "Float64", "within": "Float64",
            "bound_bp": "Float64",
        },
        ("other",), ("other",),
    ),
}  # fmt: skip
