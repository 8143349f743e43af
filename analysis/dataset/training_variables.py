"""The variables of a training run's dataset: names, units, dimensions and meanings."""

from typing import TYPE_CHECKING

from greenbatch.analysis.dataset.counted import COUNTED
from greenbatch.analysis.dataset.variables import (
    FLAGS,
    PROVENANCES,
    SOURCES,
    STATUSES,
    Variable,
    settings_of,
)

if TYPE_CHECKING:
    import xarray as xr

KIND = "training"
FACTORS = ("model", "data", "backend", "precision", "batch_size")
"""The dimensions of a training's cell; those of its settings follow them, and in a search
``strategy`` and ``trial``. A batch size that is searched is no dimension."""
TRIAL = ("strategy", "trial")
EPOCH_PHASES = ("train", "validation", "checkpoint")
ENDS = ("none", "epochs", "patience")
HYPERPARAMETER = "hyperparameter_"
"""What stands before the name of a hyperparameter that is searched: a variable of its texts."""


def _number(units: str, long_name: str, *dims: str) -> Variable:
    return Variable(units, long_name, over=("cell", "repetition", *dims))


def _code(long_name: str, meanings: tuple[str, ...], *dims: str) -> Variable:
    over = ("cell", "repetition", *dims)
    return Variable("1", long_name, kind="code", meanings=meanings, over=over)


def text(long_name: str, *dims: str) -> Variable:
    """Make a variable of texts, one for each repetition."""
    return Variable("1", long_name, kind="text", over=("cell", "repetition", *dims))


_FLAGS = Variable(
    "1",
    "doubts about the training",
    kind="mask",
    meanings=tuple(FLAGS),
    over=("cell", "repetition"),
)

# 'cell' stands for all dimensions of a cell, see `cell_dims`.
VARIABLES: dict[str, Variable] = {
    "in_design": Variable(
        "1",
        "whether the study has the cell, or it was trained",
        kind="code",
        meanings=("no", "yes"),
        over=("cell",),
    ),
    "status": _code("how the training ended", STATUSES),
    "reason": text("why the training is not ok"),
    "flags": _FLAGS,
    "stopped": _code("why the training ended", ENDS),
    "best_epoch": _number("1", "epoch of the lowest validation loss"),
    "sessions": _number("1", "sessions: 1, and one more for each interruption"),
    "duration": _number("s", "length of the training, without what was lost"),
    "images_seen": _number("1", "images seen in training and validation, each as often as seen"),
    "energy": _number("J", "gross energy of the training, without what was lost", "domain"),
    "energy_uncertainty": _number("J", "half-width of the energy's metering error", "domain"),
    "energy_source": _code("how the energy was obtained", SOURCES, "domain"),
    "energy_counted": _code(
        "whether the energy adds to the total of the training", COUNTED, "domain"
    ),
    "energy_reason": text("why the energy is missing, or what an estimate assumes", "domain"),
    "idle_power": _number("W", "idle power before the first epoch, network loaded", "domain"),
    "energy_per_image_seen": _number(
        "J", "gross energy per image seen (training and validation) over the domains that count"
    ),
    "energy_per_image_seen_uncertainty": _number(
        "J", "half-width of the metering error of the energy per image seen"
    ),
    "energy_per_image_seen_source": _code("what the energy per image seen rests on", PROVENANCES),
    "energy_per_image_seen_net": _number(
        "J", "net energy per image seen over the domains that count"
    ),
    "phase_energy_per_image": _number(
        "J", "gross energy per image of a phase, over all epochs and domains that count", "phase"
    ),
    "lost_duration": _number("s", "time lost behind checkpoints, at the least"),
    "lost_images": _number("1", "images seen behind checkpoints and lost, at the least"),
    "lost_energy": _number("J", "energy lost behind checkpoints, at the least"),
    "spent_duration": _number(
        "s", "time of the training at the least, what was lost or failed included"
    ),
    "spent_energy": _number(
        "J", "energy of the training at the least, what was lost or failed included"
    ),
    "spent_energy_source": _code("what the energy spent rests on", PROVENANCES),
    "parameters": _number("1", "parameters of the network"),
    "classes": _number("1", "classes of the data set"),
    "macs": _number("1", "multiplications, each with an addition, for an image that infers"),
    "memory_peak": _number("byte", "peak memory of the training's process on the host"),
    "warm_up_steps": _number("1", "steps of the warm-up"),
    "warm_up_duration": _number("s", "duration of the warm-up"),
    "rest": _number("s", "rest before the training"),
    "foreign_load": _number("1", "share of the granted cores that others used"),
    "order_position": _number("1", "place in the block's order, from 0"),
    "temperature": _number("degree_Celsius", "temperature when the training began", "sensor"),
    "temperature_mean": _number("degree_Celsius", "mean temperature in the training", "sensor"),
    "temperature_end": _number(
        "degree_Celsius", "temperature at the end of the training", "sensor"
    ),
    "clock": _number("Hz", "mean clock in the training", "clock_domain"),
    "power_limit": _number("W", "lowest effective power limit in the training", "domain"),
    "power_of_limit": _number("1", "mean power in the training over the power limit", "domain"),
    "power_capped": _number(
        "1", "share of the training in which the power limit held the clock down", "domain"
    ),
    "utilization": _number("1", "share of the training in which the processors had work", "domain"),
    "memory_utilization": _number(
        "1", "share of the training in which device memory was read or written", "domain"
    ),
    "memory_device": _number("byte", "most device memory in use in the training", "domain"),
    "stage_duration": _number("s", "time spent in a stage of the repetition", "stage"),
    "train_loss": _number("1", "mean loss of the training images as they were seen", "epoch"),
    "loss": _number("1", "mean loss of the validation images", "epoch"),
    "accuracy": _number("1", "share of the validation images that is right", "epoch"),
    "f1": _number("1", "macro F1 score on the validation images", "epoch"),
    "macro_precision": _number("1", "macro precision on the validation images", "epoch"),
    "macro_recall": _number("1", "macro recall on the validation images", "epoch"),
    "auc": _number("1", "macro area under the ROC curve on the validation images", "epoch"),
    "epoch_session": _number("1", "session that the epoch was done in, from 0", "epoch"),
    "epoch_duration": _number("s", "duration of a phase of an epoch", "epoch", "phase"),
    "epoch_images": _number("1", "images seen in a phase of an epoch", "epoch", "phase"),
    "epoch_energy": _number("J", "gross energy of a phase of an epoch", "epoch", "phase", "domain"),
    "epoch_energy_uncertainty": _number(
        "J", "half-width of its metering error", "epoch", "phase", "domain"
    ),
    "epoch_energy_source": _code(
        "how the energy of a phase of an epoch was obtained", SOURCES, "epoch", "phase", "domain"
    ),
    "final_accuracy": _number("1", "validation accuracy after the last epoch"),
    "final_f1": _number("1", "macro F1 score after the last epoch"),
    "best_accuracy": _number("1", "highest validation accuracy of any epoch"),
    "best_f1": _number("1", "highest macro F1 score of any epoch"),
    "best_precision": _number("1", "highest macro precision of any epoch"),
    "best_recall": _number("1", "highest macro recall of any epoch"),
    "best_auc": _number("1", "highest macro area under the ROC curve of any epoch"),
    "best_loss": _number("1", "lowest validation loss of any epoch"),
}

