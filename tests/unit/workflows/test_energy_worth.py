"""Before anything is measured it is stated what energy will be worth."""

from dataclasses import dataclass
from typing import Any

import pytest

from greenbatch.records import EnergySource
from greenbatch.runners.metering.meter import Domain, MeterOptions
from greenbatch.runners.metering.opening import open_meters
from greenbatch.workflows.energy_worth import energy_worth

COUNTED = Domain(name="gpu-0", source=EnergySource.COUNTER, tick_s=0.1, part="gpu")
BESIDE = Domain(name="gpu-1", source=EnergySource.COUNTER, tick_s=0.1, part="gpu", counts=False)
GUESSED = Domain(
    name="cpu-estimate", source=EnergySource.ESTIMATED, tick_s=0.1, part="cpu", note="a guess"
)


@dataclass(frozen=True)
class Metering:
    domains: tuple[Domain, ...]


@pytest.mark.parametrize(
    ("domains", "sentence"),
    [
        ((COUNTED, BESIDE), "energy is measured: gpu-0 (counter)"),
        (
            (COUNTED, GUESSED),
            "energy is measured: gpu-0 (counter); energy of cpu-estimate is a guess",
        ),
        ((BESIDE,), "energy will be missing: no meter is read; 'gb doctor --quick' lists the"),
    ],
)
def test_only_counted_domains_are_named_with_their_source(
    domains: tuple[Domain, ...], sentence: str
) -> None:
    metering: Any = Metering(domains)
    assert energy_worth(metering).startswith(sentence)


def test_an_estimate_says_how_far_off_it_may_be() -> None:
    with open_meters(["estimate"], MeterOptions(cores=2.0)) as metering:
        sentence = energy_worth(metering)
    assert sentence.startswith("energy of cpu-estimate is estimated, not measured: 2 hardware ")
    assert "they may be wrong by " in sentence
