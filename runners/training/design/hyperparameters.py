"""The hyperparameters of a training: which there are, and the optimiser that they make."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from greenbatch.runners.training.design import networks
from greenbatch.runners.training.design.settings import Setting

if TYPE_CHECKING:
    from torch.nn import Parameter
    from torch.optim import Optimizer

OPTIMIZER = Setting(
    name="optimizer", default="adam", about="how weights are changed", choices=("adam", "sgd")
)
LEARNING_RATE = Setting(
    name="learning_rate", default="0.001", about="of the optimiser", low=0, beyond_low=True
)
WEIGHT_DECAY = Setting(name="weight_decay", default="0", about="an L2 penalty", low=0)
MOMENTUM = Setting(
    name="momentum",
    default="0.9",
    about="of sgd; of adam: beta1, the decay of the gradient's mean",
    low=0,
    high=1,
    below_high=True,
)
BETA2 = Setting(
    name="beta2",
    default="0.999",
    about="of adam, the decay of the squared gradient's mean; sgd has none",
    low=0,
    high=1,
    below_high=True,
)
EPSILON = Setting(
    name="epsilon",
    default="1e-08",
    about="of adam, added to the denominator; sgd has none",
    low=0,
    beyond_low=True,
)
SETTINGS = (OPTIMIZER, LEARNING_RATE, WEIGHT_DECAY, MOMENTUM, BETA2, EPSILON)
"""What every training takes, whatever its network."""


def taken(model: str) -> tuple[Setting, ...]:
    """Return every setting that the training of a network takes.

    Raises:
        UnknownNameError: There is no such network.
    """
    return (*SETTINGS, *networks.find(model).settings)


def check(model: str, settings: Mapping[str, str]) -> None:
    """Check settings of a training, all of them or some.

    Raises:
        UnknownNameError: There is no such network.
        ValueError: It has no such setting, or its value cannot be meant; the message names it.
    """
    known = {setting.name: setting for setting in taken(model)}
    for name, text in settings.items():
        if name not in known:
            raise ValueError(f"{model} takes no {name}; it takes {', '.join(known)}")
        known[name].check(text)


def optimizer(settings: Mapping[str, str], parameters: "Iterable[Parameter]") -> "Optimizer":
    """Make the optimiser of a training.

    ``sgd`` has neither ``beta2`` nor ``epsilon`` and does without them, so that both optimisers
    can be searched in one space.

    Args:
        settings: Of the training; those of the network are left out.
        parameters: Of the network.

    Raises:
        ValueError: A value cannot be meant.
    """
    from torch.optim import SGD, Adam

    rate, decay = LEARNING_RATE.number(settings), WEIGHT_DECAY.number(settings)
    momentum = MOMENTUM.number(settings)
    if OPTIMIZER.text(settings) == "sgd":
        return SGD(parameters, lr=rate, momentum=momentum, weight_decay=decay)
    return Adam(
        parameters,
        lr=rate,
        betas=(momentum, BETA2.number(settings)),
        eps=EPSILON.number(settings),
        weight_decay=decay,
    )
