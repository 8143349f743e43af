"""Sums of stretches of a training."""

from collections.abc import Sequence

from greenbatch.records import EnergyFigure, EnergySource, Phase

_BEST_FIRST = (EnergySource.COUNTER, EnergySource.INTEGRATED, EnergySource.ESTIMATED)


def total(phases: Sequence[Phase]) -> Phase:
    """Add stretches that do not overlap: times, images, and energies domain by domain.

    A domain that is missing in one of them is missing in the sum. Uncertainties add up, as one
    clock reads them all; the source is the least certain one.
    """
    domains = dict.fromkeys(figure.domain for phase in phases for figure in phase.energy)
    duration_s = sum(phase.duration_s for phase in phases)
    return Phase(
        duration_s=duration_s,
        images=sum(phase.images for phase in phases),
        energy=tuple(_domain(domain, phases, duration_s) for domain in domains),
    )


def _domain(domain: str, phases: Sequence[Phase], duration_s: float) -> EnergyFigure:
    found = [_of(domain, phase) for phase in phases]
    figures = [figure for figure in found if figure is not None]
    lacking = next((figure for figure in figures if figure.energy_j is None), None)
    counts = figures[0].counts
    if lacking or len(figures) < len(phases):
        reason = lacking.reason if lacking else f"{domain}: a part of the training was not metered"
        return EnergyFigure(
            domain=domain, source=EnergySource.MISSING, counts=counts, reason=reason
        )
    energy_j = sum(figure.energy_j or 0.0 for figure in figures)
    others_j = [figure.other_energy_j for figure in figures]
    known_j = [other_j for other_j in others_j if other_j is not None]
    both = len(known_j) == len(figures)
    others = (figure.other_uncertainty_j for figure in figures)
    bands_j = [band_j for band_j in others if band_j is not None]
    peaks_w = [figure.power_max_w for figure in figures if figure.power_max_w is not None]
    reasons = dict.fromkeys(figure.reason for figure in figures if figure.reason)
    return EnergyFigure(
        domain=domain,
        source=max((figure.source for figure in figures), key=_BEST_FIRST.index),
        counts=counts,
        energy_j=energy_j,
        uncertainty_j=sum(figure.uncertainty_j or 0.0 for figure in figures),
        common_j=sum(figure.common_j for figure in figures),
        power_mean_w=energy_j / duration_s if duration_s > 0 else None,
        power_max_w=max(peaks_w, default=None),
        other_source=figures[0].other_source if both else None,
        other_energy_j=sum(known_j) if both else None,
        other_uncertainty_j=sum(bands_j) if both and len(bands_j) == len(figures) else None,
        reason="; ".join(reasons) or None,
    )


def _of(domain: str, phase: Phase) -> EnergyFigure | None:
    return next((figure for figure in phase.energy if figure.domain == domain), None)
