"""A doubt about a repetition becomes its flag, and nothing else does."""

from dataclasses import replace

import pytest

from greenbatch.records import Conditions, EnergyFigure, EnergySource, Flag, WarmUp
from greenbatch.runners.child.messages import Measured
from greenbatch.runners.run.repetition import _flags
from tests.fakes.messages import MEASURED

UNSETTLED = replace(MEASURED, warm_up=WarmUp(iterations=1, duration_s=1.0, settled=False))
UNSTEADY = replace(MEASURED, figures=replace(MEASURED.figures, steady=False))
OVERLOADED = replace(MEASURED, figures=replace(MEASURED.figures, overloaded=True))
LATE = replace(MEASURED, figures=replace(MEASURED.figures, late=True))


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
    ("reply", "other_energy_j", "conditions", "flags"),
    [
        (MEASURED, 96.0, Conditions(foreign_load=0.09), Flag(0)),
        (MEASURED, 100.0, Conditions(), Flag(0)),
        (UNSETTLED, 100.0, Conditions(), Flag.UNSTEADY),
        (UNSTEADY, 100.0, Conditions(), Flag.UNSTEADY),
        (OVERLOADED, 100.0, Conditions(), Flag.OVERLOADED),
        (LATE, 100.0, Conditions(), Flag.LATE),
        (replace(MEASURED, fell_back=True), 100.0, Conditions(), Flag.FALLBACK),
        (MEASURED, 94.0, Conditions(), Flag.METER_DISAGREES),
        (MEASURED, 100.0, Conditions(foreign_load=0.11), Flag.DISTURBED),
        (MEASURED, 100.0, Conditions(foreign_processes=("gpu-0: 7",)), Flag.DISTURBED),
        (MEASURED, 100.0, Conditions(throttle_reasons=("sw_power_cap",)), Flag.THROTTLED),
    ],
)
def test_each_doubt_has_its_flag(
    reply: Measured, other_energy_j: float, conditions: Conditions, flags: Flag
) -> None:
    assert _flags(reply, (counted(other_energy_j),), conditions) == flags
