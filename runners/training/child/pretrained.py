"""Weights that were learnt elsewhere, for a network that is to be trained."""

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from greenbatch.design.training_options import RANDOM
from greenbatch.errors import WeightsError
from greenbatch.models import registry
from greenbatch.models.weights.checkpoints import fetch_checkpoint
from greenbatch.models.weights.former_names import called_now
from greenbatch.models.weights.load import read_state
from greenbatch.records.training import TIMM
from greenbatch.runners.training.design import networks

if TYPE_CHECKING:
    import torch
    from torch import nn

PRETRAINED = "pretrained"
_COUNTED = ".num_batches_tracked"
_NAMED = 3
_CURE = "give a file, or begin at random (transfer.weights: {})"


def state_of(name: str, weights: str) -> "dict[str, torch.Tensor]":
    """Return the weights of a network, by name of its tensors.

    Args:
        name: Of the network.
        weights: ``pretrained``, or a file.

    Raises:
        WeightsError: Nothing is published for it, or it cannot be had; the message says what to do.
    """
    if weights != PRETRAINED:
        return read_state(Path(weights))
    if networks.find(name).source == "torchvision":
        try:
            return read_state(fetch_checkpoint(registry.find(name)))
        except WeightsError as error:
            raise WeightsError(f"cannot begin {name} from published weights: {error}") from error
    if not name.startswith(TIMM):
        raise WeightsError(f"no weights are published for the layers of {name}; {_CURE}")
    short = name.removeprefix(TIMM)
    timm: Any = importlib.import_module("timm")
    try:
        module: nn.Module = timm.create_model(short, pretrained=True)
    except Exception as error:  # whatever the hub's client, its cache or timm say
        cause = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
        raise WeightsError(
            f"cannot begin {name} from timm's weights: {cause}; connect to the network once, "
            f"{_CURE}"
        ) from error
    return module.state_dict()


def load(module: "nn.Module", name: str, weights: str, *, but_last: "nn.Module | None") -> None:
    """Give a network, or its body, its weights, in place.

    Args:
        module: That takes them.
        name: Of the network.
        weights: ``random``: nothing is done; ``pretrained``, or a file.
        but_last: A layer that keeps its own where the shape of its weights differs.

    Raises:
        WeightsError: They cannot be had, or do not fit.
    """
    if weights == RANDOM:
        return
    own = module.state_dict()
    state = state_of(name, weights)
    given = {key if key in own else called_now(key): value for key, value in state.items()}
    last = {id(parameter) for parameter in but_last.parameters()} if but_last else set()
    may_differ = {key for key, value in module.named_parameters() if id(value) in last}
    unfit = [
        key
        for key, value in own.items()
        if (key not in given or given[key].shape != value.shape)
        and key not in may_differ
        and not key.endswith(_COUNTED)
    ]
    if unfit:
        named = ", ".join(unfit[:_NAMED]) + (", ..." if len(unfit) > _NAMED else "")
        raise WeightsError(
            f"the weights in {weights} do not fit {name}: {len(unfit)} of its tensors are missing "
            f"or of another shape ({named}); give a file that was saved from {name}"
        )
    module.load_state_dict(
        {
            key: given[key] if key in given and given[key].shape == value.shape else value
            for key, value in own.items()
        }
    )
