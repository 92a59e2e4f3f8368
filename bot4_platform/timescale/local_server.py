"""A PostgreSQL server of one's own, for benchmarks and tests: fresh data, a free port on loopback, gone at the end."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from bot4_live.machine import postgres_folder
from bot4_platform.timescale.settings import PostgresSettings

PASSWORD = "correct horse battery:staple@/%"  # every character that a URL or a message could get wrong
READY_S = 60.0


def required_binaries() -> Path:
    """Return the folder of the newest PostgreSQL here. Raises OSError without one."""
    found = postgres_folder()
    if found is None:
        raise OSError("PostgreSQL is not installed here: apt-get install postgresql (or put `postgres` on the PATH)")
    return found


def has_timescale() -> bool:
    """Return whether TimescaleDB is installed for that PostgreSQL."""
    folder = postgres_folder()
    if folder is None:
        return False
    try:
        shown = subprocess.run([folder / "pg_config", "--pkglibdir"], capture_output=True, text=True, check=False)
    except FileNotFoundError:  # it is in a package of its own
        return False
    return bool(shown.stdout.strip()) and (Path(shown.stdout.strip()) / "timescaledb.so").is_file()


def free_port() -> int:
    """Return a port on loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class LocalServer:
    """A server, started and ended by its user; `settings` says how to reach it.

    PostgreSQL refuses to run as root: there it runs as `postgres` (or `nobody`) in a folder of that user's. Without
    `durable` a power cut may lose what was committed, which nothing here outlives anyway.
    """

    timescale: bool
    durable: bool = False
    folder: Path = field(default_factory=lambda: Path(tempfile.mkdtemp(prefix="bot4-postgres-")))
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def settings(self) -> PostgresSettings:
        """Return how it is reached."""
        return PostgresSettings(port=self.port, password=SecretStr(PASSWORD), lock_timeout_s=5, connect_timeout_s=5)

    @property
    def data(self) -> Path:
        """Return its data directory."""
        return self.folder / "data"

    def create(self) -> None:
        """Make the data directory: one superuser with a password."""
        (self.folder / "password").write_text(PASSWORD)
        if user := _user():
            os.chown(self.folder, *user)
        where = required_binaries()
        subprocess.run(
            [where / "initdb", "-D", self.data, "-U", "bot4", "-A", "scram-sha-256", "--no-sync", "-E", "UTF8",
             "--pwfile", self.folder / "password"],
            check=True, capture_output=True, cwd="/", **_as_user(),
        )  # fmt: skip
        lines = [
            "listen_addresses = '127.0.0.1'", "unix_socket_directories = ''", "shared_buffers = '128MB'",
            "max_wal_size = '4GB'", "jit = off", "max_worker_processes = 16",
        ]  # fmt: skip
        if not self.durable:
            lines += ["fsync = off"]
        if self.timescale:
            lines += ["shared_preload_libraries = 'timescaledb'", "timescaledb.telemetry_level = off"]
        with (self.data / "postgresql.conf").open("a") as conf:
            conf.write("\n".join(lines) + "\n")

    def start(self) -> None:
        """Start it and wait until it answers."""
        import psycopg2

        where = required_binaries()
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [where / "postgres", "-D", self.data, "-p", str(self.port)],
                stdout=log, stderr=log, cwd="/", **_as_user(),
            )  # fmt: skip
        deadline = time.monotonic() + READY_S
        while True:
            with contextlib.suppress(psycopg2.OperationalError):
                psycopg2.connect(self.settings.url("postgres").get_secret_value()).close()
                return
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"PostgreSQL did not start:\n{(self.folder / 'log').read_text()[-2000:]}")
            time.sleep(0.05)

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """End it: SIGINT ends sessions and shuts down, SIGQUIT leaves as a crash would."""
        if self.process is not None:
            self.process.send_signal(how)
            self.process.wait(60)
            self.process = None

    def remove(self) -> None:
        """End it and leave nothing."""
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)


def _user() -> tuple[int, int] | None:
    """Return whom the server runs as where we are root, which PostgreSQL refuses; None for ourselves."""
    if os.getuid() != 0:
        return None
    names = {entry.pw_name: (entry.pw_uid, entry.pw_gid) for entry in pwd.getpwall()}
    return names.get("postgres") or names["nobody"]


def _as_user() -> dict[str, Any]:
    found = _user()
    return {"user": found[0], "group": found[1], "extra_groups": []} if found else {}
