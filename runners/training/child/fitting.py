"""The child's side of a training: epochs in windows that follow each other without a gap.

Instants are on `time.perf_counter`, which every process of a machine shares.
"""

import gc
import math
import os
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from greenbatch.design.protocol import MeasurementProtocol
from greenbatch.errors import GreenbatchError, MeasurementError
from greenbatch.records import TrainingCell, WarmUp
from greenbatch.runners import backends
from greenbatch.runners.child.system import affinity, idle_for, peak_memory_bytes
from greenbatch.runners.child.windows import Request, Tell, clock
from greenbatch.runners.scenarios import offline
from greenbatch.runners.training.child import building, checkpoints
from greenbatch.runners.training.child.feeding import Feeder, image_count
from greenbatch.runners.training.child.scores import Scores
from greenbatch.runners.training.child.training_state import (
    Trainee,
    make_trainee,
    random_state,
    restore_random_state,
)
from greenbatch.runners.training.data import datasets
from greenbatch.runners.training.design import hyperparameters, networks

if TYPE_CHECKING:
    import torch

    from greenbatch.runners.training.data.datasets import Split

_CHECK_EVERY = 20  # steps on a GPU between two looks at the loss: each makes it wait
_TOLD_FROM_S = 1.0  # a shorter phase's end is not worth many more readings of the meters


def rehearse(request: Request, tell: Tell) -> None:
    """Load what trainings need, before anything is measured; tell ``rehearsed``.

    The event says why a backend cannot run here, by its name; what there is to say of the data;
    and what stands in the way of all of it, with the exit code that goes with it.
    """
    reasons = {}
    for name in request["backends"]:
        spec = backends.find(name)
        reasons[name] = backends.resolve(spec).unavailable(spec.provider)
    notes: list[str] = []
    fault, code = None, 0
    try:
        for name in request["data"]:
            split = _load(name, request)
            told = (
                f"{name}: {image_count(split.train)} images to train on and "
                f"{image_count(split.validation)} to validate with, "
                f"{' x '.join(map(str, split.shape))}, {len(split.classes)} classes"
            )
            notes += [told, *(f"{name}: {note}" for note in split.notes)]
    except GreenbatchError as error:
        fault, code = str(error), error.exit_code
    tell(event="rehearsed", reasons=reasons, notes=notes, fault=fault, code=code)


def fit(request: Request, tell: Tell, born_s: float) -> None:
    """Train a network until its last epoch, or until it does not get better any more.

    Args:
        request: As `session` makes it: the cell, seeds, data, how many epochs and how much
            patience, the folder of checkpoints and how many epochs the journal holds, protocol,
            idle length and time between beats in s.
        tell: Writes an event: ``loaded``, ``warm``, then ``phase``, ``beat`` and ``epoch`` as they
            come, ``trained``.
        born_s: When the process began.

    Raises:
        MeasurementError: The loss is not finite any more.
        UsageError: The data cannot be had, or there is nothing to learn in them.
    """
    ready_s = clock()
    cell = TrainingCell(**request["cell"])
    device = _configure(cell, request)
    split = _load(cell.data, request)
    trainee = _trainee(cell, split, device, request["training_seed"])
    state, note = _resume(trainee, request)
    train = Feeder(split.train, cell.batch_size, device)
    validation = Feeder(split.validation, cell.batch_size, device)
    trainee.wait()
    loaded_s = clock()
    tell(event="loaded", epochs=state.epochs, note=note)

    idle = idle_for(request["idle_before_s"]) if request["idle_before_s"] else None
    warm_up = None
    if not state.ended(request):
        warm_up = _warm_up(trainee, train, validation, split, request)
    tell(event="warm", epoch=state.epochs)
    warm_s = clock()
    cpu_before_s = time.process_time()
    fitting = _Fitting(trainee, train, validation, split, request, tell, clock())
    with offline.collector_held_off():
        while not state.ended(request):
            state = fitting.epoch(state)
            gc.collect(0)
    host_bytes, _ = peak_memory_bytes()
    tell(
        event="trained",
        pid=os.getpid(),
        window=(fitting.first_s, fitting.last_s),
        idle=idle,
        cpu_s=time.process_time() - cpu_before_s,
        warm_up=asdict(warm_up) if warm_up else None,
        stopped="epochs" if state.epochs >= request["epochs"] else "patience",
        parameters=sum(parameter.numel() for parameter in trainee.network.parameters()),
        memory_host_bytes=host_bytes,
        settings=_settings(cell, trainee, split, request),
        phases_s={
            "start": ready_s - born_s,
            "load": loaded_s - ready_s,
            "warm_up": warm_s - loaded_s - (idle[1] - idle[0] if idle else 0.0),
        },
    )


