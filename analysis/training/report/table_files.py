"""The tables of a report of trainings as files."""

from collections.abc import Sequence
from pathlib import Path

from greenbatch.analysis.findings.wording import Table
from greenbatch.analysis.report.render import write_latex
from greenbatch.analysis.training.report.tables import table_csv
from greenbatch.files import write_atomically

TABLES = (
    "trainings",
    "trials",
    "searches",
    "best-trials",
    "levels",
    "anova",
    "pairs",
    "tests",
    "phases",
    "device",
    "sizes",
    "complexity",
    "published",
    "footprint",
    "settings",
    "substitutions",
    *("machines", "machine-pairs", "machine-utilization"),
)
"""Every table that a report of trainings may have; it replaces and deletes files of these names."""


def write_tables(folder: Path, tables: Sequence[Table]) -> None:
    """Write each table as CSV and LaTeX.

    Args:
        folder: Where to; files of `TABLES` of an earlier report are removed.
        tables: As a page has them.
    """
    for name in TABLES:  # none of an earlier report
        for ending in ("csv", "tex"):
            (folder / f"{name}.{ending}").unlink(missing_ok=True)
    write_latex(folder, tables)
    for table in tables:
        write_atomically(folder / f"{table.name}.csv", table_csv(table))
