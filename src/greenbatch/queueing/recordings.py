"""Recorded instants of arrival, from a text or CSV file."""

import csv
import math
from itertools import pairwise
from pathlib import Path

from greenbatch.errors import UsageError


def read_instants(path: Path, column: str | None = None) -> tuple[float, ...]:
    """Read instants in s, one a line, or a column of a CSV file with a header.

    Empty lines and those that begin with ``#`` are passed over. The first instant becomes 0, so
    that seconds since any origin will do.

    Args:
        path: The file.
        column: Name of the column; without one, each line is a number.

    Raises:
        UsageError: The file cannot be read, or a line of it is no instant, or comes before the
            line above.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            lines = list(enumerate(file, start=1))
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise UsageError(f"cannot read arrivals from {path}: {reason}; name a text file") from None
    lines = [(number, line) for number, line in lines if line.strip() and line.strip()[0] != "#"]
    field = 0
    if column is not None:
        header = next(csv.reader([lines[0][1]])) if lines else []
        names = [name.strip() for name in header]
        if column not in names:
            raise UsageError(
                f"{path} has no column {column!r}, its first line names {', '.join(names)}; "
                f"write replay:{path.name}#COLUMN with one of them"
            )
        field = names.index(column)
        lines = lines[1:]
    instants_s = [
        _instant(line if column is None else _cell(line, field), path, number)
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


def _cell(line: str, field: int) -> str:
    cells = next(csv.reader([line]))
    return cells[field] if field < len(cells) else ""


def _instant(text: str, path: Path, number: int) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise UsageError(
            f"{path} line {number}: {text.strip()!r} is no instant in s; write a number, one a "
            "line, or name a CSV column as replay:FILE#COLUMN"
        )
    return value
