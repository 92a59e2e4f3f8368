"""Where PostgreSQL is and how it is spoken to (`BOT4_PLATFORM__POSTGRES__...`)."""

from __future__ import annotations

from typing import Annotated, Literal
from urllib.parse import quote, urlencode

from pydantic import BaseModel, ConfigDict, Field, SecretStr

# Plain lower-case names need no quoting anywhere: in SQL, in a URL, in a shell.
Name = Annotated[str, Field(pattern=r"^[a-z_][a-z0-9_]{0,62}$")]


class PostgresSettings(BaseModel):
    """One server, a database for each part: whose tables would collide (two tools keep an `alembic_version`)."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    host: Annotated[str, Field(min_length=1, description="host of the server")] = "127.0.0.1"
    port: Annotated[int, Field(ge=1, le=65_535, description="its port")] = 5432
    user: Annotated[str, Field(min_length=1, description="role that owns the databases")] = "bot4"
    password: Annotated[SecretStr, Field(description="from the environment only; empty: .pgpass or trust")] = SecretStr(
        ""
    )
    sslmode: Annotated[
        Literal["disable", "prefer", "require", "verify-ca", "verify-full"], Field(description="as libpq has it")
    ] = "prefer"
    database: Annotated[Name, Field(description="ticks, candles, dbt's marts")] = "bot4"
    dagster_database: Annotated[Name, Field(description="Dagster's runs, events and schedules")] = "bot4_dagster"
    mlflow_database: Annotated[Name, Field(description="MLflow's runs and registry")] = "bot4_mlflow"
    feast_database: Annotated[Name, Field(description="Feast's registry")] = "bot4_feast"
    engine: Annotated[
        Literal["auto", "timescale", "postgres"],
        Field(description="auto: TimescaleDB where the server loads it; timescale: refuse to go without"),
    ] = "auto"
    connect_timeout_s: Annotated[int, Field(ge=2, le=300, description="time a connection may take, s")] = 10
    lock_timeout_s: Annotated[int, Field(ge=1, le=3600, description="longest wait for a lock, s")] = 30
    write_buffer_rows: Annotated[int, Field(ge=1_000, le=10_000_000, description="rows of one bulk write")] = 100_000

    @property
    def databases(self) -> tuple[str, ...]:
        """Return every database there is to be, each once."""
        return tuple(dict.fromkeys((self.database, self.dagster_database, self.mlflow_database, self.feast_database)))

    @property
    def place(self) -> str:
        """Return what messages call the server."""
        return f"PostgreSQL at {self.host}:{self.port}"

    def url(self, database: str = "", *, driver: str = "", options: dict[str, str] | None = None) -> SecretStr:
        """Return a URL for libpq or, with `driver` such as `+psycopg2`, for SQLAlchemy. It carries the password."""
        secret = self.password.get_secret_value()
        login = quote(self.user, safe="") + (f":{quote(secret, safe='')}" if secret else "")
        given = {"sslmode": self.sslmode, "connect_timeout": str(self.connect_timeout_s)} | (options or {})
        query = urlencode(given, quote_via=quote)
        return SecretStr(f"postgresql{driver}://{login}@{self.host}:{self.port}/{database or self.database}?{query}")


Store = Annotated[
    Literal["profile", "files", "postgres"], Field(description="profile: files in `embedded`, postgres in `services`")
]


class StoresSettings(BaseModel):
    """Which parts keep their records on the server; `ticks`: whether ticks and candles are copied there."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    dagster: Store = "profile"
    mlflow: Store = "profile"
    feast: Store = "profile"
    ticks: Store = "profile"
