"""Findings as words: numbers with their units, and tables of finished text."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from greenbatch import units
from greenbatch.analysis.findings.cells import CellRow
from greenbatch.analysis.findings.comparisons import Ratio
from greenbatch.analysis.findings.markdown import Markdown, escape
from greenbatch.analysis.statistics.intervals import Interval


def sentences(clauses: Iterable[str]) -> str:
    """Write clauses as sentences, one after the other; empty ones are left out."""
    return " ".join(f"{clause[0].upper()}{clause[1:]}." for clause in clauses if clause)


def ranked_by(adjusted: str) -> tuple[str, str]:
    """Say that cells were ranked by adjusted means, in two clauses.

    Args:
        adjusted: That of the best cell, with its unit.
    """
    ranked = f"ranked by means adjusted for blocks ({adjusted} for the best)"
    return (
        f"{ranked}, as the cells were not measured in the same ones",
        "every figure shown is the mean over a cell's own blocks",
    )


DASH = "–"
"""Stands where a figure is missing."""
NOT_KNOWN = "interval not known"
"""Stands for an interval that reaches further than 100 % from its centre."""


@dataclass(frozen=True, slots=True)
class Table:
    """A table for people: every entry is finished text.

    Attributes:
        name: For a file.
        title: For a person.
        columns: Headers, units included where the entries have none.
        rows: As many entries as columns.
        numeric: Whether a column is set flush right.
        wraps: Whether entries are prose that may be broken into lines.
    """

    name: str
    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numeric: tuple[bool, ...]
    wraps: bool = False

    @property
    def groups(self) -> bool:
        """Whether lines with the same first entry belong together."""
        return self.name not in ("artifacts", "fairness", "parts")

    def markdown(self) -> Markdown:
        """Write a GitHub-flavoured Markdown table."""
        rule = ["--:" if right else ":--" for right in self.numeric]
        lines = [map(escape, self.columns), rule, *(map(escape, row) for row in self.rows)]
        return Markdown("".join("| " + " | ".join(line) + " |\n" for line in lines))


def spread(value: Interval | None, unit: str) -> str:
    """Write a figure and the wider side of its interval: ``12.3 mJ ± 1.2 %``.

    Bounds stand instead where they are far from even, ``12.3 mJ (6.1 mJ … 25 mJ)``: on a
    logarithmic scale ± 80 % would suggest a lower bound that is not there. An interval that reaches
    further than 100 % is `NOT_KNOWN`.
    """
    if value is None:
        return DASH
    centre = amount(value.centre, unit)
    if value.low is None or value.high is None or value.relative is None:
        return centre
    if not value.known:
        return f"{centre} ({NOT_KNOWN})"
    word = "" if value.kind == "t" else "range"
    if value.relative > 0.5:
        word = f"{word} " if word else ""
        return f"{centre} ({word}{amount(value.low, unit)} … {amount(value.high, unit)})"
    return f"{centre} ± {_percent(value.relative)}" + (f" ({word})" if word else "")


def share(value: Interval | None) -> str:
    """Write a share and its bounds in percent, which end at 0 and 100: ``97.2 % (96.9 … 97.5)``."""
    return _with_bounds(value, 100.0, "%", (0.0, 1.0))


def degrees(value: Interval | None) -> str:
    """Write a temperature and its bounds: ``61.0 °C (58.5 … 63.5)``."""
    return _with_bounds(value, 1.0, "°C", (-math.inf, math.inf))


def _with_bounds(
    value: Interval | None, factor: float, unit: str, limits: tuple[float, float]
) -> str:
    if value is None:
        return DASH
    centre = f"{factor * value.centre:.1f} {unit}"
    if value.low is None or value.high is None:
        return centre
    word = "" if value.kind == "t" else "range "
    low, high = max(limits[0], value.low), min(limits[1], value.high)
    return f"{centre} ({word}{factor * low:.1f} … {factor * high:.1f})"


def margin(value: Interval, digits: int = 0) -> str:
    """Write the wider side of an interval, to stand behind its centre: `` ± 3%``.

    Args:
        value: Of one repetition the text is empty; of bounds that say nothing, `NOT_KNOWN`.
        digits: Behind the decimal point.
    """
    if value.relative is None:
        return ""
    return f" ± {value.relative:.{digits}%}" if value.known else f" ({NOT_KNOWN})"


def bounds(value: Interval, unit: str) -> str:
    """Write the interval of a figure: ``95 %: 44.1 mJ … 46.3 mJ``."""
    if value.low is None or value.high is None:
        return "one repetition: no interval"
    if not value.known:
        return NOT_KNOWN
    kind = "95 %" if value.kind == "t" else "range"
    return f"{kind}: {amount(value.low, unit)} … {amount(value.high, unit)}"


def amount(value: float, unit: str) -> str:
    """Write a number to three digits, with its unit where it has one."""
    return units.si(value, unit) if unit else plain(value)


def plain(value: float) -> str:
    """Write a number without a unit to three digits, whole from a thousand on."""
    return f"{value:.3g}" if abs(value) < 999.5 else f"{value:.0f}"


def times(ratio: Ratio) -> str:
    """Write a ratio with its interval: ``1.24× (1.20 … 1.28)``."""
    value = ratio.interval
    if value is None:
        return f"withheld: {ratio.reason}" if ratio.reason else DASH
    text = f"{factor(value.centre)}×"
    if value.low is None or value.high is None:
        return text
    if not value.known:
        return f"{text} ({NOT_KNOWN})"
    word = "" if value.kind == "t" else "range "
    return f"{text} ({word}{factor(value.low)} … {factor(value.high)})"


def factor(value: float) -> str:
    """Write a ratio to two decimals, ``1.00``; a very small or large one to three digits."""
    return f"{value:.2f}" if 0.1 <= value < 99.5 else plain(value)


def p_text(value: float) -> str:
    """Write a p: ``0.031``, ``< 0.001``; a dash where there is none.

    One that is below 0.05 is written so that it reads so: ``0.0498``.
    """
    if value != value:
        return DASH
    if 0.0495 <= value < 0.05:
        return f"{min(value, 0.0499):.4f}"
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def notes(row: CellRow) -> str:
    """Write what to know of a cell: flags and repetitions that are not ok."""
    flags = [f"{name.replace('_', ' ')} {count}×" for name, count in row.flags.items()]
    failed = [
        f"{name.replace('_', ' ')} {count}×" for name, count in row.statuses.items() if name != "ok"
    ]
    return ", ".join([*flags, *failed, *filter(None, [row.left])])


def one_or_count(names: Sequence[str]) -> str:
    """Name a cell, or say how many there are: ``torch-cpu at batch 4``, ``3 other cells``."""
    return names[0] if len(names) == 1 else f"{len(names)} other cells"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %" if share < 0.1 else f"{100 * share:.0f} %"
