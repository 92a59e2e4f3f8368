"""A failed run becomes an alert that says what, which partition, what it holds up and what to do; told on loopback."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import dagster as dg
import pytest
from pydantic import SecretStr

from bot4_live.settings import Settings
from bot4_platform.definitions import defs
from bot4_platform.instance import open_instance
from bot4_platform.operations.alerts import Alert, Failure, alerts_path, make_alert, post, raise_alert
from bot4_platform.operations.settings import OperationsSettings
from bot4_platform.resources import Bot4Resource
from bot4_platform.run import materialize

PART = ("2024-08-08", "binance_usdm:BTCUSDT")
ALERT = Alert(1, "test", "r1", "market_day", "|".join(PART), (Failure("ticks", ("trades",), "no such segment"),),
              ("candles_1m",), (), "do this")  # fmt: skip


class Hook:
    """A webhook that answers with the given codes, the last one again and again."""

    def __init__(self, codes: list[int]) -> None:
        self.got: list[tuple[dict[str, str], dict[str, Any]]] = []
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                hook.got.append((dict(self.headers), json.loads(body)))
                self.send_response(codes[min(len(hook.got), len(codes)) - 1])
                self.send_header("Location", "/elsewhere")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                return

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def settings(self) -> OperationsSettings:
        port = self.server.server_port
        return OperationsSettings(
            webhook=SecretStr(f"http://127.0.0.1:{port}/alerts/hush"), webhook_token=SecretStr("hush-hush")
        )


@pytest.fixture
def hook(request: pytest.FixtureRequest) -> Iterator[Hook]:
    made = Hook(request.param)
    yield made
    made.server.shutdown()
    made.server.server_close()


@pytest.mark.parametrize(
    ("hook", "tries", "went"),
    [([200], 1, "told (200)"), ([503, 429, 204], 3, "told (204)"), ([403], 1, "refused (403)"),
     ([500], 3, "refused (500)"), ([302], 1, "refused (302)")],
    indirect=["hook"],
)  # fmt: skip
def test_the_webhook_is_told_and_asked_again(hook: Hook, tries: int, went: str, settings: Settings) -> None:
    pauses: list[float] = []
    alerts_path(settings).parent.mkdir(parents=True)
    alerts_path(settings).write_text('{"a full disk')
    assert raise_alert(settings, hook.settings, ALERT, pauses.append) == went
    assert len(hook.got) == tries == len(pauses) + 1
    assert all(pause > 0 for pause in pauses)
    headers, body = hook.got[-1]
    assert headers["Authorization"] == "Bearer hush-hush"
    assert body["text"] == "bot4 test (2024-08-08|binance_usdm:BTCUSDT): ticks: no such segment. Holds up " \
        "candles_1m. do this"  # fmt: skip
    torn, line = alerts_path(settings).read_text().splitlines()
    assert torn == '{"a full disk', "what was there stays, and spoils nothing"
    kept = json.loads(line)
    assert (kept["webhook"], kept["run_id"], kept["failures"][0]["assets"]) == (went, "r1", ["trades"])
    assert "hush" not in line
    assert "hush" not in repr(hook.settings)


def test_a_webhook_that_is_not_there_is_in_the_line(settings: Settings) -> None:
    nobody = OperationsSettings(webhook=SecretStr("http://127.0.0.1:1/x"))
    assert post(nobody, ALERT, lambda seconds: None) == "not reached (ConnectionError)"
    assert raise_alert(settings, OperationsSettings(), ALERT) == "no webhook is set"
    with pytest.raises(ValueError, match="no address"):
        OperationsSettings(webhook=SecretStr("ftp://x"))


def test_the_sensor_tells_of_a_run_that_failed(settings: Settings, maker: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from bot4_platform.defs.operations.sensors import failure_alerts

    monkeypatch.setattr("bot4_platform.settings.platform_settings", lambda: type("P", (), {
        "operations": OperationsSettings()})())  # fmt: skip
    summary = materialize(["raw_segments"], [PART], settings)  # of a day that nobody recorded
    assert not summary.success
    with open_instance(settings) as instance:
        run = instance.get_run_by_id(summary.run_ids[0])
        assert run is not None
        event = next(
            entry.dagster_event for entry in instance.all_logs(run.run_id)
            if entry.dagster_event and entry.dagster_event.event_type == dg.DagsterEventType.RUN_FAILURE
        )  # fmt: skip
        context = dg.build_run_status_sensor_context(
            "failure_alerts", event, instance, run, resources={"bot4": Bot4Resource.of(settings)}
        ).for_run_failure()
        failure_alerts(context)
    (line,) = alerts_path(settings).read_text().splitlines()
    alert = json.loads(line)
    assert alert["partition"] == "|".join(PART)
    assert alert["failures"][0]["step"] == "raw_segments"
    assert alert["failures"][0]["assets"] == ["raw_segments"]
    assert "record that day first" in alert["failures"][0]["error"]
    assert {"trades", "candles_1m", "features", "champion"} <= set(alert["holds_up"])
    assert set(alert["trading"]) == {"champion", "online_slow_features"}
    assert """bot4 backfill 'key:"raw_segments"+' --from 2024-08-08 --to 2024-08-08""" in alert["next"]


def test_a_run_that_died_whole_names_what_it_was_to_make() -> None:
    run = dg.DagsterRun(job_name="x", run_id="r", asset_selection=frozenset({dg.AssetKey("data_docs")}))
    alert = make_alert(run, [], defs.resolve_asset_graph(), "test", 5)
    assert (alert.failures, alert.partition) == ((), "")
    assert """bot4 backfill 'key:"data_docs"+',""" in alert.next
    assert "job x" in alert.text
