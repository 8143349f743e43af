"""From a network's name to its torch module."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from greenbatch.runners.training.design.networks import find

if TYPE_CHECKING:
    from torch import nn


def build(
    name: str,
    settings: Mapping[str, str],
    shape: tuple[int, int, int],
    classes: int,
    seed: int,
) -> "nn.Module":
    """Build a network with random weights, in training mode, on the CPU.

    The global random state is left as it was.

    Args:
        name: See `find`.
        settings: What is set of it, others are left out; see `Network.settings`.
        shape: Of an image (C, H, W). torchvision's and timm's networks see three channels: one
            channel is given to each of them, so that their first layer stays as published.
        classes: How many there are.
        seed: Of the weights.

    Returns:
        Maps (N, C, H, W), float32, to logits (N, classes), in training as in evaluation: heads
        that only training uses are left out.

    Raises:
        UnknownNameError: There is no such network.
        UsageError: It needs a package that is not installed.
        UnsupportedCell: It cannot take images of this shape.
        ValueError: A setting cannot be meant.
    """
    from greenbatch.runners.training.child import architectures

    return architectures.build(find(name), settings, shape, classes, seed)
