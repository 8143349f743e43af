"""The records of a training run's journal: an epoch, what was lost, a training."""

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

from greenbatch.names import check_name
from greenbatch.records.cells import Flag, Pairs, Status
from greenbatch.records.energy import EnergyFigure
from greenbatch.records.repetition import Conditions, WarmUp

TRAINING_PRECISIONS = ("fp32", "amp-fp16", "amp-bf16")
"""``amp``: automatic mixed precision, weights and optimiser in fp32 (`torch.autocast`)."""

TIMM = "timm:"
"""Begins the name of a network of timm's."""

_FLAGS = frozenset(Flag(~Flag(0)).names)


def check_network(name: str) -> str:
    """Return a network's name if it has the form of one, behind ``timm:`` where that begins it.

    Raises:
        ValueError: It has another form.
    """
    check_name("network", name.removeprefix(TIMM))
    return name


@dataclass(frozen=True, slots=True, order=True)
class TrainingCell:
    """One combination of factors of a training.

    Attributes:
        model: What is trained.
        data: The data set it is trained on.
        backend: ``torch-cpu`` or ``torch-cuda``.
        precision: One of `TRAINING_PRECISIONS`.
        batch_size: Images in a step.
        settings: Every other factor, hyperparameters and layers among them, as pairs of name and
            text, sorted by name. Of a search: those of the trial.
        strategy: Of a search, the strategy that proposed this trial; else empty.
        trial: Of a search, the trial's number from 0; else ``None``.

    Raises:
        ValueError: A factor is empty, unknown or not positive, or a name has another form.
    """

    model: str
    data: str
    backend: str = "torch-cpu"
    precision: str = "fp32"
    batch_size: int = 32
    settings: Pairs = ()
    strategy: str = ""
    trial: int | None = None

    def __post_init__(self) -> None:
        pairs = tuple(sorted((str(key), str(text)) for key, text in self.settings))
        object.__setattr__(self, "settings", pairs)  # JSON and YAML give lists
        if not self.model or not self.data or not self.backend:
            raise ValueError("a training needs a model, data and a backend")
        check_network(self.model)
        check_name("backend", self.backend)
        if self.precision not in TRAINING_PRECISIONS:
            raise ValueError(
                f"precision is {self.precision!r}; it is one of {', '.join(TRAINING_PRECISIONS)}"
            )
        if self.batch_size < 1:
            raise ValueError(f"batch_size is {self.batch_size}; it is at least 1")
        if bool(self.strategy) != (self.trial is not None):
            raise ValueError("a trial has a strategy and a number, and nothing else has either")

    @property
    def slug(self) -> str:
        """A name for files: ``simple-cnn_digits_torch-cpu_fp32_b32_learning_rate-0.01``."""
        name = f"{self.model}_{self.data}_{self.backend}_{self.precision}_b{self.batch_size}"
        if self.strategy:  # the trial says it all, and its settings may be many
            return re.sub(r"[^\w.-]", "-", f"{name}_{self.strategy}_t{self.trial}")
        shown = "".join(f"_{key}-{text}" for key, text in self.settings)
        return re.sub(r"[^\w.-]", "-", name + shown)

    def __str__(self) -> str:
        shown = "".join(f", {key} {text}" for key, text in self.settings)
        trial = f", trial {self.trial} of {self.strategy}" if self.strategy else ""
        unusual = "" if self.precision == "fp32" else f" in {self.precision}"
        return (
            f"{self.model} on {self.data} with {self.backend}{unusual}, batch {self.batch_size}"
            f"{shown}{trial}"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """A stretch of a training: passes over images, or none.

    Attributes:
        duration_s: From its begin to its end.
        images: Images that were seen in it.
        energy: A figure for each domain, gross.
    """

    duration_s: float
    images: int = 0
    energy: tuple[EnergyFigure, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Epoch:
    """One pass over the training images, then one over those of validation; then a checkpoint.

    Written when its checkpoint is on the disk: a training goes on behind the last one.

    Attributes:
        cell, block: Whose training it is part of.
        session: How often that training had been interrupted before, from 0.
        epoch: Its number, from 0.
        train, validation, checkpoint: What each took; the three follow each other without a gap.
        train_loss: Mean loss of the training images as they were seen.
        loss, accuracy, f1: On the validation images: mean loss, share that is right, and the F1
            score of the classes averaged without weights (macro).
        macro_precision, macro_recall, auc: The same of precision, of recall and of the area under
            the ROC curve of each class against the others; ``None`` where it is not known.
    """

    cell: TrainingCell
    block: int
    session: int
    epoch: int
    train: Phase
    validation: Phase
    checkpoint: Phase
    train_loss: float
    loss: float
    accuracy: float
    f1: float
    macro_precision: float | None = None
    macro_recall: float | None = None
    auc: float | None = None
    kind: Literal["epoch"] = "epoch"

    def __post_init__(self) -> None:
        more = ("macro_precision", "macro_recall", "auc")
        for name in ("train_loss", "loss", "accuracy", "f1", *more):
            value = getattr(self, name)
            if not (value is None and name in more) and not math.isfinite(value):
                raise ValueError(f"{name} is {value}; an epoch's is finite")


def holding(epochs: Iterable[Epoch]) -> tuple[Epoch, ...]:
    """Return the epochs that hold, of those in a journal.

    A session that could not read the last checkpoint goes back to one before it: an epoch that is
    repeated takes the place of the earlier one and of all that came behind that.
    """
    held: dict[tuple[TrainingCell, int], list[Epoch]] = {}
    for epoch in epochs:
        training = held.setdefault((epoch.cell, epoch.block), [])
        training[epoch.epoch :] = [epoch]
    return tuple(epoch for training in held.values() for epoch in training)


@dataclass(frozen=True, slots=True, kw_only=True)
class Beat:
    """How far a session has come behind its last checkpoint, shown first and every few seconds.

    The last beat of a session that did not end by itself is what was lost with it, at the least:
    what came between it and the end is not known.

    Attributes:
        cell, block, session: As in `Epoch`.
        epoch: That runs, from 0.
        lost: From the last checkpoint (or the session's begin, warm-up excluded) until now.
    """

    cell: TrainingCell
    block: int
    session: int
    epoch: int
    lost: Phase
    kind: Literal["beat"] = "beat"


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """A training that has ended; its epochs stand before it in the journal.

    Attributes:
        cell, block: What was trained, and the number of the repetition, from 0.
        position: The place in the block's order, from 0.
        status, reason, flags, started_at: As in `greenbatch.records.Repetition`.
        stopped: ``epochs``: after as many as were asked; ``patience``: early, for validation did
            not get better any more; ``None`` where it failed.
        best_epoch: Whose validation loss is the lowest.
        sessions: 1, and one more for each interruption.
        whole: From the first epoch's begin to the last one's end, in one window; of several
            sessions: the sum of their epochs, without what was lost.
        lost: What sessions did behind their last checkpoint, at the least, counted apart.
        parameters: Of the network.
        macs: Multiplications, each with an addition, for an image of the trained size that infers,
            by convolutions, matrix products and attention; ``None`` where they were not counted.
        warm_up: Steps on a copy of the network before the first epoch; of the last session.
        idle_w: Mean power of each domain with network and data loaded, before the first epoch.
        conditions, settings, memory_host_bytes, phases_s: As in `greenbatch.records.Repetition`.
        trace: Name of the file in ``traces/``: power of the last session.
    """

    cell: TrainingCell
    block: int
    position: int
    status: Status
    started_at: str
    reason: str | None = None
    flags: tuple[str, ...] = ()
    stopped: Literal["epochs", "patience"] | None = None
    best_epoch: int | None = None
    sessions: int = 1
    whole: Phase | None = None
    lost: Phase | None = None
    parameters: int | None = None
    macs: int | None = None
    warm_up: WarmUp | None = None
    idle_w: dict[str, float | None] = field(default_factory=dict)
    conditions: Conditions = field(default_factory=Conditions)
    settings: dict[str, str | int | float | bool | None] = field(default_factory=dict)
    memory_host_bytes: int | None = None
    phases_s: dict[str, float] = field(default_factory=dict)
    trace: str | None = None
    kind: Literal["training"] = "training"

    def __post_init__(self) -> None:
        if unknown := set(self.flags) - _FLAGS:
            raise ValueError(f"unknown flags: {', '.join(sorted(unknown))}")
        if self.status is not Status.OK:
            if not self.reason:
                raise ValueError(f"a training that ended {self.status} needs a reason")
        elif self.whole is None or self.best_epoch is None or self.stopped is None:
            raise ValueError("an ok training has a window, a best epoch and a cause of its end")
