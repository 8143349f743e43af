"""What a search may try: choices, or a range, for each hyperparameter."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from greenbatch.design.field_types import as_text, distinct

_GRID_STEPS = 4
_GOLDEN = 0.381966  # a point that is no round number where the ends are
_MOST_STEPS = 10_000
_SHORT_OF_END = 1e-5  # so far below an open end is the last value, in shares of the range
_MEMBERS = ("low", "high", "log", "steps", "whole", "open")


@dataclass(frozen=True, slots=True)
class Dimension:
    """One hyperparameter of a search.

    Attributes:
        name: Of the hyperparameter.
        choices: Texts to choose from; empty for a range.
        low, high: Ends of a range, both within it.
        log: Whether the range is even in its logarithm.
        whole: Whether only whole numbers are in it.
        steps: How many points a grid has along a range.
        open: Whether the high end is not within it: the steps of a grid begin at the low end.
    """

    name: str
    choices: tuple[str, ...] = ()
    low: float = 0.0
    high: float = 0.0
    log: bool = False
    whole: bool = False
    steps: int = _GRID_STEPS
    open: bool = False

    def grid(self) -> list[str]:
        """Return the points of a grid along it, as texts."""
        if self.choices:
            return list(self.choices)
        ends = (math.log(self.low), math.log(self.high)) if self.log else (self.low, self.high)
        gaps = self.steps if self.open else max(1, self.steps - 1)
        shares = [i / gaps for i in range(self.steps)]
        values = [ends[0] + share * (ends[1] - ends[0]) for share in shares]
        values = [math.exp(value) for value in values] if self.log else values
        return list(dict.fromkeys(self.text(value) for value in values))

    def text(self, value: float) -> str:
        """Write a value of a range as it is recorded, to six digits."""
        if self.open:
            value = min(value, self.high - _SHORT_OF_END * (self.high - self.low))
        return str(round(value)) if self.whole else f"{value:.6g}"

    def examples(self) -> list[str]:
        """Return values at which it can be checked: every choice, or both ends and one between."""
        between = self.low + _GOLDEN * (self.high - self.low)
        return list(self.choices) or [self.text(each) for each in (self.low, between, self.high)]


def parse_space(space: Mapping[str, Any]) -> tuple[Dimension, ...]:
    """Read a search space, as in a study file.

    Raises:
        ValueError: It is empty, or a member is invalid; the message names it.
    """
    if not space:
        raise ValueError("the search space is empty; give a hyperparameter, e.g. relu: [0, 1]")
    return tuple(_dimension(name, given) for name, given in space.items())


def _dimension(name: str, given: Any) -> Dimension:
    if isinstance(given, Mapping):
        return _range(name, given)
    values = tuple(given) if isinstance(given, list | tuple) else (given,)
    if not values:
        raise ValueError(f"{name} has nothing to choose from; give values, e.g. [0, 1]")
    return Dimension(name, choices=distinct(tuple(map(as_text, values))))


def _range(name: str, given: Mapping[str, Any]) -> Dimension:
    if unknown := {*given} - {*_MEMBERS}:
        raise ValueError(f"{name} has a member {min(unknown)!r}; it has {', '.join(_MEMBERS)}")
    try:
        low, high = float(given["low"]), float(given["high"])
        steps = int(given.get("steps", _GRID_STEPS))
    except (KeyError, OverflowError, TypeError, ValueError):
        raise ValueError(
            f"{name} is {dict(given)}; give numbers for low and high, "
            "e.g. {low: 0.001, high: 0.1}"
        ) from None
    log, whole = bool(given.get("log", False)), bool(given.get("whole", False))
    finite = math.isfinite(low) and math.isfinite(high)
    if not finite or low >= high or not 2 <= steps <= _MOST_STEPS:
        raise ValueError(
            f"{name} goes from {low:g} to {high:g} in {steps} steps; wanted a low end below the "
            f"high one, and 2 to {_MOST_STEPS} steps"
        )
    if log and low <= 0:
        raise ValueError(f"{name} is even in its logarithm from {low:g} on; wanted more than 0")
    if whole and (low != int(low) or high != int(high)):
        raise ValueError(f"{name} is whole and goes from {low:g} to {high:g}; wanted whole ends")
    ends_open = bool(given.get("open", False))
    if ends_open and whole:
        raise ValueError(f"{name} is whole and open; leave out its high end instead")
    return Dimension(name, low=low, high=high, log=log, whole=whole, steps=steps, open=ends_open)
