"""Settings of the sources (`BOT4_PLATFORM__SOURCES__...`). Keys are secrets; an empty one leaves its source off."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from bot4_platform.sources.ethereum.settings import EthereumSettings
from bot4_platform.sources.exchange.settings import HistorySettings
from bot4_platform.sources.macro.settings import MacroSettings
from bot4_platform.sources.news.settings import NewsSettings
from bot4_platform.sources.social.settings import SocialSettings


class HttpSettings(BaseModel):
    """How a source is asked. Waits grow from `first_wait_s` by 2 up to `longest_wait_s`, with jitter."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    per_s: Annotated[float, Field(gt=0, le=1000, description="requests a second to one host, at most")] = 10.0
    timeout_s: Annotated[float, Field(gt=0, description="to connect, and between two reads, seconds")] = 10.0
    page_s: Annotated[float, Field(gt=0, description="for a whole page, seconds")] = 60.0
    page_mb: Annotated[float, Field(gt=0, le=1024, description="largest page, MiB; more is cut off")] = 16.0
    attempts: Annotated[int, Field(ge=1, le=100, description="of one request")] = 8
    first_wait_s: Annotated[float, Field(gt=0, description="after the first failed attempt, seconds")] = 0.1
    longest_wait_s: Annotated[float, Field(gt=0, description="between two attempts, seconds")] = 30.0
    longest_silence_s: Annotated[
        float, Field(ge=0, description="longest Retry-After that a run waits for, seconds; past it the run ends")
    ] = 180.0
    breaker_failures: Annotated[int, Field(ge=1, description="failures in a row that open the breaker")] = 5
    breaker_open_s: Annotated[float, Field(gt=0, description="how long it stays open, seconds")] = 300.0


class SourcesSettings(BaseModel):
    """All sources."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    http: HttpSettings = HttpSettings()
    ethereum: EthereumSettings = EthereumSettings()
    news: NewsSettings = NewsSettings()
    social: SocialSettings = SocialSettings()
    macro: MacroSettings = MacroSettings()
    history: HistorySettings = HistorySettings()
