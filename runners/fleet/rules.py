"""How a fleet is run."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from greenbatch.runners.fleet.planning import Sharing


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """How a fleet is run.

    Attributes:
        sharing: How machines divide the study.
        whole: Whether a unit is the whole study.
        machines: How many machines to wait for before the first unit.
        back_s: How long to wait for a machine that was lost, in s.
        attempts: How often a unit is tried.
        wait_s: How long a unit waits for another run on its machine, in s.
        trust: Run the code that the study names.
        group_versions: Accept machines whose software differs.
        kinds: What is expected of machines, by a part of the name of their kind; see
            `greenbatch.runners.fleet.machines.deviations`.
    """

    sharing: Sharing
    whole: bool = False
    machines: int = 1
    back_s: float = 600.0
    attempts: int = 3
    wait_s: float = 3600.0
    trust: bool = False
    group_versions: bool = False
    kinds: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
