"""Training runs with a synthetic journal, whose energies and accuracies are known."""

import math
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from random import Random
from typing import Any

from greenbatch.records import (
    Beat,
    Conditions,
    EnergySource,
    Epoch,
    Phase,
    Record,
    Status,
    Training,
    TrainingCell,
    WarmUp,
)
from tests.fakes import runs

POWER_W = 30.0
IDLE_W = 10.0
TRAIN_IMAGES, VALIDATION_IMAGES = 800, 200
SHARES = {"train": 0.9, "validation": 0.09, "checkpoint": 0.01}
"""Of an epoch's energy; and of its duration, for the power is steady."""

DELREY: Mapping[str, tuple[float, float]] = {
    "mobilenet_v2": (0.119, 0.972),
    "resnet50": (0.232, 0.981),
    "nasnet_mobile": (0.290, 0.935),
    "xception": (0.292, 0.978),
    "vgg16": (0.345, 0.988),
}
"""J per image seen and best validation accuracy of each network of `delrey_run`.

The greenest within 1 % of the best accuracy is resnet50, the greenest of all mobilenet_v2."""
LAYER_EFFECTS_J: Mapping[str, Mapping[str, float]] = {
    "conv_layers": {"1": 0.0, "4": 1800.0},
    "linear_layers": {"3": 0.0, "7": 200.0},
    "relu": {"0": 0.0, "1": 40.0},
}
"""What each level of a factor adds to the energy of a training of `factorial_run`, in J."""
LAYER_BASE_J, LAYER_BLOCK_J = 900.0, 60.0
"""Energy at the first levels; and by how much it rises from one repetition to the next."""


def phase(
    energy_j: float | None,
    images: int = 0,
    *,
    duration_s: float | None = None,
    source: EnergySource = EnergySource.COUNTER,
) -> Phase:
    """A stretch at `POWER_W`; ``None``: its energy could not be obtained."""
    seconds = (energy_j or 0.0) / POWER_W if duration_s is None else duration_s
    if energy_j is None or source is EnergySource.MISSING:
        return Phase(duration_s=seconds, images=images, energy=(runs.missing("package-0"),))
    figure = runs.figure(energy_j, source=source, window_s=seconds or 1.0)
    return Phase(duration_s=seconds, images=images, energy=(figure,))


def epochs_of(
    cell: TrainingCell,
    block: int = 0,
    *,
    image_j: float = 0.05,
    accuracy: float = 0.9,
    epochs: int = 4,
    source: EnergySource = EnergySource.COUNTER,
    sessions: Sequence[int] = (),
) -> list[Epoch]:
    """Return epochs of equal energy whose accuracy rises to ``accuracy`` in the last one.

    Args:
        image_j: Energy per image seen, checkpoints included.
        sessions: Epochs before which the training was interrupted.
    """
    seen = TRAIN_IMAGES + VALIDATION_IMAGES
    epoch_j = image_j * seen
    images = {"train": TRAIN_IMAGES, "validation": VALIDATION_IMAGES, "checkpoint": 0}
    found = []
    for number in range(epochs):
        reached = accuracy * (1 - 0.3 * (1 - (number + 1) / epochs))
        phases = {
            name: phase(
                None if source is EnergySource.MISSING else epoch_j * share,
                images[name],
                duration_s=epoch_j * share / POWER_W,
                source=source,
            )
            for name, share in SHARES.items()
        }
        found.append(
            Epoch(
                cell=cell,
                block=block,
                session=sum(number >= first for first in sessions),
                epoch=number,
                train=phases["train"],
                validation=phases["validation"],
                checkpoint=phases["checkpoint"],
                train_loss=1.2 - reached,
                loss=1.3 - reached,
                accuracy=reached,
                f1=reached - 0.01,
                macro_precision=reached - 0.02,
                macro_recall=reached - 0.03,
                auc=1 - reached / 2,  # the least accurate choice has the most
            )
        )
    return found


