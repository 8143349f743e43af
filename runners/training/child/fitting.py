"""The child's side of a training: epochs in windows that follow each other without a gap.

Instants are on `time.perf_counter`, which every process of a machine shares.
"""

import gc
import math
import os
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from greenbatch import units
from greenbatch.errors import GreenbatchError, MeasurementError
from greenbatch.records import TrainingCell, WarmUp
from greenbatch.runners import backends
from greenbatch.runners.child.system import affinity, gpu_uuid, idle_for, peak_memory_bytes
from greenbatch.runners.child.windows import Send, clock
from greenbatch.runners.scenarios import offline
from greenbatch.runners.training.child import building, checkpoints, pretrained, stages
from greenbatch.runners.training.child.feeding import Feeder
from greenbatch.runners.training.child.progress import Progress
from greenbatch.runners.training.child.reading import Readers
from greenbatch.runners.training.child.scores import Scores
from greenbatch.runners.training.child.training_state import (
    TrainingState,
    make_training_state,
    random_state,
    restore_random_state,
)
from greenbatch.runners.training.data import datasets
from greenbatch.runners.training.data.augmentation import Augmentation
from greenbatch.runners.training.design import hyperparameters, networks
from greenbatch.runners.training.messages import (
    Data,
    EpochEnded,
    Heartbeat,
    PhaseEnded,
    Preflight,
    PreflightResult,
    Train,
    Trained,
    TrainingLoaded,
    TrainingWarm,
)

if TYPE_CHECKING:
    import torch

    from greenbatch.runners.training.data.datasets import Split

_CHECK_EVERY = 20  # steps on a GPU between two looks at the loss: each makes it wait
_GPU_WORKERS = 2  # one reads while the other waits for the disk or for Python's lock
_REPORTED_FROM_S = 1.0  # a shorter phase's end is not worth many more readings of the meters


def preflight(request: Preflight, send: Send) -> None:
    """Load what trainings need, before anything is measured; send ``PreflightResult``."""
    reasons = {}
    for name in request.backends:
        spec = backends.find(name)
        reasons[name] = backends.resolve(spec).unavailable(spec.provider)
    notes: list[str] = []
    fault, code = None, 0
    try:
        for name in request.names:
            split = _load(name, replace(request.data, cache_bytes=0), workers=0)
            summary = (
                f"{name}: {units.count(len(split.train), 'image')} to train on and "
                f"{len(split.validation)} to validate with, {' x '.join(map(str, split.shape))}, "
                f"{units.count(len(split.classes), 'class', 'classes')}"
            )
            notes += [summary, *(f"{name}: {note}" for note in split.notes)]
        for network, weights in request.weights.items():
            pretrained.state_of(network, weights)
            notes.append(f"{network} begins with {weights} weights")
    except GreenbatchError as error:
        fault, code = str(error), error.exit_code
    send(PreflightResult(reasons=reasons, notes=tuple(notes), fault=fault, code=code))


def fit(request: Train, send: Send, born_s: float) -> None:
    """Train a network until its last epoch, or until it does not get better any more.

    Args:
        request: See there.
        send: Sends its events, and ``Trained``.
        born_s: When the process began.

    Raises:
        MeasurementError: The loss is not finite any more.
        UsageError: The data cannot be had, or there is nothing to learn in them.
    """
    ready_s = clock()
    cell = request.cell
    device = _configure(cell, request)
    workers = _workers(request, device)
    split = _load(cell.data, request.data, workers)
    training_state = _training_state(request, split, device)
    progress, note = _resume(training_state, request)
    with Readers(workers, request.prefetch) as readers:
        kinds, seed = request.augmentation, request.training_seed
        changes = Augmentation(kinds, seed) if kinds else None
        train = Feeder(split.train, cell.batch_size, device, readers, changes)
        validation = Feeder(split.validation, cell.batch_size, device, readers)
        macs = training_state.macs(split.shape)
        training_state.wait()
        loaded_s = clock()
        send(TrainingLoaded(epochs=progress.epochs, note=note))

        settle = send if request.settles else None
        idle = idle_for(request.idle_before_s, settle) if request.idle_before_s else None
        warm_up = None
        if not progress.ended(request.course):
            warm_up = _warm_up(training_state, train, validation, split, request)
        send(TrainingWarm())
        warm_s = clock()
        cpu_before_s = time.process_time()
        fitting = _Fitting(training_state, train, validation, split, request, send, clock())
        with offline.collector_held_off():
            while not progress.ended(request.course):
                progress = fitting.epoch(progress)
                gc.collect(0)
    host_bytes, _ = peak_memory_bytes()
    send(
        Trained(
            gpu_uuid=gpu_uuid(request.cell.backend),
            pid=os.getpid(),
            window=(fitting.first_s, fitting.last_s),
            idle=idle,
            cpu_s=time.process_time() - cpu_before_s,
            warm_up=warm_up,
            stopped="epochs" if progress.epochs >= request.course.epochs else "patience",
            parameters=sum(parameter.numel() for parameter in training_state.network.parameters()),
            macs=macs,
            memory_host_bytes=host_bytes,
            settings=_settings(cell, training_state, split, request)
            | {"workers": workers, "held_in_memory": split.held},
            phases_s={
                "start": ready_s - born_s,
                "load": loaded_s - ready_s,
                "warm_up": warm_s - loaded_s - (idle[1] - idle[0] if idle else 0.0),
            },
        )
    )


