"""The messages between a parent and the child that trains.

See `greenbatch.runners.child.messages`.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from greenbatch.design.protocol import MeasurementProtocol
from greenbatch.records import TrainingCell, WarmUp
from greenbatch.records.cells import Pairs
from greenbatch.runners.child.messages import Finished, Idling, Message, Request, Stretch


@dataclass(frozen=True, slots=True, kw_only=True)
class Data:
    """How data are loaded; see `greenbatch.runners.training.data.datasets.load`.

    Attributes:
        data_dir: Folder of the data sets.
        image_size: Height and width; ``None``: as they come.
        train_images, validation_images: How many at the most; ``None``: all.
        seed: Of what is chosen.
        cache_bytes: The most that images may take in memory, as bytes.
        normalised: Whether they are normalised.
    """

    data_dir: str
    image_size: int | None
    train_images: int | None
    validation_images: int | None
    seed: int
    cache_bytes: int
    normalised: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """How long a training goes on, and what changes in it; see `greenbatch.design.TrainingStudy`.

    Attributes:
        epochs, patience, monitor, min_change: As in the study.
        plateau_factor, plateau_patience: When the learning rate is reduced; a patience of 0: never.
        frozen_epochs, frozen_settings, frozen_batch_norm: Of the first stage.
    """

    epochs: int
    patience: int
    monitor: Literal["loss", "accuracy"]
    min_change: float
    plateau_factor: float
    plateau_patience: int
    frozen_epochs: int
    frozen_settings: Pairs
    frozen_batch_norm: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingLoaded(Message):
    """Network and data are loaded.

    Attributes:
        epochs: How many the training has behind it.
        note: What there is to say of that; else empty.
    """

    epochs: int
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingWarm(Message):
    """The warm-up has ended: the window begins now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseEnded(Message):
    """The training or the validation of an epoch has just ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Heartbeat(Message):
    """How far a training has come behind its last checkpoint.

    Attributes:
        epoch: From 0.
        at_s: When.
        images: Seen since the checkpoint.
    """

    epoch: int
    at_s: float
    images: int


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochEnded(Message):
    """An epoch, with its checkpoint on the disk; see `greenbatch.records.Epoch`.

    Attributes:
        epoch: From 0.
        ends_s: Its begin, then the ends of training, validation and checkpoint.
        train_images, validation_images: Images that were seen.
        train_loss, loss, accuracy, f1, macro_precision, macro_recall, auc: As in the record.
    """

    epoch: int
    ends_s: tuple[float, float, float, float]
    train_images: int
    validation_images: int
    train_loss: float
    loss: float
    accuracy: float
    f1: float
    macro_precision: float
    macro_recall: float
    auc: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Train(Request):
    """Train a network, or go on with it; answered by `Trained`.

    Attributes:
        cell: What is trained.
        data: What it is trained on.
        workers: Threads that read ahead; ``None``: see `greenbatch.design.TrainingStudy`.
        prefetch: Batches that each of them may be ahead.
        augmentation: Kinds of changes to the training images.
        threads: Of work on the CPU.
        training_seed: Of weights and order.
        weights: What the network begins with: ``random``, ``pretrained`` or a file.
        course: How long it goes on.
        held_epochs: How many the journal holds.
        checkpoints: Their folder.
        protocol: The rules.
        idle_before_s: Length of the idle measurement, in s; 0: none.
        settles: As in `greenbatch.runners.child.messages.MeasureRepetition`.
        beat_s: Shortest time between two heartbeats, in s.
    """

    events: ClassVar = (TrainingLoaded, Idling, TrainingWarm, PhaseEnded, Heartbeat, EpochEnded)

    cell: TrainingCell
    data: Data
    workers: int | None
    prefetch: int
    augmentation: tuple[str, ...]
    threads: int
    training_seed: int
    weights: str
    course: Course
    held_epochs: int
    checkpoints: Path
    protocol: MeasurementProtocol
    idle_before_s: float
    settles: bool
    beat_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained(Finished):
    """A training that has come to its end; see `greenbatch.records.Training`.

    Attributes:
        idle: The stretch of idle power before it.
        warm_up: Before the window; ``None`` where no epoch was left.
        stopped: What ended it.
        parameters: Of the network.
        macs: Multiplications and additions for an image that infers, see `Training`.
    """

    idle: Stretch | None
    warm_up: WarmUp | None
    stopped: Literal["epochs", "patience"]
    parameters: int
    macs: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Preflight(Request):
    """Load what trainings need, before anything is measured; answered by `PreflightResult`.

    Attributes:
        backends: Their names.
        names: Of the data sets.
        data: How they are loaded.
        weights: What networks begin with that do not begin at random, by network.
    """

    backends: tuple[str, ...]
    names: tuple[str, ...]
    data: Data
    weights: dict[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class PreflightResult(Message):
    """What was found.

    Attributes:
        reasons: Why a backend cannot run here, by its name; ``None``: it can.
        notes: What there is to say of the data, a sentence each.
        fault: What stands in the way of all of it, one sentence.
        code: The exit code that goes with the fault.
    """

    reasons: dict[str, str | None]
    notes: tuple[str, ...]
    fault: str | None
    code: int
