"""Tables of a report on the terminal: names are whole, and what does not fit is left out."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from greenbatch.plain_text import visible

if TYPE_CHECKING:
    from rich.console import JustifyMethod

    from greenbatch.analysis.findings import wording
    from greenbatch.analysis.statistics.intervals import Interval

_GAP = 2  # blanks that rich counts with each column
_INTERVAL = re.compile(r" ± \S+ %(?: \(range\))?| \([^()]*…[^()]*\)| \(interval not known\)")
_T = TypeVar("_T")


def fitting(table: "wording.Table", width: int, going: Sequence[str]) -> list[Table | Text]:
    """Lay out a table; where it is too wide, leave out intervals, then columns, and say so.

    Args:
        table: Its names are never shortened.
        width: Columns of the terminal. Where nothing fits, long entries are broken into lines.
        going: Names of the columns that may be left out, in this order.
    """
    gone: list[str] = []
    bare = table
    for name in ("intervals", *(name for name in going if name in table.columns)):
        if _least_width(bare) <= width:
            break
        gone.append(name)
        bare = _without_intervals(table) if name == "intervals" else _without(bare, name)
    footer = f"Left out for the width of the terminal: {', '.join(gone)}."
    laid = _laid_out(bare, width)
    return [laid, Text(footer, style="dim")] if gone else [laid]


def _without(table: "wording.Table", name: str) -> "wording.Table":
    place = table.columns.index(name)

    def rest(row: tuple[_T, ...]) -> tuple[_T, ...]:
        return (*row[:place], *row[place + 1 :])

    return replace(
        table,
        columns=rest(table.columns),
        rows=tuple(map(rest, table.rows)),
        numeric=rest(table.numeric),
    )


def plus_minus(found: "Iterable[Interval | None]") -> list[Text]:
    """Say what ± stands for in a table of these figures; nothing where there is none."""
    kinds = {value.kind for value in found if value and value.known}
    of = "95 % interval over the repetitions" if "t" in kinds else "range of two repetitions"
    both = "; of two repetitions, that of their range" if len(kinds) > 1 else ""
    text = f"± is the wider side of the {of}, in percent{both}."
    return [Text(text, style="dim")] if kinds else []


def _without_intervals(table: "wording.Table") -> "wording.Table":
    rows = (tuple(_INTERVAL.sub("", cell) for cell in row) for row in table.rows)
    return replace(table, rows=tuple(rows))


def _laid_out(written: "wording.Table", width: int) -> Table:
    """Lay out a table with each entry on one line, or on several where nothing else fits.

    Widths are given to each column, because rich narrows also columns that cannot be narrowed
    and then cuts the last ones.
    """
    table = Table(box=None, pad_edge=False, header_style="bold")
    remaining = width - _least_width(written)
    columns = zip(written.columns, written.numeric, _column_widths(written), strict=True)
    for name, right, (least, whole) in columns:
        wider = min(whole - least, max(remaining, 0))
        fixed = least + wider if remaining >= 0 else None
        justify: JustifyMethod = "right" if right else "left"
        table.add_column(name, justify=justify, width=fixed, overflow="fold")
        remaining -= wider
    for row in written.rows:
        table.add_row(*map(Text, row))
    return table


def _least_width(written: "wording.Table") -> int:
    """Width of a table with each entry on one line and its headings broken between words."""
    return sum(least + _GAP for least, _ in _column_widths(written))


def _column_widths(written: "wording.Table") -> list[tuple[int, int]]:
    """Width of each column, with its heading broken between words and with it on one line."""
    found = []
    for place, name in enumerate(written.columns):
        entries = max((cell_len(visible(row[place])) for row in written.rows), default=0)
        word = max(map(cell_len, name.split()), default=0)
        found.append((max(entries, word), max(entries, cell_len(name))))
    return found
