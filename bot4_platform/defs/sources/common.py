"""What the assets of all sources share: clients by the settings, failures in one line, retries, checks of rows."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import dagster as dg

from bot4_platform.checks import day_check
from bot4_platform.lake import Lake, Written
from bot4_platform.resources import Bot4Resource
from bot4_platform.settings import platform_settings
from bot4_platform.sources.errors import BadPage, SourceOff, SourceRefused, SourceUnavailable, off
from bot4_platform.sources.progress import Progress
from bot4_platform.sources.switched import switched_on

if TYPE_CHECKING:
    import polars as pl

    from bot4_platform.sources.http import SourceClient

VARIABLES = {
    "ethereum": ("on-chain", "BOT4_PLATFORM__SOURCES__ETHEREUM__URL"),
    "news": ("news", "BOT4_PLATFORM__SOURCES__NEWS__FEEDS"),
    "social": ("social", "BOT4_PLATFORM__SOURCES__SOCIAL__URL"),
    "macro": ("macro", "BOT4_PLATFORM__SOURCES__MACRO__KEY"),
}


@contextmanager
def asked(name: str, per_s: float) -> Iterator["SourceClient"]:
    """Give the client of a source, and turn what goes wrong into a failure of one line.

    A source that is off or refuses us is not tried again; one that does not answer is.
    """
    from bot4_platform.sources.http import SourceClient

    settings = platform_settings().sources
    if name not in switched_on(settings):
        kind, variable = VARIABLES[name]
        raise dg.Failure(str(off(kind, name, variable)), allow_retries=False)
    client = SourceClient(name, settings.http, per_s=per_s)
    try:
        yield client
    except (SourceOff, SourceRefused, ValueError) as error:
        rule = f" ({error.rule})" if isinstance(error, BadPage) else ""
        raise dg.Failure(f"{error}{rule}", allow_retries=isinstance(error, BadPage)) from None
    except SourceUnavailable as error:
        raise dg.Failure(str(error)) from None
    finally:
        client.close()


def now_ns() -> int:
    """Return the time of arrival."""
    return time.time_ns()


def teller(context: dg.AssetExecutionContext) -> Callable[[Progress], None]:
    """Return what logs progress."""
    return lambda progress: context.log.info(str(progress))


def partition_metadata(lake: Lake, table: str, day: str, scope: str) -> dict[str, Any]:
    """Return the metadata of a partition as it lies in the lake."""
    from bot4_platform.reporting import written

    rows, here = lake.read(table, day, scope, columns=["id"]).height, lake.files(table, day, scope)
    return written(Written(lake.path(table, day, scope), rows, sum(path.stat().st_size for path in here)))


def write_signals(
    lake: Lake, table: str, day: str, scope: str, rows: list[dict[str, Any]]
) -> "tuple[pl.DataFrame, dict[str, Any]]":
    """Write the quarters of a day; return them and the metadata of the partition."""
    import polars as pl

    from bot4_platform.reporting import written
    from bot4_platform.tables import TABLES

    frame = pl.DataFrame(rows, schema=TABLES[table].schema())
    return frame, written(lake.write(table, day, scope, frame))


def sound_rows(
    asset: str, description: str, broken: Callable[[Any], dict[str, int]] = lambda frame: {}
) -> dg.AssetChecksDefinition:
    """Return the blocking check of a source's table: ids once, times within their day, nothing known before it was.

    `broken` counts further rows that break a rule of the table's own.
    """

    @day_check(asset=asset, description=description, blocking=True)
    def rows_are_sound(context: dg.AssetCheckExecutionContext, bot4: Bot4Resource) -> dg.AssetCheckResult:
        """Count the rows that break a rule."""
        from bot4_live.clock import DAY_NS, day_start_ns

        day, lake = str(context.partition_key), bot4.lake()
        scopes = [scope for found, scope in lake.partitions(asset) if found == day]
        if not scopes:
            return dg.AssetCheckResult(passed=False, metadata={"problem": f"the lake has no {asset} of {day}"})
        frame = lake.read(asset, day)
        start = day_start_ns(day)
        late = 1 if asset.endswith("_signals") else 0  # a quarter is dated by its end, which may be midnight
        outside = frame.filter((frame["event_ns"] < start) | (frame["event_ns"] >= start + DAY_NS + late))
        counts = {
            "twice": frame.height - frame["id"].n_unique(),
            "outside_the_day": outside.height,
            "known_too_early": frame.filter(frame["created_ns"] < frame["event_ns"]).height,
            "known_in_the_future": frame.filter(frame["created_ns"] > now_ns()).height,
        } | broken(frame)
        quarantined = sum(
            lake.read("source_quarantine", day, scope, columns=["id"]).height
            for scope in scopes
            if lake.exists("source_quarantine", day, scope)
        )
        shown = {"rows": frame.height, "quarantined_of_the_source": quarantined}
        return dg.AssetCheckResult(passed=not any(counts.values()), metadata=shown | counts)

    return rows_are_sound
