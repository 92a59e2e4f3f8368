"""Columns of the volatility tables in the lake. A fit that is `insufficient` has nulls for numbers and says why."""

from bot4_platform.lake_tables import Table

MIDS = Table(
    "best quotes on a 250 ms grid of the receive clock",
    {"time_ns": "Int64", "seq": "Int64", "bid_px": "Int64", "ask_px": "Int64", "age_ns": "Int64"},
    ("time_ns",), ("time_ns",),
)  # fmt: skip
GARCH = Table(
    "GARCH(1,1) fits",
    {
        "event_ns": "Int64", "status": "String", "reason": "String", "n": "Int64", "sigma": "Float64",
        "sigma_next": "Float64", "sigma_long": "Float64", "omega": "Float64", "alpha": "Float64", "beta": "Float64",
    },
    ("event_ns",), ("event_ns",),
)  # fmt: skip
INTENSITY = Table(
    "fill intensity fits",
    {
        "event_ns": "Int64", "status": "String", "reason": "String", "reaches": "Int64", "buckets": "Int64",
        "a": "Float64", "k": "Float64", "a_error": "Float64", "k_error": "Float64",
    },
    ("event_ns",), ("event_ns",),
)  # fmt: skip
SLOW_FEATURES = Table(
    "slow features, as the feature store serves them",
    {
        "market": "String", "event_ns": "Int64", "created_ns": "Int64", "garch_sigma": "Float64",
        "intensity_a": "Float64", "intensity_k": "Float64", "garch_status": "String", "intensity_status": "String",
    },
    ("event_ns",), ("market", "event_ns"),
)  # fmt: skip
