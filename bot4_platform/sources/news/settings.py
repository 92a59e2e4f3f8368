"""Settings of the news source (`BOT4_PLATFORM__SOURCES__NEWS__...`)."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field


class Feed(BaseModel):
    """A feed."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    name: Annotated[str, Field(pattern=r"^[a-z0-9_]{1,40}$", description="what its rows call it")]
    url: Annotated[str, Field(pattern=r"^https?://", description="RSS 2.0 or Atom")]
    weight: Annotated[float, Field(ge=0, le=1, description="of its impact scores: 1 for what breaks news")] = 0.7


class NewsSettings(BaseModel):
    """The feeds. Without any the source is off."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    feeds: Annotated[
        tuple[Feed, ...],
        Field(description='a JSON list such as [{"name": "desk", "url": "https://...", "weight": 0.8}]'),
    ] = ()
    per_s: Annotated[float, Field(gt=0, le=100, description="requests a second to one host, at most")] = 1.0
    lag_s: Annotated[int, Field(ge=0, description="from a story's date to its being in the feed, seconds")] = 300
