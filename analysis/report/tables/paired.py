"""Backends and precisions over all networks as a table, and for a program."""

from collections.abc import Sequence

from greenbatch.analysis.findings.paired_networks import MOST_WAYS, PairedNetworks
from greenbatch.analysis.findings.wording import Table, factor, p_text
from greenbatch.csv_text import csv_text
from greenbatch.records import Cell

NOTE = (
    "Every network is one pair: the ratio of its means under the two. The ratio is the geometric "
    "mean over networks. p is of Wilcoxon’s signed-rank test, corrected by Bonferroni over all "
    "tests of the same figure: it is about networks like these, not repetitions. Of more than "
    f"{MOST_WAYS} backends and precisions, each is compared with the first."
)


def paired_table(found: Sequence[PairedNetworks]) -> Table:
    """Show which backend or precision needs more over all networks; empty where there is none."""
    precisions = len({cell.precision for pair in found for cell in (pair.one, pair.other)}) > 1

    def named(cell: Cell) -> str:
        return f"{cell.variant} {cell.precision}" if precisions else cell.variant

    body = tuple(
        (
            str(pair.one.batch_size),
            named(pair.other),
            named(pair.one),
            pair.words,
            str(pair.networks),
            f"{factor(pair.mean_ratio)}×",
            f"{pair.higher} of {pair.networks}",
            f"{pair.test.statistic:g}",
            p_text(pair.test.p_holm),
        )
        for pair in found
    )
    columns = ("batch", "of", "over", "figure", "networks", "ratio", "higher in", "W", "p")
    numeric = tuple(name not in ("of", "over", "figure") for name in columns)
    title = "Backends and precisions over all networks"
    return Table("paired", title, columns, body, numeric)


def paired_csv(found: Sequence[PairedNetworks]) -> str:
    """Write every comparison for a program."""
    lines: list[Sequence[object]] = [
        (
            *("batch_size", "io", "backend", "precision", "over_backend", "over_precision"),
            *("figure", "networks", "mean_ratio", "higher_in", "w", "p", "p_bonferroni"),
        )
    ]
    lines += [
        (
            *(pair.one.batch_size, pair.one.io, pair.other.variant, pair.other.precision),
            *(pair.one.variant, pair.one.precision, pair.figure, pair.networks, pair.mean_ratio),
            *(pair.higher, pair.test.statistic, pair.test.p, pair.test.p_holm),
        )
        for pair in found
    ]
    return csv_text(lines)
