"""Asset checks on one partition: `market_check` is `dg.asset_check` with the partitions of the assets."""

from collections.abc import Callable
from typing import Any

import dagster as dg

from bot4_platform.beta import beta
from bot4_platform.partitions import MARKET_DAYS

OWNERS = ["team:data"]


def market_check(
    *, asset: str, description: str, blocking: bool = False, name: str | None = None
) -> Callable[[Callable[..., Any]], dg.AssetChecksDefinition]:
    """Return a decorator that makes a function the check of `asset`, run for each `day x market`.

    A blocking check that fails stops whatever is downstream of the asset in that run.
    """
    with beta():
        decorate = dg.asset_check(
            name=name, asset=dg.AssetKey(asset), description=description, blocking=blocking, partitions_def=MARKET_DAYS
        )

    def quiet(function: Callable[..., Any]) -> dg.AssetChecksDefinition:
        with beta():
            return decorate(function)

    return quiet
