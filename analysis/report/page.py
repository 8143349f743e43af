"""What a page shows, in chapters: finished text, tables and charts, for the templates."""

from collections.abc import Sequence
from dataclasses import dataclass

from greenbatch.analysis.findings.caveat import Caveat, Severity
from greenbatch.analysis.findings.wording import Table
from greenbatch.analysis.report.charts.charts import Chart, Style
from greenbatch.analysis.report.run_facts import Facts, Group


@dataclass(frozen=True, slots=True, kw_only=True)
class Cover:
    """What is shown above a page and below it.

    Attributes:
        source: The program that wrote the dataset.
        machine: In one line; may be empty.
        measured, planned: Repetitions or trainings.
    """

    title: str
    source: str
    machine: str
    measured: int
    planned: int


@dataclass(frozen=True, slots=True)
class Caveats:
    """What to know before relying on a figure; the serious ones stand at the top of a page."""

    serious: Sequence[Caveat]
    others: Sequence[Caveat]

    @classmethod
    def of(cls, found: Sequence[Caveat]) -> "Caveats":
        """Set the serious ones apart."""
        serious = [caveat for caveat in found if caveat.severity is Severity.SERIOUS]
        return cls(serious, [caveat for caveat in found if caveat not in serious])


@dataclass(frozen=True, slots=True)
class Section:
    """Charts of one quantity, or why there are none.

    Attributes:
        name: In the page, and of the figure's file.
        text: What is drawn, and where better is.
        per: What the reader may have the quantity counted by, value and words; first the default.
        sentences: What the charts show, above them.
        second_line: Whether p50 and p99, or training and validation, are drawn apart.
        estimated: Whether an energy in it is an estimate.
        key: Whether it is drawn by what the page compares.
        cells: Cells to choose from: place, model, and what else it is.
        net: What to know of it where net energy is chosen; empty where it shows no energy.
    """

    name: str
    title: str
    text: str
    charts: Sequence[Chart]
    absent: str = ""
    per: Sequence[tuple[str, str]] = ()
    sentences: Sequence[str] = ()
    second_line: bool = False
    estimated: bool = False
    key: bool = True
    cells: Sequence[tuple[int, str, str]] = ()
    net: str = ""


@dataclass(frozen=True, slots=True)
class TableSection:
    """A table with what explains it; nothing is shown of one without rows.

    Attributes:
        items: Sentences below it, without a full stop.
        absent: Stands instead of a table that cannot be made.
    """

    table: Table
    note: str = ""
    items: Sequence[str] = ()
    absent: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """How it was measured: in words, the study, and the machine."""

    paragraphs: Sequence[str]
    design: Facts
    environment: Sequence[Group]


@dataclass(frozen=True, slots=True, kw_only=True)
class Files:
    """What lies beside a page, as seen from its folder.

    Attributes:
        data: The dataset.
        figures: The figures on paper, as SVG.
        parquet: Whether every repetition was written as parquet.
    """

    data: str
    figures: Sequence[str]
    parquet: bool = False


@dataclass(frozen=True, slots=True)
class Part:
    """One of several reports: its label, address, machine and answer."""

    label: str
    href: str
    machine: str
    summary: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """A page that leads to the reports of several machines or runs.

    Attributes:
        eyebrow: The line above the title.
        along: What the parts are: ``machine`` or ``run``.
        sentences: What the parts show together.
        sections, styles: Charts of them, and how each part is drawn.
        closing: Stands at the end.
    """

    title: str
    source: str
    eyebrow: str
    along: str
    parts: Sequence[Part]
    sentences: Sequence[str] = ()
    sections: Sequence[Section] = ()
    styles: Sequence[Style] = ()
    tables: Sequence[TableSection] = ()
    closing: str
