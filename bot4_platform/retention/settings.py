"""Settings of retention and of the disk budget (`BOT4_PLATFORM__RETENTION__...`, `BOT4_PLATFORM__DISK__...`)."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from bot4_platform.archive.settings import LEAST_DAYS


class RetentionSettings(BaseModel):
    """How long what can be made again is kept, in days before the newest of its market. Raw data has no limit."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    scratch_days: Annotated[
        int, Field(ge=LEAST_DAYS, description="states and samples between assets; training needs 160")
    ] = LEAST_DAYS
    derived_days: Annotated[
        int, Field(ge=LEAST_DAYS, description="features, fits and profiles; training needs 160")
    ] = 365
    run_days: Annotated[int, Field(ge=7, description="output of Dagster's steps, days by the clock")] = 90


class DiskSettings(BaseModel):
    """How much the account may take, and when it says so."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    budget_gb: Annotated[float, Field(ge=0, description="for the account, GiB; 0: what the disk has")] = 0.0
    warn_pct: Annotated[float, Field(gt=0, le=100, description="of the budget: a warning")] = 80.0
    fail_pct: Annotated[float, Field(gt=0, le=100, description="of the budget: the check fails")] = 95.0
