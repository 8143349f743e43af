"""A doubt about a repetition becomes its flag, and nothing else does."""

from typing import Any

import pytest

from greenbatch.records import Conditions, EnergyFigure, EnergySource, Flag
from greenbatch.runners.run.repetition import _flags

TOLD = {"warm_up": {"settled": True}, "steady": True, "fell_back": False}


def counted(other_energy_j: float) -> EnergyFigure:
    return EnergyFigure(
        domain="gpu-0",
        source=EnergySource.COUNTER,
        energy_j=100.0,
        uncertainty_j=1.0,
        other_source=EnergySource.INTEGRATED,
        other_energy_j=other_energy_j,
    )


@pytest.mark.parametrize(
    ("told", "other_energy_j", "conditions", "flags"),
    [
        ({}, 96.0, Conditions(foreign_load=0.09), Flag(0)),
        ({}, 100.0, Conditions(), Flag(0)),
        ({"warm_up": {"settled": False}}, 100.0, Conditions(), Flag.UNSTEADY),
        ({"steady": False}, 100.0, Conditions(), Flag.UNSTEADY),
        ({"fell_back": True}, 100.0, Conditions(), Flag.FALLBACK),
        ({}, 94.0, Conditions(), Flag.METER_DISAGREES),
        ({}, 100.0, Conditions(foreign_load=0.11), Flag.DISTURBED),
        ({}, 100.0, Conditions(foreign_processes=("gpu-0: 7",)), Flag.DISTURBED),
        ({}, 100.0, Conditions(throttle_reasons=("sw_power_cap",)), Flag.THROTTLED),
    ],
)
def test_each_doubt_has_its_flag(
    told: dict[str, Any], other_energy_j: float, conditions: Conditions, flags: Flag
) -> None:
    assert _flags(TOLD | told, (counted(other_energy_j),), conditions) == flags
