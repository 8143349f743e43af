"""Tables of a report on the terminal: names are whole, and what does not fit is left out."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from greenbatch.cli.output.console import TextConsole
from greenbatch.plain_text import visible

if TYPE_CHECKING:
    from rich.console import JustifyMethod

    from greenbatch.analysis.findings import wording
    from greenbatch.analysis.statistics.intervals import Interval

_WIDE = 10_000
_INTERVAL = re.compile(r" ± \S+ %(?: \(range\))?| \([^()]*…[^()]*\)| \(interval not known\)")
_T = TypeVar("_T")


def fitting(table: "wording.Table", width: int, going: Sequence[str]) -> list[Table | Text]:
    """Lay out a table; where it is too wide, leave out intervals, then columns, and say so.

    Args:
        table: Its names are never shortened.
        width: Columns of the terminal. Where nothing fits, long entries are broken into lines.
        going: Names of the columns that may be left out, in this order.
    """
    wide = TextConsole(width=_WIDE)
    gone: list[str] = []
    bare = table
    laid = laid_out(table)
    for name in ("intervals", *(name for name in going if name in table.columns)):
        if wide.measure(laid).minimum <= width:
            break
        gone.append(name)
        bare = _without_intervals(table) if name == "intervals" else _without(bare, name)
        laid = laid_out(bare)
    if wide.measure(laid).minimum > width:
        laid = laid_out(bare, folded=True)
    footer = f"Left out for the width of the terminal: {', '.join(gone)}."
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
    kinds = {value.kind for value in found if value and value.relative is not None}
    if not kinds:
        return []
    parts = {
        frozenset({"t"}): "95 % interval over the repetitions, in percent.",
        frozenset({"range"}): "range of two repetitions, in percent.",
    }
    both = (
        "95 % interval over the repetitions, in percent; of two repetitions, that of their range."
    )
    return [Text(f"± is the wider side of the {parts.get(frozenset(kinds), both)}", style="dim")]


def _without_intervals(table: "wording.Table") -> "wording.Table":
    rows = (tuple(_INTERVAL.sub("", cell) for cell in row) for row in table.rows)
    return replace(table, rows=tuple(rows))


def laid_out(written: "wording.Table", *, folded: bool = False) -> Table:
    """Lay out a table for the terminal, each entry on a line, or ``folded`` into several."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for place, (name, right) in enumerate(zip(written.columns, written.numeric, strict=True)):
        longest = max((cell_len(visible(row[place])) for row in written.rows), default=0)
        justify: JustifyMethod = "right" if right else "left"
        least = None if folded else longest
        whole = not folded and longest >= cell_len(name)  # only headings are broken
        table.add_column(name, justify=justify, min_width=least, overflow="fold", no_wrap=whole)
    for row in written.rows:
        table.add_row(*map(Text, row))
    return table
