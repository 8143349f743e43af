"""Energy, latency and accuracy at once: the cells that no cell of any network dominates."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from greenbatch import units
from greenbatch.analysis.dataset.factors import cells_of
from greenbatch.analysis.dataset.variables import LOOP
from greenbatch.analysis.findings.cells import AccuracyFigure, CellRow
from greenbatch.analysis.findings.timeline import along_models, published_accuracy
from greenbatch.analysis.statistics.by_dimension import figure_of
from greenbatch.analysis.statistics.claims import FRONT
from greenbatch.analysis.statistics.intervals import Interval
from greenbatch.analysis.tradeoffs.pareto import energy_metric, front_of
from greenbatch.errors import UsageError
from greenbatch.records import Cell, Provenance

if TYPE_CHECKING:
    import xarray as xr

FEWEST = 2
"""Networks with an accuracy that can be weighed against each other."""
_REFUSED = (
    "Energies are estimated in part, and an estimate is not compared with a measurement: there is "
    "no Pareto front of all networks."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontCandidate:
    """A cell that has energy, latency and accuracy.

    Attributes:
        energy_j: Per image, gross; ``net_j`` less idle power, ``None`` where that is missing.
        latency_s: Median of a batch.
        pareto_status: ``front``, ``unsure`` (dominated of the means only) or ``dominated``.
        net_pareto_status: The same by net energy; ``None`` where that is missing.
    """

    cell: Cell
    energy_j: Interval
    net_j: Interval | None
    energy_source: Provenance
    latency_s: Interval
    accuracy: AccuracyFigure
    pareto_status: str
    net_pareto_status: str | None


def accuracy_front(
    dataset: "xr.Dataset", rows: Sequence[CellRow]
) -> tuple[list[FrontCandidate], list[str]]:
    """Weigh the cells of all networks by energy per image, median latency and top-1 accuracy.

    Accuracy is as measured of the artifact, else as published for the trained network in fp32; it
    counts by its value, without its interval.

    Args:
        dataset: Of the closed loop.
        rows: Its cells, as `cell_rows` gives them.

    Returns:
        The cells with all three figures, in the study's order, and sentences on what they show.
        None where fewer than ``FEWEST`` networks have them. No cell where energies rest on
        different things, and the sentence says so.
    """
    published = along_models(dataset, "top1")
    accuracies: dict[Cell, AccuracyFigure] = {}
    for row in rows:
        accuracy = row.accuracy or published_accuracy(row, published.get(row.cell.model))
        if row.energy_per_image_j and row.latency_p50_s and accuracy:
            accuracies[row.cell] = accuracy
    if len({cell.model for cell in accuracies}) < FEWEST:
        return [], []
    weighed = dataset.assign(accuracy_top1=_filled(dataset, accuracies))
    try:
        gross, net = (_pareto_statuses(weighed, net=by_net) for by_net in (False, True))
    except UsageError:
        return [], [_REFUSED]
    found = [
        FrontCandidate(
            cell=row.cell,
            energy_j=row.energy_per_image_j,
            net_j=row.energy_per_image_net_j,
            energy_source=row.energy_source,
            latency_s=row.latency_p50_s,
            accuracy=accuracies[row.cell],
            pareto_status=gross[row.cell],
            net_pareto_status=net.get(row.cell),
        )
        for row in rows
        if row.cell in accuracies
        and row.cell in gross
        and row.energy_per_image_j is not None
        and row.latency_p50_s is not None
    ]
    return found, _sentences(found, dataset)


def _filled(dataset: "xr.Dataset", accuracies: Mapping[Cell, AccuracyFigure]) -> "xr.DataArray":
    """Put accuracies by model and variant, in percent; NaN where there is none."""
    import numpy as np
    import xarray as xr

    dims = ("model", "variant")
    values = xr.DataArray(np.full([dataset.sizes[dim] for dim in dims], np.nan), dims=dims)
    for cell, (model, variant, _) in cells_of(dataset):
        if accuracy := accuracies.get(cell):
            values[model, variant] = accuracy.top1
    return values.assign_coords(model=dataset["model"], variant=dataset["variant"])


def _pareto_statuses(dataset: "xr.Dataset", *, net: bool) -> dict[Cell, str]:
    energy, latency = figure_of(dataset, energy_metric(net)), figure_of(dataset, "latency")
    codes = front_of(dataset, energy, latency, accuracy=True)
    values = codes.transpose(*LOOP).values
    return {cell: FRONT[values[place]] for cell, place in cells_of(dataset) if values[place]}


def _sentences(found: Sequence[FrontCandidate], dataset: "xr.Dataset") -> list[str]:
    every = list(dict.fromkeys(candidate.cell.model for candidate in found))
    on = [candidate for candidate in found if candidate.pareto_status == "front"]
    held = {candidate.cell.model for candidate in on}
    dominated = [model for model in every if model not in held]
    first = (
        f"{units.part(len(on), len(found), 'cell')} on the Pareto front (of the means): "
        "no other cell of any network is at least as accurate for as little energy and time."
    )
    sentences = [first]
    if dominated:
        unsure = [
            model
            for model in dominated
            if any(r.pareto_status == "unsure" for r in found if r.cell.model == model)
        ]
        doubt = f"; beyond the spread of the repetitions not shown of {', '.join(unsure)}"
        sentences.append(
            f"No cell of {', '.join(dominated)} is on it: for each there is one as good in all "
            f"three and better in one{doubt if unsure else ''}."
        )
    weights = dict(zip(dataset["model"].values, dataset["weights"].values, strict=True))
    drawn = [
        model
        for model in every
        if weights.get(model) == "random"
        and any(r.accuracy.source == "published" for r in found if r.cell.model == model)
    ]
    if drawn:
        sentences.append(
            "Ran with random weights, and are shown at the accuracy published for trained ones: "
            f"{', '.join(drawn)}."
        )
    return sentences
