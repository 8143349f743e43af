"""The cells of a recording that hold its instants: of a CSV file, JSON lines or plain lines."""

import csv
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from greenbatch.documents import parse_json
from greenbatch.errors import UsageError, first_line

LONGEST_LINE = 10_000
"""Characters of a line without columns."""
_SEPARATORS = (",", ";", "\t", "|")
_DEEPEST = 50
_SHOWN = 400


@dataclass(frozen=True, slots=True, eq=False)
class Cells:
    """Texts or numbers in the order of the file.

    Attributes:
        values: A `pandas.Series` of them, labelled 0, 1, ...
        rows: Which row of the file each is of, from 0; blank lines are no rows.
        text: The file, to find the lines of rows.
        quoted: Whether a row may span several lines, as in CSV.
    """

    values: Any
    rows: Sequence[int]
    text: str
    quoted: bool

    def line(self, place: int) -> int:
        """Return the number of the line that a cell's row ends in, from 1."""
        row = int(self.rows[place])
        ends = _row_ends(self.text) if self.quoted else (number for number, _ in _lines(self.text))
        return next(islice(ends, row, None))


def is_json(text: str) -> bool:
    """Whether a file holds JSON: an object on each line, or a list of objects."""
    return text.lstrip()[:1] in ("{", "[")


def column_names(text: str, path: Path) -> list[str]:
    """List the names of the columns; empty where the file is plain lines."""
    if is_json(text):
        first = next(iter(_objects(text, path)), {})
        return [str(name) for name in first]
    return _header(text, path)[1]


def column(text: str, name: str, path: Path) -> Cells:
    """Take a column by its name.

    Raises:
        UsageError: There is none of that name, or the file cannot be read.
    """
    import pandas as pd

    names = column_names(text, path)
    if not names:
        raise UsageError(f"{path} has no column {name!r}: it has no header; name another file")
    if name not in names:
        shown = ", ".join(names)[:_SHOWN]
        raise UsageError(
            f"{path} has no column {name!r}, its {'first object' if is_json(text) else 'header'} "
            f"names {shown}; write replay:{path.name}#COLUMN with one of them"
        )
    if is_json(text):
        found = [each.get(name) for each in _objects(text, path)]
        plain = [None if isinstance(one, bool | dict | list) else one for one in found]
        return Cells(pd.Series(plain, dtype=object), range(len(plain)), text, quoted=False)
    separator, _ = _header(text, path)
    place = names.index(name)
    table = _table(text, separator, path, usecols=sorted({0, place}))
    kept = ~table[0].str.lstrip().str.startswith("#")
    rows = table.index[kept][1:]  # without the header
    values = table[place][rows].reset_index(drop=True)
    if separator == ";":  # of a spreadsheet in a language with decimal commas
        values = values.str.replace(",", ".")
    return Cells(values, rows.tolist(), text, quoted=True)


def plain_lines(text: str, path: Path) -> Cells:
    """Take each line that is not blank and no comment.

    Raises:
        UsageError: A line is longer than `LONGEST_LINE`.
    """
    import pandas as pd

    found = []
    rows = []
    for row, (number, line) in enumerate(_lines(text)):
        if line.lstrip().startswith("#"):
            continue
        if len(line) > LONGEST_LINE:
            raise UsageError(
                f"{path} line {number} has {len(line)} characters; wanted an instant on each line, "
                f"at most {LONGEST_LINE} characters long"
            )
        found.append(line.strip())
        rows.append(row)
    return Cells(pd.Series(found, dtype=object), rows, text, quoted=False)


def _lines(text: str) -> Iterator[tuple[int, str]]:
    """Give the lines that are not blank with their numbers."""
    for number, line in enumerate(io.StringIO(text, newline=None), start=1):
        if line.strip():
            yield number, line.rstrip("\n")


def _objects(text: str, path: Path) -> list[dict[str, Any]]:
    """Read JSON lines, or one list of objects."""
    whole = text.lstrip().startswith("[")
    lines = [] if whole else [line for _, line in _lines(text)]
    try:
        found = parse_json(text if whole else f"[{','.join(lines)}]", _DEEPEST)
        if all(isinstance(one, dict) for one in found) and (whole or len(found) == len(lines)):
            return list(found)
        problem = "not every element is an object"
    except ValueError as error:
        problem = first_line(error)
    if not whole:
        number, problem = _broken_line(text)
        path = Path(f"{path} line {number}")
    raise UsageError(
        f"{path}: {problem}; wanted JSON lines, an object on each line, or a list of objects"
    )


def _broken_line(text: str) -> tuple[int, str]:
    for number, line in _lines(text):
        try:
            if not isinstance(json.loads(line), dict):
                return number, f"{line.strip()[:40]!r} is no object"
            parse_json(line, _DEEPEST)
        except RecursionError:
            return number, f"it is nested more than {_DEEPEST} levels deep"
        except ValueError as error:
            return number, first_line(error)
    return 1, "it cannot be read"


def _header(text: str, path: Path) -> tuple[str, list[str]]:
    """Return the separator and the names of the columns."""
    first = next((line for _, line in _lines(text) if not line.lstrip().startswith("#")), "")
    separator = max(_SEPARATORS, key=first.count)
    names = _table(text, separator, path, nrows=1) if first else None
    return separator, [] if names is None else [str(cell).strip() for cell in names.iloc[0]]


def _table(text: str, separator: str, path: Path, **options: Any) -> Any:
    """Read a CSV file as texts; the header is row 0."""
    import pandas as pd

    try:
        return pd.read_csv(
            io.StringIO(text),
            sep=separator,
            header=None,
            dtype=str,
            na_filter=False,
            skiprows=_before_header(text),
            **options,
        )
    except ValueError as error:  # pandas' errors of parsing descend from it
        raise UsageError(f"{path}: {first_line(error)}; wanted a CSV file with a header") from error


def _before_header(text: str) -> int:
    """Count the lines before the header: comments, and blank ones between."""
    return next((n for n, line in _lines(text) if not line.lstrip().startswith("#")), 1) - 1


def _row_ends(text: str) -> Iterator[int]:
    """Give the number of the line that each row of a CSV file ends in, for a message."""
    before = csv.field_size_limit(len(text) + 1)
    skipped = _before_header(text)
    try:
        lines = islice(io.StringIO(text, newline=""), skipped, None)
        reader = csv.reader(lines, delimiter=_header(text, Path())[0])
        for row in reader:
            if len(row) > 1 or any(map(str.strip, row)):
                yield skipped + reader.line_num
    finally:
        csv.field_size_limit(before)
