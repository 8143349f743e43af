"""Whether the batch size, or a server's batching policy, has an effect: tests over repetitions."""

import math
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from greenbatch.analysis.dataset.energy_basis import all_unlike
from greenbatch.analysis.findings.cells import CellRow
from greenbatch.analysis.findings.serving import policy_order
from greenbatch.analysis.findings.wording import p_text
from greenbatch.analysis.statistics.hypothesis_tests import (
    Test,
    corrected,
    dunn,
    eta_squared_h,
    kruskal_wallis,
    least_p_kruskal,
)
from greenbatch.analysis.statistics.matched_tests import friedman
from greenbatch.errors import UsageError
from greenbatch.records import Cell

SIGNIFICANT = 0.05
FIGURES = {
    False: {"energy": "energy per image", "latency_p50": "p50 latency of a batch"},
    True: {"energy": "energy per request", "response_mean": "mean response time"},
}
"""What is tested, by whether it is of servers: the series of a cell and its words."""
_FEWEST_VALUES = 2
ONE_REPETITION = "each cell has one repetition, and a test needs two or more"


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchEffect:
    """Whether a figure differs between batch sizes or policies.

    Attributes:
        cell: The first of the cells that are compared; they differ in batch size or policy alone.
        networks: How many are tested together; one where ``cell`` names it.
        figure: Key of `FIGURES`.
        levels: Batch sizes or policies.
        estimated: Whether it is an energy that rests on an estimate, in part or whole.
        test: Kruskal-Wallis over repetitions, or Friedman over the means of networks; ``None`` with
            a ``reason``. Corrected by Holm over all of this figure in the run.
        effect: Eta squared of H, or Kendall's W.
        least_p: What the test would have if the repetitions of no two levels overlapped,
            corrected by their number; above 0.05 no effect can be shown.
        pairs: Dunn's tests, corrected by Holm; of one network alone.
    """

    cell: Cell
    networks: int
    figure: str
    levels: tuple[str, ...]
    estimated: bool = False
    test: Test | None = None
    effect: float | None = None
    least_p: float = 0.0
    pairs: tuple[Test, ...] = ()
    reason: str = ""

    @property
    def words(self) -> str:
        """The figure in words."""
        estimated = " (estimated)" if self.estimated else ""
        return f"{FIGURES[self.cell.is_server][self.figure]}{estimated}"

    @property
    def differing(self) -> int:
        """How many pairs differ significantly."""
        return sum(pair.p_holm < SIGNIFICANT for pair in self.pairs)

    @property
    def significant(self) -> bool:
        """Whether the effect is significant."""
        return self.test is not None and self.test.p_holm < SIGNIFICANT


def batch_effects(rows: Sequence[CellRow]) -> list[BatchEffect]:
    """Test each network under each backend, then the networks of a backend together.

    Servers that do not sustain their rate are left out: their response times depend on the length
    of the window. Energies that may not be divided are not tested, with the reason.

    Args:
        rows: As `greenbatch.analysis.findings.cells.cell_rows` gives them.
    """
    found: list[BatchEffect] = []
    for server, figures in FIGURES.items():
        known = [
            row for row in rows if row.cell.is_server == server and not row.flags.get("overloaded")
        ]
        for figure in figures:
            series = _series(known, figure)
            found += _holm([_of_network(figure, members) for members in series.values()])
            pooled: dict[Hashable, list[Sequence[CellRow]]] = {}
            for (_, *place), members in series.items():
                if not _unlike(figure, members):
                    pooled.setdefault((*place,), []).append(members)
            several = [members for members in pooled.values() if len(members) > 1]
            found += _holm([_of_networks(figure, members) for members in several])
    return found


def effect_sentences(found: Sequence[BatchEffect], *, server: bool, figure: str) -> list[str]:
    """Say in how many networks batching has an effect on a figure, and over all of them."""
    mine = [e for e in found if e.cell.is_server == server and e.figure == figure]
    what = "batching policy" if server else "batch size"
    alone = [effect for effect in mine if effect.networks == 1]
    together = [effect for effect in mine if effect.networks > 1 and effect.test]
    return [*_of_each(alone, what), *_of_all(together, what)]


def _of_each(alone: Sequence[BatchEffect], what: str) -> Iterator[str]:
    """Say in how many series the effect is significant, or why none can be."""
    tested = [effect for effect in alone if effect.test]
    able = [effect for effect in tested if effect.least_p < SIGNIFICANT]
    if able:
        count = sum(effect.significant for effect in tested)
        yield (
            f"The {what} has a significant effect on the {able[0].words} in {count} of "
            f"{len(tested)} series of a network and a backend (Kruskal-Wallis over repetitions, "
            "corrected by Holm)."
        )
    elif tested:
        least_p = min(effect.least_p for effect in tested)
        yield (
            f"There are too few repetitions to test the effect of the {what} on the "
            f"{tested[0].words} of a network by ranks: even if they never overlapped, "
            f"Kruskal-Wallis would have p {_equals(least_p)}{_over(tested)}."
        )
    untested = [effect for effect in alone if not effect.test]
    if untested and tested:
        yield (
            f"On the {untested[0].words}, of {len(alone)} series {len(untested)} could not be "
            f"tested: {untested[0].reason}."
        )
    elif untested:
        yield (
            f"No test of the effect of the {what} on the {untested[0].words} of a network: "
            f"{untested[0].reason}."
        )


