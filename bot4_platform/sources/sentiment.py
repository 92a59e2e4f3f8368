"""Sentiment of a short text, from -1 to 1, without a network.

By default VADER (Hutto & Gilbert 2014), a lexicon with rules for negation, emphasis and emoticons, widened by words
that mean something else among traders. Where a folder with a model of Hugging Face's format is set and `transformers`
is installed, that model scores instead: P(positive) - P(negative).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

# VADER's scale: -4 to 4. What the lexicon lacks, or has with another meaning ("short", "crash" of a program).
TRADERS = {
    "bullish": 2.6, "bearish": -2.6, "moon": 1.6, "mooning": 2.2, "moonshot": 1.8, "hodl": 1.2, "hodling": 1.2,
    "pump": 1.0, "pumping": 1.4, "dump": -1.9, "dumping": -2.2, "rekt": -2.8, "rugpull": -3.4, "rug": -1.4,
    "scam": -3.0, "hacked": -2.8, "exploit": -2.2, "exploited": -2.6, "liquidated": -2.4, "liquidation": -1.9,
    "crash": -2.8, "crashing": -3.0, "plunge": -2.4, "plunges": -2.4, "soar": 2.2, "soars": 2.2, "surge": 1.8,
    "surges": 1.8, "rally": 1.7, "rallies": 1.7, "breakout": 1.4, "ath": 1.8, "dip": -0.9, "selloff": -2.0,
    "capitulation": -2.4, "fud": -1.6, "ngmi": -1.8, "wagmi": 1.8, "outage": -1.8, "insolvent": -3.0,
    "bankruptcy": -3.0, "halts": -1.4, "inflows": 1.2, "outflows": -1.0, "approval": 1.4, "approves": 1.4,
}  # fmt: skip


class NoModel(ValueError):
    """A model that cannot be used; the text says what is missing."""


@dataclass(frozen=True)
class Scorer:
    """`name` goes with every score, so that two scorers' are not mixed unseen; `score` takes texts."""

    name: str
    score: Callable[[Sequence[str]], list[float]]


@lru_cache(maxsize=1)
def lexicon() -> Scorer:
    """Return the scorer that is always there: VADER's compound score."""
    from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

    judge = SentimentIntensityAnalyzer()
    judge.lexicon.update(TRADERS)
    return Scorer("vader", lambda texts: [float(judge.polarity_scores(text)["compound"]) for text in texts])


@lru_cache(maxsize=2)
def transformer(folder: Path) -> Scorer:
    """Return the scorer of a model's folder (config, tokenizer, safetensors). Raises NoModel saying what is missing."""
    if not (folder / "config.json").is_file():
        raise NoModel(f"no model in {folder}: it has no config.json; unset SOURCES__SOCIAL__MODEL_DIR for the lexicon")
    if not list(folder.glob("*.safetensors")):
        raise NoModel(f"no weights in {folder}: only safetensors are loaded, never a pickle")
    try:
        from transformers import pipeline  # type: ignore[import-not-found,unused-ignore]
    except ImportError:
        raise NoModel(
            "a sentiment model is set, but the package transformers is not installed; install it, or unset "
            "BOT4_PLATFORM__SOURCES__SOCIAL__MODEL_DIR for the lexicon"
        ) from None
    judge = pipeline(
        "text-classification", model=str(folder), tokenizer=str(folder), top_k=None, truncation=True,
        model_kwargs={"local_files_only": True, "use_safetensors": True},
    )  # fmt: skip

    def score(texts: Sequence[str]) -> list[float]:
        found = judge(list(texts), batch_size=16)
        return [_balance({str(one["label"]).lower(): float(one["score"]) for one in labels}) for labels in found]

    return Scorer(folder.name, score)


def _balance(shares: dict[str, float]) -> float:
    """Return P(positive) - P(negative); models call them so, or bullish and bearish."""
    return sum(
        p * (label in ("positive", "bullish")) - p * (label in ("negative", "bearish")) for label, p in shares.items()
    )


def scorer(model_dir: Path | None) -> Scorer:
    """Return the scorer that the settings ask for. Raises NoModel."""
    return transformer(model_dir) if model_dir else lexicon()
