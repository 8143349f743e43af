"""A measurement in words."""

from dataclasses import replace

from greenbatch.records import EnergyFigure, EnergySource
from greenbatch.runners.metering.meter_context import Measurement


def test_a_measurement_prints_as_one_line() -> None:
    counted = EnergyFigure(
        domain="gpu-0", source=EnergySource.COUNTER, energy_j=90.0, uncertainty_j=2.0
    )
    guessed = EnergyFigure(
        domain="cpu-estimate",
        source=EnergySource.ESTIMATED,
        energy_j=8.0,
        uncertainty_j=9.0,
        reason="2 hardware threads",
    )
    measured = Measurement(duration_s=9.8, domains=(counted,), name="epoch 1")
    assert str(measured) == "epoch 1: 90 J ± 2 J (counter), 9.8 s"
    mixed = Measurement(duration_s=9.8, domains=(counted, guessed))
    assert str(mixed) == (
        "98 J ± 11 J (counter + estimated), 9.8 s; "
        "pass --cpu-tdp W (cpu_tdp_w= in Python), the maximum power of the available cores"
    )
    given = replace(guessed, reason="full load given by --cpu-tdp")
    assert str(Measurement(duration_s=9.8, domains=(given,))) == "8 J ± 9 J (estimated), 9.8 s"
    assert str(Measurement(duration_s=2.0)) == "no energy (no domain counts), 2 s"
