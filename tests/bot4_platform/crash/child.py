"""A process that works on a lake and kills itself (SIGKILL) at a chosen step to disk; run by the tests beside it.

`child.py serve`: a request a line on standard input, an answer a line. Each request is worked on in a fork, so that
the imports are paid once; nothing but importing is done before. A request is {"work": name, "at": n or null, "after":
bool, ...}: the fork dies at its n-th step, before or after making it. The answer is its exit status and its steps.

`child.py grow ROOT SEED alone|together`: adds batches to one partition and compacts it, until it is killed.
"""

from __future__ import annotations

import functools
import json
import os
import random
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl

from bot4_platform.lake import Lake
from bot4_platform.tables import TABLES, Table

PART = ("2024-08-08", "binance_usdm:BTCUSDT")
BATCH = 100
COLUMNS = list(TABLES["trades"].columns)
STEPS = ("replace", "fsync", "link", "unlink", "mkdir")


class Steps:
    """Counts calls that reach the disk, and ends the process at one of them."""

    def __init__(self, at: int | None, after: bool) -> None:
        self.names: list[str] = []
        self.at, self.after = at, after
        for name in STEPS:
            setattr(os, name, self.counted(name, getattr(os, name)))
        write = pl.DataFrame.write_parquet

        def torn(frame: pl.DataFrame, file: Path, **given: Any) -> None:
            """Write a whole file, or half of one and die."""
            write(frame, file, **given)
            if self.due("write"):
                os.truncate(file, file.stat().st_size // 2)
                self.die()

        pl.DataFrame.write_parquet = torn  # type: ignore[method-assign, assignment]

    def counted(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **given: Any) -> Any:
            due = self.due(name)
            if due and not self.after:
                self.die()
            try:
                return real(*args, **given)
            finally:
                if due:
                    self.die()

        return call

    def due(self, name: str) -> bool:
        self.names.append(name)
        return len(self.names) - 1 == self.at

    @staticmethod
    def die() -> None:
        os.kill(os.getpid(), signal.SIGKILL)


def trades(first: int, end: int) -> pl.DataFrame:
    """Return made-up trades with the ids first .. end - 1."""
    n = pl.int_range(first, end, eager=True)
    columns = dict.fromkeys(("seq", "recv_ns", "exch_ns", "trade_id", "price", "qty"), n)
    return pl.DataFrame(columns | {"sell": n % 2 == 0}).select(COLUMNS)


def grown(lake: Lake) -> None:
    """Write a table whose schema has a column more than the lake's."""
    was = TABLES["trades"]
    TABLES["trades"] = Table(
        was.title, was.columns | {"fee": "Int64"}, was.order, was.unique, since={"fee": 2}, defaults={"fee": 3}
    )
    lake.append("trades", *PART, trades(85, 110).with_columns(fee=pl.lit(1, pl.Int64)))


def pin(lake: Lake) -> None:
    """Take a look that holds still."""
    with lake.pinned(*PART, tables=["trades"]) as folder:
        assert any(folder.rglob("*.parquet"))


WORK: dict[str, Callable[[Lake], Any]] = {
    "write": lambda lake: lake.write("trades", *PART, trades(0, 70), sources=["all"]),
    "part": lambda lake: lake.append("trades", *PART, trades(40, 90), sources=["one"]),
    "append": lambda lake: lake.append("trades", *PART, trades(80, 120), sources=["new"]),
    "compact": lambda lake: lake.compact("trades", *PART, grace_s=0),
    "grown": grown,
    "pin": pin,
}


def materialize(request: dict[str, Any]) -> None:
    """Materialize assets of one partition in this process; their checks (some import for seconds) are left out."""
    import dagster as dg

    from bot4_platform.definitions import defs
    from bot4_platform.partitions import MarketDay

    keys = {dg.AssetKey(name) for name in request["assets"]}
    job = defs.resolve_implicit_global_asset_job_def().get_subset(asset_selection=keys, asset_check_selection=set())
    with dg.DagsterInstance.ephemeral() as instance:
        job.execute_in_process(
            instance=instance,
            partition_key=MarketDay(*PART).key,
            run_config={
                "resources": {"bot4": {"config": {"var": request["var"], "account": "test"}}},
                "loggers": {"console": {"config": {"log_level": "CRITICAL"}}},
            },
        )


@functools.cache
def warm() -> None:
    """Import what materializing needs, once for all forks."""
    import dbt.cli.main  # noqa: F401
    import matplotlib.backends.backend_agg  # noqa: F401

    from bot4_platform.definitions import defs

    defs.resolve_implicit_global_asset_job_def()


def serve() -> None:
    """Answer requests until standard input ends."""
    for line in sys.stdin:
        request = json.loads(line)
        if request["work"] == "materialize":
            warm()
        reading, writing = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(reading)
            os.dup2(2, 1)  # answers are the server's
            steps = Steps(request.get("at"), request.get("after", False))
            if request["work"] == "materialize":
                materialize(request)
            else:
                WORK[request["work"]](Lake(Path(request["root"])))
            os.write(writing, json.dumps(steps.names).encode())
            os._exit(0)
        os.close(writing)
        with os.fdopen(reading) as pipe:
            names = json.loads(pipe.read() or "null")
        _, status = os.waitpid(pid, 0)
        sys.stdout.write(json.dumps({"status": os.waitstatus_to_exitcode(status), "steps": names}) + "\n")
        sys.stdout.flush()


def grow(root: Path, seed: int, alone: bool) -> None:
    """Add batches, each of BATCH ids after those that are there, and compact now and then, without end.

    Who is alone also writes the partition anew: with another writer that would undo what he added since it was read.
    """
    lake, choose = Lake(root), random.Random(seed)
    while True:
        there = lake.read("trades", *PART, columns=["trade_id"]).height
        lake.append("trades", *PART, trades(there, there + BATCH), sources=[str(there)])
        if choose.random() < 0.3:
            lake.compact("trades", *PART, grace_s=choose.choice([0, 900]))
        elif alone and choose.random() < 0.05:
            lake.write("trades", *PART, lake.read("trades", *PART))


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve()
    else:
        grow(Path(sys.argv[2]), int(sys.argv[3]), sys.argv[4] == "alone")
