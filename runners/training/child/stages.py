"""The stages of a training: first the head alone, with a frozen body, then all of the network."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from greenbatch.runners.training.design import hyperparameters, networks

if TYPE_CHECKING:
    from greenbatch.runners.training.child.training_state import TrainingState
    from greenbatch.runners.training.messages import Course


def enter(
    state: "TrainingState", model: str, settings: Mapping[str, str], course: "Course", frozen: bool
) -> None:
    """Begin a stage: which parts learn, which stay in evaluation mode, and with which optimiser.

    Args:
        state: What trains; its optimiser is replaced.
        model: The network's name.
        settings: Of the training.
        course: Has those of the frozen stage.
        frozen: Whether it is that one.
    """
    network = state.network
    head = list(head_of(model, settings, network))
    own = {id(parameter) for part in head for parameter in part.parameters()}
    if course.frozen_epochs:
        for parameter in network.parameters():
            parameter.requires_grad_(not frozen or id(parameter) in own)
    if frozen:
        inner = {id(each) for part in head for each in part.modules()}
        state.still = [
            part
            for part in network.modules()
            if id(part) not in inner and not any(id(each) in inner for each in part.modules())
        ]
    else:
        still = _BatchNorm if course.frozen_batch_norm else ()
        state.still = [part for part in network.modules() if isinstance(part, still)]
    given = {**settings, **dict(course.frozen_settings)} if frozen else settings
    learning = (parameter for parameter in network.parameters() if parameter.requires_grad)
    state.optimizer = hyperparameters.optimizer(given, learning)
    state.learn()


def head_of(model: str, settings: Mapping[str, str], network: nn.Module) -> Iterator[nn.Module]:
    """Yield the parts behind the body: what begins at random where weights are given.

    Of ``head: delrey`` those are its layers; else the last layer that has weights.
    """
    known = networks.find(model)
    if networks.HEAD in known.settings and networks.HEAD.text(settings) == "delrey":
        first, *rest = network.children()
        # of grey images, the network stands behind a part without weights, see `architectures`
        yield from rest if list(first.parameters()) else list(rest[0].children())[1:]
        return
    yield last_layer(network)


def last_layer(network: nn.Module) -> nn.Module:
    """Return the last layer that has weights of its own."""
    return [part for part in network.modules() if list(part.parameters(recurse=False))][-1]