@dataclass(frozen=True)
class _State:
    """Where a training stands between two epochs.

    Attributes:
        epochs: That ended.
        best_loss: The lowest validation loss so far.
        waited: Epochs since then.
    """

    epochs: int = 0
    best_loss: float = math.inf
    waited: int = 0

    def after(self, loss: float) -> "_State":
        """Return where it stands after an epoch with this validation loss."""
        if loss < self.best_loss:
            return _State(self.epochs + 1, loss, 0)
        return _State(self.epochs + 1, self.best_loss, self.waited + 1)

    def ended(self, request: Request) -> bool:
        """Tell whether no epoch is left."""
        patience = request["patience"]
        return self.epochs >= request["epochs"] or bool(patience and self.waited >= patience)


class _Fitting:
    """Epochs, one after another."""

    def __init__(
        self,
        trainee: Trainee,
        train: Feeder,
        validation: Feeder,
        split: "Split",
        request: Request,
        tell: Tell,
        now_s: float,
    ) -> None:
        self._trainee = trainee
        self._train = train
        self._validation = validation
        self._classes = len(split.classes)
        self._request = request
        self._tell = tell
        self.first_s = self.last_s = now_s
        self._images = 0  # since the last checkpoint
        self._told_s = now_s
        self._epoch = 0

    def epoch(self, state: _State) -> _State:
        """Train, validate, write a checkpoint, and tell of it; return where it stands then."""
        self._epoch = state.epochs
        self._images = 0
        began_s = self.last_s
        learned = Scores(self._classes, self._trainee.device)
        self._pass(learned)
        trained_s = self._end_of_phase(began_s)
        scores = Scores(self._classes, self._trainee.device)
        self._trainee.validate(self._validation, scores, self._pulse)
        loss = scores.loss
        self._check(loss, "of the validation images")
        validated_s = self._end_of_phase(trained_s)
        state = state.after(loss)
        folder = Path(self._request["checkpoints"])
        members = self._trainee.state() | {"random": random_state(self._trainee.device)}
        checkpoints.save(folder, state.epochs, members | {"state": asdict(state)})
        self.last_s = clock()
        self._tell(
            event="epoch",
            epoch=self._epoch,
            ends_s=(began_s, trained_s, validated_s, self.last_s),
            train_images=learned.images,
            validation_images=scores.images,
            train_loss=learned.loss,
            loss=loss,
            accuracy=scores.accuracy,
            f1=scores.f1,
        )
        self._told_s = self.last_s
        return state

    def _pass(self, scores: Scores) -> None:
        """Pass over the training images once, and learn from them."""
        every = 1 if self._trainee.device.type == "cpu" else _CHECK_EVERY
        seed = self._request["training_seed"]
        for number, (images, labels) in enumerate(self._train.shuffled(seed, self._epoch), 1):
            scores.add_loss(self._trainee.step(images, labels), len(labels))
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
            f"{self._trainee.optimizer.param_groups[0]['lr']:g}"
            + (", or amp-bf16 or fp32" if self._trainee.precision == "amp-fp16" else "")
        )

    def _pulse(self, images: int) -> None:
        """Tell how far it has come, every few seconds."""
        self._images += images
        now_s = clock()
        if now_s - self._told_s >= self._request["beat_s"]:
            self._told_s = now_s
            self._tell(event="beat", epoch=self._epoch, at_s=now_s, images=self._images)

    def _end_of_phase(self, began_s: float) -> float:
        self._trainee.wait()
        now_s = clock()
        if now_s - began_s >= _TOLD_FROM_S:
            self._tell(event="phase")
        return now_s


def _configure(cell: TrainingCell, request: Request) -> "torch.device":
    """Set what holds for the whole process, as for inference; return the device."""
    import torch

    torch.set_num_threads(request["threads"])
    if torch.get_num_interop_threads() != 1:  # torch takes it once in a process
        torch.set_num_interop_threads(1)
    torch.backends.cuda.matmul.allow_tf32 = False  # fp32 means fp32
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.benchmark = False  # a search in the first epoch would be part of it
    return torch.device(backends.find(cell.backend).device)


