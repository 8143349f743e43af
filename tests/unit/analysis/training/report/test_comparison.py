"""Which training is called the best, of trainings that did not all run in the same blocks."""

import math
import re
from collections.abc import Mapping

import numpy as np
import pytest

from greenbatch.analysis.training.findings.rows import Curves, TrainingRow
from greenbatch.analysis.training.report.findings import comparison, least_energy, most_accurate
from greenbatch.records import Provenance, TrainingCell

pytestmark = pytest.mark.numeric


def row(name: str, image_j: Mapping[int, float], accuracy: Mapping[int, float]) -> TrainingRow:
    return TrainingRow(
        cell=TrainingCell(name, "digits"),
        label=name,
        planned=6,
        statuses={"ok": len(image_j)},
        flags={},
        failures=(),
        energy_source=Provenance.MEASURED,
        series={"image": dict(image_j), "accuracy": dict(accuracy)},
        curves=Curves(np.empty((0, 0)), {}),
    )


def test_the_greenest_is_not_the_one_that_missed_the_block_of_twice_the_energy() -> None:
    random = np.random.default_rng(0)

    def values(level: float, blocks: list[int]) -> dict[int, float]:
        shared = {block: 2.0 if block == 2 else 1.0 for block in blocks}
        return {b: level * f * math.exp(random.normal(0, 0.003)) for b, f in shared.items()}

    every = [0, 1, 2, 3, 4]
    accuracy = dict.fromkeys(every, 0.9)
    one = row("one", values(0.100, every), accuracy)
    two = row("two", values(0.103, [0, 1, 3, 4]), dict.fromkeys((0, 1, 3, 4), 0.9))
    means = [np.mean(list(r.series["image"].values())) for r in (one, two)]
    assert means[1] < means[0]
    assert least_energy([one, two]) is one
    summary, more = comparison("digits", [one, two], several=False)
    assert "least energy per image seen: one" in summary.lower()
    change = r"Next in energy is two with \d+\.\d % \(\d+\.\d … \d+\.\d\) more\."
    assert any(re.search(change, sentence) for sentence in more), more
    assert not any("−" in sentence for sentence in more)


def test_the_most_accurate_is_found_in_the_blocks_that_are_shared() -> None:
    easy = {0: 0.0, 1: 0.0, 2: 0.05, 3: 0.05, 4: 0.05}  # what all gain in a block
    noise = (0.001, -0.001, 0.0005, -0.0005, 0.0002)

    def values(level: float, blocks: tuple[int, ...]) -> dict[int, float]:
        return {b: level + easy[b] + noise[b] * (-1) ** b for b in blocks}

    energy = dict.fromkeys(range(5), 0.1)
    one = row("one", energy, values(0.900, (0, 1, 2, 3, 4)))
    two = row("two", energy, values(0.890, (2, 3, 4)))
    means = [np.mean(list(r.series["accuracy"].values())) for r in (one, two)]
    assert means[1] > means[0]
    assert most_accurate([one, two]) is one


def test_trainings_that_nothing_sets_apart_are_named_together() -> None:
    random = np.random.default_rng(3)
    rows = [
        row(
            name,
            {b: 0.1 * math.exp(random.normal(0, 0.02)) for b in range(4)},
            {b: 0.9 + random.normal(0, 0.005) for b in range(4)},
        )
        for name in ("one", "two", "three")
    ]
    _, more = comparison("digits", rows, several=False)
    text = " ".join(more)
    assert "No significant difference in energy from" in text
    assert "No significant difference in accuracy from" in text
