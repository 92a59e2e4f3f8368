"""The feature views, generated from the live half's registry of fast features and its list of slow ones.

Nothing is declared twice: a new feature in `bot4_live.features.registry` is a new field here.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from feast import Entity, FeatureView, Field
from feast.types import Float64, String
from feast.value_type import ValueType

from bot4_live.features.registry import FEATURES, layout_hash
from bot4_live.settings import SLOW_FEATURES, StrategyParams
from bot4_platform.feature_store.source import LakeSource

PROJECT = "bot4"
SLOW_MEANING = {
    "garch_sigma": "GARCH(1,1) forecast of volatility, return per sqrt(second)",
    "intensity_a": "fill intensity A, fills a second at the mid",
    "intensity_k": "fill intensity decay k, per unit of return",
}

market = Entity(
    name="market", join_keys=["market"], value_type=ValueType.STRING, description="venue:SYMBOL, as in the partitions"
)

fast_features = FeatureView(
    name="fast_features",
    entities=[market],
    ttl=timedelta(seconds=1),
    schema=[
        Field(name="market", dtype=String),
        *(
            Field(
                name=feature.name,
                dtype=Float64,
                description=feature.meaning,
                tags={"unit": feature.unit, "kind": feature.kind, "source": feature.source},
            )
            for feature in FEATURES
        ),
    ],
    source=LakeSource(
        table="features",
        event_column="recv_ns",
        created_column="recv_ns",
        description="Known as soon as the events before it are journaled.",
    ),
    online=False,
    description="Fast features on a grid of 100 ms, by the engine's kernels; in the engine itself, so not served.",
    tags={"layout": layout_hash()},
)

slow_features = FeatureView(
    name="slow_features",
    entities=[market],
    ttl=timedelta(seconds=StrategyParams.model_fields["slow_ttl_s"].default),
    schema=[
        Field(name="market", dtype=String),
        *(
            Field(name=name, dtype=Float64, description=SLOW_MEANING[name], tags={"id": str(number)})
            for number, name in SLOW_FEATURES.items()
        ),
    ],
    source=LakeSource(
        table="slow_features",
        event_column="event_ns",
        created_column="created_ns",
        description="Created is event time plus the declared publication lag.",
    ),
    online=True,
    description="Slow features, every 15 minutes; read by the feeder and handed to the engine as events.",
)

OBJECTS: list[Any] = [market, fast_features, slow_features]
