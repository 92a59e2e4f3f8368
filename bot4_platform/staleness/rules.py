"""How often each table, view and model gets new data and how late it may be: declared here and nowhere else.

What is older than `cadence + lag` is stale. An asset without a rule of its own (a view, a report, a table whose silence
is good news) is as current as its inputs. A lake table that nobody has declared yet is held to `DEFAULT`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from bot4_live.settings import StrategyParams

MINUTE_S, HOUR_S, DAY_S = 60, 3_600, 86_400
JOURNAL, SEALED = "journal", "sealed_segments"

# Which clock a time column is on. Engine: as journaled. Exchange: original exchange time, which the engine clock of a
# replayed session is ahead of by the session's shift. World: of sources that are no market.
Clock = Literal["engine", "exchange", "world"]


@dataclass(frozen=True)
class Rule:
    """New data every `cadence_s`, here within `lag_s` after that; `column` (int64 ns) is the time of a row.

    `trading` marks what a running session reads; when that is stale, `bot4 why-stale` ends with code 1.
    """

    cadence_s: int
    lag_s: int
    column: str = ""
    clock: Clock = "engine"
    kind: Literal["source", "table", "view", "model"] = "table"
    trading: bool = False

    @property
    def limit_s(self) -> int:
        """Return the age beyond which it is stale, seconds."""
        return self.cadence_s + self.lag_s


def daily(column: str, clock: Clock = "engine", *, lag_s: int = 30 * MINUTE_S) -> Rule:
    """Return the rule of a table that the daily close at 00:10 UTC completes."""
    return Rule(DAY_S, lag_s, column, clock)


_TTL_S = int(StrategyParams.model_fields["slow_ttl_s"].default)

RULES: dict[str, Rule] = {
    # A liquid market is never silent for a minute.
    JOURNAL: Rule(1, MINUTE_S, kind="source", trading=True),
    # BOT4_JOURNAL__ROTATE_S is a day unless set.
    SEALED: Rule(DAY_S, 5 * MINUTE_S, kind="source"),
    "raw_segments": daily("last_recv_ns"),
    "trades": daily("recv_ns"),
    "quotes": daily("recv_ns"),
    "depth": daily("recv_ns"),
    "candles_1m": daily("minute_ns", "exchange"),
    "minute_profiles": daily("minute_ns", "exchange"),
    "mids_250ms": daily("time_ns"),
    "garch": daily("event_ns"),
    "fill_intensity": daily("event_ns"),
    "slow_features": daily("event_ns"),
    "features": daily("recv_ns"),
    # Sources are asked every 15 minutes, exchange history once a day for the day that is over (00:20 UTC).
    "chain_blocks": Rule(15 * MINUTE_S, 45 * MINUTE_S, "created_ns", "world", "source"),
    "news_items": Rule(6 * HOUR_S, HOUR_S, "created_ns", "world", "source"),
    "social_posts": Rule(6 * HOUR_S, HOUR_S, "created_ns", "world", "source"),
    # Most series are monthly.
    "macro_observations": Rule(31 * DAY_S, 7 * DAY_S, "created_ns", "world", "source"),
    "macro_releases": Rule(31 * DAY_S, 7 * DAY_S, "created_ns", "world", "source"),
    "history_candles_1m": Rule(DAY_S, 2 * HOUR_S, "event_ns", "world", "source"),
    "history_trades": Rule(DAY_S, 2 * HOUR_S, "event_ns", "world", "source"),
    "history_funding": Rule(DAY_S + 8 * HOUR_S, 2 * HOUR_S, "event_ns", "world", "source"),
    # The engine lets a slow value go at `slow_ttl_s`: until then it is of use.
    "online_slow_features": Rule(15 * MINUTE_S, _TTL_S - 15 * MINUTE_S, kind="view", trading=True),
    # Retrained on Mondays (M7); a day for the run and its promotion.
    "labels": Rule(7 * DAY_S, DAY_S),
    "training_set": Rule(7 * DAY_S, DAY_S),
    "champion": Rule(7 * DAY_S, 2 * DAY_S, kind="model", trading=True),
}

# A table of the lake without a rule: found by the first of these columns, held to the daily close.
TIME_COLUMNS = (
    ("created_ns", "world"), ("recv_ns", "engine"), ("time_ns", "engine"), ("event_ns", "engine"),
    ("minute_ns", "exchange"), ("bucket_ns", "exchange"), ("exch_ns", "exchange"),
)  # fmt: skip

# No data of their own, or such that may rightly never come: as current as what they are made from. A mart of minutes or
# of statements may have none; a day's candle is a day old at its close.
AS_INPUTS = frozenset({
    "quarantine", "source_quarantine", "funding", "liquidations", "tickers", "onchain_transfers", "dex_swaps",
    "stablecoin_supply", "pass_rates", "feature_drift", "venue_agreement", "quality_page", "stg_trades",
    "basis_1m", "basis_pairs", "liquidations_1m", "funding_1h", "feature_state", "data_docs", "baseline_model",
    "lightgbm_model", "stg_quotes", "stg_depth", "stg_funding", "stg_liquidations", "stg_mids", "candles_5m",
    "candles_15m", "candles_1h", "candles_4h", "candles_1d", "dbt_docs", "history_gaps",
})  # fmt: skip


def rule_of(name: str, columns: dict[str, str]) -> Rule | None:
    """Return the rule of an asset whose lake table has these columns (none: no table); None: as its inputs."""
    if name in RULES:
        return RULES[name]
    if name in AS_INPUTS:
        return None
    for column, clock in TIME_COLUMNS:
        if column in columns:
            return daily(column, clock)  # type: ignore[arg-type]
    return None
