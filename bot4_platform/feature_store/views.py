"""The feature views, generated from the live half's registry of fast features and its list of slow ones.

Nothing is declared twice: a new feature in `bot4_live.features.registry` is a new field here.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from feast import Entity, FeatureView, Field
from feast.types import Float64, Int64, String
from feast.value_type import ValueType

from bot4_live.features.registry import FEATURES, layout_hash
from bot4_live.settings import SLOW_FEATURES, StrategyParams
from bot4_platform.feature_store.source import LakeSource
from bot4_platform.tables import TABLES

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

coin = Entity(name="coin", join_keys=["coin"], value_type=ValueType.STRING, description="a coin's symbol, or ALL")

# Of sources that are no market: their entity is their key in the lake (`ethereum:MAINNET`, `news:ALL`, `social:ALL`).
# Cadence 15 minutes, so a value holds for two (D16).
SOURCE_TTL = timedelta(minutes=30)
SOURCE_FEATURES = {
    "onchain_signals": {
        "net_inflow_cents": "into exchanges less out of them, whale transfers, US cents",
        "whale_cents": "moved by whales, US cents", "whales": "transfers of whales",
        "minted_cents": "stablecoins minted, US cents", "burned_cents": "stablecoins burned, US cents",
        "swap_cents": "swapped on DEXes, US cents",
    },
    "news_signals": {
        "stories": "stories", "impact": "sum of their impact scores", "largest_impact": "largest impact score",
        "tone": "tone weighted by impact, -1 to 1; null without a story that counts",
    },
    "social_signals": {
        "posts": "posts without spam", "voices": "authors of them", "sentiment": "mean of the authors' means, -1 to 1",
    },
}  # fmt: skip


def _source_view(table: str, meanings: dict[str, str]) -> FeatureView:
    """Return the view of a table of quarters: for training; nothing reads it online yet."""
    kinds = TABLES[table].columns
    entities = [market, coin] if "coin" in kinds else [market]
    return FeatureView(
        name=table,
        entities=entities,
        ttl=SOURCE_TTL,
        schema=[
            *(Field(name=entity.name, dtype=String) for entity in entities),
            *(
                Field(name=name, dtype=Int64 if kinds[name] == "Int64" else Float64, description=meaning)
                for name, meaning in meanings.items()
            ),
        ],
        source=LakeSource(
            table=table,
            event_column="event_ns",
            created_column="created_ns",
            description="Created when the last of what a quarter counts was known.",
        ),
        online=False,
        description=TABLES[table].title,
    )


source_views = [_source_view(table, meanings) for table, meanings in SOURCE_FEATURES.items()]

OBJECTS: list[Any] = [market, coin, fast_features, slow_features, *source_views]
