"""Which tables may lose days, and how it is known that those can be made again.

SPEC D14 keeps aggregates for 365 days and D15 sends what is older than 160 to the archive; neither removes what came
from a venue or a source. So only tables that follow from others are named here; every table that is not stays for good.
Those of the span `scratch` are not archived either.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Span = Literal["scratch", "derived"]


@dataclass(frozen=True)
class Rule:
    """Days of a table may go after a span while `made_of` still has that day (here or in the archive)."""

    span: Span
    made_of: str
    why: str


RULES: dict[str, Rule] = {
    "feature_state": Rule("scratch", "trades", "a day continues the one before it; `features` makes it again"),
    "mids_250ms": Rule("scratch", "quotes", "sampled from quotes for the fits of that day"),
    "features": Rule("derived", "trades", "the journal gives the same bytes again; models keep what they learnt from"),
    "garch": Rule("derived", "quotes", "fitted to sampled mids"),
    "fill_intensity": Rule("derived", "trades", "fitted to trades"),
    "slow_features": Rule("derived", "trades", "made of the fits; the online store has the newest"),
    "minute_profiles": Rule("derived", "trades", "counted from ticks; Data Docs show the newest year"),
}