class _Fitting:
    """Epochs, one after another."""

    def __init__(
        self,
        training_state: TrainingState,
        train: Feeder,
        validation: Feeder,
        split: "Split",
        request: Train,
        send: Send,
        now_s: float,
    ) -> None:
        self._training_state = training_state
        self._train = train
        self._validation = validation
        self._classes = len(split.classes)
        self._request = request
        self._send = send
        self.first_s = self.last_s = now_s
        self._images = 0  # since the last checkpoint
        self._reported_s = now_s
        self._epoch = 0

    def epoch(self, before: Progress) -> Progress:
        """Train, validate, write a checkpoint, and report it; return where it stands then."""
        self._epoch = before.epochs
        self._images = 0
        began_s = self.last_s
        learned = Scores(self._classes, self._training_state.device)
        self._pass(learned)
        trained_s = self._end_of_phase(began_s)
        scores = Scores(self._classes, self._training_state.device)
        self._training_state.validate(self._validation, scores, self._pulse)
        loss = scores.loss
        self._check(loss, "of the validation images")
        validated_s = self._end_of_phase(trained_s)
        progress = self._after(before, loss, scores.accuracy)
        folder = self._request.checkpoints
        checkpoints.save(
            folder,
            progress.epochs,
            {
                **self._training_state.state(),
                "random": random_state(self._training_state.device),
                "state": progress.members(),
            },
        )
        self.last_s = clock()
        self._send(
            EpochEnded(
                epoch=self._epoch,
                ends_s=(began_s, trained_s, validated_s, self.last_s),
                train_images=learned.images,
                validation_images=scores.images,
                train_loss=learned.loss,
                loss=loss,
                accuracy=scores.accuracy,
                f1=scores.f1,
                macro_precision=scores.precision,
                macro_recall=scores.recall,
                auc=scores.auc,
            )
        )
        self._reported_s = self.last_s
        return progress

    def _after(self, before: Progress, loss: float, accuracy: float) -> Progress:
        """Begin the next stage, or reduce the learning rate, where it is time."""
        course, cell = self._request.course, self._request.cell
        progress = before.after(course, loss, accuracy)
        if before.frozen and not progress.frozen:
            stages.enter(
                self._training_state, cell.model, dict(cell.settings), course, frozen=False
            )
        elif progress.reductions > before.reductions:
            self._training_state.reduce_rate(course.plateau_factor)
        return progress

    def _pass(self, scores: Scores) -> None:
        """Pass over the training images once, and learn from them."""
        every = 1 if self._training_state.device.type == "cpu" else _CHECK_EVERY
        seed = self._request.training_seed
        for number, (images, labels) in enumerate(self._train.shuffled(seed, self._epoch), 1):
            scores.add_loss(self._training_state.step(images, labels), len(labels))
            self._pulse(len(labels))
            if number % every == 0:
                self._check(scores.loss, f"by step {number}")
        self._check(scores.loss, "at its end")

    def _check(self, loss: float, where: str) -> None:
        if math.isfinite(loss):
            return
        raise MeasurementError(
            f"the loss is {'not a number' if math.isnan(loss) else 'infinite'} in epoch "
            f"{self._epoch + 1}, {where}; try a lower learning rate than "
            f"{self._training_state.optimizer.param_groups[0]['lr']:g}"
            + (", or amp-bf16 or fp32" if self._training_state.precision == "amp-fp16" else "")
        )

    def _pulse(self, images: int) -> None:
        """Report how far it has come, every few seconds."""
        self._images += images
        now_s = clock()
        if now_s - self._reported_s >= self._request.beat_s:
            self._reported_s = now_s
            self._send(Heartbeat(epoch=self._epoch, at_s=now_s, images=self._images))

    def _end_of_phase(self, began_s: float) -> float:
        self._training_state.wait()
        now_s = clock()
        if now_s - began_s >= _REPORTED_FROM_S:
            self._send(PhaseEnded())
        return now_s


