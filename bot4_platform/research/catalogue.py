"""The signals of books and trades and what each claims. A claim is fixed before the data are looked at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Claim = Literal["return", "variance", "wall", "withdrawal", "wait", "fill"]

# What a figure is, by the claim it judges. Every figure is positive where the claim holds.
FIGURES: dict[Claim, str] = {
    "return": "rank correlation with the return of the mid over the horizon; its sign is that of the first half",
    "variance": "rank correlation with the realised variance of the next horizon, after the ranks of that of the last "
    "horizon and of the feature `volatility` are taken out of both; its sign is that of the first half",
    "wall": "share of times after which the best price did not pass the wall within the horizon, less the share for a "
    "level at the same distance while that side had no wall, in the same third of volatility (cut by the first half)",
    "withdrawal": "mean move of the mid against those who leaned on the wall (down after a bid wall) over the horizon "
    "after a withdrawal, less the mean otherwise, in bp",
    "wait": "rank correlation of a short wait with being filled within the horizon",
    "fill": "1 - Brier score / that of the base rate, for being filled before the best price leaves; forecasts and "
    "base rate are calibrated on the first half",
}  # fmt: skip


@dataclass(frozen=True)
class Signal:
    """One signal: the feature that carries it, what SPEC D17 calls it, what it claims and on which side."""

    feature: str
    subject: str
    claim: Claim
    side: int = 0  # 1 bid, -1 ask, 0 neither


def _sides(stem: str, subject: str, claim: Claim, end: str = "") -> list[Signal]:
    return [Signal(f"{stem}_bid{end}", subject, claim, 1), Signal(f"{stem}_ask{end}", subject, claim, -1)]


SIGNALS: tuple[Signal, ...] = (
    Signal("spread_ticks", "spread", "variance"),
    Signal("spread_to_median", "spread", "variance"),
    Signal("imbalance_1", "imbalance", "return"),
    Signal("imbalance_3", "imbalance", "return"),
    Signal("imbalance_5", "imbalance", "return"),
    Signal("imbalance_10", "imbalance", "return"),
    Signal("weighted_mid_5_bp", "imbalance", "return"),
    Signal("pressure", "imbalance", "return"),
    Signal("ofi_1s", "imbalance", "return"),
    *_sides("wall", "walls", "wall", "_bp"),
    *_sides("spoof", "spoofing from cancellations", "withdrawal"),
    Signal("touch_cancel_share", "spoofing from cancellations", "variance"),
    *_sides("queue", "queue position", "wait", "_s"),
    *_sides("queue_place", "queue position", "wait"),
    *_sides("fill", "fill probability", "fill"),
    Signal("large_flow_10s", "large prints", "return"),
    Signal("print_flow_10s", "large prints", "return"),
    Signal("excitation", "clustering", "variance"),
    Signal("trade_fano", "clustering", "variance"),
    Signal("flow_1s", "aggressor pressure", "return"),
    Signal("trade_imbalance_10s", "aggressor pressure", "return"),
    Signal("run_length", "aggressor pressure", "return"),
    Signal("size_levels", "size distribution", "variance"),
    Signal("print_size_ratio", "size distribution", "variance"),
    Signal("print_tail_index", "size distribution", "variance"),
)
