"""Machines side by side: the greatest saving, and whether it depends on the choice."""

from collections.abc import Mapping
from pathlib import Path

import pytest
import xarray as xr
from scipy.stats import kruskal

from greenbatch.analysis import write_report
from greenbatch.analysis.dataset.merging import separate
from greenbatch.analysis.dataset.store import store
from greenbatch.analysis.training import compile_training
from greenbatch.analysis.training.dataset.merging import merge_training_datasets
from greenbatch.analysis.training.findings.environments import (
    MachinesCompared,
    environments,
    machines_compared,
)
from greenbatch.analysis.training.report.machines import machine_utilization_table
from greenbatch.errors import UsageError
from greenbatch.records import EnergySource
from tests.fakes import training_runs

pytestmark = pytest.mark.numeric

SMALL = {"light": (0.10, 0.95), "heavy": (0.80, 0.99)}
LARGE = {"light": (0.20, 0.95), "heavy": (0.40, 0.99)}
"""J per image seen and accuracy: a large GPU suits the heavy network alone."""


def merged(
    folder: Path,
    truths: Mapping[str, Mapping[str, tuple[float, float]]],
    sources: Mapping[str, EnergySource] | None = None,
) -> xr.Dataset:
    """Machines on which the choices need these energies."""
    parts = {
        host: compile_training(
            training_runs.delrey_run(
                folder / host,
                truths=own,
                host=host,
                blocks=6,
                source=(sources or {}).get(host, EnergySource.COUNTER),
            )
        )
        for host, own in truths.items()
    }
    return merge_training_datasets(parts, "machine", allow=["energy", "design.models"])


def compared(dataset: xr.Dataset) -> MachinesCompared:
    (found,) = machines_compared(dataset)
    return found


def test_the_greatest_saving_and_the_interaction_are_what_was_put_in(tmp_path: Path) -> None:
    found = compared(merged(tmp_path, {"small": SMALL, "large": LARGE}))
    assert found.overall is not None
    assert (str(found.overall.most), str(found.overall.least)) == (
        "heavy on small",
        "light on small",
    )
    assert found.overall.saved.centre == pytest.approx(1 - 0.1 / 0.8, abs=0.01)
    assert found.overall.saved.low is not None
    assert found.overall.lost == pytest.approx(0.04, abs=0.005)
    assert found.within is not None
    assert found.within.most.machine == "small", "on the large one less is saved"
    assert found.interaction is not None
    assert found.interaction.test.p < 0.001
    # Of the logarithms: choice 1.386, machine 0, interaction 0.693.
    assert found.interaction.eta_squared == pytest.approx(
        0.693**2 / (1.386**2 + 0.693**2), abs=0.02
    )
    greatest, depends = found.sentences("accuracy")
    assert greatest.startswith(
        "The greatest saving over choices and machines (4 in all): light on small needs 87."
    )
    assert "points less accuracy" in greatest
    assert depends.startswith("How much a machine saves depends on the choice")


def test_a_saving_across_machines_stands_beside_that_within_one(tmp_path: Path) -> None:
    twice = {name: (2 * energy_j, right) for name, (energy_j, right) in SMALL.items()}
    found = compared(merged(tmp_path, {"small": SMALL, "slow": twice}))
    assert found.overall is not None
    assert found.within is not None
    assert {found.overall.most.machine, found.overall.least.machine} == {"small", "slow"}
    assert found.within.most.machine == found.within.least.machine
    assert found.overall.saved.centre > found.within.saved.centre
    assert found.sentences("f1")[1].startswith("Within one machine: light on ")
    assert found.sentences("f1")[2] == (
        "It is not shown that what a machine saves depends on the choice."
    )


def test_an_estimate_is_held_against_no_measurement(tmp_path: Path) -> None:
    sources = {"large": EnergySource.ESTIMATED}
    found = compared(merged(tmp_path, {"small": SMALL, "large": LARGE}, sources))
    assert (found.overall, found.within, found.interaction) == (None, None, None)
    assert found.sentences("accuracy") == [
        "Energy is estimated in one place and measured in another: no saving is given."
    ]


def test_a_choice_of_one_machine_has_no_part_in_the_interaction(tmp_path: Path) -> None:
    more = {**LARGE, "other": (0.05, 0.9)}
    found = compared(merged(tmp_path, {"small": SMALL, "large": more}))
    assert found.overall is not None
    assert str(found.overall.least) == "other on large"
    assert found.interaction is not None
    assert found.interaction.test.degrees_of_freedom == (1, 20)


def test_one_machine_is_refused(tmp_path: Path) -> None:
    dataset = compile_training(training_runs.delrey_run(tmp_path, blocks=1))
    with pytest.raises(UsageError, match="there is one machine; merge runs"):
        machines_compared(dataset)


@pytest.mark.slow
@pytest.mark.usefixtures("no_figures")
def test_the_page_of_several_machines_says_it(tmp_path: Path) -> None:
    path = store(merged(tmp_path, {"small": SMALL, "large": LARGE}), tmp_path / "both.nc")
    page = write_report(path).page.read_text(encoding="utf-8")
    assert "Machines compared" in page
    assert "light on small needs 87." in page
    assert "Pairwise comparison of machines" in page


def on_gpus(folder: Path, gpus: Mapping[str, str]) -> xr.Dataset:
    """Machines whose GPUs need these energies, the larger one with less to do."""
    parts = {
        host: compile_training(
            training_runs.delrey_run(
                folder / host,
                truths=LARGE if "3090" in gpu else SMALL,
                host=host,
                blocks=5,
                gpu=gpu,
                busy={
                    "light": 0.2 if "3090" in gpu else 0.9,
                    "heavy": 0.8 if "3090" in gpu else 0.95,
                },
            )
        )
        for host, gpu in gpus.items()
    }
    return merge_training_datasets(parts, "machine")


def test_machines_are_named_by_the_gpu_that_was_trained_on(tmp_path: Path) -> None:
    dataset = on_gpus(tmp_path, {"a": "GTX 750 Ti", "b": "RTX 3090"})
    assert dataset["machine"].values.tolist() == ["GTX 750 Ti", "RTX 3090"]
    (found,) = machines_compared(dataset)
    assert found.sentences("accuracy")[0].startswith(
        "The greatest saving over choices and machines (4 in all): light on GTX 750 Ti needs 87."
    )
    alike = on_gpus(tmp_path / "alike", {"a": "RTX 3090", "b": "RTX 3090"})
    assert alike["machine"].values.tolist() == ["RTX 3090, a", "RTX 3090, b"]


def test_utilisation_is_compared_by_machine_as_energy_is(tmp_path: Path) -> None:
    dataset = on_gpus(tmp_path, {"a": "GTX 750 Ti", "b": "RTX 3090"})
    tests = {context.name: one for context, one in environments(dataset, "utilization")}
    light = tests["light"].kruskal
    assert light is not None
    shares = [[share - 0.01 * block for block in range(5)] for share in (0.9, 0.2)]
    assert light.statistic == pytest.approx(kruskal(*shares).statistic)
    table = machine_utilization_table(dataset, separate(dataset))
    assert table.columns == ("choice", "GTX 750 Ti", "RTX 3090", "p", "effect (95 %)")
    assert [row[0] for row in table.rows] == ["light", "heavy"]
    assert [entry.split(" %")[0] for entry in table.rows[0][1:3]] == ["88.0", "18.0"]


def test_without_utilisation_there_is_no_such_table(tmp_path: Path) -> None:
    dataset = merged(tmp_path, {"small": SMALL, "large": LARGE})
    assert machine_utilization_table(dataset, separate(dataset)).rows == ()
