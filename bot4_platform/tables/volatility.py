"""Volatility and fill intensity. A fit that is `insufficient` has nulls for numbers and says why."""

from bot4_platform.tables.table import Table

VOLATILITY = {
    "mids_250ms": Table(
        "best quotes on a 250 ms grid of the receive clock",
        {"time_ns": "Int64", "seq": "Int64", "bid_px": "Int64", "ask_px": "Int64", "age_ns": "Int64"},
        ("time_ns",), ("time_ns",),
    ),
    "garch": Table(
        "GARCH(1,1) fits",
        {
            "event_ns": "Int64", "status": "String", "reason": "String", "n": "Int64", "sigma": "Float64",
            "sigma_next": "Float64", "sigma_long": "Float64", "omega": "Float64", "alpha": "Float64", "beta": "Float64",
        },
        ("event_ns",), ("event_ns",),
    ),
    "fill_intensity": Table(
        "fill intensity fits",
        {
            "event_ns": "Int64", "status": "String", "reason": "String", "reaches": "Int64", "buckets": "Int64",
            "a": "Float64", "k": "Float64", "a_error": "Float64", "k_error": "Float64",
        },
        ("event_ns",), ("event_ns",),
    ),
    "slow_features": Table(
        "slow features, as the feature store serves them",
        {
            "market": "String", "event_ns": "Int64", "created_ns": "Int64", "garch_sigma": "Float64",
            "intensity_a": "Float64", "intensity_k": "Float64", "garch_status": "String", "intensity_status": "String",
        },
        ("event_ns",), ("market", "event_ns"),
    ),
}  # fmt: skip
