"""The tests of batch sizes and policies as a table, and for a program with all pairs."""

from collections.abc import Sequence

from greenbatch.analysis.findings.batch_effects import BatchEffect, place_of
from greenbatch.analysis.findings.wording import DASH, Table, p_text
from greenbatch.analysis.statistics.hypothesis_tests import Test
from greenbatch.csv_text import csv_text

NOTE = (
    "Kruskal-Wallis over the repetitions of a network’s batch sizes or policies, with eta squared "
    "of H, (H − k + 1) / (n − k), and how many pairs differ by Dunn’s test. The networks of a "
    "backend together: Friedman over the mean of each network, with Kendall’s W, as their "
    "energies are of different sizes. Both p are corrected by Holm, over the tests of one kind and "
    "figure; tables/batching.csv has every pair."
)


def batching_table(found: Sequence[BatchEffect]) -> Table:
    """Show every test; of a run with one repetition only those over networks."""
    tested = [effect for effect in found if effect.test]
    body = tuple(
        (
            effect.cell.model if effect.networks == 1 else f"{effect.networks} networks",
            place_of(effect.cell),
            effect.words,
            test.name,
            f"{test.statistic:.4g}",
            p_text(test.p_holm),
            DASH if effect.effect is None else f"{effect.effect:.3f}".replace("-", "−"),
            f"{effect.differing} of {len(effect.pairs)}" if effect.pairs else DASH,
        )
        for effect in tested
        if (test := effect.test)
    )
    columns = ("model", "backend", "of", "test", "statistic", "p", "effect size", "pairs differ")
    numeric = tuple(c in ("statistic", "p", "effect size", "pairs differ") for c in columns)
    return Table("batching", "Does batching have an effect?", columns, body, numeric)


def batching_csv(found: Sequence[BatchEffect]) -> str:
    """Write every test and pair for a program; a test that could not be made has its reason."""
    lines: list[Sequence[object]] = [
        (
            *("model", "networks", "backend", "precision", "io", "scenario", "arrivals", "rate"),
            *("figure", "test", "between", "statistic", "degrees_of_freedom", "p", "p_holm"),
            *("effect_size", "reason"),
        )
    ]
    for effect in found:
        cell = effect.cell
        traffic = (cell.served.arrivals, cell.served.rate) if cell.is_server else (None, None)
        place = (
            cell.model if effect.networks == 1 else None,
            effect.networks,
            cell.variant,
            cell.precision,
            cell.io,
            cell.scenario,
            *traffic,
            effect.figure,
        )
        if effect.test is None:
            nothing = (None, " - ".join(effect.levels), *(None,) * 5)
            lines.append((*place, *nothing, effect.reason))
            continue
        lines.append((*place, *_numbers(effect.test), effect.effect, None))
        lines += [(*place, *_numbers(pair), None, None) for pair in effect.pairs]
    return csv_text(lines)


def _numbers(test: Test) -> tuple[object, ...]:
    free = test.degrees_of_freedom
    return (test.name, test.of, test.statistic, free[0] if free else None, test.p, test.p_holm)
