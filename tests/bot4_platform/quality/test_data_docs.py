"""Great Expectations: honest verdicts, and pages that need no network."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import polars as pl

from bot4_live.settings import Settings
from bot4_platform.lake import Lake
from bot4_platform.partitions import MarketDay
from bot4_platform.quality.data_docs import build, offline
from bot4_platform.quality.judge import verdict
from bot4_platform.run import materialize

TODAY = MarketDay("2024-08-08", "binance_usdm:BTCUSDT")
START = 1_723_161_600 * 10**9 - 200 * 10**9
REMOTE = re.compile(r"(?:src|href)=[\"']?(?:https?:)?//|url\([\"']?https?:|@import", re.IGNORECASE)


def test_docs_say_what_holds_and_read_offline(settings: Settings, maker: Any, tmp_path: Path) -> None:
    maker.session(START, 130)
    assets = ["raw_segments", "trades", "quotes", "depth", "quarantine", "minute_profiles", "data_docs"]
    summary = materialize(assets, [TODAY], settings)
    summary.raise_for_failure()
    assert summary.asset_checks_failed == 0
    docs = settings.root / "data_docs"
    pages = list(docs.rglob("*.html"))
    assert len(pages) >= 5
    for page in pages:
        text = page.read_text()
        assert not REMOTE.search(text), page
        assert "<style>" in text
    front = (docs / "index.html").read_text()
    assert "market_minutes" in front
    assert "8 of 8" in front
    links = re.findall(r'href="([^"]+)"', front)
    assert links
    assert all((docs / link).is_file() for link in links)

    lake = Lake(settings.lake_dir)
    profiles = lake.read("minute_profiles", *TODAY)
    lake.write("minute_profiles", *TODAY, profiles.with_columns(spread_bp_median=pl.lit(500.0)))
    judged = {found.suite: found for found in build(lake, docs)}
    assert not judged["market_minutes"].success
    assert "spread_bp_median" in judged["market_minutes"].failed[0]
    assert "500" in judged["market_minutes"].failed[0]
    assert '<span class="bad">failed</span>' in (docs / "index.html").read_text()
    assert not list(settings.root.glob(".data_docs.*"))


def test_a_metric_that_breaks_is_named() -> None:
    """GX reports success=False with no exception: the cause lies in exception_info."""

    class Found:
        success = False
        exception_info: dict[str, Any] = {"metric": {"raised_exception": True, "exception_message": "no column x"}}  # noqa: RUF012
        result: dict[str, Any] = {}  # noqa: RUF012

        class expectation_config:
            type = "expect_x"
            kwargs: dict[str, Any] = {"column": "x"}  # noqa: RUF012
            meta: dict[str, Any] = {}  # noqa: RUF012

    judged = verdict("suite", "table", 3, [Found()])
    assert judged.failed == ["expect_x(x): could not be computed: no column x"]


def test_offline_keeps_the_text() -> None:
    page = (
        '<html><head><link rel="stylesheet" href="https://cdn/x.css"><script src="https://cdn/x.js"></script>'
        '</head><body><img src="https://a/b.png"><p>kept <a href="https://x.org">link text</a></p>'
        "<script>remote()</script></body></html>"
    )
    found = offline(page)
    assert not REMOTE.search(found)
    assert "kept link text" in found
    assert "remote()" not in found
