"""Idle power of a domain, of a GPU as of a CPU: the mean over an idle window.

Clocks and power of a GPU fall for seconds after a load. It is idle when two successive spans have
about the same mean: with spans of 1 s and an e-fold of 1.5 s, what is left at the end is less than
the 3 % by which they may differ. Single ticks of 20 or 100 ms are alike long before.
"""

from greenbatch.records import EnergyFigure, IdleFigure
from greenbatch.runners.metering.meter import Domain

_SLOW_PARTS = ("gpu", "npu", "soc")
SPAN_S = 1.0
_ALIKE = 0.03


def settles_slowly(domain: Domain) -> bool:
    """Return whether a domain's power takes its time to fall after a load.

    So does that of a superchip or a system on a chip, which holds a GPU. A plug is not waited for.
    """
    return domain.part in _SLOW_PARTS or (domain.part == "machine" and bool(domain.vendor))


def alike(earlier: EnergyFigure, later: EnergyFigure) -> bool:
    """Return whether a domain's mean power of two successive spans is about the same."""
    if earlier.power_mean_w is None or later.power_mean_w is None:
        return False
    return abs(later.power_mean_w - earlier.power_mean_w) <= _ALIKE * later.power_mean_w


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
