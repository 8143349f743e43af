"""Rows as CSV text that a spreadsheet does not take for formulas."""

import csv
import io
import re
from collections.abc import Iterable, Sequence

_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?|[+-]?(inf|nan)", re.IGNORECASE)


def csv_text(lines: Iterable[Sequence[object]]) -> str:
    """Write lines as CSV; ``None`` is empty.

    Text that a spreadsheet would compute, because it begins with ``= + - @``, a tab or a carriage
    return, gets an apostrophe in front; numbers stay as they are.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows([_plain(cell) for cell in line] for line in lines)
    return text.getvalue()


def _plain(cell: object) -> object:
    if not isinstance(cell, str):
        return cell
    text = cell.replace("\r\n", "\n").replace("\r", "\n")  # else not quoted
    return f"'{text}" if cell.startswith(_FORMULA) and not _NUMBER.fullmatch(cell) else text
