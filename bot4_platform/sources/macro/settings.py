"""Settings of the macro source (`BOT4_PLATFORM__SOURCES__MACRO__...`)."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, SecretStr


class Series(BaseModel):
    """A series of FRED. Its vintages are dates; `at` says when on such a date it is published."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: Annotated[str, Field(pattern=r"^[A-Z0-9_]{1,40}$")]
    at: Annotated[str, Field(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$", description="in New York, by the publisher")]
    why: Annotated[str, Field(description="where that is from")] = "set by the user"


BLS = "BLS: news releases at 08:30 Eastern Time"
DEFAULT = (
    Series(id="CPIAUCSL", at="08:30", why=BLS),
    Series(id="PAYEMS", at="08:30", why=BLS),
    Series(id="UNRATE", at="08:30", why=BLS),
    Series(id="GDPC1", at="08:30", why="BEA: news releases at 08:30 Eastern Time"),
    Series(id="DGS10", at="16:15", why="Federal Reserve Board: H.15 at 16:15 Eastern Time"),
)


class MacroSettings(BaseModel):
    """FRED's key and the series. Without `key` the source is off."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    url: Annotated[str, Field(pattern=r"^https?://", description="the API, without /fred")] = (
        "https://api.stlouisfed.org"
    )
    key: Annotated[SecretStr, Field(description="API key, free at fredaccount.stlouisfed.org")] = SecretStr("")
    series: Annotated[tuple[Series, ...], Field(min_length=1, description="JSON: [{id, at, why}]")] = DEFAULT
    per_s: Annotated[float, Field(gt=0, le=100, description="requests a second; FRED allows 120 a minute")] = 1.9
    look_back_days: Annotated[
        int, Field(ge=1, le=36_500, description="how old a period may be whose revision is read")
    ] = 1100