def _configure(cell: TrainingCell, request: Train) -> "torch.device":
    """Set what holds for the whole process, as for inference; return the device."""
    import torch

    torch.set_num_threads(request.threads)
    if torch.get_num_interop_threads() != 1:  # torch takes it once in a process
        torch.set_num_interop_threads(1)
    torch.backends.cuda.matmul.allow_tf32 = False  # fp32 means fp32
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.benchmark = False  # a search in the first epoch would be part of it
    return torch.device(backends.find(cell.backend).device)


def _workers(request: Train, device: "torch.device") -> int:
    if request.workers is not None:
        return request.workers
    return 0 if device.type == "cpu" else _GPU_WORKERS


def _load(name: str, data: Data, workers: int) -> "Split":
    return datasets.load(
        name,
        Path(data.data_dir),
        image_size=data.image_size,
        train_images=data.train_images,
        validation_images=data.validation_images,
        seed=data.seed,
        cache_bytes=data.cache_bytes,
        normalised=data.normalised,
        workers=workers,
    )


def _training_state(request: Train, split: "Split", device: "torch.device") -> TrainingState:
    import torch

    cell, seed = request.cell, request.training_seed
    settings = dict(cell.settings)
    hyperparameters.check(cell.model, settings)
    torch.manual_seed(seed)
    network = building.build(
        cell.model, settings, split.shape, len(split.classes), seed, request.weights
    )
    training_state = make_training_state(network, settings, cell.precision, device)
    torch.manual_seed(seed)  # what a network drew in its making must not move what comes now
    return training_state


def _resume(training_state: TrainingState, request: Train) -> tuple[Progress, str]:
    """Go on where the journal's last epoch ended; return how far that is, and what is to say."""
    progress, note, members = Progress.at_begin(request.course), "", None
    if held := request.held_epochs:
        _, members, note = checkpoints.load(request.checkpoints, held, training_state.device)
    if members:
        progress = Progress.of(members["state"])
    cell, course = request.cell, request.course
    stages.enter(training_state, cell.model, dict(cell.settings), course, progress.frozen)
    if members:
        training_state.load(members)
        restore_random_state(members["random"], training_state.device)
    return progress, note


def _warm_up(
    training_state: TrainingState, train: Feeder, validation: Feeder, split: "Split", request: Train
) -> WarmUp:
    """Train a copy until its steps take equally long; nothing of it is left behind."""
    stood = random_state(training_state.device)
    warm_up = _run_in(training_state.twin(), train, request)
    training_state.validate(validation.first(), Scores(len(split.classes), training_state.device))
    gc.collect()  # the copy
    if training_state.device.type == "cuda":
        import torch

        torch.cuda.empty_cache()
    restore_random_state(stood, training_state.device)
    return warm_up


def _run_in(twin: TrainingState, train: Feeder, request: Train) -> WarmUp:
    batches = train.endless(request.training_seed)

    def run() -> None:
        twin.step(*next(batches))
        twin.wait()

    began_s = clock()
    run()
    return offline.warm_up(run, clock, request.protocol, clock() - began_s)


def _settings(
    cell: TrainingCell, training_state: TrainingState, split: "Split", request: Train
) -> dict[str, backends.Setting]:
    """Return the effective settings."""
    import torch

    tf32 = torch.backends.cuda.matmul.allow_tf32 or torch.backends.cudnn.allow_tf32
    fp32 = "tf32" if tf32 and training_state.device.type == "cuda" else "fp32"
    found: dict[str, backends.Setting] = {
        "threads": torch.get_num_threads(),
        "inter_op_threads": torch.get_num_interop_threads(),
        "affinity": affinity(),
        "arithmetic": fp32 if cell.precision == "fp32" else cell.precision,
        "tf32": tf32,
        "amp": "none" if cell.precision == "fp32" else cell.precision.removeprefix("amp-"),
        "torch": torch.__version__,
        "deterministic_algorithms": torch.are_deterministic_algorithms_enabled(),
        "autotuning": "none",
        "seed": request.training_seed,
        "train_images": len(split.train),
        "validation_images": len(split.validation),
        "image_shape": "x".join(map(str, split.shape)),
        "classes": len(split.classes),
        "unreadable_images": split.skipped,
        "data_notes": "; ".join(split.notes) or "none",
        "weights": request.weights,
        "augmentation": ", ".join(request.augmentation) or "none",
        "optimizer": type(training_state.optimizer).__name__,
    }
    requested = dict(cell.settings)
    found |= {each.name: each.text(requested) for each in networks.find(cell.model).settings}
    found |= _plain({f"optimizer_{key}": v for key, v in training_state.optimizer.defaults.items()})
    if training_state.device.type == "cuda":
        found["cuda"] = torch.version.cuda
    return found


def _plain(members: Mapping[str, object]) -> dict[str, backends.Setting]:
    """Return members as a journal can hold them."""
    return {
        key: value if isinstance(value, str | int | float | bool | None) else str(value)
        for key, value in members.items()
    }
