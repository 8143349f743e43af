"""What a child is asked for: a training of a study, as a message."""

from pathlib import Path

from greenbatch.design.training_study import TrainingStudy
from greenbatch.records import TrainingCell
from greenbatch.runners.host.cores import thread_count
from greenbatch.runners.training.messages import Course, Data, Train

BEAT_S = 5.0
"""At most every so many seconds a child reports how far it has come."""


def training_of(
    study: TrainingStudy,
    cell: TrainingCell,
    block: int,
    *,
    held_epochs: int,
    folder: Path,
    settles: bool,
) -> Train:
    """Return the request for a training.

    Args:
        study: The design.
        cell, block: Which.
        held_epochs: How many epochs of it the journal holds.
        folder: Of its checkpoints.
        settles: See `greenbatch.runners.child.messages.MeasureRepetition`.
    """
    return Train(
        cell=cell,
        data=data_of(study),
        workers=study.pipeline.workers,
        prefetch=study.pipeline.prefetch,
        augmentation=study.augmentation,
        threads=thread_count(study.threads),
        training_seed=study.seed + block,
        weights=study.transfer.weights_of(cell.model),
        course=_course(study),
        held_epochs=held_epochs,
        checkpoints=folder,
        protocol=study.rules,
        idle_before_s=study.rules.idle_s,
        settles=settles,
        beat_s=BEAT_S,
    )


def _course(study: TrainingStudy) -> Course:
    plateau, transfer = study.plateau, study.transfer
    return Course(
        epochs=study.epochs,
        patience=study.patience,
        monitor=study.monitor,
        min_change=study.min_change,
        plateau_factor=plateau.factor if plateau else 1.0,
        plateau_patience=plateau.patience if plateau else 0,
        frozen_epochs=transfer.frozen_epochs,
        frozen_settings=tuple(sorted(transfer.frozen.items())),
        frozen_batch_norm=transfer.frozen_batch_norm,
    )


def data_of(study: TrainingStudy) -> Data:
    """Return how a study's data are loaded."""
    return Data(
        data_dir=study.data_dir,
        image_size=study.image_size,
        train_images=study.train_images,
        validation_images=study.validation_images,
        seed=study.seed,
        cache_bytes=round(study.pipeline.cache_gib * 2**30),
        normalised=study.normalised,
    )
