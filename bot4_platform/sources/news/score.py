"""What a story is about and how much it may move a market: declared words with weights, nothing learned.

impact = weight of the feed * (1 - product of (1 - w) over the terms found), a term of the title counting whole, one of
the summary alone half: several reasons add up, none beyond 1. It is a prior, not a forecast: nobody has measured these
weights. They are to be judged by returns after the stories' `created_ns`, against hours without one; docs/sources.md.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

CATEGORIES: dict[str, dict[str, float]] = {
    "security": {
        "hack": 0.7, "hacked": 0.7, "exploit": 0.6, "exploited": 0.6, "drained": 0.6, "breach": 0.5, "stolen": 0.5,
        "rug pull": 0.4, "vulnerability": 0.3, "phishing": 0.2,
    },
    "solvency": {
        "insolvent": 0.8, "bankruptcy": 0.7, "bankrupt": 0.7, "chapter 11": 0.7, "halts withdrawals": 0.9,
        "pauses withdrawals": 0.9, "suspends withdrawals": 0.9, "bank run": 0.7, "liquidity crisis": 0.7, "depeg": 0.8,
        "depegs": 0.8, "loses peg": 0.8,
    },
    "regulation": {
        "sec": 0.35, "cftc": 0.35, "lawsuit": 0.4, "sues": 0.45, "charges": 0.35, "ban": 0.5, "bans": 0.5,
        "regulation": 0.2, "regulator": 0.25, "settlement": 0.3, "sanctions": 0.4, "indictment": 0.5, "mica": 0.15,
    },
    "institutions": {
        "etf": 0.5, "spot etf": 0.3, "blackrock": 0.3, "fidelity": 0.25, "approval": 0.3, "approves": 0.4,
        "rejects": 0.4, "treasury": 0.2, "custody": 0.15, "inflows": 0.2, "outflows": 0.2,
    },
    "macro": {
        "fomc": 0.5, "fed": 0.4, "federal reserve": 0.45, "interest rate": 0.35, "rate cut": 0.5, "rate hike": 0.5,
        "cpi": 0.45, "inflation": 0.35, "jobs report": 0.35, "payrolls": 0.35, "recession": 0.35, "tariffs": 0.3,
    },
    "exchange": {
        "lists": 0.25, "listing": 0.25, "delists": 0.35, "delisting": 0.35, "outage": 0.4, "trading halt": 0.5,
        "halts trading": 0.5, "proof of reserves": 0.2,
    },
    "protocol": {
        "hard fork": 0.35, "fork": 0.15, "upgrade": 0.15, "mainnet": 0.15, "halving": 0.35, "chain halt": 0.6,
        "reorg": 0.4, "airdrop": 0.15,
    },
    "market": {
        "plunges": 0.3, "crash": 0.35, "crashes": 0.35, "surges": 0.25, "soars": 0.25, "all-time high": 0.35,
        "liquidations": 0.35, "liquidated": 0.3, "short squeeze": 0.3, "sell-off": 0.3, "selloff": 0.3, "whale": 0.15,
    },
}  # fmt: skip
TERMS = {term: (category, weight) for category, terms in CATEGORIES.items() for term, weight in terms.items()}
_TERM = re.compile(
    r"(?<!\w)(" + "|".join(re.escape(term) for term in sorted(TERMS, key=len, reverse=True)) + r")(?!\w)"
)
SUMMARY_SHARE = 0.5


@dataclass(frozen=True)
class Impact:
    """`score` from 0 to 1, the categories by falling weight, and the terms that made it."""

    score: float
    categories: tuple[str, ...]
    terms: tuple[str, ...]


def impact(title: str, summary: str, feed_weight: float) -> Impact:
    """Return the impact of a story."""
    in_title = set(_TERM.findall(title.lower()))
    in_summary = set(_TERM.findall(summary.lower())) - in_title
    weights = {term: TERMS[term][1] for term in in_title} | {
        term: TERMS[term][1] * SUMMARY_SHARE for term in in_summary
    }
    nothing = 1.0
    by_category: dict[str, float] = {}
    for term in sorted(weights):
        nothing *= 1 - weights[term]
        category = TERMS[term][0]
        by_category[category] = max(by_category.get(category, 0.0), weights[term])
    names = sorted(by_category, key=lambda name: (-by_category[name], name))
    return Impact(feed_weight * (1 - nothing), tuple(names), tuple(sorted(weights)))
