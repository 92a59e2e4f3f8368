"""Asset checks on one partition: `dg.asset_check` with the partitions of the assets, day x market or days alone."""

from collections.abc import Callable
from typing import Any

import dagster as dg

from bot4_platform.beta import beta
from bot4_platform.partitions import DAYS, MARKET_DAYS

OWNERS = ["team:data"]
AGE_CHECK = "data_age"  # of how old the newest data are: one an asset, run by a job of its own
Decorator = Callable[[Callable[..., Any]], dg.AssetChecksDefinition]


def market_check(*, asset: str, description: str, blocking: bool = False, name: str | None = None) -> Decorator:
    """Return a decorator that makes a function the check of `asset`, run for each `day x market`.

    A blocking check that fails stops whatever is downstream of the asset in that run.
    """
    return _check(asset, description, blocking, name, MARKET_DAYS)


def day_check(*, asset: str, description: str, blocking: bool = False, name: str | None = None) -> Decorator:
    """Return the same for an asset of `DAYS`: a source that is no market."""
    return _check(asset, description, blocking, name, DAYS)


def _check(
    asset: str, description: str, blocking: bool, name: str | None, partitions: dg.PartitionsDefinition
) -> Decorator:
    with beta():
        decorate = dg.asset_check(
            name=name, asset=dg.AssetKey(asset), description=description, blocking=blocking, partitions_def=partitions
        )

    def quiet(function: Callable[..., Any]) -> dg.AssetChecksDefinition:
        with beta():
            return decorate(function)

    return quiet