def _over(tested: Sequence[BatchEffect]) -> str:
    return f", corrected for {len(tested)} tests" if len(tested) > 1 else ""


def _of_all(together: Sequence[BatchEffect], what: str) -> Iterator[str]:
    """Say on which backends the effect is significant over all networks."""
    for significant, verdict in ((True, "a"), (False, "no")):
        found = [effect for effect in together if effect.significant == significant]
        if not found:
            continue
        places = ", ".join(
            f"{place_of(effect.cell)} (p {_equals(effect.test.p_holm)}, W {effect.effect:.2f})"
            for effect in found
            if effect.test and effect.effect is not None
        )
        counts = sorted({effect.networks for effect in found})
        networks = " or ".join(map(str, counts))
        yield (
            f"Over {networks} networks, the {what} has {verdict} significant effect on the "
            f"{found[0].words} on {places}; Friedman, each network at its mean, with Kendall's W."
        )


def place_of(cell: Cell) -> str:
    """Name what the cells that are compared have in common, but for the network."""
    unusual = "" if cell.precision == "fp32" else f" in {cell.precision}"
    device = "" if cell.io == "host" else f", {cell.io} inputs"
    traffic = (
        f" at {cell.served.rate} requests/s ({cell.served.arrivals})" if cell.is_server else ""
    )
    return f"{cell.variant}{unusual}{device}{traffic}"


def _equals(p: float) -> str:
    text = p_text(p)
    return text if text.startswith("<") else f"= {text}"


def _series(rows: Iterable[CellRow], figure: str) -> dict[tuple[Hashable, ...], Sequence[CellRow]]:
    """Gather the cells that differ in batch size or policy alone, two or more that have it."""
    found: dict[tuple[Hashable, ...], list[CellRow]] = {}
    for row in rows:
        cell = row.cell
        traffic = (cell.served.arrivals, cell.served.rate) if cell.is_server else ()
        if row.series[figure].by_block:
            key = (cell.model, cell.backend, cell.settings, cell.precision, cell.io, traffic)
            found.setdefault(key, []).append(row)
    return {
        series: sorted(members, key=lambda row: _order(row.cell))
        for series, members in found.items()
        if len(members) > 1
    }


def _unlike(figure: str, rows: Iterable[CellRow]) -> str:
    """Say why figures may not be compared; empty where they may."""
    return all_unlike(row.basis for row in rows) if figure == "energy" else ""


def _order(cell: Cell) -> tuple[float, ...]:
    return policy_order(cell.served.policy) if cell.is_server else (cell.batch_size,)


def _level(cell: Cell) -> str:
    return cell.served.policy if cell.is_server else str(cell.batch_size)


def _of_network(figure: str, rows: Sequence[CellRow]) -> BatchEffect:
    groups = {_level(row.cell): [*row.series[figure].by_block.values()] for row in rows}
    effect = BatchEffect(
        cell=rows[0].cell,
        networks=1,
        figure=figure,
        levels=(*groups,),
        estimated=_estimated(figure, rows),
    )
    if why := _unlike(figure, rows):
        return replace(effect, reason=f"the energies of its cells are not alike ({why})")
    several = {level: of for level, of in groups.items() if len(of) >= _FEWEST_VALUES}
    if len(several) < len(groups):
        none = not several
        reason = ONE_REPETITION if none else "a cell has one repetition, and a test needs two"
        return replace(effect, reason=reason)
    try:
        test = kruskal_wallis(groups, effects=False)
        pairs = dunn(groups, effects=False)
    except UsageError as error:
        return replace(effect, reason=str(error))
    size = sum(map(len, groups.values()))
    eta = eta_squared_h(test.statistic, len(groups), size)
    least_p = least_p_kruskal(tuple(map(len, groups.values())))
    return replace(effect, test=test, effect=eta, pairs=tuple(pairs), least_p=least_p)


def _of_networks(figure: str, series: Sequence[Sequence[CellRow]]) -> BatchEffect:
    """Test the networks of a backend together, over the levels that all of them have."""
    means: list[Mapping[str, float]] = [
        {_level(row.cell): _mean([*row.series[figure].by_block.values()]) for row in rows}
        for rows in series
    ]
    levels = [level for level in means[0] if all(level in other for other in means)]
    effect = BatchEffect(
        cell=series[0][0].cell,
        networks=len(series),
        figure=figure,
        levels=tuple(levels),
        estimated=any(_estimated(figure, rows) for rows in series),
    )
    try:
        test, w = friedman({level: [other[level] for other in means] for level in levels})
    except UsageError as error:
        return replace(effect, reason=str(error))
    return replace(effect, test=test, effect=w)


def _estimated(figure: str, rows: Sequence[CellRow]) -> bool:
    return figure == "energy" and any(row.energy_source.in_part_estimated for row in rows)


def _mean(values: Sequence[float]) -> float:
    """Geometric where all are positive, as everywhere in a report."""
    if min(values) <= 0:
        return math.fsum(values) / len(values)
    return math.exp(math.fsum(map(math.log, values)) / len(values))


def _holm(effects: Sequence[BatchEffect]) -> list[BatchEffect]:
    raw = [effect.test for effect in effects if effect.test]
    tests = iter(corrected(raw))
    return [
        replace(e, test=next(tests), least_p=min(1.0, e.least_p * len(raw))) if e.test else e
        for e in effects
    ]
