"""What the energy of a run will be worth, before it is measured."""

from typing import TYPE_CHECKING

from greenbatch.records import EnergySource

if TYPE_CHECKING:
    from greenbatch.runners.metering import Metering


def energy_worth(metering: "Metering") -> str:
    """Say in one sentence which energy is measured, estimated (and how far off), or missing.

    Args:
        metering: The meters that a run opened.
    """
    counted = [domain for domain in metering.domains if domain.counts]
    measured = [one for one in counted if one.source is not EnergySource.ESTIMATED]
    parts = []
    if measured:
        names = ", ".join(f"{domain.name} ({domain.source})" for domain in measured)
        parts.append(f"energy is measured: {names}")
    parts += [
        f"energy of {domain.name} is {domain.note or 'estimated, not measured'}"
        for domain in counted
        if domain.source is EnergySource.ESTIMATED
    ]
    if not parts:
        return "energy will be missing: no meter is read; 'gb doctor --quick' lists the meters"
    return "; ".join(parts)
