"""What is known of a network before it is built: its input, its size, its published accuracy."""

from dataclasses import dataclass, field

from greenbatch.records import InputSpec

__all__ = ["InputSpec", "ModelSpec"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSpec:
    """A network that can be built, exported and measured.

    Of a user's own network nothing is published: year, flops and top1 are ``None`` and the
    checkpoint is empty.

    Attributes:
        name: As ``source`` calls it.
        family: The line of networks that it belongs to.
        year: Of the first publication of the network (preprint or conference).
        parameters: Number of trainable values of the network that infers, without what only
            training uses.
        flops: Of one image in one forward pass, as torchvision's ``_ops`` states it (there in
            units of 1e9). A multiply-add counts as **one**, so it is about half of what tools
            that count two would say.
        top1: Published ImageNet-1K top-1 accuracy of ``weights`` in percent (one crop).
        checkpoint: Name of the file that these weights are published as; it ends in the first
            digits of its SHA-256.
        weights: Name of the published weights within ``source``.
        training_only: What the names of tensors begin with that the checkpoint holds and
            inference has no use for (auxiliary heads).
        input: See `InputSpec`.
        source: The library that defines the network.
        about: What its inputs and outputs are, in a few words; empty for a classifier.
    """

    name: str
    family: str
    parameters: int
    year: int | None = None
    flops: float | None = None
    top1: float | None = None
    checkpoint: str = ""
    weights: str = "IMAGENET1K_V1"
    training_only: tuple[str, ...] = ()
    input: InputSpec = field(default_factory=InputSpec)
    source: str = "torchvision"
    about: str = ""
