"""What a session says of itself: a line at the start, a line a second, and a file at the end."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from bot4_live.events import Kind, Mode
from bot4_live.instrument import Instrument
from bot4_live.safety.control import RunnerState
from bot4_live.safety.durable import write_json
from bot4_live.session.core import Core

STATES = {RunnerState.STARTING: "starting", RunnerState.HOLD: "hold", RunnerState.TRADING: "trading",
          RunnerState.STOPPING: "stopping", RunnerState.STOPPED: "stopped"}  # fmt: skip


def counters(core: Core) -> dict[str, Any]:
    """Return what a session did, by the names that summaries use."""
    kinds, engine = core.kinds, core.engine.counters
    return {
        "events": core.events,
        "watched_events": core.watched,
        "decisions": engine["decisions"],
        "orders_decided": kinds[Kind.CMD_NEW],
        "orders_sent": core.dispatcher.counts["sent"] if core.dispatcher else 0,
        "cancels_sent": core.dispatcher.counts["cancels"] if core.dispatcher else 0,
        "fills": kinds[Kind.ORDER_FILL],
        "rejected": kinds[Kind.ORDER_REJECTED],
        "unknown": kinds[Kind.ORDER_UNKNOWN],
        "suppressed": kinds[Kind.SUPPRESSED],
        "duplicates_dropped": core.duplicates,
        "online_features": kinds[Kind.SLOW_FEATURE],
        "model_swaps": kinds[Kind.MODEL_SWAP],
        "quarantined": kinds[Kind.QUARANTINE],
        "risk_rejections": engine["risk_rejections"],
        "position_lots": core.ledger.position,
        "open_orders": len(core.ledger.live_orders()),
        "pnl_e8": core.engine.account["equity_e8"],
        "fees_e8": core.engine.account["fees_e8"],
        "last_seq": core.last_seq,
    }


def status_line(core: Core, instrument: Instrument, state: int, mode: int) -> str:
    """Return one line for people."""
    quotes = core.engine.quotes

    def price(side: str) -> str:
        return f"{instrument.price(int(quotes[side]))}" if quotes[side] else "-"

    account = core.engine.account
    decide = core.latency.decision.quantile_us(0.5)
    return (
        f"{STATES.get(state, '?'):8s} {Mode(mode).name:9s} events {core.events:,}  quotes {price('bid')} / "
        f"{price('ask')}  position {instrument.qty(core.ledger.position)}  open {len(core.ledger.live_orders())}  "
        f"fills {core.kinds[Kind.ORDER_FILL]}  pnl {account['equity_e8'] / 1e8:+.4f}  "
        f"decide p50 {decide if decide is not None else float('nan'):.0f} us"
    )


def write_report(
    state_dir: Path, session: str, core: Core, started_mono: float, extra: dict[str, Any]
) -> tuple[Path, dict[str, Any]]:
    """Write `latency-<session>.json` and return its path and content. Durations are real time."""
    content: dict[str, Any] = {
        "session": session,
        "pid": os.getpid(),
        "seconds": round(time.monotonic() - started_mono, 3),
        "speed_milli": core.clock.speed_milli,
        **core.latency.as_dict(),
        "counters": counters(core),
        **extra,
    }
    path = state_dir / f"latency-{session}.json"
    write_json(path, content, sync=False)  # once a second, on the event loop
    return path, content
