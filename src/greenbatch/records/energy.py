"""Energy and power figures: a number never travels without how it was obtained."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class EnergySource(StrEnum):
    """How a figure was obtained; the dataset stores the position in this list."""

    MISSING = "missing"
    COUNTER = "counter"
    INTEGRATED = "integrated"
    ESTIMATED = "estimated"


_ROUNDED = 1 + 1e-9  # sums of parts
TDP_OPTION = "--cpu-tdp"
TDP_HINT = f"pass {TDP_OPTION} W (cpu_tdp_w= in Python), the maximum power of the available cores"
"""What makes an estimate better that is by the average power of servers."""


def _check(
    quantity: str, domain: str, source: EnergySource, value: float | None, reason: str | None
) -> None:
    if source is EnergySource.MISSING:
        if value is not None or not reason:
            raise ValueError(
                f"{quantity} of {domain} is missing: it has no value and needs a reason"
            )
    elif value is None or not math.isfinite(value) or value < 0:
        raise ValueError(
            f"{quantity} of {domain} is {value} with source {source}; it is finite and not negative"
        )


def _check_common(quantity: str, domain: str, common: float, uncertainty: float | None) -> None:
    if not 0 <= common <= (uncertainty or 0.0) * _ROUNDED:
        raise ValueError(
            f"the common part of the uncertainty of {quantity} of {domain} is {common}; wanted 0 "
            f"to {uncertainty}"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class EnergyFigure:
    """The energy of one domain in one window.

    Attributes:
        domain: ``gpu-0``, ``package-0``, ``dram-0``, ...
        source: How ``energy_j`` was obtained.
        counts: Whether the domain adds to the total (``psys`` and ``core`` do not: others
            already hold their energy).
        energy_j: Gross energy in the window, in J; ``None`` when missing.
        uncertainty_j: Half-width of the band that holds the true value, in J.
        common_j: The part of ``uncertainty_j`` that is the calibration of the domain's sensor, in
            J: it is the same share of power, and the same power besides, in every window, so that
            ratios of energies by one sensor do not have it.
        power_mean_w: ``energy_j`` over the window's length, in W.
        power_max_w: The highest power seen between two readings, in W.
        other_source: Where the device offers a second way, which one.
        other_energy_j: The same energy by that second way, in J.
        other_uncertainty_j: Half-width of the band of that, without the calibration, in J; ``None``
            in runs that did not record it.
        reason: Why the figure is missing, or what an estimate assumes.

    Raises:
        ValueError: The value does not go with its source.
    """

    domain: str
    source: EnergySource
    counts: bool = True
    energy_j: float | None = None
    uncertainty_j: float | None = None
    common_j: float = 0.0
    power_mean_w: float | None = None
    power_max_w: float | None = None
    other_source: EnergySource | None = None
    other_energy_j: float | None = None
    other_uncertainty_j: float | None = None
    reason: str | None = None

    def __post_init__(self) -> None:
        _check("energy", self.domain, self.source, self.energy_j, self.reason)
        if self.energy_j is not None and self.uncertainty_j is None:
            raise ValueError(f"energy of {self.domain} needs an uncertainty")
        _check_common("energy", self.domain, self.common_j, self.uncertainty_j)

    @property
    def disagreement(self) -> float | None:
        """The second way's energy over the first's, less one; ``None`` where there is one way."""
        if not self.energy_j or self.other_energy_j is None:
            return None
        return self.other_energy_j / self.energy_j - 1

    @property
    def contradicted(self) -> bool:
        """Whether the two ways are further apart than their bands, but for what is common, explain.

        A run that did not record the second band has none: any difference is one too many.
        """
        if self.energy_j is None or self.other_energy_j is None:
            return False
        if self.other_uncertainty_j is None:
            return True
        own_j = (self.uncertainty_j or 0.0) - self.common_j
        return abs(self.other_energy_j - self.energy_j) > own_j + self.other_uncertainty_j

    @property
    def remedy(self) -> str:
        """What makes an estimate better whose error is above 100 %; empty of any other figure."""
        if self.source is not EnergySource.ESTIMATED or TDP_OPTION in (self.reason or ""):
            return ""
        return TDP_HINT if (self.uncertainty_j or 0.0) > (self.energy_j or 0.0) else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class IdleFigure:
    """The power of one domain while the process is alive, the model is loaded and nothing runs.

    Attributes:
        domain: As in `EnergyFigure`.
        source: How ``power_w`` was obtained.
        power_w: Mean power, in W; ``None`` when missing.
        uncertainty_w: Half-width of the band that holds the true value, in W.
        common_w: The part of it that is the calibration of the sensor, see `EnergyFigure`, in W.
        reason: Why the figure is missing.
    """

    domain: str
    source: EnergySource
    power_w: float | None = None
    uncertainty_w: float | None = None
    common_w: float = 0.0
    reason: str | None = None

    def __post_init__(self) -> None:
        _check("idle power", self.domain, self.source, self.power_w, self.reason)
        _check_common("idle power", self.domain, self.common_w, self.uncertainty_w)


@dataclass(frozen=True, slots=True, kw_only=True)
class EnergyTotal:
    """The energy of all domains that count; missing where one of them is.

    Attributes:
        energy_j: In J; ``None`` when missing.
        uncertainty_j: Half-width of the band that holds the true value, in J: the domains' added,
            as one clock reads them all.
        sources: How the figures in it were obtained, each once.
        reason: Why it is missing.
    """

    energy_j: float | None = None
    uncertainty_j: float | None = None
    sources: tuple[EnergySource, ...] = ()
    reason: str | None = None


def total_energy(figures: Iterable[EnergyFigure]) -> EnergyTotal:
    """Add what counts up: half a machine is not a smaller machine."""
    counted = [figure for figure in figures if figure.counts]
    if not counted:
        return EnergyTotal(reason="no domain counts")
    energies_j, doubts_j = [], []
    for figure in counted:
        if figure.energy_j is None:
            return EnergyTotal(reason=figure.reason)
        energies_j.append(figure.energy_j)
        doubts_j.append(figure.uncertainty_j or 0.0)
    return EnergyTotal(
        energy_j=sum(energies_j),
        uncertainty_j=sum(doubts_j),
        sources=tuple(dict.fromkeys(figure.source for figure in counted)),
    )
