"""What an energy rests on: an estimate is never compared with a measurement."""

from collections.abc import Iterable
from enum import StrEnum


class Provenance(StrEnum):
    """What an energy, or a sum of energies, rests on; a dataset stores the position in this list.

    Attributes:
        MEASURED: On counters, or on power that was integrated.
        ESTIMATED: On a model.
        MIXED: On both.
    """

    MISSING = "missing"
    MEASURED = "measured"
    ESTIMATED = "estimated"
    MIXED = "mixed"

    @property
    def in_part_estimated(self) -> bool:
        """Whether an estimate is in it."""
        return self in (Provenance.ESTIMATED, Provenance.MIXED)


def combine(parts: Iterable[Provenance]) -> Provenance:
    """Return what energies rest on together; missing ones add nothing."""
    found = set(parts) - {Provenance.MISSING}
    if not found:
        return Provenance.MISSING
    return found.pop() if len(found) == 1 else Provenance.MIXED


def comparable(parts: Iterable[Provenance]) -> bool:
    """Whether all energies are measured, or all estimated; missing ones decide nothing."""
    return combine(parts) is not Provenance.MIXED
