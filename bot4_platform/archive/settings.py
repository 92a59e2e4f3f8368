"""Settings of the archive (`BOT4_PLATFORM__ARCHIVE__...`). Without a bucket there is none."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, SecretStr

# Training and pairs need them on the disk.
LEAST_DAYS = 160


class ArchiveSettings(BaseModel):
    """Where the archive is, what stays local, and how long a connection may be silent."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    bucket: Annotated[str, Field(pattern=r"^([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])?$", description="empty: no archive")] = (
        ""
    )
    prefix: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+(/[A-Za-z0-9_-]+)*$", description="within the bucket")] = (
        "bot4"
    )
    endpoint: Annotated[
        str,
        Field(pattern=r"^(https?://[^/@\s]+)?$", description="of another store than AWS, e.g. http://127.0.0.1:9000"),
    ] = ""
    region: Annotated[str, Field(min_length=1, description="of the bucket")] = "us-east-1"
    access_key: Annotated[SecretStr, Field(description="empty: as the AWS environment says")] = SecretStr("")
    secret_key: Annotated[SecretStr, Field(description="empty: as the AWS environment says")] = SecretStr("")
    days: Annotated[
        int, Field(ge=LEAST_DAYS, description="newest days of a market that stay local; training needs 160")
    ] = LEAST_DAYS
    cache_gb: Annotated[float, Field(gt=0, description="of fetched files that are kept locally")] = 10.0
    timeout_s: Annotated[float, Field(gt=0, description="to connect, and of one request, seconds")] = 30.0
    attempts: Annotated[int, Field(ge=1, le=20, description="of one request")] = 3
