"""The gates of promotion.yaml: each a name, a verdict and the number behind it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from bot4_live.features.registry import layout_hash
from bot4_live.models import bundle
from bot4_live.models.bundle import Bundle
from bot4_live.models.layout import new_slot
from bot4_live.models.predict import predict_rows
from bot4_platform.mlops.config import Policy
from bot4_platform.mlops.dataset import Dataset
from bot4_platform.mlops.evaluate import judge, outer_split, resampling
from bot4_platform.mlops.skill import skill

BATCH, REPEATS = 50, 5  # of the timing: one call from Python costs more than a score


@dataclass(frozen=True)
class Gate:
    """One verdict. `value` and `limit` are what was found and what was asked, in words a person can compare."""

    name: str
    passed: bool
    value: str
    limit: str


def sanity(candidate: Bundle, data: Dataset, policy: Policy) -> list[Gate]:
    """Return the gates that every exported model must pass, the baseline too.

    A loaded bundle has its hashes and golden rows checked to the bit already (`bundle.load` refuses it otherwise).
    """
    evidence, limits = candidate.info.evidence, policy.gates
    split = outer_split(data, policy, candidate.info.horizon_ns)
    x = bundle.full_rows(candidate.info.features, data.columns(candidate.info.features))
    slot = new_slot()
    candidate.fill(slot)
    scores = predict_rows(slot[0], x)
    finite = bool(np.isfinite(scores).all())
    largest = float(np.abs(scores).max()) if finite else float("inf")
    seen = skill(data.y[split.test], scores[split.test], data.weight[split.test])
    size = sum(entry.stat().st_size for entry in candidate.path.iterdir())
    spent = score_us(slot[0], x[split.test])
    ordered = evidence["train_end_ns"] + policy.split.embargo_ns <= evidence["holdout_from_ns"]
    return [
        Gate("golden_rows", True, f"{bundle.GOLDEN_ROWS} equal to the bit", "the engine scores what the trainer did"),
        Gate("feature_layout", True, layout_hash()[:12], "the engine's"),
        Gate("same_data", evidence["data_digest"] == data.digest(), evidence["data_digest"][:12], data.digest()[:12]),
        Gate("time_order", ordered, f"{(evidence['holdout_from_ns'] - evidence['train_end_ns']) / 1e9:.1f} s between",
             f">= {policy.split.embargo_s} s from training to holdout"),
        Gate("reproduced", abs(seen - evidence["model_score"]["value"]) <= 1e-9, f"{seen:+.6f}",
             f"{evidence['model_score']['value']:+.6f} by the trainer"),
        Gate("finite", finite, f"{int(np.isfinite(scores).sum())} of {scores.size}", "all scores finite"),
        Gate("magnitude", largest <= limits.max_abs_bp, f"{largest:.3f} bp", f"<= {limits.max_abs_bp} bp"),
        Gate("latency", spent <= limits.max_score_us, f"{spent:.2f} us", f"<= {limits.max_score_us} us a score"),
        Gate("size", size <= limits.max_bytes, f"{size} bytes", f"<= {limits.max_bytes}"),
    ]  # fmt: skip


def skilled(candidate: Bundle, data: Dataset, policy: Policy) -> list[Gate]:
    """Return the gates on skill, from the evidence that `sanity` has shown to be reproducible."""
    evidence, limits = candidate.info.evidence, policy.gates
    low, value = evidence["advantage"]["low"], evidence["model_score"]["value"]
    won = float(np.mean(np.array(evidence["fold_skill"]) > np.array(evidence["fold_baseline"])))
    blocks = evidence["holdout_rows"] // resampling(policy, data).block
    confidence = round(100 * policy.bootstrap.confidence)
    return [
        Gate("blocks", blocks >= limits.min_blocks, str(blocks), f">= {limits.min_blocks} blocks in the holdout"),
        Gate("skill", value > limits.min_skill, f"{value:+.4f}", f"> {limits.min_skill}"),
        Gate("skill_over_baseline", low > limits.min_advantage, f"{low:+.4f} .. {evidence['advantage']['high']:+.4f}",
             f"{confidence} % interval above {limits.min_advantage}"),
        Gate("folds_won", won >= limits.min_folds_won, f"{won:.2f}", f">= {limits.min_folds_won} of the folds"),
    ]  # fmt: skip


def against_champion(candidate: Bundle, champion: Bundle, data: Dataset, policy: Policy) -> Gate:
    """Return the gate against a champion that is not the baseline: no less skill on the same holdout.

    The champion may have trained on part of it; that only makes it harder to replace.
    """
    split = outer_split(data, policy, candidate.info.horizon_ns)
    ours, theirs = (engine_scores(each, data)[split.test] for each in (candidate, champion))
    scores = judge(data, split, ours, theirs, policy)
    gained = scores["advantage"]["value"]
    return Gate("not_below_champion", gained >= 0, f"{gained:+.4f}", f">= v{champion.info.version} on the same rows")


def engine_scores(candidate: Bundle, data: Dataset) -> np.ndarray:
    """Return the engine's scores of all rows, float64 (n,)."""
    return bundle.score(candidate, bundle.full_rows(candidate.info.features, data.columns(candidate.info.features)))


def score_us(model: Any, x: np.ndarray) -> float:
    """Return the median time of one score by the engine's code, in microseconds, over batches of rows in order."""
    batches = np.array_split(np.ascontiguousarray(x), max(1, len(x) // BATCH))
    predict_rows(model, batches[0])
    spent = []
    for _ in range(REPEATS):
        for batch in batches:
            begun = time.perf_counter_ns()
            predict_rows(model, batch)
            spent.append((time.perf_counter_ns() - begun) / len(batch))
    return float(np.median(spent)) / 1e3
