"""Settings of the Ethereum source (`BOT4_PLATFORM__SOURCES__ETHEREUM__...`)."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, SecretStr


class EthereumSettings(BaseModel):
    """A node's JSON-RPC address and what is read from it. Without `url` the source is off."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: Annotated[SecretStr, Field(description="JSON-RPC over HTTP; hosted nodes carry their key in it")] = SecretStr(
        ""
    )
    per_s: Annotated[float, Field(gt=0, le=1000, description="requests a second, at most; a batch is one")] = 10.0
    batch: Annotated[int, Field(ge=1, le=1000, description="calls in one request")] = 50
    span: Annotated[int, Field(ge=1, le=100_000, description="blocks asked for at once by eth_getLogs, at first")] = 200
    confirmations: Annotated[
        int, Field(ge=0, le=1000, description="blocks on top before one is read; 64 are two epochs: finalized")
    ] = 64
    whale_usd: Annotated[int, Field(gt=0, description="smallest transfer kept, dollars")] = 1_000_000
    swap_usd: Annotated[int, Field(ge=0, description="smallest swap kept, dollars")] = 10_000
    native: Annotated[bool, Field(description="read ETH transfers too; takes whole blocks instead of headers")] = True
    labels: Annotated[Path | None, Field(description="CSV of further labels: address, entity, name, kind")] = None
