"""What an energy rests on: an estimate is never compared with a measurement."""

from collections.abc import Iterable
from enum import StrEnum

from greenbatch.errors import UsageError


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


def alike(parts: Iterable[Provenance]) -> bool:
    """Whether energies rest on the same, which they also do where each is mixed.

    Within one run that is enough to put them in order: the same domains are estimated in each.
    """
    return len(set(parts) - {Provenance.MISSING}) < 2


def comparable(parts: Iterable[Provenance]) -> bool:
    """Whether all energies are measured, or all estimated; missing ones decide nothing."""
    return combine(parts) is not Provenance.MIXED


def require_comparable(parts: Iterable[Provenance], what: str) -> None:
    """Refuse to compare energies of which some are estimated and others measured.

    Args:
        parts: What each rests on.
        what: What was asked for; begins the sentence.

    Raises:
        UsageError: They rest on different things, or one on both.
    """
    found = set(parts)
    if not comparable(found):
        kinds = " and ".join(sorted(found - {Provenance.MISSING}))
        raise UsageError(
            f"{what} would compare energies that are {kinds}; an estimate is not compared with a "
            "measurement: select cells of one kind"
        )
