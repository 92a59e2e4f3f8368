"""Run a suite by Great Expectations and say what came out, also where the library itself failed.

A metric that breaks is reported as success False without an exception: the cause lies in `exception_info`.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from bot4_platform.quality.suites.suite import Suite

if TYPE_CHECKING:
    import polars as pl


SHOWN = 4  # unexpected values that a finding quotes


@dataclass(frozen=True)
class Finding:
    """One expectation's outcome: what was expected, whether it was met, what was found, and why it is expected."""

    expected: str
    met: bool
    found: str
    why: str


@dataclass(frozen=True)
class Judged:
    """What a suite said of so many rows; `page` is its page within the docs."""

    suite: str
    table: str
    rows: int
    findings: list[Finding] = field(default_factory=list)
    page: str = ""

    @property
    def failed(self) -> list[str]:
        """Return what was not met, with what was found instead."""
        return [f"{one.expected}: {one.found}" for one in self.findings if not one.met]

    @property
    def passed(self) -> int:
        """Return how many were met."""
        return sum(one.met for one in self.findings)

    @property
    def success(self) -> bool:
        """Return whether all were met."""
        return self.passed == len(self.findings)

    def as_dict(self) -> dict[str, Any]:
        """Return it for JSON."""
        return asdict(self) | {"success": self.success}


@lru_cache(maxsize=1)
def context() -> Any:
    """Return the process's context of Great Expectations; nothing of it is on disk."""
    import great_expectations as gx
    from great_expectations.data_context.types.base import ProgressBarsConfig

    made = gx.get_context(mode="ephemeral")
    made.variables.progress_bars = ProgressBarsConfig(globally=False)
    for name in list(made.get_site_names()):
        made.delete_data_docs_site(name)
    return made


def judge(suite: Suite, frame: pl.DataFrame) -> Judged:
    """Judge a frame (what `suite.frame` returns). One without rows has nothing to say and passes."""
    if frame.is_empty():
        return Judged(suite.name, suite.table, 0)
    result = batch_definition(suite).get_batch({"dataframe": frame.to_pandas()}).validate(expectation_suite(suite))
    return verdict(suite.name, suite.table, frame.height, result.results)


def batch_definition(suite: Suite) -> Any:
    """Return the context's batch definition of a suite's frames, made once."""
    source = context().data_sources.all().get("lake") or context().data_sources.add_pandas("lake")
    known = [asset for asset in source.assets if asset.name == suite.name]
    asset = known[0] if known else source.add_dataframe_asset(suite.name)
    return asset.batch_definitions[0] if asset.batch_definitions else asset.add_batch_definition_whole_dataframe("all")


def expectation_suite(suite: Suite) -> Any:
    """Return a suite as the library's."""
    import great_expectations as gx

    return gx.ExpectationSuite(name=suite.name, expectations=[one.build() for one in suite.expectations])


def verdict(suite: str, table: str, rows: int, results: list[Any], page: str = "") -> Judged:
    """Return what the library's results say. A metric that broke is a failure with its cause, not a bad value."""
    return Judged(suite, table, rows, [_finding(result) for result in results], page)


def _finding(result: Any) -> Finding:
    config = result.expectation_config
    arguments = config.kwargs
    columns = [str(value) for name, value in arguments.items() if name.startswith("column") and value is not None]
    limits = [
        f"{name.removesuffix('_value')} {arguments[name]:g}"
        for name in ("min_value", "max_value", "mostly")
        if isinstance(arguments.get(name), int | float) and not isinstance(arguments[name], bool)
    ]
    limits = [text for text in limits if text != "mostly 1"]
    said = f"{config.type}({', '.join(columns)})" + (f" {', '.join(limits)}" if limits else "")
    notes = ((config.meta or {}).get("notes") or {}).get("content") or [""]
    return Finding(said, bool(result.success), "as expected" if result.success else _cause(result), str(notes[0]))


def _cause(result: Any) -> str:
    info = result.exception_info or {}
    broken = [info] if "raised_exception" in info else list(info.values())
    for found in broken:
        if isinstance(found, dict) and found.get("raised_exception"):
            return f"could not be computed: {found.get('exception_message')}"
    outcome = result.result
    seen = outcome.get("observed_value", outcome.get("partial_unexpected_list"))
    if isinstance(seen, list):
        seen = ", ".join(str(value) for value in list(dict.fromkeys(map(str, seen)))[:SHOWN])
    share = outcome.get("unexpected_percent")
    return f"found {seen}" + (f" ({share:.3g} % of the rows)" if isinstance(share, float) else "")
