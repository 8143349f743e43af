"""Recorded instants of arrival, from a text or CSV file."""

import csv
import io
import math
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

from greenbatch.errors import FileError, UsageError
from greenbatch.files import followed, read_bytes

LARGEST_BYTES = 200_000_000
"""Of a recording: ten million instants of 20 characters."""
LONGEST_LINE = 10_000
_SHOWN = 40
_UNITS_S = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}
_EPOCH_S = (9.4e8, 4.1e9)
"""From 1999 to 2099, in s since 1970."""


def read_instants(path: Path, column: str | None = None) -> tuple[float, ...]:
    """Read instants in s, one a line, or a column of a CSV file with a header.

    Empty lines and those that begin with ``#`` are passed over. The first instant becomes 0, so
    that seconds since any origin will do. A recording has at most `LARGEST_BYTES`, and a line of
    one without columns `LONGEST_LINE` characters.

    Args:
        path: The file.
        column: Name of the column, with ``:ms``, ``:us`` or ``:ns`` behind it where it is not in
            s; without a name, each line is a number.

    Raises:
        UsageError: The file cannot be read, or a line of it is no instant, or comes before the
            line above; or the instants are in another unit than seconds, and none is stated.
    """
    text = _text(path)
    name, unit = _unit_of(column, path, text)
    found = _column(text, name, path) if name else _numbers(text, path)
    instants_s = [_instant(cell, path, number) * _UNITS_S[unit or "s"] for number, cell in found]
    for (before_s, after_s), (number, _) in zip(pairwise(instants_s), found[1:], strict=True):
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
    if unit is None:
        _doubt_seconds(instants_s[0], path, name)
    return tuple(instant_s - instants_s[0] for instant_s in instants_s)


def _unit_of(column: str | None, path: Path, text: str) -> tuple[str, str | None]:
    """Return the name of a column and its unit; a column whose own name ends so is meant itself."""
    name, colon, unit = (column or "").rpartition(":")
    if colon and unit in _UNITS_S:
        header = next((row for _, row in _rows(text, path)), []) if name else []
        if (column or "") not in map(str.strip, header):
            return name, unit
    return column or "", None


def _doubt_seconds(first: float, path: Path, column: str) -> None:
    """Ask for the unit of instants that are an epoch of our time in another unit than seconds."""
    for unit, factor in _UNITS_S.items():
        if unit != "s" and _EPOCH_S[0] <= first * factor <= _EPOCH_S[1]:
            raise UsageError(
                f"the instants of {path} begin with {first:.6g}, which as seconds is beyond our "
                f"time and as {unit} is a date of it; write replay:{path.name}#{column}:{unit}, or "
                f"#{column}:s if they are seconds"
            )


def _numbers(text: str, path: Path) -> list[tuple[int, str]]:
    """Return the lines that hold an instant, by their numbers."""
    found = []
    for number, line in enumerate(io.StringIO(text, newline=""), start=1):
        if not line.strip() or line.strip()[0] == "#":
            continue
        if len(line) > LONGEST_LINE:
            raise UsageError(
                f"{path} line {number} has {len(line)} characters; wanted an instant on each line, "
                f"at most {LONGEST_LINE} characters long"
            )
        found.append((number, line))
    return found


def _column(text: str, name: str, path: Path) -> list[tuple[int, str]]:
    """Return a column's cells, by the numbers of the lines that their rows end in."""
    rows = list(_rows(text, path))
    names = [cell.strip() for cell in rows[0][1]] if rows else []
    if name not in names:
        shown = ", ".join(names)[: _SHOWN * 10]
        raise UsageError(
            f"{path} has no column {name!r}, its first line names {shown}; "
            f"write replay:{path.name}#COLUMN with one of them"
        )
    field = names.index(name)
    return [(number, row[field] if field < len(row) else "") for number, row in rows[1:]]


def _rows(text: str, path: Path) -> Iterator[tuple[int, list[str]]]:
    """Give the rows of a CSV file with the numbers of the lines that they end in.

    A quoted cell may hold line breaks, and be as long as the file, as prompts are.
    """
    before = csv.field_size_limit(LARGEST_BYTES)
    reader = csv.reader(io.StringIO(text, newline=""))
    try:
        for row in reader:
            if any(cell.strip() for cell in row) and not row[0].lstrip().startswith("#"):
                yield reader.line_num, row
    except csv.Error as error:
        raise UsageError(
            f"{path} line {reader.line_num}: {error}; wanted a CSV file with a header"
        ) from error
    finally:
        csv.field_size_limit(before)


def _text(path: Path) -> str:
    try:
        return read_bytes(followed(path), LARGEST_BYTES).decode("utf-8-sig")
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
