"""Alerts: what failed, which partition, what that holds up, and what to do; kept as lines, and told to a webhook."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bot4_live.safety.durable import append_line
from bot4_live.settings import Settings
from bot4_platform.operations.settings import OperationsSettings

if TYPE_CHECKING:
    import dagster as dg

ATTEMPTS = 3
FIRST_WAIT_S = 0.5
LONGEST = 2_000  # characters of an error that are kept


@dataclass(frozen=True)
class Failure:
    """One failed step: its assets and the first cause of its error."""

    step: str
    assets: tuple[str, ...]
    error: str


@dataclass(frozen=True)
class Alert:
    """A run that failed. `holds_up` are the assets downstream of what failed; `trading` those a session reads."""

    time_ns: int
    account: str
    run_id: str
    job: str
    partition: str
    failures: tuple[Failure, ...]
    holds_up: tuple[str, ...]
    trading: tuple[str, ...]
    next: str

    @property
    def text(self) -> str:
        """Return it as one line."""
        what = "; ".join(f"{one.step}: {one.error}" for one in self.failures) or f"job {self.job}"
        where = f" ({self.partition})" if self.partition else ""
        holds = f" Holds up {', '.join(self.holds_up)}." if self.holds_up else ""
        return f"bot4 {self.account}{where}: {what}.{holds} {self.next}"


def alerts_path(settings: Settings) -> Path:
    """Return where the account's alerts are kept, one JSON object a line."""
    return settings.root / "alerts.jsonl"


def make_alert(run: dg.DagsterRun, failures: list[tuple[str, str]], graph: Any, account: str, now_ns: int) -> Alert:
    """Return the alert of a failed run; `failures` are (step, error) of it, none when it died as a whole."""
    from bot4_platform.staleness.rules import RULES

    partition = run.tags.get("dagster/partition", "")
    by_step: dict[str, list[str]] = {}
    for key in graph.get_all_asset_keys():
        made = graph.get(key).assets_def if graph.get(key).is_materializable else None
        if made is not None:
            by_step.setdefault(made.op.name, []).append(key.to_user_string())
    found = tuple(
        Failure(step, tuple(sorted(by_step.get(step, ()))), " ".join(error.split())[:LONGEST])
        for step, error in failures
    )
    failed = {name for one in found for name in one.assets}
    if not found:  # it was killed, or never began: everything it was to make
        failed = {key.to_user_string() for key in run.asset_selection or ()}
    holds = _downstream(failed, graph)
    trading = tuple(name for name in sorted(failed | set(holds)) if name in RULES and RULES[name].trading)
    return Alert(
        now_ns, account, run.run_id, run.job_name, partition, found, holds, trading, _next_step(partition, failed)
    )


def _downstream(names: set[str], graph: Any) -> tuple[str, ...]:
    import dagster as dg

    seen: set[str] = set()
    waiting = sorted(names)
    while waiting:
        for child in graph.get(dg.AssetKey.from_user_string(waiting.pop())).child_keys:
            name = child.to_user_string()
            if name not in seen | names:
                seen.add(name)
                waiting.append(name)
    return tuple(sorted(seen))


def _next_step(partition: str, failed: set[str]) -> str:
    selection = " or ".join(f'key:"{name}"' for name in sorted(failed)) or "*"
    day, _, market = partition.partition("|")
    span = f" --from {day} --to {day}" if day else ""
    return (
        f"When the cause is gone: bot4 backfill '{f'({selection})+' if len(failed) > 1 else f'{selection}+'}'{span}"
        f"{f' --market {market}' if market else ''}, or re-execute the run from its failure in `bot4 platform`."
    )


def raise_alert(
    settings: Settings, operations: OperationsSettings, alert: Alert, sleep: Callable[[float], None] = time.sleep
) -> str:
    """Keep an alert, durably, after it was posted to the webhook if there is one; return how that went.

    Raises OSError when the file cannot be written. A webhook that fails is in the line.
    """
    went = post(operations, alert, sleep) if operations.webhook.get_secret_value() else "no webhook is set"
    line = json.dumps(asdict(alert) | {"text": alert.text, "webhook": went})
    append_line(alerts_path(settings), line.encode())
    return went


def post(operations: OperationsSettings, alert: Alert, sleep: Callable[[float], None] = time.sleep) -> str:
    """POST an alert as JSON, again after 0.5 and 1 s (more or less) when that may help; return how it went.

    A webhook that sends elsewhere (3xx) is not followed: it would get a GET, and another host the token. What is
    returned holds neither address nor token.
    """
    import requests

    headers = {"Content-Type": "application/json", "User-Agent": "bot4"}
    if operations.webhook_token.get_secret_value():
        headers["Authorization"] = f"Bearer {operations.webhook_token.get_secret_value()}"
    body = json.dumps(asdict(alert) | {"text": alert.text}).encode()
    went = ""
    for attempt in range(ATTEMPTS):
        if attempt:
            sleep(FIRST_WAIT_S * 2 ** (attempt - 1) * random.uniform(0.5, 1.5))
        try:
            answer = requests.post(
                operations.webhook.get_secret_value(), body, headers=headers, timeout=operations.webhook_timeout_s,
                allow_redirects=False,
            )  # fmt: skip
        except requests.RequestException as error:
            went = f"not reached ({type(error).__name__})"
            continue
        if answer.status_code < 300:
            return f"told ({answer.status_code})"
        went = f"refused ({answer.status_code})"
        if answer.status_code < 500 and answer.status_code != 429:
            break
    return went