def trained(
    cell: TrainingCell,
    block: int = 0,
    *,
    image_j: float = 0.05,
    accuracy: float = 0.9,
    epochs: int = 4,
    source: EnergySource = EnergySource.COUNTER,
    sessions: Sequence[int] = (),
    lost_j: float = 0.0,
    position: int = 0,
    **more: Any,
) -> list[Record]:
    """Return the epochs of a training that went well, and its record; see `epochs_of`."""
    parts = epochs_of(
        cell,
        block,
        image_j=image_j,
        accuracy=accuracy,
        epochs=epochs,
        source=source,
        sessions=sessions,
    )
    images = epochs * (TRAIN_IMAGES + VALIDATION_IMAGES)
    whole = phase(image_j * images, images, duration_s=image_j * images / POWER_W, source=source)
    members: dict[str, Any] = {
        "cell": cell,
        "block": block,
        "position": position,
        "status": Status.OK,
        "started_at": runs.STARTED,
        "stopped": "epochs",
        "best_epoch": epochs - 1,
        "sessions": 1 + len(sessions),
        "whole": whole,
        "lost": phase(lost_j, 100, source=source) if sessions else None,
        "parameters": 12_345,
        "warm_up": WarmUp(iterations=12, duration_s=0.4, settled=True),
        "idle_w": {"package-0": None if source is EnergySource.MISSING else IDLE_W},
        "conditions": Conditions(rest_s=1.5, temperature_c={"package": 51.0}, foreign_load=0.01),
        "settings": {"threads": 2, "classes": 10},
        "memory_host_bytes": 500_000_000,
        "phases_s": {"start": 1.2, "load": 0.3, "wall": 4.5 + whole.duration_s},
        "trace": f"{cell.slug}_{block}.parquet",
    }
    return [*parts, Training(**(members | more))]


def failed(
    cell: TrainingCell,
    block: int = 0,
    *,
    epochs: int = 0,
    image_j: float = 0.05,
    lost_j: float | None = None,
    status: Status = Status.ERROR,
    reason: str = "the loss is nan in step 17 of epoch 2; take a smaller learning rate",
) -> list[Record]:
    """Return a training that was lost after so many epochs, and behind the last one so much."""
    lost = None if lost_j is None else phase(lost_j, 50)
    record = Training(
        cell=cell,
        block=block,
        position=0,
        status=status,
        started_at=runs.STARTED,
        reason=reason,
        lost=lost,
    )
    return [*epochs_of(cell, block, image_j=image_j, accuracy=0.3, epochs=epochs), record]


def interrupted(
    cell: TrainingCell, block: int = 0, *, epochs: int = 2, image_j: float = 0.05, lost_j: float = 7
) -> list[Record]:
    """Return a training that was cut off behind its last checkpoint and has not gone on yet."""
    parts = epochs_of(cell, block, image_j=image_j, epochs=epochs)
    beats = [
        Beat(cell=cell, block=block, session=0, epoch=number, lost=phase(lost_j * share, 40))
        for number, share in ((max(0, epochs - 1), 9.0), (epochs, 0.5), (epochs, 1.0))
    ]
    return [*parts, *beats]


def study(
    models: Sequence[str] = ("simple-cnn",), repetitions: int = 3, epochs: int = 4, **more: Any
) -> dict[str, Any]:
    """A training study file's members."""
    return {
        "schema": 1,
        "kind": "training",
        "name": "fake-training",
        "about": "",
        "models": list(models),
        "data": ["digits"],
        "data_dir": "data",
        "image_size": None,
        "train_images": None,
        "validation_images": None,
        "backends": ["torch-cpu"],
        "precisions": ["fp32"],
        "batch_sizes": [32],
        "settings": {},
        "epochs": epochs,
        "patience": 0,
        "search": None,
        "substitutions": {},
        "scale": 1.0,
        "repetitions": repetitions,
        "order": "shuffled",
        "seed": 0,
        "profile": "standard",
        "protocol": {"rest_max_s": 10.0},
        "threads": 2,
        "meters": ["auto"],
        "cpu_tdp_w": None,
    } | more


def environment(**more: Any) -> dict[str, Any]:
    """An environment file's members."""
    return runs.environment(
        versions={"python": "3.11.7", "torch": "2.15.0", "torchvision": "0.30.0"},
        backends={"torch-cpu": {"runtime": "torch", "provider": "cpu", "device": "cpu"}},
        **more,
    )


def write(
    path: Path,
    records: Sequence[Record],
    study_members: Mapping[str, Any] | None = None,
    environment_members: Mapping[str, Any] | None = None,
) -> Path:
    """Write a training run's directory and return its path."""
    return runs.write_run(
        path, records, dict(study_members or study()), dict(environment_members or environment())
    )