def _load(name: str, request: Request) -> "Split":
    return datasets.load(
        name,
        Path(request["data_dir"]),
        image_size=request["image_size"],
        train_images=request["train_images"],
        validation_images=request["validation_images"],
        seed=request["seed"],
    )


def _trainee(cell: TrainingCell, split: "Split", device: "torch.device", seed: int) -> Trainee:
    import torch

    settings = dict(cell.settings)
    hyperparameters.check(cell.model, settings)
    torch.manual_seed(seed)
    network = building.build(cell.model, settings, split.shape, len(split.classes), seed)
    trainee = make_trainee(network, settings, cell.precision, device)
    torch.manual_seed(seed)  # what a network drew in its making must not move what comes now
    return trainee


def _resume(trainee: Trainee, request: Request) -> tuple[_State, str]:
    """Go on where the journal's last epoch ended; return how far that is, and what is to say."""
    if not request["held_epochs"]:
        return _State(), ""
    folder = Path(request["checkpoints"])
    _, members, note = checkpoints.load(folder, request["held_epochs"], trainee.device)
    if not members:
        return _State(), note
    trainee.load(members)
    restore_random_state(members["random"], trainee.device)
    return _State(**members["state"]), note


def _warm_up(
    trainee: Trainee, train: Feeder, validation: Feeder, split: "Split", request: Request
) -> WarmUp:
    """Train a copy until its steps take equally long; nothing of it is left behind."""
    stood = random_state(trainee.device)
    warm_up = _run_in(trainee.twin(), train, request)
    trainee.validate(validation.first(), Scores(len(split.classes), trainee.device))
    gc.collect()  # the copy
    if trainee.device.type == "cuda":
        import torch

        torch.cuda.empty_cache()
    restore_random_state(stood, trainee.device)
    return warm_up


def _run_in(twin: Trainee, train: Feeder, request: Request) -> WarmUp:
    batches = train.endless(request["training_seed"])

    def run() -> None:
        twin.step(*next(batches))
        twin.wait()

    began_s = clock()
    run()
    protocol = MeasurementProtocol(**request["protocol"])
    return offline.warm_up(run, clock, protocol, clock() - began_s)


def _settings(
    cell: TrainingCell, trainee: Trainee, split: "Split", request: Request
) -> dict[str, str | int | float | bool | None]:
    """Tell what was in force."""
    import torch

    tf32 = torch.backends.cuda.matmul.allow_tf32 or torch.backends.cudnn.allow_tf32
    fp32 = "tf32" if tf32 and trainee.device.type == "cuda" else "fp32"
    told: dict[str, str | int | float | bool | None] = {
        "threads": torch.get_num_threads(),
        "inter_op_threads": torch.get_num_interop_threads(),
        "affinity": affinity(),
        "arithmetic": fp32 if cell.precision == "fp32" else cell.precision,
        "tf32": tf32,
        "amp": "none" if cell.precision == "fp32" else cell.precision.removeprefix("amp-"),
        "torch": torch.__version__,
        "deterministic_algorithms": torch.are_deterministic_algorithms_enabled(),
        "autotuning": "none",
        "seed": request["training_seed"],
        "train_images": image_count(split.train),
        "validation_images": image_count(split.validation),
        "image_shape": "x".join(map(str, split.shape)),
        "classes": len(split.classes),
        "unreadable_images": split.skipped,
        "data_notes": "; ".join(split.notes) or "none",
        "optimizer": type(trainee.optimizer).__name__,
    }
    asked = dict(cell.settings)
    told |= {each.name: each.text(asked) for each in networks.find(cell.model).settings}
    told |= _plain({f"optimizer_{key}": v for key, v in trainee.optimizer.defaults.items()})
    if trainee.device.type == "cuda":
        told["cuda"] = torch.version.cuda
    return told


def _plain(members: Mapping[str, Any]) -> dict[str, str | int | float | bool | None]:
    """Return members as a journal can hold them."""
    return {
        key: value if isinstance(value, str | int | float | bool | None) else str(value)
        for key, value in members.items()
    }
