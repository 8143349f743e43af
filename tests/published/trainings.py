"""The trainings of del Rey et al. and the variants of Yarally et al., as our own datasets."""

import csv
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from greenbatch.analysis.training import compile_training
from greenbatch.analysis.training.dataset.merging import merge_training_datasets
from greenbatch.records import Record, TrainingCell
from greenbatch.records.training import Epoch
from tests.fakes import training_runs

if TYPE_CHECKING:
    import xarray as xr

HERE = Path(__file__).parent
MACHINES = {
    "Local Normal User": "NVIDIA GeForce GTX 750 Ti",
    "Local ML Engineer/Gamer": "NVIDIA GeForce RTX 3070",
    "Cloud": "NVIDIA GeForce RTX 3090",
}


@dataclass(frozen=True, slots=True)
class DelReyTraining:
    """A training of del Rey et al.

    Attributes:
        energy_j: Per image seen.
        faulty_energy_j: The same by the sum of all power readings times the duration, which is how
            the first versions of the paper had it.
        kept: Whether the authors' analysis has it.
    """

    machine: str
    model: str
    run: int
    kept: bool
    energy_j: float
    faulty_energy_j: float
    gpu_usage: float
    f1: float
    gflops: float


def delrey_trainings() -> Iterator[DelReyTraining]:
    """Read the authors' trainings."""
    with (HERE / "delrey.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            images = float(row["images_seen"])
            yield DelReyTraining(
                machine=row["environment"],
                model=row["architecture"],
                run=int(row["run"]),
                kept=row["kept"] == "1",
                energy_j=1e6 * float(row["energy_mj"]) / images,
                faulty_energy_j=float(row["sum_of_watts"])
                * 3600
                * float(row["duration_h"])
                / images,
                gpu_usage=float(row["gpu_usage_percent"]),
                f1=float(row["f1"]),
                gflops=float(row["gflops"]),
            )


def delrey_dataset(folder: Path, *, faulty: bool = False) -> "xr.Dataset":
    """Write the authors' trainings as a run for each machine, and merge them.

    Args:
        folder: Where the runs are written.
        faulty: With the energy of the paper's first versions.
    """
    kept = [training for training in delrey_trainings() if training.kept]
    parts = {}
    for number, (machine, gpu) in enumerate(MACHINES.items()):
        own = [training for training in kept if training.machine == machine]
        models = list(dict.fromkeys(training.model for training in own))
        run = training_runs.write(
            folder / f"machine-{number}",
            [record for training in own for record in _records(training, faulty)],
            training_runs.study(models, 1 + max(training.run for training in own)),
            training_runs.environment(
                machine={"hostname": machine, "cpu": "unknown", "cores": 4},
                gpus=[{"name": gpu}],
            ),
        )
        parts[machine] = compile_training(run)
    return merge_training_datasets(parts, "machine", allow=["design.models"])


def _records(training: DelReyTraining, faulty: bool) -> list[Record]:
    energy_j = training.faulty_energy_j if faulty else training.energy_j
    records = training_runs.trained(
        TrainingCell(training.model, "digits"), training.run, image_j=energy_j, epochs=1
    )
    return [
        replace(record, f1=training.f1) if isinstance(record, Epoch) else record
        for record in records
    ]


def searches() -> list[dict[str, float]]:
    """Return the best accuracy of each strategy, for every network, data set and search space."""
    found = json.loads((HERE / "yarally_searches.json").read_text(encoding="utf-8"))
    return [search["best_accuracy"] for search in found]


def layer_rows(data: str) -> Iterator[dict[str, str | float]]:
    """Yield trainings with the number, mean and spread of each variant of Yarally et al.

    Half of a variant's trainings lie as far above its mean as the others lie below, so that sums
    of squares are those of the authors' trainings.

    Args:
        data: ``CIFAR-10`` or ``Fashion-MNIST``.
    """
    for variant in json.loads((HERE / "yarally_layers.json").read_text(encoding="utf-8"))[data]:
        count = variant["trainings"]
        away_j = variant["sd_j"] * math.sqrt((count - 1) / count)
        for number in range(count):
            yield {
                **{name: str(variant[name]) for name in ("linear_layers", "conv_layers", "relu")},
                "energy": variant["mean_j"] + (away_j if number % 2 else -away_j),
            }
