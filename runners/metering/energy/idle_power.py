"""Idle power of a domain, of a GPU as of a CPU: the mean over an idle window."""

from greenbatch.records import EnergyFigure, IdleFigure


def idle_figure(figure: EnergyFigure, window_s: float) -> IdleFigure:
    """Turn the energy of an idle window into a mean power."""
    if figure.energy_j is None or figure.uncertainty_j is None:
        return IdleFigure(domain=figure.domain, source=figure.source, reason=figure.reason)
    return IdleFigure(
        domain=figure.domain,
        source=figure.source,
        power_w=figure.energy_j / window_s,
        uncertainty_w=figure.uncertainty_j / window_s,
        common_w=figure.common_j / window_s,
        reason=figure.reason,
    )
