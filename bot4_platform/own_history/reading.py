"""Files as chunks of text columns with the number of each row's line; nothing is interpreted here but times."""

from __future__ import annotations

import csv
import gzip
import io
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    import polars as pl
    import pyarrow as pa

CHUNK = 100_000
LINE, RAW = "_line", "_raw"
FORMATS = {".csv": "csv", ".txt": "csv", ".parquet": "parquet", ".feather": "feather", ".arrow": "feather"}


@dataclass(frozen=True)
class Chunk:
    """Rows as texts (`_line` is an integer; `_raw` the row as it came) and how much of the file is read (0..1)."""

    rows: pl.DataFrame
    done: float


def format_of(path: Path) -> str:
    """Return csv, parquet or feather by the name's end. Raises ValueError."""
    name = path.name.removesuffix(".gz")
    kind = FORMATS.get(Path(name).suffix.lower())
    if kind is None or (kind != "csv" and path.suffix == ".gz"):
        raise ValueError(f"{path}: its name ends in none of {', '.join(FORMATS)} (or .csv.gz)")
    return kind


def read_chunks(
    path: Path, columns: dict[str, str], optional: Sequence[str], *, skip_lines: int = 0
) -> Iterator[Chunk]:
    """Yield the file's rows. `columns` is the file's name for each of ours; `optional` ones may be missing.

    Raises ValueError when a column is missing or the file is not what its name says.
    """
    if format_of(path) == "csv":
        yield from _csv(path, columns, optional, skip_lines)
    else:
        yield from _arrow(path, columns, optional)


def _csv(path: Path, columns: dict[str, str], optional: Sequence[str], skip_lines: int) -> Iterator[Chunk]:
    size = path.stat().st_size or 1
    with path.open("rb") as raw:
        plain: IO[bytes] = gzip.GzipFile(fileobj=raw) if path.suffix == ".gz" else raw  # type: ignore[assignment]
        text = io.TextIOWrapper(plain, encoding="utf-8-sig", errors="replace", newline="")
        try:
            for _ in range(skip_lines):
                text.readline()
            reader = csv.reader(text)
            header = [name.strip() for name in next(reader, [])]
            places = _places(path, header, columns, optional)
            lines: list[int] = []
            kept: list[list[str]] = []
            for row in reader:
                if row:
                    lines.append(reader.line_num + skip_lines)
                    kept.append(row)
                if len(kept) == CHUNK:
                    yield Chunk(_texts(lines, kept, places, len(header)), raw.tell() / size)
                    lines, kept = [], []
        except (csv.Error, EOFError, OSError) as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise
            raise ValueError(f"{path}: not readable as CSV ({error})") from error
        if kept:
            yield Chunk(_texts(lines, kept, places, len(header)), 1.0)


def _texts(lines: list[int], rows: list[list[str]], places: dict[str, int], width: int) -> pl.DataFrame:
    """Return rows as columns; a row of another width than the header has nulls throughout."""
    import polars as pl

    whole = [len(row) == width for row in rows]
    data: dict[str, pl.Series] = {
        name: pl.Series(name, [row[at].strip() if ok else None for row, ok in zip(rows, whole, strict=True)], pl.String)
        for name, at in places.items()
    }
    shown = [",".join(row) for row in rows]
    return pl.DataFrame({LINE: pl.Series(LINE, lines, pl.Int64), RAW: shown} | data)


def _arrow(path: Path, columns: dict[str, str], optional: Sequence[str]) -> Iterator[Chunk]:
    import polars as pl
    import pyarrow as pa

    try:
        header, total, batches = _batches(path)
    except (pa.ArrowInvalid, OSError) as error:
        if isinstance(error, FileNotFoundError):
            raise
        raise ValueError(f"{path}: not readable as {format_of(path)} ({str(error).splitlines()[0]})") from error
    places = _places(path, header, columns, optional)
    line = 0
    for batch in batches:
        frame = pl.from_arrow(batch)
        assert isinstance(frame, pl.DataFrame)
        chosen = frame.select(_text(frame[header[at]]).alias(name) for name, at in places.items())
        raw = chosen.select(pl.concat_str(pl.all().fill_null(""), separator=",").alias(RAW))
        numbers = pl.int_range(line + 1, line + 1 + frame.height, dtype=pl.Int64, eager=True).alias(LINE)
        yield Chunk(pl.concat([numbers.to_frame(), raw, chosen], how="horizontal"), (line + frame.height) / total)
        line += frame.height


def _batches(path: Path) -> tuple[list[str], int, Iterator[pa.RecordBatch]]:
    """Return the names of the columns, the number of rows, and the batches."""
    import pyarrow.feather as pf
    import pyarrow.parquet as pq

    if format_of(path) == "parquet":
        file = pq.ParquetFile(path)
        return file.schema_arrow.names, file.metadata.num_rows, file.iter_batches(CHUNK)
    table = pf.read_table(path)
    return table.column_names, table.num_rows, iter(table.to_batches(CHUNK))


def _text(values: pl.Series) -> pl.Series:
    """Return values as text: times as integers of ns, doubles by the shortest digits that read back as them."""
    import polars as pl

    if values.dtype == pl.Date:
        values = values.cast(pl.Datetime("ns"))
    if isinstance(values.dtype, pl.Datetime):
        return values.dt.epoch("ns").cast(pl.String)
    texts = values.cast(pl.String)
    if values.dtype != pl.Float64:
        return texts
    noisy = texts.str.contains(r"\.\d{9}|e-").fill_null(value=False)
    if not noisy.any():
        return texts
    return pl.Series([_denoised(x, text) if odd else text for x, text, odd in zip(values, texts, noisy, strict=True)])


def _denoised(value: float, text: str) -> str:
    """Return a double's decimal where its shortest one is finer than 1e-8.

    Sums and parsers of others leave such doubles beside the one that was meant. A double holds 15 digits; where these
    are at most 8 decimals and no more than two units in the last place away, they are what was meant.
    """
    meant = f"{value:.15g}"
    plain = format(Decimal(meant), "f")
    near = abs(float(meant) - value) <= 2 * math.ulp(value)
    return plain if near and len(plain.partition(".")[2]) <= 8 else text


def _places(path: Path, header: list[str], columns: dict[str, str], optional: Sequence[str]) -> dict[str, int]:
    """Return where each of our columns stands; names are compared without regard to case."""
    folded = [name.lower() for name in header]
    found = {name: folded.index(of.lower()) for name, of in columns.items() if of.lower() in folded}
    missing = [of for name, of in columns.items() if name not in found and name not in optional]
    if missing:
        raise ValueError(
            f"{path}: no column {', '.join(missing)}; it has {', '.join(header) or 'none'} "
            "(name others with --map, e.g. --map time=date; lines before the header go with --skip-lines)"
        )
    return found
