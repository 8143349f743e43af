"""Backends and precisions against each other over all networks: signed-rank tests of pairs."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import TypeAlias

from greenbatch.analysis.dataset.energy_basis import unlike
from greenbatch.analysis.findings.cells import CellRow
from greenbatch.analysis.statistics.hypothesis_tests import Test
from greenbatch.analysis.statistics.matched_tests import FEWEST_PAIRS, bonferroni, signed_rank
from greenbatch.errors import UsageError
from greenbatch.records import Cell

MOST_WAYS = 12
"""Backends, as set, and precisions that are all compared; of more, each with the first."""
_Way: TypeAlias = Mapping[str, CellRow]
PAIRED_FIGURES = {"energy": "energy per image", "latency_p50": "p50 latency of a batch"}
"""What is compared: the series of a cell, and its words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedNetworks:
    """Two ways to compute the same networks, at one batch size.

    Attributes:
        one, other: A cell of each way, of the first network.
        figure: Key of `PAIRED_FIGURES`.
        networks: How many have both.
        estimated: Whether it is an energy that rests on an estimate, in part or whole.
        mean_ratio: Geometric mean over networks of the other way's figure over that of the first.
        higher: In how many networks the other way's figure is the higher one.
        test: Wilcoxon's signed-rank test of the logarithms of the ratios; ``p_holm`` is corrected
            by Bonferroni over all tests of the figure.
    """

    one: Cell
    other: Cell
    figure: str
    networks: int
    estimated: bool
    mean_ratio: float
    higher: int
    test: Test

    @property
    def words(self) -> str:
        """The figure in words."""
        return PAIRED_FIGURES[self.figure] + (" (estimated)" if self.estimated else "")


def paired_networks(rows: Sequence[CellRow]) -> list[PairedNetworks]:
    """Compare all pairs of backend and precision at each batch size, over networks.

    Of more than `MOST_WAYS` each is compared with the first.
    A network counts once, with the ratio of the geometric means of its repetitions. Of fewer than
    `FEWEST_PAIRS` networks nothing can be shown, and there is no test. Energies that may not be
    divided are left out.

    Args:
        rows: Of the closed loop, as `greenbatch.analysis.findings.cells.cell_rows` gives them.
    """
    ways: dict[tuple[int, str], dict[tuple[str, str], dict[str, CellRow]]] = {}
    for row in rows:
        cell = row.cell
        of_batch = ways.setdefault((cell.batch_size, cell.io), {})
        of_batch.setdefault((cell.variant, cell.precision), {})[cell.model] = row
    found: list[PairedNetworks] = []
    for figure in PAIRED_FIGURES:
        compared = [
            pair
            for _, of_batch in sorted(ways.items())
            for one, other in _pairs([*of_batch.values()])
            for pair in _compared(figure, one, other)
        ]
        tests = bonferroni([pair.test for pair in compared])
        found += [replace(pair, test=test) for pair, test in zip(compared, tests, strict=True)]
    return found


def _pairs(ways: Sequence[_Way]) -> Iterator[tuple[_Way, _Way]]:
    """Pair all ways, or each with the first where there are many."""
    if len(ways) <= MOST_WAYS:
        return combinations(ways, 2)
    return ((ways[0], other) for other in ways[1:])


def _compared(figure: str, one: _Way, other: _Way) -> Iterator[PairedNetworks]:
    """Give the comparison of two ways; nothing where there can be none."""
    pairs = [(one[model], other[model]) for model in one if model in other]
    if figure == "energy":
        pairs = [(a, b) for a, b in pairs if not unlike(a.basis, b.basis)]
    logs = [(_log_mean(a, figure), _log_mean(b, figure)) for a, b in pairs]
    known = [(first, second) for first, second in logs if first is not None and second is not None]
    if len(known) < FEWEST_PAIRS:
        return
    first, second = zip(*known, strict=True)
    cells = pairs[0][0].cell, pairs[0][1].cell
    try:
        test = signed_rank({_way(cells[1]): second, _way(cells[0]): first})
    except UsageError:  # the same in every network
        return
    ratios = [b - a for a, b in known]
    yield PairedNetworks(
        one=cells[0],
        other=cells[1],
        figure=figure,
        networks=len(known),
        estimated=figure == "energy"
        and any(row.energy_source.in_part_estimated for pair in pairs for row in pair),
        mean_ratio=math.exp(math.fsum(ratios) / len(ratios)),
        higher=sum(ratio > 0 for ratio in ratios),
        test=test,
    )


def _log_mean(row: CellRow, figure: str) -> float | None:
    values = [*row.series[figure].by_block.values()]
    if not values or min(values) <= 0:
        return None
    return math.fsum(map(math.log, values)) / len(values)


def _way(cell: Cell) -> str:
    return f"{cell.variant} {cell.precision}"
