"""The far side: objects in S3, written once, each checked against its sha256 by reading it back."""

from __future__ import annotations

import errno
import hashlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from bot4_platform.archive.settings import ArchiveSettings
from bot4_platform.secrets import values

if TYPE_CHECKING:
    from pyarrow.fs import S3FileSystem

CHUNK = 8 << 20
OFF = "there is no archive: set BOT4_PLATFORM__ARCHIVE__BUCKET (docs/archive.md)"


class ArchiveError(OSError):
    """The archive did not answer, or refused; what it had verified before is as it was."""


class Remote:
    """One bucket and prefix. Keys are below the prefix, with slashes."""

    def __init__(self, settings: ArchiveSettings) -> None:
        """Raise ValueError when the settings name no bucket. Nothing is connected yet."""
        if not settings.bucket:
            raise ValueError(OFF)
        self.settings = settings
        self.where = f"s3://{settings.bucket}/{settings.prefix}"

    def _fs(self) -> S3FileSystem:
        from pyarrow.fs import AwsStandardS3RetryStrategy, S3FileSystem

        s = self.settings
        at = urlsplit(s.endpoint) if s.endpoint else None
        return S3FileSystem(
            access_key=s.access_key.get_secret_value() or None,
            secret_key=s.secret_key.get_secret_value() or None,
            region=s.region,
            endpoint_override=at.netloc if at else None,
            scheme=at.scheme if at else "https",
            connect_timeout=s.timeout_s,
            request_timeout=s.timeout_s,
            retry_strategy=AwsStandardS3RetryStrategy(max_attempts=s.attempts),
        )

    def _path(self, key: str) -> str:
        return f"{self.settings.bucket}/{self.settings.prefix}/{key}"

    @contextmanager
    def _talking(self, what: str, key: str) -> Iterator[None]:
        """Turn what goes wrong into one line without secrets."""
        try:
            yield
        except OSError as error:
            if error.filename is not None:  # of a local file
                raise
            text = " ".join(str(error).split())
            for secret in values(self.settings):
                text = text.replace(secret, "...")
            text = re.sub(r"\(Request ID: [^)]*\)", "", text).strip()[:300]
            why = f"{what} {key} failed ({text}); what was archived before stands; run it again"
            raise ArchiveError(errno.EIO, why, self.where) from None

    def put(self, source: Path, key: str, sha256: str, size: int) -> bool:
        """Upload a file unless it is there already; either way read the object back and compare.

        Returns whether it was uploaded. Raises ArchiveError when the store fails or holds other bytes after it.
        """
        with self._talking("archiving", key):
            fs = self._fs()
            if self._size(fs, key) == size and self._digest(fs, key) == sha256:
                return False
            with source.open("rb") as file, fs.open_output_stream(self._path(key), buffer_size=CHUNK) as out:
                while chunk := file.read(CHUNK):
                    out.write(chunk)
            if self._digest(fs, key) != sha256:
                why = f"{key} has other bytes than were sent; nothing local was removed; run it again"
                raise ArchiveError(errno.EIO, why, self.where)
        return True

    def get(self, key: str, sha256: str, target: Path) -> None:
        """Download an object to `target`. Raises ArchiveError when it is lost or not what it was."""
        with self._talking("fetching", key):
            fs, digest = self._fs(), hashlib.sha256()
            try:
                with target.open("wb") as file:
                    for chunk in self._chunks(fs, key):
                        digest.update(chunk)
                        file.write(chunk)
            except FileNotFoundError:
                why = f"the archive has lost {key}; restore it from a backup of the bucket"
                raise ArchiveError(errno.ENOENT, why, self.where) from None
            if digest.hexdigest() != sha256:
                why = f"{key} is damaged in the archive: its bytes have another digest; restore it from a backup"
                raise ArchiveError(errno.EIO, why, self.where)

    def _size(self, fs: S3FileSystem, key: str) -> int | None:
        from pyarrow.fs import FileType

        info = fs.get_file_info(self._path(key))
        return info.size if info.type == FileType.File else None

    def _chunks(self, fs: S3FileSystem, key: str) -> Iterator[bytes]:
        with fs.open_input_file(self._path(key)) as file:
            while chunk := file.read(CHUNK):
                yield chunk

    def _digest(self, fs: S3FileSystem, key: str) -> str:
        digest = hashlib.sha256()
        for chunk in self._chunks(fs, key):
            digest.update(chunk)
        return digest.hexdigest()
