"""Settings of the social source (`BOT4_PLATFORM__SOURCES__SOCIAL__...`)."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, SecretStr

Tag = Annotated[str, Field(pattern=r"^[A-Za-z0-9_]{1,60}$")]


class SocialSettings(BaseModel):
    """A Mastodon server and the hashtags that are read there. Without `url` the source is off."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    url: Annotated[str, Field(pattern=r"^(https?://.+)?$", description="such as https://mastodon.social")] = ""
    token: Annotated[SecretStr, Field(description="access token, for servers that show timelines to users only")] = (
        SecretStr("")
    )
    tags: Annotated[tuple[Tag, ...], Field(min_length=1, description="hashtags, without #")] = (
        "bitcoin",
        "ethereum",
        "crypto",
    )
    per_s: Annotated[float, Field(gt=0, le=100, description="requests a second; servers allow 300 in 5 minutes")] = 0.9
    most_pages: Annotated[int, Field(ge=1, description="of 40 posts, for one hashtag in one run; the next goes on")] = (
        500
    )
    lag_s: Annotated[int, Field(ge=0, description="from a post to its being in the timeline, seconds")] = 60
    model_dir: Annotated[Path | None, Field(description="folder of a sentiment model; without one the lexicon")] = None
