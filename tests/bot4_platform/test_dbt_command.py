"""`bot4 dbt`: the page with every model, and ages by the time of the data."""

from __future__ import annotations

import json
from typing import Any

import polars as pl
import pytest
from click.testing import CliRunner

from bot4_live.settings import Settings
from bot4_platform import dbt_runner
from bot4_platform.commands.dbt import command
from bot4_platform.lake import Lake
from bot4_platform.partitions import MarketDay
from bot4_platform.run import materialize
from bot4_platform.tables import TABLES

TODAY = MarketDay("2024-08-08", "binance_usdm:BTCUSDT")
MINUTE = 60 * 10**9


def named(settings: Settings) -> list[str]:
    return ["--var", str(settings.var), "--account", settings.account]


def trades(*rows: tuple[int, int]) -> pl.DataFrame:
    """Return trades at (ns after the day's start, id)."""
    ids = [number for _, number in rows]
    times = [TODAY.start_ns + at for at, _ in rows]
    return pl.DataFrame(
        {"seq": ids, "recv_ns": times, "exch_ns": times, "trade_id": ids, "price": 100, "qty": 2, "sell": False},
        schema=TABLES["trades"].schema(),
    )


@pytest.mark.usefixtures("quick_dbt")
def test_ages_are_those_of_the_data(settings: Settings) -> None:
    lake = Lake(settings.lake_dir)
    lake.write("trades", *TODAY, trades((0, 1), (24 * 60 * MINUTE - 5 * 10**9, 2)))
    lake.write("quotes", *TODAY, TABLES["quotes"].empty())
    run = CliRunner().invoke(command, ["freshness", *TODAY, "--json", *named(settings)])
    assert run.exit_code == 1, run.output
    found = json.loads(run.stdout.splitlines()[-1])
    assert (found["trades"]["status"], found["trades"]["age_s"]) == ("pass", 5.0)
    assert found["trades"]["newest"] == "2024-08-08T23:59:55+00:00"
    assert found["quotes"]["status"] == "error"  # a day without a quote is no fresh source
    odd = Lake(settings.root / "Anna's lake")
    odd.write("trades", *TODAY, trades((0, 1), (23 * 60 * MINUTE, 2)))
    (late,) = dbt_runner.freshness(odd.root, *TODAY, settings.root / "dbt", tables=["trades"])
    assert (late.status, late.age_s) == ("warn", 3600.0)
    with pytest.raises(FileNotFoundError, match="has nothing of kraken:BTC-USD"):
        CliRunner().invoke(
            command, ["freshness", TODAY.day, "kraken:BTC-USD", *named(settings)], catch_exceptions=False
        )


@pytest.mark.slow
@pytest.mark.usefixtures("quick_dbt")
def test_the_page_has_every_model(settings: Settings, run_check: Any) -> None:
    materialize(["dbt_docs"], [], settings).raise_for_failure()
    page = settings.root / "dbt_docs" / "index.html"
    text = page.read_text()
    for path in (dbt_runner.DBT_DIR / "models").rglob("*.sql"):
        assert f'"model.bot4.{path.stem}"' in text
    assert "never by arrival, so late, doubled and reordered events change" in text
    assert '"exposure.bot4.demo_report"' in text
    assert [path.name for path in page.parent.iterdir()] == ["index.html"]
    page.write_text(text.replace('"model.bot4.candles_4h"', '"model.bot4.gone"'))
    run = CliRunner().invoke(command, ["docs", *named(settings)])
    assert run.exit_code == 0
    assert run.stdout.strip() == str(page)
    assert '"model.bot4.candles_4h"' in page.read_text()


@pytest.mark.browser
@pytest.mark.slow
def test_the_page_reads_without_a_network(settings: Settings) -> None:
    from playwright.sync_api import expect

    from tests.browser import chromium

    page_file = dbt_runner.write_docs(settings.root / "dbt_docs", settings.root / "dbt")
    asked: list[str] = []
    with chromium("the documents of the marts") as browser:
        page = browser.new_page(viewport={"width": 1400, "height": 900})
        page.on("request", lambda request: asked.append(request.url))
        page.goto(page_file.as_uri())
        expect(page.get_by_text("Bot4: marts")).to_be_visible(timeout=60_000)
        page.goto(f"{page_file.as_uri()}#!/model/model.bot4.candles_5m")
        expect(page.get_by_text("Five-minute candles, stacked on candles_1m").first).to_be_visible(timeout=60_000)
        expect(page.get_by_text("Sum of price x quantity, ticks x lots.").first).to_be_visible(timeout=60_000)
    assert [url for url in asked if not url.startswith(("file:", "data:", "blob:"))] == []
