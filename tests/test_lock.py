"""requirements.lock holds everything that pyproject.toml asks for, and all that those ask for, at one version each."""

from __future__ import annotations

import re
import tomllib
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parent.parent
PIN = re.compile(r"^([A-Za-z0-9_.-]+)(?:\[[^\]]*\])?==([^ ;]+)")


def pins() -> dict[str, str]:
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    found = [match for line in lines if (match := PIN.match(line))]
    names = [canonicalize_name(match[1]) for match in found]
    assert len(names) == len(set(names))
    return dict(zip(names, (match[2] for match in found), strict=True))


def wanted() -> list[Requirement]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    texts = [*project["dependencies"], *(text for group in project["optional-dependencies"].values() for text in group)]
    return [Requirement(text) for text in texts]


def test_the_lock_is_closed_and_is_what_is_installed() -> None:
    locked = pins()
    todo, seen = [(requirement, "pyproject.toml") for requirement in wanted()], set()
    while todo:
        requirement, by = todo.pop()
        name = canonicalize_name(requirement.name)
        assert name in locked, f"{by} asks for {requirement}, which is not in the lock: make lock"
        assert requirement.specifier.contains(locked[name], prereleases=True), f"{by}: {requirement}, {locked[name]}"
        key = (name, frozenset(requirement.extras))
        if key in seen:
            continue
        seen.add(key)
        try:
            installed = distribution(name)
        except PackageNotFoundError as error:
            raise AssertionError(f"{name} is locked and not installed: make setup") from error
        # The CPU build of torch says so in its local version.
        assert Version(installed.version).public == Version(locked[name]).public, f"{name}: make setup"
        for text in installed.requires or ():
            following = Requirement(text)
            extras = requirement.extras or {""}
            if following.marker is None or any(following.marker.evaluate({"extra": extra}) for extra in extras):
                todo.append((following, name))