COORDINATES: dict[str, Variable] = {
    "model": Variable("1", "network that is trained", kind="text"),
    "data": Variable("1", "data set that it is trained on", kind="text"),
    "backend": Variable("1", "backend: runtime and device", kind="text"),
    "precision": Variable("1", "precision; amp is automatic mixed precision", kind="text"),
    "batch_size": Variable("1", "images in a step"),
    "strategy": Variable("1", "strategy of the search", kind="text"),
    "trial": Variable("1", "trial of the search, from 0"),
    "repetition": Variable("1", "repetition: number of the block, from 0"),
    "epoch": Variable("1", "epoch, from 0"),
    "phase": Variable("1", "phase of an epoch", kind="text"),
    "domain": Variable("1", "energy domain", kind="text"),
    "sensor": Variable("1", "temperature sensor", kind="text"),
    "clock_domain": Variable("1", "device whose clock it is", kind="text"),
    "stage": Variable("1", "stage of a repetition", kind="text"),
    "counts": Variable(
        "1", "1 where the domain adds to the total of any training, 0 where others hold it"
    ),
    "runtime": Variable("1", "runtime", kind="text"),
    "provider": Variable("1", "execution provider", kind="text"),
    "device": Variable("1", "device", kind="text"),
}


def cell_dims(dataset: "xr.Dataset") -> tuple[str, ...]:
    """List the dimensions of a training's cell: factors, settings, and of a search its trial."""
    wanted = (*FACTORS, *settings_of(dataset), *TRIAL)
    return tuple(dim for dim in wanted if dim in dataset.dims)


def is_search(dataset: "xr.Dataset") -> bool:
    """Whether the run searched for hyperparameters."""
    return "strategy" in dataset.dims
