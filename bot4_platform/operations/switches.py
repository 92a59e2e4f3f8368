"""Which schedules and sensors run: stopped, unless the settings or somebody in the UI say otherwise."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

import dagster as dg

from bot4_live.settings import Settings
from bot4_live.settings_errors import WrongSettings
from bot4_platform.operations.settings import ALL
from bot4_platform.settings import PREFIX, platform_settings

if TYPE_CHECKING:
    from dagster import DagsterInstance


def schedule_status(name: str) -> dg.DefaultScheduleStatus:
    """Return the default status of the schedule `name`."""
    on = platform_settings().operations.runs(name)
    return dg.DefaultScheduleStatus.RUNNING if on else dg.DefaultScheduleStatus.STOPPED


def sensor_status(name: str) -> dg.DefaultSensorStatus:
    """Return the default status of the sensor `name`."""
    on = platform_settings().operations.runs(name)
    return dg.DefaultSensorStatus.RUNNING if on else dg.DefaultSensorStatus.STOPPED


def check_names(known: list[str]) -> None:
    """Raise WrongSettings when BOT4_PLATFORM__OPERATIONS__ON names something that is not there."""
    wrong = sorted(platform_settings().operations.names - {*known, ALL})
    if wrong:
        close = difflib.get_close_matches(wrong[0], known, n=1)
        meant = f"did you mean {close[0]}?" if close else f"known are: {', '.join(sorted(known))}"
        raise WrongSettings([f"{PREFIX}OPERATIONS__ON={wrong[0]}: no such schedule or sensor; {meant}"])


def known() -> list[str]:
    """Return the names of all schedules and sensors."""
    from bot4_platform.definitions import defs

    repository = defs.get_repository_def()
    return sorted([one.name for one in repository.schedule_defs] + [one.name for one in repository.sensor_defs])


def lines(settings: Settings, *, daemon: bool) -> list[str]:
    """Return what to say of an account's schedules and sensors."""
    from bot4_platform.definitions import defs
    from bot4_platform.instance import open_instance

    with open_instance(settings) as instance:
        found = switched(defs, instance)
    on, off = ([name for name, runs in found.items() if runs is wanted] for wanted in (True, False))
    said = [f"by itself runs: {', '.join(on) or 'nothing'}; stopped: {', '.join(off) or 'nothing'}"]
    if on and not daemon:
        said.append("nothing of it does so now: there is no daemon")
    return said


def switched(definitions: dg.Definitions, instance: DagsterInstance) -> dict[str, bool]:
    """Return every schedule and sensor by name and whether it runs, as the settings and the UI have it."""
    repository = definitions.get_repository_def()
    found = {one.name: one.default_status.value == "RUNNING" for one in repository.schedule_defs}
    found |= {one.name: one.default_status.value == "RUNNING" for one in repository.sensor_defs}
    for state in instance.all_instigator_state():
        # Who switched by hand has the last word; DECLARED_IN_CODE is the default again.
        if state.name in found and state.status.value in ("RUNNING", "STOPPED"):
            found[state.name] = state.status.value == "RUNNING"
    return dict(sorted(found.items()))
