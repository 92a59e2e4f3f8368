"""Settings of the bus (`BOT4_PLATFORM__BUS__...`)."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr


class BusSettings(BaseModel):
    """Where messages go: without brokers they stay in the process that asks for them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    brokers: Annotated[
        str,
        Field(pattern=r"^$|^[^\s,]+:\d+(,[^\s,]+:\d+)*$", description="host:port of Kafka's brokers, commas between"),
    ] = ""
    prefix: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{0,40}$", description="put before each topic's name")] = ""
    partitions: Annotated[
        int, Field(ge=0, le=256, description="of a topic that is created; 0 leaves topics to the brokers")
    ] = 6
    replicas: Annotated[int, Field(ge=1, le=7, description="of a topic that is created")] = 1
    waiting: Annotated[
        int, Field(ge=100, le=1_000_000, description="messages on the way at once; past it the bridge waits")
    ] = 10_000
    message_bytes: Annotated[
        int, Field(ge=10_000, le=4_000_000, description="largest message; of a larger record only its header is sent")
    ] = 900_000
    security: Annotated[
        Literal["plaintext", "ssl", "sasl_plaintext", "sasl_ssl"], Field(description="how brokers are spoken to")
    ] = "plaintext"
    username: Annotated[str, Field(description="for sasl")] = ""
    password: Annotated[SecretStr, Field(description="for sasl; from the environment only")] = SecretStr("")
    mechanism: Annotated[
        Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"], Field(description="how sasl proves the password")
    ] = "SCRAM-SHA-512"

    def topic(self, name: str) -> str:
        """Return the broker's name of a topic."""
        return self.prefix + name
