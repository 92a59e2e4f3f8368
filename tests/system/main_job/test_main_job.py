"""The main job end to end, by what it left: the figures, the report, the journal, the audit trail."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from typing import Any

import psutil
import pytest

from bot4_live.journal.reader import Journal
from bot4_live.safety import audit

pytestmark = [pytest.mark.system, pytest.mark.timeout(600)]

INT, FLOAT, TEXT, YES_NO, MAP = int, (int, float), str, bool, dict
FIELDS: dict[str, Any] = {
    "source": TEXT, "speed": MAP, "events": INT, "decisions": INT, "orders_sent": INT, "fills": INT,
    "pnl_quote": FLOAT, "fees_quote": FLOAT, "risk_rejections": INT, "train_until_ns": INT, "live_from_ns": INT,
    "model_version": INT, "model_alias": TEXT, "model_score": FLOAT, "baseline_score": FLOAT, "online_features": INT,
    "assets_materialized": INT, "asset_checks_passed": INT, "asset_checks_failed": INT, "quarantined": INT,
    "candles": INT, "flat_ms": FLOAT, "kill_ms": FLOAT, "recv_window_ms": INT, "replay_identical": YES_NO,
    "decision_us": MAP, "wire_us": MAP, "book_compared": INT, "book_matched": INT, "stages_s": MAP,
    "stages_total_s": FLOAT,
}  # fmt: skip
SECTIONS = {
    "quotes": "Book and quotes", "pnl": "Position and PnL", "latency": "Latency", "model": "Model evidence",
    "quality": "Data quality", "kill": "The kill", "run": "Replay and stages",
}  # fmt: skip


@pytest.fixture(scope="session")
def summary(main_job: Any) -> dict[str, Any]:
    return main_job.summary


def test_every_figure_is_there(summary: dict[str, Any]) -> None:
    def sane(name: str, kind: Any) -> bool:
        value = summary.get(name)
        return isinstance(value, kind) and isinstance(value, bool) == (kind is bool)

    assert [name for name, kind in FIELDS.items() if not sane(name, kind)] == []


def test_the_figures_are_also_printed(main_job: Any) -> None:
    assert json.loads(main_job.stdout) == main_job.summary


def test_trading_was_real_and_after_all_that_trained(summary: dict[str, Any]) -> None:
    assert summary["orders_sent"] > 0
    assert summary["decisions"] > 0
    assert summary["train_until_ns"] < summary["live_from_ns"]
    assert summary["model_alias"] == "champion"
    assert summary["model_version"] >= 1
    assert summary["online_features"] >= 3
    assert summary["speed"]["latency"] == 1.0
    assert (summary["fills"] == 0) == bool(summary["why_no_fills"])


def test_money_adds_up(summary: dict[str, Any]) -> None:
    assert summary["fees_quote"] >= 0
    if summary["fills"]:
        # A few hundred USDT were traded on a market that moves by parts of a percent.
        assert 0 < summary["fees_quote"] < 50
        assert abs(summary["pnl_quote"]) < 100


def test_data_was_judged(summary: dict[str, Any]) -> None:
    assert summary["asset_checks_failed"] == 0
    assert summary["asset_checks_passed"] >= summary["assets_materialized"] >= 15
    assert summary["candles"] >= 2


def test_every_bad_frame_was_quarantined_for_its_own_reason(summary: dict[str, Any]) -> None:
    assert summary["quarantined_by_reason"] == summary["bad_frames_by_reason"]
    assert summary["quarantined"] == sum(summary["bad_frames_by_reason"].values()) > 0


def test_the_book_is_proven(summary: dict[str, Any]) -> None:
    assert summary["book_matched"] == summary["book_compared"] > 0
    assert summary["book_gaps"] == summary["book_crossed"] == 0


def test_the_kill(summary: dict[str, Any]) -> None:
    assert summary["kill_open_orders"] > 0
    assert summary["kill_position_lots"] != 0
    assert summary["recv_window_ms"] >= 250
    assert 0 < summary["flat_ms"] <= summary["kill_ms"] <= summary["recv_window_ms"] + 500
    assert summary["after_kill_open_orders"] == 0
    assert summary["after_kill_positions"] == 0


def test_latencies_are_ordered(summary: dict[str, Any]) -> None:
    for name in ("decision_us", "wire_us"):
        assert 0 < summary[name]["p50"] <= summary[name]["p99"]


def test_stages_are_timed(main_job: Any) -> None:
    stages = main_job.summary["stages_s"]
    assert {"exchange", "capture", "platform", "live", "real_time", "kill", "replay", "report"} <= set(stages)
    assert sum(stages.values()) <= main_job.summary["stages_total_s"] + 0.5 <= main_job.seconds + 0.5
    for name in ("capturing", "Dagster", "live (paper)", "kill button", "replaying"):
        assert name in main_job.stderr, "progress names every stage"


def test_the_journal_is_sealed_and_whole(main_job: Any) -> None:
    segments = list(Journal(main_job.settings.journal_dir).segments())
    assert len(segments) >= 4, "capture and three sessions"
    assert all(segment.sealed and segment.torn_bytes == 0 for segment in segments)
    assert sum(int((~s.is_command).sum()) for s in segments) == main_job.summary["events"]
    assert sum(int(s.is_command.sum()) for s in segments) == main_job.summary["replay_commands"]


def test_the_audit_trail_tells_the_kill(main_job: Any) -> None:
    path = main_job.settings.state_dir / audit.FILE
    assert audit.verify(path).fault is None
    events = [line["event"] for line in audit.entries(path)]
    assert events[0] == "watchdog.started"
    asked = events.index("kill.requested")
    assert "kill.confirmed" in events[asked:]
    changed = path.read_text().replace("kill.requested", "kill.imagined")
    forged = main_job.folder / "forged.jsonl"
    forged.write_text(changed)
    assert f"line {asked + 1}:" in str(audit.verify(forged).fault)


def test_nothing_is_left_running_or_in_shared_memory(main_job: Any) -> None:
    mine = str(main_job.folder)
    left = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("BOT4_VAR") == mine:
                left.append(process.cmdline())
        except (psutil.AccessDenied, psutil.NoSuchProcess, psutil.ZombieProcess):
            continue
    assert left == []
    assert not main_job.settings.shm_dir.exists()


class Page(HTMLParser):
    """What a browser would fetch or show."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


def test_the_report_holds_everything_itself(main_job: Any) -> None:
    text = main_job.report
    page = Page(text)
    assert 50_000 < len(text) < 4_000_000
    assert not [tag for tag, _ in page.tags if tag in ("script", "link", "iframe", "object")]
    for tag, attributes in page.tags:
        for name in ("src", "href", "xlink:href"):
            target = attributes.get(name) or "#"
            assert target.startswith(("#", "data:")) or (tag == "a" and "://" not in target), f"<{tag} {name}={target}"
    assert not re.search(r"url\((?!#)|@import", text), "styles fetch nothing"


def test_the_report_has_every_section(main_job: Any) -> None:
    anchors = {attributes["id"] for tag, attributes in Page(main_job.report).tags if tag == "h2"}
    assert anchors >= set(SECTIONS)
    for title in SECTIONS.values():
        assert title in main_job.report
    assert main_job.report.count("<svg") >= 4


def test_the_data_docs_it_links_to_are_there(main_job: Any) -> None:
    links = [a["href"] for tag, a in Page(main_job.report).tags if tag == "a" and not str(a["href"]).startswith("#")]
    assert links
    assert all((main_job.folder / str(link)).is_file() for link in links)
