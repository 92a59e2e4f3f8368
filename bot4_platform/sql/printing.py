"""Answers as tables for people, JSON, or CSV."""

from __future__ import annotations

import csv
import itertools
import json
import math
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import IO, Any

from bot4_platform.sql.session import Answer

WIDEST = 60


def print_table(answer: Answer, out: IO[str], most: int) -> int:
    """Write aligned columns, at most `most` rows (0: all); return how many rows were written."""
    rows = list(itertools.islice(answer.rows(), most + 1 if most else None))
    more = bool(most) and len(rows) > most
    shown = rows[:most] if most else rows
    cells = [[_cell(value) for value in row] for row in shown]
    widths = [max([len(name), *(len(row[i]) for row in cells)]) for i, name in enumerate(answer.columns)]
    right = [
        all(isinstance(row[i], (int, float, Decimal)) or row[i] is None for row in shown)
        for i in range(len(answer.columns))
    ]

    def line(texts: list[str]) -> str:
        parts = (
            text.rjust(width) if flush else text.ljust(width)
            for text, width, flush in zip(texts, widths, right, strict=True)
        )
        return "  ".join(parts).rstrip()

    out.write(line(answer.columns) + "\n")
    out.write("  ".join("-" * width for width in widths) + "\n")
    out.writelines(line(row) + "\n" for row in cells)
    if more:
        out.write(f"... more than {most} rows; --rows 0 shows all\n")
    return len(shown)


def print_json(answer: Answer, out: IO[str]) -> None:
    """Write an array of objects, one a line; integers exact, times ISO 8601, bytes hexadecimal, no NaN."""
    out.write("[")
    for number, row in enumerate(answer.rows()):
        plain = {name: _plain(value) for name, value in zip(answer.columns, row, strict=True)}
        out.write(("," if number else "") + "\n" + json.dumps(plain, allow_nan=False))
    out.write("\n]\n")


def print_csv(answer: Answer, out: IO[str]) -> None:
    """Write CSV with a header; null is empty."""
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(answer.columns)
    for row in answer.rows():
        writer.writerow(["" if value is None else _plain(value) for value in row])


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    plain = _plain(value)
    text = f"{plain:.10g}" if isinstance(plain, float) else plain if isinstance(plain, str) else json.dumps(plain)
    return text if len(text) <= WIDEST else text[: WIDEST - 1] + "…"


def _plain(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, (datetime, date, time)):
        return value.isoformat()
    if isinstance(value, (bytes, bytearray)):
        return bytes(value).hex()
    if isinstance(value, (Decimal, timedelta)):
        return str(value)
    if isinstance(value, dict):
        return {str(key): _plain(found) for key, found in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(found) for found in value]
    return value
