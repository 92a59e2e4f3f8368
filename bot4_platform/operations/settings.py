"""Settings of operations (`BOT4_PLATFORM__OPERATIONS__...`)."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator

ALL = "all"


class OperationsSettings(BaseModel):
    """What runs by itself, and who is told when something fails."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    on: Annotated[
        str,
        Field(description="schedules and sensors that run without being switched on in the UI, with commas; or all"),
    ] = ""
    webhook: Annotated[
        SecretStr,
        Field(description="URL that alerts are posted to as JSON; some have a token in them, so it is not shown"),
    ] = SecretStr("")
    webhook_token: Annotated[SecretStr, Field(description="sent with alerts as Authorization: Bearer")] = SecretStr("")
    webhook_timeout_s: Annotated[float, Field(gt=0, le=60, description="of one attempt, seconds")] = 5.0

    @field_validator("webhook")
    @classmethod
    def _address(cls, value: SecretStr) -> SecretStr:
        if value.get_secret_value() and not value.get_secret_value().startswith(("http://", "https://")):
            raise ValueError("no address; give one such as https://hooks.example/alerts")
        return value

    @property
    def names(self) -> frozenset[str]:
        """Return the names of `on`."""
        return frozenset(name.strip() for name in self.on.split(",") if name.strip())

    def runs(self, name: str) -> bool:
        """Return whether a schedule or sensor starts by itself."""
        return name in self.names or ALL in self.names
