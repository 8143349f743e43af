"""A judgement that a reader must know before believing a figure: data, shown elsewhere."""

from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    """How far a caveat reaches."""

    SERIOUS = "serious"
    """The figures do not mean what a reader would take them to mean."""
    CAUTION = "caution"
    """Some figures, or their certainty, are affected."""
    NOTE = "note"
    """Worth knowing; no figure is affected."""


@dataclass(frozen=True, slots=True)
class Caveat:
    """One judgement: a stable code, how far it reaches, and a plain sentence."""

    code: str
    severity: Severity
    sentence: str
