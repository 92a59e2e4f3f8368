"""The one resource of the assets: which account they work for. Paths come from its settings."""

from __future__ import annotations

import dagster as dg
from pydantic import Field

from bot4_live.settings import Settings, load
from bot4_platform.lake import Lake


class Bot4Resource(dg.ConfigurableResource):
    """The account of a run. Empty fields mean the environment (`BOT4_VAR`, `BOT4_ACCOUNT`) or the defaults."""

    var: str = Field(default="", description="where everything that runs leaves its files")
    account: str = Field(default="", description="name of the account")

    @classmethod
    def of(cls, settings: Settings) -> Bot4Resource:
        """Return the resource that names the account of `settings`."""
        return cls(var=str(settings.var), account=settings.account)

    def settings(self) -> Settings:
        """Return the account's settings."""
        given = {name: value for name, value in (("var", self.var), ("account", self.account)) if value}
        return load(**given)

    def lake(self) -> Lake:
        """Return the account's lake."""
        return Lake(self.settings().lake_dir)
