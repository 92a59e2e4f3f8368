"""The quality page: figures that are the lake's, in HTML that needs nothing else; then as a browser shows it."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, Route, expect

from bot4_live.settings import Settings
from bot4_platform.lake import Lake
from bot4_platform.quality.page import charts
from bot4_platform.quality.page.build import build
from bot4_platform.quality.page.charts import nines, percent
from bot4_platform.quality.page.facts import Rate, collect
from bot4_platform.quality.page.verify import problems
from bot4_platform.run import materialize
from bot4_platform.settings import quality_page
from tests.browser import chromium


def test_facts_are_the_lakes(judged_account: Settings) -> None:
    facts = collect(judged_account)
    rows = Lake(judged_account.lake_dir).read("pass_rates")
    assert facts.all.passed == rows.filter(rows["rule"] == "")["frames"].sum()
    assert facts.all.refused == rows.filter(rows["rule"] != "")["frames"].sum() == sum(facts.rules.values())
    assert sum(rate.total for rate in facts.cells.values()) == facts.all.total
    assert [day for day, rate in facts.days.items() if not rate.met] == ["2024-08-02"]
    assert {suite["suite"] for suite in facts.suites if not suite["success"]} == {"market_minutes"}
    assert facts.drifted[0] == 1
    assert {len(samples) for samples in facts.samples.values()} == {2}


def test_the_page_needs_nothing_else_and_its_links_hold(judged_account: Settings) -> None:
    assert problems(judged_account) == []
    path = quality_page(judged_account)
    text = path.read_text()
    assert "<script" not in text
    assert text.count('href="data_docs/') >= 3
    assert "&lt;b&gt;" in text, "frames are shown as text"
    assert '<b>"}' not in text


def test_a_page_that_is_broken_is_said_to_be(judged_account: Settings, tmp_path: Path) -> None:
    settings = Settings(var=tmp_path, account="copy")
    assert problems(settings) == [f"there is no {quality_page(settings)}: materialize the asset quality_page"]
    shutil.copytree(judged_account.root, settings.root)
    assert problems(settings) == []
    path = quality_page(settings)
    path.write_text(path.read_text().replace("</body>", '<img src="https://cdn.example/x.png"></body>'))
    shutil.rmtree(settings.root / "data_docs" / "validations")
    (settings.lake_dir / "pass_rates" / "day=2024-08-08" / "market=kraken_XBTUSD" / "part.parquet").unlink()
    found = problems(settings)
    assert "asks for something that is not in it" in found[0]
    assert any("leads nowhere" in text for text in found)
    assert "does not show the lake's" in found[-1]


def test_the_asset_makes_it_and_checks_it(judged_account: Settings, tmp_path: Path) -> None:
    settings = Settings(var=tmp_path, account="copy")
    shutil.copytree(judged_account.root, settings.root)
    quality_page(settings).unlink()
    summary = materialize(["quality_page"], [], settings)
    summary.raise_for_failure()
    assert (summary.asset_checks_passed, summary.asset_checks_failed) == (1, 0)
    assert problems(settings) == []


def test_an_empty_account_has_a_page_that_says_so(settings: Settings) -> None:
    path, facts = build(settings)
    text = path.read_text()
    assert facts.all.total == 0
    assert "nothing was judged yet" in text
    assert "materialize the asset pass_rates" in text
    assert "the journal has no data" in text


def test_rates_are_written_with_the_digits_they_need() -> None:
    shown = {1.0: "100 %", 0.999: "99.900 %", 0.5: "50.0 %", 0.99999: "99.99900 %", 1 - 1e-9: "100.000000 %"}
    assert {share: percent(share) for share in shown if share != 1 - 1e-9} == {
        share: text for share, text in shown.items() if share != 1 - 1e-9
    }
    assert nines(0.999) == pytest.approx(3)
    assert nines(1.0) == 6
    one = charts.trend({"2024-08-08": Rate(999, 1)})
    assert "2024-08-08: 99.900 % of 1,000 frames passed, 1 refused" in one


# In a browser.


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    """A page of headless Chromium that reaches files only."""
    with chromium("the quality page") as browser:
        context = browser.new_context(viewport={"width": 1280, "height": 900})

        def files_only(route: Route) -> None:
            if route.request.url.startswith(("file:", "data:")):
                route.continue_()
            else:
                route.abort()

        context.route("**/*", files_only)
        yield context.new_page()


@pytest.mark.browser
def test_the_page_shows_the_rate_its_trend_and_where_it_was_lost(
    judged_account: Settings, page: Page, screens: Path
) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    facts = collect(judged_account)
    page.goto(f"file://{quality_page(judged_account)}")
    newest = facts.days["2024-08-08"]
    expect(page.locator(".rate")).to_have_text(percent(newest.share))
    expect(page.locator("header")).to_contain_text("19 of 20")
    trend = page.locator("#trend svg")
    expect(trend).to_have_attribute("aria-label", "Pass rate by day")
    assert trend.locator("circle").count() == 20
    assert trend.locator("circle.bad").count() == 1
    expect(trend).to_contain_text("target 99.9 %")
    expect(page.locator("#where")).to_contain_text("kraken:XBTUSD")
    expect(page.locator("#where")).to_contain_text("BAD_SEQUENCE")
    expect(page.locator("#drift")).to_contain_text("volatility")
    assert page.locator("#drift .chip.bad").count() == 1
    expect(page.locator("#agreement")).to_contain_text("agree")
    page.locator("#ages summary").click()
    expect(page.locator("#ages")).to_contain_text("held up by")
    page.locator("#quarantine summary", has_text="NOT_JSON").click()
    expect(page.locator("#quarantine pre").first).to_contain_text("502 Bad Gateway")
    assert page.evaluate("document.documentElement.scrollWidth") <= 1280
    assert [url for url in asked if not url.startswith("file:")] == []
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        page.screenshot(path=screens / f"quality-{scheme}.png", full_page=True)
        assert (screens / f"quality-{scheme}.png").stat().st_size > 50_000
    page.emulate_media(color_scheme="light")
    page.set_viewport_size({"width": 390, "height": 844})
    assert page.evaluate("document.documentElement.scrollWidth") <= 390, "it reads on a telephone"
    page.set_viewport_size({"width": 1280, "height": 900})


@pytest.mark.browser
def test_a_failing_expectation_is_opened_in_the_data_docs(judged_account: Settings, page: Page, screens: Path) -> None:
    page.goto(f"file://{quality_page(judged_account)}")
    failing = page.locator("#expectations .fail", has_text="spread_bp_median")
    expect(failing).to_contain_text("found")
    expect(failing).to_contain_text("The usual spread of a liquid market")
    failing.get_by_role("link", name="market_minutes").click()
    expect(page).to_have_url(re.compile("data_docs/validations/market_minutes"))
    body = page.locator("body")
    expect(body).to_contain_text("Failed")
    expect(body).to_contain_text(re.compile(r"Unsuccessful Expectations\s*1"))
    expect(body).to_contain_text("spread_bp_median")
    page.screenshot(path=screens / "data-docs-failing.png", full_page=True)
    assert (screens / "data-docs-failing.png").stat().st_size > 30_000
