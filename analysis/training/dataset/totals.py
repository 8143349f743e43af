"""Sums over phases of a training and domains that count; one that lacks a part is missing."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from greenbatch.analysis.dataset.counted import counted_domains, sum_counted
from greenbatch.analysis.dataset.variables import PROVENANCES
from greenbatch.records import EnergySource, Phase

if TYPE_CHECKING:
    import xarray as xr

_MISSING, _MEASURED, _ESTIMATED, _MIXED = map(
    PROVENANCES.index, ("missing", "measured", "estimated", "mixed")
)


@dataclass(frozen=True, slots=True)
class Total:
    """Time, images and energy of one phase or several; of none: nothing, and no source.

    Attributes:
        energy_j, uncertainty_j: NaN where they are not known.
        source: Position in ``PROVENANCES``; ``missing`` also where there is nothing to know.
    """

    duration_s: float = 0.0
    images: int = 0
    energy_j: float = 0.0
    uncertainty_j: float = 0.0
    source: int = _MISSING


def total_of(phase: Phase, counted: Sequence[str]) -> Total:
    """Add up what the domains that count took in a phase.

    Args:
        phase: With a figure for each domain.
        counted: The domains that count; where one of them has no figure, the sum is missing:
            half a machine is not a smaller machine.
    """
    if not phase.duration_s and not phase.images and not phase.energy:
        return Total()  # nothing happened
    figures = {figure.domain: figure for figure in phase.energy}
    energies_j, doubts_j, estimated = [], [], []
    for domain in counted:
        figure = figures.get(domain)
        if figure is None or figure.energy_j is None:
            return Total(phase.duration_s, phase.images, math.nan, math.nan)
        energies_j.append(figure.energy_j)
        doubts_j.append(figure.uncertainty_j or 0.0)
        estimated.append(figure.source is EnergySource.ESTIMATED)
    if not counted:  # an empty sum would be a silent zero
        return Total(phase.duration_s, phase.images, math.nan, math.nan)
    source = _ESTIMATED if all(estimated) else _MIXED if any(estimated) else _MEASURED
    return Total(phase.duration_s, phase.images, sum(energies_j), sum(doubts_j), source)


def add(totals: Iterable[Total]) -> Total:
    """Add totals up; what rests on different things is mixed.

    The metering errors are added, not squared: one clock reads them all.
    """
    parts = list(totals)
    energy_j = math.fsum(part.energy_j for part in parts)
    sources = {part.source for part in parts} - {_MISSING}
    source = _MISSING
    if sources and not math.isnan(energy_j):
        source = sources.pop() if len(sources) == 1 else _MIXED
    return Total(
        math.fsum(part.duration_s for part in parts),
        sum(part.images for part in parts),
        energy_j,
        math.fsum(part.uncertainty_j for part in parts),
        source,
    )


def counted(dataset: "xr.Dataset", name: str) -> "xr.DataArray":
    """Sum a variable over the domains that count; missing where one of them is."""
    import xarray as xr

    mask = counted_domains(dataset)
    total: xr.DataArray = xr.apply_ufunc(
        sum_counted, dataset[name], mask, input_core_dims=[["domain"], ["domain"]]
    )
    return total
