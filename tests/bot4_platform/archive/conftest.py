"""A local S3 server in a process of its own, and an account with days on both sides of the window."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from pydantic import SecretStr

from bot4_live.events import Reason
from bot4_live.settings import Settings
from bot4_platform.archive.settings import ArchiveSettings
from bot4_platform.lake import Lake
from bot4_platform.settings import platform_settings

MARKET = "binance_usdm:BTCUSDT"
LAST = date(2024, 8, 10)
SERVER = """
import logging, sys
from moto.server import ThreadedMotoServer
logging.getLogger("werkzeug").setLevel(logging.CRITICAL)
server = ThreadedMotoServer("127.0.0.1", port=int(sys.argv[1]), verbose=False)
server.start()
print(server.get_host_and_port()[1], flush=True)
sys.stdin.read()
"""


@dataclass
class S3:
    """A server that can be killed and started again on the same port; what it held is lost then."""

    port: int = 0
    process: Any = field(default=None, repr=False)

    def start(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", SERVER, str(self.port)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        self.port = int(self.process.stdout.readline())
        self.filesystem().create_dir("archive")

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()

    def filesystem(self) -> Any:
        from pyarrow.fs import S3FileSystem

        return S3FileSystem(
            access_key="k", secret_key="s", endpoint_override=f"127.0.0.1:{self.port}", scheme="http",
            region="us-east-1", allow_bucket_creation=True,
        )  # fmt: skip

    def objects(self) -> dict[str, bytes]:
        """Return what the bucket holds."""
        from pyarrow.fs import FileSelector, FileType

        fs = self.filesystem()
        found = fs.get_file_info(FileSelector("archive", recursive=True))
        return {info.path: fs.open_input_file(info.path).read() for info in found if info.type == FileType.File}


@pytest.fixture(scope="session")
def server() -> Iterator[S3]:
    made = S3()
    made.start()
    yield made
    made.kill()


@pytest.fixture
def s3(server: S3) -> S3:
    """The server with an empty bucket."""
    fs = server.filesystem()
    fs.delete_dir_contents("archive")
    return server


def settings_for(port: int, **changed: Any) -> ArchiveSettings:
    given: dict[str, Any] = {
        "bucket": "archive", "prefix": "tests/one", "endpoint": f"http://127.0.0.1:{port}",
        "access_key": SecretStr("AKIDodkey47archive"), "secret_key": SecretStr("sZ9archivesecret48"), "timeout_s": 5,
        "attempts": 2,
    }  # fmt: skip
    return ArchiveSettings(**given | changed)


@pytest.fixture
def where(s3: S3, monkeypatch: pytest.MonkeyPatch) -> Iterator[ArchiveSettings]:
    """Settings of that archive, in the environment too."""
    made = settings_for(s3.port)
    for name, value in made.model_dump().items():
        text = value.get_secret_value() if isinstance(value, SecretStr) else str(value)
        monkeypatch.setenv(f"BOT4_PLATFORM__ARCHIVE__{name.upper()}", text)
    platform_settings.cache_clear()
    yield made
    monkeypatch.undo()
    platform_settings.cache_clear()


@pytest.fixture
def changed() -> Callable[..., ArchiveSettings]:
    return settings_for


def frame(day: str) -> pl.DataFrame:
    return pl.DataFrame({"a": pl.int_range(0, 5000, eager=True) * 7919 % 10007, "day": [day] * 5000})


@pytest.fixture
def account(settings: Settings, maker: Any) -> Settings:
    """Three old days, the first day of the window and its last; a journal with an old session and a new one."""
    lake = Lake(settings.lake_dir)
    for ago in (200, 162, 160, 159, 0):
        day = (LAST - timedelta(ago)).isoformat()
        lake.write("numbers", day, MARKET, frame(day))
    lake.write("numbers", "2020-01-01", "binance_usdm:OLDUSDT", frame("retired: its newest day"))
    day_ns = 86_400 * 10**9
    start = 1_723_075_200 * 10**9
    maker.session(start - 200 * day_ns, 2, name="old", bad=((Reason.NOT_JSON, b"{broken"),))
    maker.session(start, 2, name="new", update_id=2_000_000, trade_id=900_000)
    return settings


@pytest.fixture
def root() -> Path:
    return Path(__file__).resolve().parents[3]
