"""What is known of a network before it is built: its input, its size, its published accuracy."""

from dataclasses import dataclass, field

from greenbatch.records import InputSpec

__all__ = ["InputSpec", "ModelSpec"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSpec:
    """A network that can be built, exported and measured.

    Attributes:
        name: As ``source`` calls it.
        family: The line of networks that it belongs to.
        year: Of the first publication of the network (preprint or conference).
        parameters: Number of trainable values.
        flops: Of one image in one forward pass, as torchvision's ``_ops`` states it (there in
            units of 1e9). A multiply-add counts as **one**, so it is about half of what tools
            that count two would say.
        top1: Published ImageNet-1K top-1 accuracy of ``weights`` in percent (one crop).
        weights: Name of the published weights within ``source``.
        checkpoint: Name of the file that these weights are published as; it ends in the first
            digits of its SHA-256.
        input: See `InputSpec`.
        source: The library that defines the network.
    """

    name: str
    family: str
    year: int
    parameters: int
    flops: float
    top1: float
    checkpoint: str
    weights: str = "IMAGENET1K_V1"
    input: InputSpec = field(default_factory=InputSpec)
    source: str = "torchvision"
