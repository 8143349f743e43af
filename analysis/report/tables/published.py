"""What a study of inference printed beside what its preset gives here."""

from collections.abc import Callable, Mapping, Sequence
from statistics import fmean, stdev

from greenbatch import units
from greenbatch.analysis.dataset.energy_basis import unlike
from greenbatch.analysis.findings.cells import CellRow
from greenbatch.analysis.findings.serving import policy_order
from greenbatch.analysis.findings.wording import DASH, Table, spread
from greenbatch.analysis.published.studies import PublishedFigure, published_studies
from greenbatch.analysis.report.page import TableSection
from greenbatch.analysis.statistics.intervals import Interval
from greenbatch.records import Cell

_FEWEST_RANKED = 4
_UNITS = {"energy": "J", "response_mean": "s"}


def published_sections(
    name: str | None, rows: Sequence[CellRow], backends: Mapping[str, str]
) -> list[TableSection]:
    """Set the figures of a study beside those of a run of its preset.

    Args:
        name: Of the run's study; others than those that are listed have no such table.
        rows: All cells of the run.
        backends: The runtime of each backend.
    """
    published = published_studies().get(name or "")
    if published is None or not rows:
        return []
    here: Mapping[str, Callable[[PublishedFigure], str]] = {
        "mean_ratio": lambda figure: _mean_ratio(figure, rows, backends),
        "by_policy": lambda figure: _by_policy(figure, rows),
        "spearman": lambda _: _spearman(rows),
    }
    body = tuple(
        (figure.words, figure.value, here[figure.kind](figure) or DASH)
        for figure in published.figures
    )
    table = Table(
        "published",
        "Published, and here",
        ("figure", "published", "here"),
        body,
        (False, False, False),
        wraps=True,
    )
    note = (
        f"Published by {published.source}. The device and what the preset changes differ (see the "
        "design below), so the figures need not agree."
    )
    return [TableSection(table, note)]


def _mean_ratio(
    figure: PublishedFigure, rows: Sequence[CellRow], backends: Mapping[str, str]
) -> str:
    """Divide a runtime's figure by another's, network by network; mean and deviation over them."""
    where = figure.where
    by_runtime: dict[str, dict[str, CellRow]] = {}
    for row in rows:
        cell = row.cell
        if (
            not cell.is_server
            and (not where.models or cell.model in where.models)
            and (cell.batch_size, cell.precision) == (where.batch_size, where.precision)
        ):
            by_runtime.setdefault(backends.get(cell.backend, ""), {}).setdefault(cell.model, row)
    one, over = (by_runtime.get(runtime, {}) for runtime in (where.one, where.over))
    ratios = []
    for model, row in one.items():
        other = over.get(model)
        if other is None or (figure.of == "energy" and unlike(row.basis, other.basis)):
            continue
        means = [member.series[figure.of].interval() for member in (row, other)]
        if all(mean is not None and mean.centre > 0 for mean in means):
            ratios.append(_centre(means[0]) / _centre(means[1]))
    if not ratios:
        return ""
    if len(ratios) == 1:
        return f"{ratios[0]:.2f}"
    return (
        f"{fmean(ratios):.2f} ± {stdev(ratios):.2f}, mean of {units.count(len(ratios), 'network')}"
    )


def _centre(value: Interval | None) -> float:
    assert value is not None
    return value.centre


def _by_policy(figure: PublishedFigure, rows: Sequence[CellRow]) -> str:
    found = [
        row
        for row in rows
        if row.cell.is_server
        and row.cell.model in figure.where.models
        and row.series[figure.of].by_block
    ]
    found.sort(key=lambda row: (row.cell.served.rate_hz or 0.0, policy_order(_policy(row.cell))))
    rates = {row.cell.served.rate for row in found}
    texts = []
    for row in found:
        rate = f" at {row.cell.served.rate}/s" if len(rates) > 1 else ""
        value = spread(row.series[figure.of].interval(), _UNITS[figure.of])
        texts.append(f"{_policy(row.cell)}{rate} {value}")
    return ", ".join(texts)


def _policy(cell: Cell) -> str:
    return cell.served.policy


def _spearman(rows: Sequence[CellRow]) -> str:
    """Rank energy and time per image over the cells of the closed loop."""
    from scipy import stats

    pairs = [
        (row.energy_per_image_j.centre, 1 / row.throughput.centre)
        for row in rows
        if not row.cell.is_server and row.energy_per_image_j and row.throughput
    ]
    if len(pairs) < _FEWEST_RANKED:
        return ""
    energies, times = zip(*pairs, strict=True)
    return (
        f"{float(stats.spearmanr(energies, times).statistic):.2f}, over "
        f"{units.count(len(pairs), 'cell')}"
    )
