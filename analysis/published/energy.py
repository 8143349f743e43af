"""Joules per image that others measured, as records with their boundary and source."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

MULTIPLY_ADDS = {"resnet50": 4.089e9}
"""Of one image, by network of the records, as torchvision states them."""
REPRODUCED = (0.25, 0.32)
"""By how much certified figures at the wall differed when others measured them again.

Source: mlcommons/inference_results_v3.0, issue 10 (Jetson AGX Orin: 22.66 W against 29.93 W).
"""
_BOUNDS = "upper bound"


@dataclass(frozen=True, slots=True, kw_only=True)
class EnergyRecord:
    """The energy of an image on a system, as somebody published it.

    Attributes:
        device_class: ``cpu``, ``gpu``, ``soc`` or ``npu``.
        boundary: What the energy is of: ``wall``, ``socket meter``.
        energy_per_image_j: In J.
        source: Where it was published.
        certainty: ``computed`` from the published log, ``abstract`` of a paper, ``upper bound``.
    """

    system: str
    device_class: str
    model: str
    runtime: str
    precision: str
    scenario: str
    boundary: str
    energy_per_image_j: float
    source: str
    certainty: str

    @property
    def joules_per_mac(self) -> float:
        """Energy over the multiply-adds of the network, in J."""
        return self.energy_per_image_j / MULTIPLY_ADDS[self.model]


@cache
def energy_records() -> Sequence[EnergyRecord]:
    """Read all records that are shipped."""
    with Path(__file__).with_name("energy.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    names = [n for n in EnergyRecord.__dataclass_fields__ if n != "energy_per_image_j"]
    return tuple(
        EnergyRecord(
            **{name: row[name] for name in names},
            energy_per_image_j=float(row["energy_per_image_j"]),
        )
        for row in rows
    )


def measured_records(device_class: str) -> list[EnergyRecord]:
    """List the records of a class of device that were measured; upper bounds are left out."""
    return [
        record
        for record in energy_records()
        if record.device_class == device_class and record.certainty != _BOUNDS
    ]