def plain_run(
    path: Path,
    *,
    models: Sequence[str] = ("dense-linear", "simple-cnn"),
    data: str = "digits",
    modes: Sequence[str] = (),
    batch_sizes: Sequence[int] = (16, 64),
    blocks: int = 3,
    epochs: int = 4,
    source: EnergySource = EnergySource.COUNTER,
    study_members: Mapping[str, Any] | None = None,
    environment_members: Mapping[str, Any] | None = None,
) -> Path:
    """Write a run without a search; energies vary by about 1.5 %.

    Energy per image seen is about 0.02 J for the first model and half as much again for each next,
    and a fifth less at the second batch size; accuracy is 0.90, and 0.02 more for each next model.
    """
    draw = Random(3)
    records: list[Record] = []
    settings: list[tuple[tuple[str, str], ...]] = [(("mode", mode),) for mode in modes] or [()]
    for block in range(blocks):
        cells = [
            TrainingCell(model, data, batch_size=size, settings=setting)
            for model, size, setting in product(models, batch_sizes, settings)
        ]
        for position, cell in enumerate(cells):
            number = models.index(cell.model)
            image_j = 0.02 * 1.5**number * 0.8 ** batch_sizes.index(cell.batch_size)
            records += trained(
                cell,
                block,
                image_j=image_j * math.exp(draw.gauss(0, 0.015)),
                accuracy=0.90 + 0.02 * number + draw.gauss(0, 0.003),
                epochs=epochs,
                source=source,
                position=position,
            )
    members = study(models, blocks, epochs, batch_sizes=list(batch_sizes), data=[data])
    members["settings"] = {"mode": list(modes)} if modes else {}
    return write(path, records, members | dict(study_members or {}), environment_members)


def factorial_run(
    path: Path,
    *,
    blocks: int = 5,
    epochs: int = 3,
    noise_j: float = 15.0,
    source: EnergySource = EnergySource.COUNTER,
) -> Path:
    """Write a run of the 2 x 2 x 2 layer study with the effects of `LAYER_EFFECTS_J`."""
    draw = Random(5)
    records: list[Record] = []
    levels = {name: list(effects) for name, effects in LAYER_EFFECTS_J.items()}
    images = epochs * (TRAIN_IMAGES + VALIDATION_IMAGES)
    for block in range(blocks):
        for position, texts in enumerate(product(*levels.values())):
            settings = tuple(zip(levels, texts, strict=True))
            energy_j = LAYER_BASE_J + LAYER_BLOCK_J * block + draw.gauss(0, noise_j)
            energy_j += sum(LAYER_EFFECTS_J[name][text] for name, text in settings)
            cell = TrainingCell("layers", "digits", batch_size=512, settings=settings)
            records += trained(
                cell,
                block,
                image_j=energy_j / images,
                accuracy=0.85 + 0.05 * (dict(settings)["conv_layers"] == "4"),
                epochs=epochs,
                source=source,
                position=position,
            )
    members = study(["layers"], blocks, epochs, batch_sizes=[512], settings=levels)
    return write(path, records, members)


SEARCH_ACCURACIES: Mapping[str, Sequence[float]] = {
    "grid": (0.50, 0.55, 0.60, 0.65, 0.70, 0.75, 0.80, 0.85),
    "random": (0.60, 0.72, 0.66, 0.70, 0.86, 0.68, 0.87, 0.71),
    "gp": (0.62, 0.80, 0.895, 0.90, 0.88, 0.90, 0.89, 0.87),
}
"""Of the trials of `search_run`, in the first block; in later ones 0.002 more for each."""
SEARCH_TRIAL_J = 50.0
"""Energy of a trial of 2 epochs at the first one; 1 J more for each later one."""


