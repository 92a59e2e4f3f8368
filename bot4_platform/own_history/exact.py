"""Text to integers, exactly: ticks and lots without a lost digit, times in ns; null where that cannot be."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING

from bot4_live.instrument import E8

if TYPE_CHECKING:
    import polars as pl

NUMBER = r"^[+-]?(\d{1,10}(\.\d*)?|\.\d+)$"
_ISO = ("%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%d %H:%M:%S", "%Y-%m-%d %H:%M", "%Y-%m-%d")


def counts(texts: pl.Series, step_e8: int) -> pl.DataFrame:
    """Return `value` (how many steps a decimal is, null if none), `number` and `fits`, one row a text.

    `number`: it is a finite decimal of at most 10 digits before the point. `fits`: it is a whole number of steps.
    """
    import polars as pl

    plain = texts.str.contains(NUMBER).fill_null(value=False)
    if not plain.all():
        texts = _written_out(texts, ~plain)
    number = texts.str.contains(NUMBER).fill_null(value=False)
    frame = pl.DataFrame({"text": texts, "number": number}).with_columns(
        whole=pl.col("text").str.extract(r"^[+-]?(\d*)").str.replace("^$", "0"),
        part=pl.col("text").str.extract(r"\.(\d*)$").fill_null("").str.strip_chars_end("0"),
    )
    e8 = pl.col("whole").cast(pl.Int64, strict=False) * E8 + pl.col("part").str.slice(0, 8).str.pad_end(8, "0").cast(
        pl.Int64, strict=False
    )
    frame = frame.with_columns(e8=pl.when(pl.col("text").str.starts_with("-")).then(-e8).otherwise(e8))
    fits = (pl.col("part").str.len_bytes() <= 8) & (pl.col("e8") % step_e8 == 0)
    frame = frame.with_columns(fits=(pl.col("number") & fits).fill_null(value=False))
    return frame.select(
        pl.when(pl.col("number") & pl.col("fits")).then(pl.col("e8") // step_e8).alias("value"), "number", "fits"
    )


def times(texts: pl.Series, pattern: str | None = None) -> pl.Series:
    """Return ns since 1970, null where a text is no time.

    Without a `pattern` (strftime): ISO 8601 in UTC, or an integer in s, ms, us or ns, told apart by its length
    (10, 13, 16, 19 digits: any time since 2001).
    """
    import polars as pl

    col = pl.col("text")
    frame = pl.DataFrame({"text": texts})
    if pattern is not None:
        return frame.select(_datetime(col, pattern)).to_series()
    iso = col.str.replace(r"^(\d{4}-\d\d-\d\d)T", "$1 ").str.replace(r"(Z| ?UTC|[+-]00:?00)$", "")
    digits = col.str.contains(r"^\d{10}(\d{3}){0,3}$")
    scale = pl.lit(10, pl.Int64).pow((19 - col.str.len_bytes()).cast(pl.UInt32))
    whole = pl.when(digits).then(col).cast(pl.Int64, strict=False) * scale
    return frame.select(pl.coalesce(whole, *(_datetime(iso, known) for known in _ISO)).cast(pl.Int64)).to_series()


def _datetime(col: pl.Expr, pattern: str) -> pl.Expr:
    import polars as pl

    if not any(code in pattern for code in ("%H", "%I", "%s")):
        return col.str.to_date(pattern, strict=False).cast(pl.Datetime("ns")).dt.epoch("ns")
    if "%M" not in pattern:  # polars knows no hour without minutes
        col, pattern = pl.concat_str(col, pl.lit(" 00")), pattern + " %M"
    return col.str.to_datetime(pattern, time_unit="ns", strict=False).dt.epoch("ns")


def _written_out(texts: pl.Series, rows: pl.Series) -> pl.Series:
    """Return texts with exponents as plain decimals; what is no number stays."""
    import polars as pl

    def plain(text: str | None) -> str | None:
        if text is None or len(text) > 60:
            return text
        try:
            value = Decimal(text)
        except InvalidOperation:
            return text
        return format(value, "f") if value.is_finite() and abs(value.adjusted()) < 30 else text

    return pl.Series([plain(text) if odd else text for text, odd in zip(texts, rows, strict=True)], dtype=pl.String)
