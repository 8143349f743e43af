"""Runs with a budget, carried out on a machine whose truth is known."""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

from greenbatch.design.study import Study, make_study
from greenbatch.records import Conditions, Decision, Left, Repetition
from greenbatch.runners.scheduling.order import Slot
from greenbatch.runners.scheduling.racing.race import Race
from tests.fakes import runs

Measured = Callable[[Slot], Repetition]


def design(**members: Any) -> Study:
    return make_study(
        {
            "models": ["alexnet", "vit_b_16"],
            "backends": ["onnxruntime-cpu", "torch-cpu", "openvino-cpu"],
            "batch_sizes": [1, 2, 4, 8, 16, 32],
            "budget": "10m",
            **members,
        }
    )


def machine(
    spread: float = 0.01, disturbed: float = 0.0, image_s: float = 0.002, **factors: float
) -> Measured:
    """Costs that depend on the cell, noise on the slot alone; each repetition takes 5 s or more."""

    def measured(slot: Slot) -> Repetition:
        cell = slot.cell
        draw = Random(f"{cell} {slot.block} {slot.attempt}")
        block = Random(f"block {slot.block}").gauss(0, 0.05)
        factor = factors.get(cell.backend.partition("-")[0], 1.0)
        noise = math.exp(block + draw.gauss(0, spread))
        of_it_s = image_s * factor * (1 + 1 / cell.batch_size) * noise
        batch_s = of_it_s * cell.batch_size
        return runs.repetition(
            cell,
            slot.block,
            position=slot.position,
            energy=[runs.figure(100 * cell.batch_size * of_it_s * 50)],
            latency_s=batch_s,
            duration_s=100 * batch_s,
            flags=("disturbed",) if draw.random() < disturbed else (),
        )

    def walled(slot: Slot) -> Repetition:
        record = measured(slot)
        wall_s = 4.0 + 9 * record.latency_s["0.5"]
        return replace(record, phases_s={"wall": wall_s}, conditions=Conditions(rest_s=1.0))

    return walled


Journal = list[Repetition | Left | Decision]


def carry_out(study: Study, measured: Measured, journal: Journal, most: int = 10**6) -> Race:
    """Go on with a run, ``most`` repetitions far; the journal grows as that of a run does."""
    race = Race(
        study,
        [record for record in journal if isinstance(record, Repetition)],
        [record for record in journal if not isinstance(record, Repetition)],
    )
    slots = race.slots()
    slot = next(slots, None)
    journal += race.decided()
    while slot and most:
        most -= 1
        journal.append(race.add(measured(slot), slot.attempt))
        slot = next(slots, None)
        journal += race.decided()
    return race


def write(path: Path, study: Study, measured: Measured) -> Path:
    """Write the folder of a run with a budget that was carried out."""
    journal: Journal = []
    carry_out(study, measured, journal)
    made = runs.study(study.models, study.backends)
    members = study.model_dump(mode="json", by_alias=True) | {"artifacts": made["artifacts"]}
    return runs.write_run(path, journal, members)
