"""What an estimate of energy assumes: written in words, and read back as numbers to compare."""

import re
from dataclasses import dataclass

from greenbatch.units import count

_OF_AN_ESTIMATE = "estimated, not measured: "
_NUMBER = r"(\d+(?:\.\d+)?(?:e[+-]?\d+)?)"
_FACTS = re.compile(rf"{_NUMBER} hardware threads? at {_NUMBER} W each, up to {_NUMBER} W\b")


@dataclass(frozen=True, slots=True, order=True)
class EstimateFacts:
    """The numbers that an estimate from CPU time is computed with.

    Attributes:
        threads: Hardware threads that were granted; may be a fraction under a quota.
        rest_w, full_w: Power of each at rest and at full load, in W, to three digits.
    """

    threads: float
    rest_w: float
    full_w: float

    def __str__(self) -> str:
        threads = (
            count(int(self.threads), "hardware thread")
            if self.threads == 1
            else f"{self.threads:g} hardware threads"
        )
        return f"{threads} at {self.rest_w:.3g} W each, up to {self.full_w:.3g} W"


def estimate_note(model: str) -> str:
    """Write the reason of a figure that is estimated by a model, which is stated in words.

    A model that begins as `EstimateFacts` are written is compared by these.
    """
    return f"{_OF_AN_ESTIMATE}{model}"


def model_of_estimate(note: str) -> str:
    """Return the model that `estimate_note` was given."""
    return note.removeprefix(_OF_AN_ESTIMATE).rstrip(".")


def facts_of_estimate(model: str) -> tuple[EstimateFacts | str, ...]:
    """Return by what a model is compared with another one.

    Args:
        model: As `model_of_estimate` returns it.

    Returns:
        Its numbers; of a model in other words the words, and nothing where there are none.
    """
    if not model:
        return ()
    found = _FACTS.match(model)
    return (EstimateFacts(*map(float, found.groups())),) if found else (model,)
