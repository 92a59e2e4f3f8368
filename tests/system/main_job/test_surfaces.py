"""What a user sees after the run, in a real browser without a network: report, Data Docs, Dagster, MLflow."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from bot4_live.settings import PROJECT_ROOT
from bot4_platform.mlops import registry
from bot4_platform.timescale.local_server import free_port
from tests.browser import chromium

pytestmark = [
    pytest.mark.browser,
    pytest.mark.system,
    pytest.mark.timeout(600),
]

SCREENS = PROJECT_ROOT / "var" / "demo" / "screens"
SHOWN_MS = 45_000
STARTED_S = 120.0
GROUPS = ("ingestion", "lake", "candles", "features", "volatility", "quality", "training", "promotion")
MODEL = "mid_return_1s"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium("the surfaces of a run") as started:
        yield started


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A fresh page that reaches files and this machine only; what else it asks for is refused."""
    context = browser.new_context(viewport={"width": 1400, "height": 900}, service_workers="block")
    context.set_default_timeout(SHOWN_MS)
    expect.set_options(timeout=SHOWN_MS)

    def only_here(route: Route) -> None:
        if re.match(r"(https?|wss?)://127\.0\.0\.1[:/]|file:|data:|blob:", route.request.url):
            route.continue_()
        else:
            route.abort()

    context.route("**/*", only_here)
    yield context.new_page()
    context.close()


def screenshot(page: Page, name: str, *, whole: bool = False) -> None:
    """Keep what the page shows under var/demo/screens."""
    SCREENS.mkdir(parents=True, exist_ok=True)
    path = SCREENS / f"{name}.png"
    page.screenshot(path=path, full_page=whole)
    assert path.stat().st_size > 10_000, f"{path} is an empty picture"


# Files.


def test_the_report_reads_well_offline(main_job: Any, page: Page) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(f"file://{main_job.folder}/report.html")
    expect(page.get_by_role("heading", level=1)).to_have_text("Bot4: the main job, end to end")
    titles = page.get_by_role("heading", level=2).all_inner_texts()
    assert {"Book and quotes", "Position and PnL", "Latency", "Model evidence", "Data quality", "The kill"} <= set(
        titles
    )
    cards = page.locator(".card").all_inner_texts()
    assert any(f"{main_job.summary['orders_sent']:,}" in card and "orders" in card for card in cards)
    assert any("yes" in card and "replay" in card for card in cards)
    for i in range(charts := page.locator("svg").count()):
        box = page.locator("svg").nth(i).bounding_box()
        assert box is not None
        assert box["width"] > 300
        assert box["height"] > 80
    assert charts >= 4
    assert page.evaluate("document.documentElement.scrollWidth") <= 1400, "nothing runs off to the right"
    pictures = page.locator("img")
    assert all(pictures.nth(i).evaluate("i => i.naturalWidth") > 0 for i in range(pictures.count()))
    assert [url for url in asked if not url.startswith(("file:", "data:"))] == []
    screenshot(page, "report", whole=True)
    screenshot(page, "report-top")


