"""What `feast apply` finds: the views generated from the feature registry."""

from bot4_platform.feature_store.views import fast_features, market, slow_features

__all__ = ["fast_features", "market", "slow_features"]
