"""Recorded instants of arrival, from a text or CSV file."""

import csv
import io
import math
from itertools import pairwise
from pathlib import Path

from greenbatch.errors import FileError, UsageError
from greenbatch.files import followed, read_bytes

LARGEST_BYTES = 200_000_000
"""Of a recording: ten million instants of 20 characters."""
LONGEST_LINE = 10_000
_SHOWN = 40


def read_instants(path: Path, column: str | None = None) -> tuple[float, ...]:
    """Read instants in s, one a line, or a column of a CSV file with a header.

    Empty lines and those that begin with ``#`` are passed over. The first instant becomes 0, so
    that seconds since any origin will do. A recording has at most `LARGEST_BYTES`, and a line of
    it `LONGEST_LINE` characters.

    Args:
        path: The file.
        column: Name of the column; without one, each line is a number.

    Raises:
        UsageError: The file cannot be read, or a line of it is no instant, or comes before the
            line above.
    """
    lines = list(enumerate(_lines(path), start=1))
    lines = [(number, line) for number, line in lines if line.strip() and line.strip()[0] != "#"]
    field = 0
    if column is not None:
        header = _cells(lines[0][1], path, lines[0][0]) if lines else []
        names = [name.strip() for name in header]
        if column not in names:
            raise UsageError(
                f"{path} has no column {column!r}, its first line names {', '.join(names)}; "
                f"write replay:{path.name}#COLUMN with one of them"
            )
        field = names.index(column)
        lines = lines[1:]
    instants_s = [
        _instant(line if column is None else _cell(line, field, path, number), path, number)
        for number, line in lines
    ]
    for (before_s, after_s), (number, _) in zip(pairwise(instants_s), lines[1:], strict=True):
        if after_s < before_s:
            raise UsageError(
                f"{path} line {number}: {after_s:.9g} s comes before {before_s:.9g} s of the line "
                "above; sort the instants"
            )
    if len(instants_s) < 2 or instants_s[-1] == instants_s[0]:
        raise UsageError(
            f"{path} holds {len(instants_s)} instants of arrival, at the same time or too few; "
            "wanted at least 2 different ones"
        )
    return tuple(instant_s - instants_s[0] for instant_s in instants_s)


def _lines(path: Path) -> io.StringIO:
    try:
        text = read_bytes(followed(path), LARGEST_BYTES).decode("utf-8-sig")
    except FileNotFoundError as error:
        raise UsageError(
            f"cannot read arrivals from {path}: {error.strerror}; name a text file"
        ) from None
    except UnicodeDecodeError:
        raise UsageError(
            f"cannot read arrivals from {path}: it is not UTF-8 text; name a text file"
        ) from None
    except FileError as error:
        raise UsageError(f"cannot read arrivals: {error}") from error
    return io.StringIO(text, newline="")


def _cells(line: str, path: Path, number: int) -> list[str]:
    if len(line) > LONGEST_LINE:
        raise UsageError(
            f"{path} line {number} has {len(line)} characters; wanted an instant on each line, at "
            f"most {LONGEST_LINE} characters long"
        )
    return next(csv.reader([line]))


def _cell(line: str, field: int, path: Path, number: int) -> str:
    cells = _cells(line, path, number)
    return cells[field] if field < len(cells) else ""


def _instant(text: str, path: Path, number: int) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise UsageError(
            f"{path} line {number}: {text.strip()[:_SHOWN]!r} is no instant in s; write a "
            "number, one a line, or name a CSV column as replay:FILE#COLUMN"
        )
    return value
