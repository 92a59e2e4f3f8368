"""Runs whose process was killed: nobody ends them, so that they would be running, and hold their pools, for ever."""

from __future__ import annotations

import os
import socket

import dagster as dg
import psutil

PROCESS_TAG = "bot4/process"  # of runs in process: host, pid and start time, since pids come again


def this_process() -> str:
    """Return the tag of this process."""
    return f"{socket.gethostname()}/{os.getpid()}-{psutil.Process().create_time():.2f}"


def bury_dead_runs(instance: dg.DagsterInstance) -> list[str]:
    """Report the runs of this host's processes that are gone as failed, free their pools, and return their ids."""
    buried = []
    begun = [dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.CANCELING]
    for run in instance.get_runs(dg.RunsFilter(statuses=begun)):
        tag = run.tags.get(PROCESS_TAG)
        if tag is None or _lives(tag):
            continue
        instance.report_run_failed(run, "its process was killed; what it wrote is whole, run it again")
        if instance.event_log_storage.supports_global_concurrency_limits:
            instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)
        buried.append(run.run_id)
    return buried


def _lives(tag: str) -> bool:
    host, _, process = tag.rpartition("/")
    if host != socket.gethostname():  # not for us to say
        return True
    pid, _, started = process.partition("-")
    try:
        return f"{psutil.Process(int(pid)).create_time():.2f}" == started
    except (psutil.NoSuchProcess, ValueError):
        return False
