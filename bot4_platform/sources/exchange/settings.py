"""Settings of exchange history (`BOT4_PLATFORM__SOURCES__HISTORY__...`)."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field


class HistorySettings(BaseModel):
    """Where history is asked for, and how hard gaps are asked after."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    endpoints: Annotated[
        dict[str, str],
        Field(description="venue to address, where it is not the venue's own; the traded venue's is BOT4_REST_URL"),
    ] = {}
    confirm_after_s: Annotated[
        float, Field(ge=0, description="a gap is the venue's when it is still there this long after it was first seen")
    ] = 3600.0
    spool_requests: Annotated[
        int, Field(ge=1, description="pages of trades after which they are made durable, within a day")
    ] = 20
