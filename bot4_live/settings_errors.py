"""Wrong settings in words: one line each, with the variable's name, what is wrong, and what is allowed."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel, SecretStr, ValidationError

NESTED = "__"
SHOWN = 60  # characters of a wrong value


class WrongSettings(ValueError):
    """Settings that cannot be used; `lines` holds one a wrong setting."""

    def __init__(self, lines: Iterable[str]) -> None:
        """Take the lines."""
        self.lines = list(lines)
        super().__init__("\n".join(self.lines))


def unknown(name: str, known: Iterable[str]) -> str:
    """Return the line for a variable that no setting has: what was meant, or what there is beside it."""
    group, _, tail = name.rpartition(NESTED)
    beside = sorted(other for other in known if other.rpartition(NESTED)[0] == group)
    tail = tail.removeprefix("BOT4_")
    tails = {other.removeprefix(f"{group}{NESTED}").removeprefix("BOT4_"): other for other in beside}
    close = difflib.get_close_matches(tail, tails, n=1, cutoff=0.7)
    if close:
        return f"unknown setting {name}; did you mean {tails[close[0]]}?"
    if not beside:
        return f"unknown setting {name}; {group} has no settings of its own"
    groups = sorted({f"{other.rpartition(NESTED)[0]}{NESTED}..." for other in known if NESTED in other} - {group})
    return f"unknown setting {name}; known are: {', '.join([*beside, *([] if group else groups)])}"


def nested_model(model: type[BaseModel], field: str) -> type[BaseModel] | None:
    """Return the model of a field that has settings of its own (`BOT4_FIELD__NAME`), None for a plain one."""
    found = model.model_fields[field].annotation
    return found if isinstance(found, type) and issubclass(found, BaseModel) else None


def variables(model: type[BaseModel], prefix: str) -> list[str]:
    """Return the variables a model reads, `prefix` before each; nested ones with their field's name."""
    names = []
    for field in model.model_fields:
        inner = nested_model(model, field)
        name = f"{prefix}{field.upper()}"
        names += variables(inner, f"{name}{NESTED}") if inner is not None else [name]
    return names


def unknown_variables(environment: Mapping[str, str], model: type[BaseModel], prefix: str) -> list[str]:
    """Return a line for each variable under `prefix` that the model does not read."""
    known = variables(model, prefix)
    # A nested field can also be given whole, as JSON.
    whole = {f"{prefix}{field.upper()}" for field in model.model_fields}
    return [
        unknown(name, known)
        for name in sorted(environment)
        if name.startswith(prefix) and name not in whole and name not in known
    ]


def lines(error: ValidationError, model: type[BaseModel], prefix: str) -> list[str]:
    """Return one line for each wrong setting; the value of a secret is not shown."""
    problems = error.errors(include_url=False)
    # A list whose items were refused is then also too short: the items say why.
    inside = {problem["loc"][:-1] for problem in problems if problem["loc"] and isinstance(problem["loc"][-1], int)}
    return [
        _line(dict(problem), model, prefix)
        for problem in problems
        if not (problem["type"] == "too_short" and problem["loc"] in inside)
    ]


def _line(problem: dict[str, Any], model: type[BaseModel], prefix: str) -> str:
    path = [part for part in problem["loc"] if isinstance(part, str)]
    name = prefix + NESTED.join(part.upper() for part in path)
    if problem["type"] == "extra_forbidden":
        return unknown(name, variables(model, prefix))
    owner, field = model, path[0] if path else ""
    for part in path[1:]:
        inner = nested_model(owner, field) if field in owner.model_fields else None
        if inner is None:
            break
        owner, field = inner, part
    info = owner.model_fields.get(field)
    text = str(problem["msg"]).removeprefix("Value error, ")
    text = text.replace("Input should ", "must ").replace("String should ", "must ")
    about = ""
    if info is not None:
        about = f" ({info.description})" if info.description else ""
        if info.annotation is SecretStr:
            return f"{name}: {text}{about}"
    return f"{name}={str(problem['input'])[:SHOWN]}: {text}{about}"