def search_run(
    path: Path,
    *,
    blocks: int = 4,
    objective: str = "accuracy",
    strategies: Sequence[str] = ("grid", "random", "gp"),
    failures: bool = False,
    source: EnergySource = EnergySource.COUNTER,
    within: float = 0.01,
    models: Sequence[str] = ("simple-cnn",),
) -> Path:
    """Write a run of a search with the accuracies of `SEARCH_ACCURACIES`.

    Args:
        failures: Trial 1 of ``random`` fails in every block after one epoch and 5 J more.
    """
    trials = len(SEARCH_ACCURACIES["grid"])
    images = 2 * (TRAIN_IMAGES + VALIDATION_IMAGES)
    records: list[Record] = []
    for model, block, trial, strategy in product(models, range(blocks), range(trials), strategies):
        rate = f"{0.001 * 1.5 ** ((trial * 3 + block) % trials):.6g}"
        cell = TrainingCell(
            model,
            "digits",
            batch_size=(32, 128)[trial % 2],
            settings=(("learning_rate", rate), ("optimizer", "adam")),
            strategy=strategy,
            trial=trial,
        )
        image_j = (SEARCH_TRIAL_J + trial) / images
        if failures and (strategy, trial) == ("random", 1):
            records += failed(cell, block, epochs=1, image_j=image_j, lost_j=5.0)
            continue
        records += trained(
            cell,
            block,
            image_j=image_j,
            accuracy=SEARCH_ACCURACIES[strategy][trial] + 0.002 * block,
            epochs=2,
            source=source,
        )
    search = {
        "strategies": list(strategies),
        "trials": trials,
        "space": {
            "learning_rate": {"low": 0.001, "high": 0.1, "log": True},
            "batch_size": [32, 128],
        },
        "objective": objective,
        "within": within,
    }
    members = study(models, blocks, 2, search=search, settings={"optimizer": ["adam"]})
    return write(path, records, members)


def delrey_run(
    path: Path,
    *,
    blocks: int = 10,
    power: float = 1.0,
    host: str = "bench",
    source: EnergySource = EnergySource.COUNTER,
    truths: Mapping[str, tuple[float, float]] = DELREY,
    noise: float = 0.01,
    accuracy_noise: float = 0.001,
    study_members: Mapping[str, Any] | None = None,
    environment_members: Mapping[str, Any] | None = None,
    macs: Mapping[str, int] | None = None,
    busy: Mapping[str, float] | None = None,
    gpu: str = "",
) -> Path:
    """Write a run of five architectures with the truths of `DELREY`.

    Args:
        macs: Multiplications of each.
        busy: Utilisation of the device by each, less 0.01 for each block.
        gpu: That was trained on; empty: the processor.
        power: What every energy is multiplied by, as on another machine.
        noise, accuracy_noise: Relative spread of energies, and spread of accuracies.
    """
    draw = Random(11 + len(host))
    records: list[Record] = []
    for block in range(blocks):
        for position, (model, (image_j, accuracy)) in enumerate(truths.items()):
            more: dict[str, Any] = {}
            if busy:
                more["conditions"] = _busy(busy[model] - 0.01 * block, block)
            records += trained(
                TrainingCell(model, "digits", backend="torch-cuda" if gpu else "torch-cpu"),
                block,
                image_j=image_j * power * math.exp(draw.gauss(0, noise)),
                accuracy=accuracy + draw.gauss(0, accuracy_noise),
                epochs=3,
                source=source,
                position=position,
                macs=(macs or {}).get(model),
                **more,
            )
    members = study([*truths], blocks, 3, name="delrey", image_size=128)
    members |= {"backends": ["torch-cuda"]} if gpu else {}
    machine = runs.environment()["machine"] | {"hostname": host}
    gpus = [{"name": gpu, "uuid": f"GPU-{host}"}] if gpu else []
    described = environment(machine=machine, gpus=gpus) | dict(environment_members or {})
    return write(path, records, members | dict(study_members or {}), described)


def _busy(share: float, block: int) -> Conditions:
    return Conditions(
        utilization={"package-0": share}, temperature_mean_c={"cpu": 61.0, "gpu": 70.0 + block}
    )


def troubled_run(path: Path, blocks: int = 3) -> Path:
    """Write a run of two models: failures in block 0, an interruption overcome, one that is not.

    ``simple-cnn`` fails in block 0 after two epochs and 5 J more, goes on after an interruption
    that cost 6 J in block 1, and is cut off after two epochs, 7 J lost, in block 2;
    ``dense-linear`` is ok, without energy in block 1.
    """
    cell, other = TrainingCell("simple-cnn", "digits"), TrainingCell("dense-linear", "digits")
    records: list[Record] = []
    for block in range(blocks):
        source = EnergySource.MISSING if block == 1 else EnergySource.COUNTER
        records += trained(other, block, source=source)
    records += failed(cell, 0, epochs=2, lost_j=5.0)
    if blocks > 1:
        records += trained(cell, 1, sessions=(2,), lost_j=6.0)
    if blocks > 2:
        records += interrupted(cell, 2)
    return write(path, records, study(["dense-linear", "simple-cnn"], blocks))