def test_the_report_reads_on_a_telephone(main_job: Any, page: Page) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto(f"file://{main_job.folder}/report.html")
    expect(page.get_by_role("heading", name="Book and quotes")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    screenshot(page, "report-telephone")


def test_data_docs_read_offline(main_job: Any, page: Page) -> None:
    page.goto(f"file://{main_job.settings.root}/data_docs/index.html")
    expect(page.get_by_role("heading", name="Data quality")).to_be_visible()
    rows = page.locator("tr", has_text="passed")
    assert rows.count() >= 3
    for suite in ("market_minutes", "quote_sample", "slow_features"):
        expect(page.locator("tr", has_text=suite)).to_contain_text(re.compile(r"passed.*(\d+) of \1", re.DOTALL))
    screenshot(page, "data-docs")
    page.get_by_role("link", name="market_minutes").click()
    body = page.locator("body")
    expect(body).to_contain_text("Succeeded")
    expect(body).to_contain_text(re.compile(r"Successful Expectations\s*8"))
    expect(body).to_contain_text(re.compile(r"Unsuccessful Expectations\s*0"))
    expect(body).to_contain_text("quote_gap_ms_max")
    screenshot(page, "data-docs-suite", whole=True)


def test_the_report_leads_to_the_quality_page(main_job: Any, page: Page) -> None:
    page.goto(f"file://{main_job.folder}/report.html")
    page.get_by_role("link", name="the quality page").click()
    expect(page.locator(".rate")).to_contain_text("%")
    expect(page.locator("#trend svg")).to_be_visible()
    expect(page.locator("#quarantine")).to_contain_text("OUTLIER")
    screenshot(page, "quality", whole=True)


# Servers: both start at once, since each takes seconds.


class Server:
    """A server on loopback, in a session of its own."""

    def __init__(self, name: str, folder: Path, environment: dict[str, str], path: str, *command: str) -> None:
        self.port = free_port()
        self.name, self.log, self._alive = name, folder / f"{name}.log", path
        self._file: IO[str] = self.log.open("w")
        self.process = subprocess.Popen(
            [sys.executable, "-m", *command, "--port", str(self.port)],
            env=environment, cwd=folder, stdout=self._file, stderr=self._file, start_new_session=True,
        )  # fmt: skip

    def url(self) -> str:
        """Wait until it answers; return its address."""
        deadline = time.monotonic() + STARTED_S
        while True:
            assert self.process.poll() is None, f"{self.name} ended: {self.log.read_text()[-3000:]}"
            assert time.monotonic() < deadline, f"{self.name} does not answer: {self.log.read_text()[-3000:]}"
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{self._alive}", timeout=5) as answer:
                    if answer.status == 200:
                        return f"http://127.0.0.1:{self.port}"
            except OSError:
                time.sleep(0.2)

    def close(self) -> None:
        """Stop it and what it started."""
        self.process.terminate()
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        self._file.close()


@pytest.fixture(scope="module", autouse=True)
def servers(browser: Browser, main_job: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Server]]:
    """`bot4 platform` and MLflow's server over the run's account; they warm up while the files are looked at."""
    folder, environment = tmp_path_factory.mktemp("servers"), main_job.environment
    store = registry.tracking_uri(main_job.settings)
    quiet = {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    mlflow = ("mlflow", "server", "--backend-store-uri", store, "--host", "127.0.0.1", "--workers", "1")
    running: dict[str, Server] = {}
    try:
        running["dagster"] = Server("dagster", folder, environment, "/server_info", "bot4_live", "platform")
        running["mlflow"] = Server("mlflow", folder, environment | quiet, "/health", *mlflow)
        yield running
    finally:
        for server in running.values():
            server.close()


@pytest.fixture(scope="module")
def dagster(servers: dict[str, Server]) -> str:
    return servers["dagster"].url()


@pytest.fixture(scope="module")
def mlflow(servers: dict[str, Server]) -> str:
    return servers["mlflow"].url()


# Dagster.


def test_dagster_shows_the_lineage_of_every_asset(dagster: str, page: Page) -> None:
    page.goto(f"{dagster}/asset-groups")
    for group in GROUPS:
        expect(page.get_by_text(group, exact=True).first).to_be_visible()
    screenshot(page, "dagster-groups")
    # All assets at once are too many to be read: each stretch of the way by itself.
    for asset, scope, others in (
        ("raw_segments", "downstream", ("trades", "quotes")),
        ("candles_1m", "upstream", ("stg_trades",)),
        ("training_set", "upstream", ("features",)),
        ("champion", "upstream", ("lightgbm_model",)),
    ):
        page.goto(f"{dagster}/assets/{asset}?view=lineage&lineageScope={scope}&lineageDepth=1")
        for name in (asset, *others):
            expect(page.get_by_text(name, exact=True).last).to_be_visible()
    page.wait_for_load_state("networkidle")  # the colours of what is materialized come last
    screenshot(page, "dagster-lineage")


def test_dagster_shows_what_was_materialized_and_that_it_was_checked(dagster: str, page: Page) -> None:
    page.goto(f"{dagster}/assets/candles_1m")
    body = page.locator("body")
    expect(body).to_contain_text("Latest materialization")
    expect(body).to_contain_text("binance_usdm:BTCUSDT")
    expect(body).to_contain_text("One-minute candles in ticks and lots")
    expect(body).to_contain_text("Price of the last trade by (exchange time, trade id), ticks.")
    expect(body).to_contain_text("minute (UTC)")  # the table of candles in the metadata
    screenshot(page, "dagster-asset")


def test_dagster_shows_the_checks_of_the_champion(dagster: str, page: Page, main_job: Any) -> None:
    page.goto(f"{dagster}/assets/champion?view=checks")
    body = page.locator("body")
    for check in ("bundle_is_the_champion", "promotion_is_explained"):
        expect(body).to_contain_text(check)
    expect(body).to_contain_text("This is a blocking asset check.")
    expect(body).to_contain_text(re.compile(r"Evaluation result\s*Passed"))
    expect(body).to_contain_text(re.compile(rf"version\s*{main_job.summary['model_version']}"))
    screenshot(page, "dagster-checks")


def test_dagster_shows_schedules_and_sensors(dagster: str, page: Page) -> None:
    page.goto(f"{dagster}/automation")
    for name in ("daily_close", "weekly_training", "sealed_segments"):
        expect(page.get_by_text(name, exact=True).first).to_be_visible()
    expect(page.locator("body")).to_contain_text("At 12:10 AM UTC")
    screenshot(page, "dagster-automation")


def test_dagster_shows_runs_that_succeeded(dagster: str, page: Page) -> None:
    page.goto(f"{dagster}/runs")
    expect(page.get_by_text("Success").first).to_be_visible()
    expect(page.get_by_text("Failure", exact=True)).to_have_count(0)
    screenshot(page, "dagster-runs")


# MLflow.


def close_assistant(page: Page) -> None:
    """Close the panel that MLflow opens beside everything."""
    panel = page.get_by_role("button", name="Close")
    if panel.count():
        panel.first.click()


def test_mlflow_shows_the_model_its_versions_and_the_champion(mlflow: str, page: Page, main_job: Any) -> None:
    page.goto(f"{mlflow}/#/models/{MODEL}")
    expect(page.get_by_role("heading", name=MODEL)).to_be_visible()
    champion = page.get_by_role("row", name=re.compile(rf"Version {main_job.summary['model_version']}\b"))
    expect(champion).to_contain_text("@ champion")
    expect(page.get_by_role("row", name=re.compile(r"Version 2\b"))).to_be_visible()
    expect(page.locator("body")).to_contain_text("Forecast of the mid's return over the next second")
    close_assistant(page)
    screenshot(page, "mlflow-model")


def test_mlflow_shows_the_evidence_of_a_version(mlflow: str, page: Page, main_job: Any) -> None:
    page.goto(f"{mlflow}/#/models/{MODEL}/versions/2")
    body = page.locator("body")
    expect(body).to_contain_text("on the holdout")
    expect(body).to_contain_text(f"{main_job.summary['model_score']:+.4f}")
    expect(body).to_contain_text("bot4.gates")
    expect(body).to_contain_text("bot4.verdict")
    close_assistant(page)
    screenshot(page, "mlflow-version")
    page.get_by_role("link", name="lightgbm").first.click()
    page.get_by_role("tab", name="Overview").click()
    for metric in ("model_score.value", "baseline_score.value", "advantage.low", "holdout_rows"):
        expect(page.get_by_text(metric, exact=True).first).to_be_visible()
    screenshot(page, "mlflow-run")
