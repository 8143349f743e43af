"""From a spec to a torch module."""

from typing import TYPE_CHECKING

from greenbatch.errors import GreenbatchError
from greenbatch.models import registry
from greenbatch.models.spec import ModelSpec
from greenbatch.models.torchvision.construct import for_batches, torchvision_module

if TYPE_CHECKING:
    import torch
    from torch import nn

_KEEP_ALL_IN_STATE = frozenset({*registry.families(), "quantization"})
"""Families whose networks have no tensor that is not in their state dict."""


def build(spec: ModelSpec) -> "nn.Module":
    """Build a network in evaluation mode, with the values that torchvision starts training from.

    Those values do not infer like a trained network, see `greenbatch.models.weights.load`. The
    global random state is left as it was. A network that takes a list of images in torchvision
    takes a batch here, see `greenbatch.models.torchvision`.

    Raises:
        UnknownNameError: The installed torchvision has no network of this name.
        GreenbatchError: The network has not the parameters that its spec states.
    """
    import torch

    with torch.random.fork_rng(devices=()):
        module = torchvision_module(spec)
    parameters = sum(parameter.numel() for parameter in module.parameters())
    if parameters != spec.parameters:
        raise GreenbatchError(
            f"{spec.source} built a {spec.name} of {parameters:,} parameters instead of "
            f"{spec.parameters:,}; install the version of {spec.source} in constraints.txt"
        )
    return for_batches(module, spec).eval()


def build_empty(spec: ModelSpec, device: "torch.device | str") -> "nn.Module":
    """Build a network on a device for weights that are loaded at once.

    Time and memory for other weights are saved where all that the network computes with is in its
    state dict. Detectors, for example, also keep the shapes of their anchors.

    Raises:
        UnknownNameError, GreenbatchError: As `build`.
    """
    import torch

    if spec.family not in _KEEP_ALL_IN_STATE:
        return build(spec).to(device)
    with torch.device("meta"):
        empty = build(spec)
    return empty.to_empty(device=device)
