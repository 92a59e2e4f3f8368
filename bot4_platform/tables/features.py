"""Fast features on their grid, and the state between days."""

from bot4_live.features.registry import NAMES
from bot4_platform.tables.table import EVENT, Table

FEATURES = {
    "features": Table(
        "fast features on a grid of 100 ms of the engine clock; `mid` in quote currency, null while there is no book",
        {**EVENT, "valid": "Boolean", "mid2": "Int64", "mid": "Float64"} | dict.fromkeys(NAMES, "Float64"),
        ("seq",), ("seq",),
    ),
    "feature_state": Table(
        "book and feature state after the last event of a day",
        {"last_seq": "Int64", "state": "Binary"},
        ("last_seq",), ("last_seq",),
    ),
}  # fmt: skip
