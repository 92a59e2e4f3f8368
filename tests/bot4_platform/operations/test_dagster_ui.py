"""Dagster's own UI in a real browser, over real servers: materialise, backfill, checks that passed and failed, lineage.

One webserver and daemon for all of it. What is clicked is what a user clicks; what is asserted is text on the page and
files in the lake. Pictures are kept under var/screens.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from bot4_live.settings import PROJECT_ROOT, Settings
from bot4_platform.lake import Lake
from bot4_platform.run import materialize
from bot4_platform.timescale.local_server import free_port
from bot4_platform.ui import answers, end
from tests.browser import chromium

pytestmark = [pytest.mark.browser, pytest.mark.system, pytest.mark.slow, pytest.mark.timeout(900)]

SCREENS = PROJECT_ROOT / "var" / "screens"
DAYS = ["2024-08-08", "2024-08-09", "2024-08-10"]
MARKET = "binance_usdm:BTCUSDT"
START = 1_723_075_200 * 10**9 + 3_600 * 10**9
DAY_NS = 86_400 * 10**9
SHOWN_MS = 90_000
RUN_S = 400.0


@pytest.fixture(scope="module")
def account(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Three recorded days; the first is materialised."""
    import importlib.util

    spec = importlib.util.spec_from_file_location("platform_conftest", Path(__file__).parents[1] / "conftest.py")
    assert spec is not None
    assert spec.loader is not None
    helper = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = helper
    spec.loader.exec_module(helper)
    settings = Settings(var=tmp_path_factory.mktemp("ui") / "var", account="ui")
    maker = helper.Maker(settings)
    for i in range(len(DAYS)):
        ids = {"trade_id": 1_000 * (i + 1), "update_id": 10**6 * (i + 1)}
        maker.session(START + i * DAY_NS, 3, seed=i, name=f"s{i}", shift=0, **ids)
    materialize(["raw_segments"], [(DAYS[0], MARKET)], settings).raise_for_failure()
    return settings


@pytest.fixture(scope="module")
def url(account: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """`bot4 platform` with its daemon."""
    port = free_port()
    log = tmp_path_factory.mktemp("servers") / "platform.log"
    arguments = ["platform", "--port", str(port), "--var", str(account.var), "--account", account.account]
    with log.open("wb") as file:
        child = subprocess.Popen(
            [sys.executable, "-m", "bot4_live", *arguments], stdout=file, stderr=file, start_new_session=True,
            env={name: value for name, value in os.environ.items() if not name.startswith("BOT4_")},
        )  # fmt: skip
    try:
        until(lambda: answers(f"http://127.0.0.1:{port}"), lambda: child.poll() is None or log.read_text())
        yield f"http://127.0.0.1:{port}"
    finally:
        end([child])


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium("Dagster's UI") as started:
        yield started


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 1400, "height": 1000}, service_workers="block")
    context.set_default_timeout(SHOWN_MS)
    expect.set_options(timeout=SHOWN_MS)
    context.route(re.compile(r"^https?://(?!127\.0\.0\.1[:/])"), lambda route: route.abort())
    yield context.new_page()
    context.close()


def until(condition: Callable[[], object], fine: Callable[[], object] = lambda: True, seconds: float = RUN_S) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert fine() is True, fine()
        assert time.monotonic() < deadline, "waited for too long"
        time.sleep(0.2)


def keep(page: Page, name: str) -> None:
    SCREENS.mkdir(parents=True, exist_ok=True)
    path = SCREENS / f"{name}.png"
    page.screenshot(path=path)
    assert path.stat().st_size > 10_000, f"{path} is an empty picture"


def launch(page: Page, url: str, days: str, button: str, picture: str) -> None:
    """Open the dialog of the asset, fill in days and markets, see how many partitions that is, and launch."""
    page.goto(f"{url}/assets/raw_segments?view=partitions")
    page.get_by_role("button", name=re.compile("Materialize")).first.click()
    dialog = page.get_by_role("dialog")
    box = dialog.locator("input[type=text]").first
    expect(box).to_be_visible()
    box.fill(days)
    box.press("Enter")
    dialog.get_by_role("button", name="All", exact=True).last.click()  # of the markets
    expect(dialog).to_contain_text(
        re.compile(r"Partition selection\s*" + ("1 partition" if "." not in days else "3 p"))
    )
    keep(page, picture)
    dialog.get_by_role("button", name=button, exact=True).click()


def test_lineage_is_seen(url: str, page: Page) -> None:
    page.goto(f"{url}/assets/raw_segments?view=lineage&lineageScope=downstream&lineageDepth=2")
    for name in ("raw_segments", "trades", "quotes", "minute_profiles"):
        expect(page.get_by_text(name, exact=True).first).to_be_visible()
    page.wait_for_load_state("networkidle")
    keep(page, "ui-lineage")


def test_a_partition_is_materialised_from_the_page(url: str, page: Page, account: Settings) -> None:
    lake = Lake(account.lake_dir)
    assert not lake.exists("raw_segments", DAYS[1], MARKET)
    launch(page, url, DAYS[1], "Launch 1 run", "ui-materialize-dialog")
    expect(page.get_by_text(re.compile("Launched run"))).to_be_visible()
    until(lambda: lake.exists("raw_segments", DAYS[1], MARKET))
    page.goto(f"{url}/runs")
    expect(page.get_by_text("Success").first).to_be_visible()
    page.goto(f"{url}/assets/raw_segments?view=partitions&partition={DAYS[1]}%7C{MARKET}")
    body = page.locator("body")
    expect(body).to_contain_text(DAYS[1])
    expect(body).to_contain_text("first received")  # the table of segments in the metadata
    keep(page, "ui-materialized")


def test_a_backfill_of_several_partitions_is_launched_and_completes(url: str, page: Page, account: Settings) -> None:
    lake = Lake(account.lake_dir)
    launch(page, url, f"[{DAYS[0]}...{DAYS[2]}]", "Launch backfill", "ui-backfill-dialog")
    created = page.get_by_text(re.compile(r"Created backfill (\w+)")).first
    expect(created).to_be_visible()
    name = created.inner_text().split()[2]
    page.goto(f"{url}/runs/b/{name}")
    expect(page.locator("body")).to_contain_text("100% completed", timeout=RUN_S * 1000)
    for day in DAYS:
        expect(page.locator("body")).to_contain_text(f"{day}|{MARKET}")
        assert lake.exists("raw_segments", day, MARKET)
    keep(page, "ui-backfill")


def test_checks_that_passed_and_that_failed_are_seen(url: str, page: Page) -> None:
    body = page.locator("body")
    page.goto(f"{url}/assets/raw_segments?view=checks&checkDetail=digests_hold")
    expect(body).to_contain_text("This is a blocking asset check.")
    expect(body).to_contain_text(re.compile(r"Evaluation result\s*Passed"))
    keep(page, "ui-check-passed")
    # What was recorded in 2024 is old today.
    page.goto(f"{url}/assets/raw_segments?view=checks&checkDetail=data_age")
    expect(body).to_contain_text("This is a non-blocking asset check.")
    expect(body).to_contain_text(re.compile(r"Evaluation result\s*Failed"))
    expect(body).to_contain_text(re.compile(r"old, .* allowed; because of"))
    keep(page, "ui-check-failed")
