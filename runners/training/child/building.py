"""From a network's name to its torch module."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from greenbatch.design.training_options import RANDOM
from greenbatch.runners.training.design.networks import find

if TYPE_CHECKING:
    from torch import nn


def build(
    name: str,
    settings: Mapping[str, str],
    shape: tuple[int, int, int],
    classes: int,
    seed: int,
    weights: str = RANDOM,
) -> "nn.Module":
    """Build a network in training mode, on the CPU.

    The global random state is left as it was.

    Args:
        name: See `find`.
        settings: What is set of it, others are left out; see `Network.settings`.
        shape: Of an image (C, H, W). torchvision's and timm's networks see three channels: one
            channel is given to each of them, so that their first layer stays as published.
        classes: How many there are.
        seed: Of random weights.
        weights: ``random``, ``pretrained`` or a file; see
            `greenbatch.design.training_options.Transfer`.

    Returns:
        Maps (N, C, H, W), float32, to logits (N, classes), in training as in evaluation: heads
        that only training uses are left out.

    Raises:
        UnknownNameError: There is no such network.
        UsageError: It needs a package that is not installed.
        UnsupportedCell: It cannot take images of this shape.
        ValueError: A setting cannot be meant.
        WeightsError: The weights cannot be had, or do not fit.
    """
    from greenbatch.runners.training.child import architectures

    return architectures.build(find(name), settings, shape, classes, seed, weights)
