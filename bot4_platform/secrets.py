"""The values that must never reach a file: those of every secret setting."""

from __future__ import annotations

from pydantic import BaseModel, SecretStr


def values(*settings: BaseModel) -> list[str]:
    """Return the secrets of settings, nested ones too, without the empty ones."""
    found: list[str] = []
    for one in settings:
        for name in type(one).model_fields:
            value = getattr(one, name)
            if isinstance(value, SecretStr):
                found.append(value.get_secret_value())
            elif isinstance(value, BaseModel):
                found += values(value)
    return [value for value in found if value]
